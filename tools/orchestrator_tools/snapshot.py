"""The state of a workspace after a turn: its tree, and all that git knows about it.

Everything here runs inside the sandbox, on the private git directory. A snapshot is an index of
all files that are not ignored, with their contents as objects, and one file with git's own small
files (HEAD, index, refs, reflogs, a merge or rebase under way). It is named by its turn and its
index's checksum. The objects are not held by a ref: that would cost a second git process a turn;
the git directory's read-only settings keep ``git gc`` from pruning them.
"""

from __future__ import annotations

import os

from orchestrator_tools import children, gitstate, indexes, wire
from orchestrator_tools.errors import ToolError
from orchestrator_tools.gitstate import OURS, remove

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

EMPTY = "' does not have a commit checked out"
EMPTY_NESTED = rf"(?m)^error: '(.+?)/?{EMPTY}"
TIMES = r"([^\0]+)\0  ctime: .*\n  mtime: (\d+):(\d+)\n  dev: .*\n  uid: .*\n  size: .*\n"
"""A path and when it was changed, as git tells what is in an index."""
SECONDS = 120
OUTPUT = 256 * 1024 * 1024
"""Bytes that git may say."""
KEPT_BYTES = 128 * 1024 * 1024
"""What all snapshots of a run may take, near enough; the last two are kept whatever they take."""
STATE_BYTES = 8 * 1024
"""What git's small files are taken to need; its index is in a snapshot twice."""


def take(git: str, workspace: str, turn: int, *, is_committed: bool = False) -> dict[str, Any]:
    """Record the state after a turn; the name is the same when nothing has changed since.

    Args:
        git: the private git directory.
        workspace: the work tree.
        turn: after which it is the state.
        is_committed: whether everything was committed just now, and nothing ran since.
    """
    index = os.path.join(git, OURS, "index")
    folder = os.path.join(git, OURS, "snapshots", str(turn))
    os.makedirs(os.path.dirname(folder), exist_ok=True)
    remove(index + ".lock")
    # What this turn's state was called before must keep that name: it may be journaled already.
    is_new = not os.path.lexists(folder)
    if not (is_committed and is_new and _taken_over(git, workspace, index)):
        add_all(git, workspace, index, turn)
    aside = _told_aside(git, turn)
    checksum = indexes.checksum(index)
    state = gitstate.marks(git)
    last = _last(git)
    if last and last["index"] == checksum and last["state"] == state:
        return {"snapshot": last["name"], "aside": aside}
    name = f"{turn}:{checksum}"
    remove(folder)
    os.makedirs(folder)
    gitstate.keep(git, os.path.join(folder, "state"))
    # git replaces an index, it never writes into one: a second name keeps the content.
    os.link(index, os.path.join(folder, "index"))
    if last:
        _forget(git, keep={turn, int(str(last["name"]).split(":")[0])}, index=index)
    record = {"name": name, "index": checksum, "state": state}
    temporary = os.path.join(git, OURS, "last.new")
    with open(temporary, "w", encoding="utf-8", errors="surrogateescape") as file:
        file.write(wire.dumps(record))
    os.replace(temporary, os.path.join(git, OURS, "last"))
    return {"snapshot": name, "aside": aside}


def _taken_over(git: str, workspace: str, index: str) -> bool:
    """Make the agent's own index ours, where it says of each file what ours would.

    Its files were staged a moment ago; to stage them in ours as well costs another process. What it
    has left out, and ours has not, must be gone from the work tree.
    """
    theirs = os.path.join(git, "index")
    committed, ours = indexes.plain(theirs), indexes.plain(index)
    if committed is None or ours is None:
        return False
    left_out = ours.paths - committed.paths
    if any(os.path.lexists(os.path.join(os.fsencode(workspace), one)) for one in left_out):
        return False
    try:
        when = os.stat(theirs).st_mtime_ns
        with open(index + ".new", "wb") as file:
            file.write(committed.bare())
        # By its time git tells which files may have changed unseen since they were staged.
        os.utime(index + ".new", ns=(when, when))
        os.replace(index + ".new", index)
    except OSError:
        return False
    return True


def restore(git: str, workspace: str, name: str) -> dict[str, Any]:
    """Put the workspace back to a snapshot: files, index, HEAD, refs.

    Raises:
        ToolError: there is no such snapshot.
    """
    turn, checksum = _parts(name)
    folder = os.path.join(git, OURS, "snapshots", turn)
    kept = os.path.join(folder, "index")
    if not turn or not os.path.isfile(kept) or indexes.checksum(kept) != checksum:
        raise ToolError(f"there is no snapshot {name}")
    gitstate.put_back(os.path.join(folder, "state"), git)
    index = os.path.join(git, OURS, "index")
    remove(index + ".lock")
    remove(os.path.join(git, OURS, "aside.json"))
    gitstate.copy(kept, index + ".new")
    os.replace(index + ".new", index)
    # Older than every file, git trusts no time in it and compares contents: a file that was changed
    # within the second in which it was noted, to the same size, would else pass for unchanged.
    os.utime(index, (1, 1))
    # What an interrupted turn left may hide behind ignore rules that it wrote itself.
    for arguments in (
        ("checkout-index", "--force", "--all"),
        ("clean", "-ffdq"),
    ):
        run_git(git, workspace, *arguments, index=index)
    _put_back_times(git, workspace, index)
    return {"snapshot": name}


def _parts(name: str) -> tuple[str, str]:
    """Return the turn and the checksum that a snapshot is named by; nothing where it is no name."""
    turn, _, checksum = name.partition(":")
    known = turn.isascii() and turn.isdigit() and len(turn) <= 6
    return (turn, checksum) if known and len(checksum) == 40 else ("", "")


def _put_back_times(git: str, workspace: str, index: str) -> None:
    """Give files the times that they had: searches list what was changed last first."""
    import re

    listed = run_git(git, workspace, "ls-files", "--debug", "-z", index=index)
    for path, seconds, part in re.findall(TIMES, listed):
        when = int(seconds) * 1_000_000_000 + int(part)
        try:
            os.utime(os.path.join(workspace, path), ns=(when, when), follow_symlinks=False)
        except OSError:
            continue


def add_all(git: str, workspace: str, index: str | None, turn: int | None = None) -> list[str]:
    """Stage everything; a repository inside the workspace is set aside, its files stay.

    Args:
        git: the private git directory.
        workspace: the work tree.
        index: what it is staged in; None is the agent's own.
        turn: after which it is told what was set aside, also to one who asks again.

    Returns:
        What was set aside.

    Raises:
        ToolError: git cannot stage it.
    """
    aside: list[str] = []
    for _ in range(8):
        status, errors = try_git(git, workspace, ("add", "--all", "."), index)
        without = _without_commit(errors)
        # An index of the agent's may hold such entries from before; ours warns of every new one.
        look = index is None or "embedded git repository" in errors
        nested = [*without, *(_nested(git, workspace, index) if look else [])]
        if not nested:
            if status:
                raise ToolError(f"git add failed: {errors.strip()[-500:]}")
            return aside
        for path in nested:
            aside += _set_aside(git, workspace, path, turn)
            try_git(
                git, workspace, ("rm", "-r", "--cached", "--force", "--quiet", "--", path), index
            )
    raise ToolError("git add failed: repositories inside the workspace keep appearing")


def _without_commit(errors: str) -> list[str]:
    """List the repositories without any commit at which git stopped."""
    if EMPTY not in errors:
        return []
    import re

    return re.findall(EMPTY_NESTED, errors)


def _nested(git: str, workspace: str, index: str | None) -> list[str]:
    """List staged repositories whose folders hold files: submodules of the base stay empty."""
    if not indexes.may_hold_repositories(git, index or os.path.join(git, "index")):
        return []
    listed = run_git(git, workspace, "ls-files", "--stage", "-z", index=index)
    links = [one.split("\t", 1)[1] for one in listed.split("\0") if one.startswith("160000 ")]
    return [path for path in links if _holds_files(os.path.join(workspace, path))]


def _holds_files(path: str) -> bool:
    return os.path.isdir(path) and bool(os.listdir(path))


def _set_aside(git: str, workspace: str, path: str, turn: int | None) -> list[str]:
    """Move the git directory of a repository inside the workspace out of the way."""
    source = os.path.join(workspace, path, ".git")
    if not os.path.lexists(source):
        return []
    store = os.path.join(git, OURS, "aside")
    os.makedirs(store, exist_ok=True)
    if turn is not None:
        _tell_aside(git, turn, os.path.join(path, ".git"))
    import shutil

    try:
        shutil.move(source, os.path.join(store, str(len(os.listdir(store)))))
    except OSError as error:
        raise ToolError(f"{source} cannot be set aside: {error}") from None
    return [os.path.join(path, ".git")]


def _told_aside(git: str, turn: int) -> list[str]:
    """Return what was set aside after a turn, also by a try that the host never heard of."""
    try:
        with open(os.path.join(git, OURS, "aside.json"), encoding="utf-8") as file:
            before = wire.loads(file.read())
        return [str(one) for one in before["paths"]] if before["turn"] == turn else []
    except (OSError, ValueError, KeyError, TypeError):
        return []


def _tell_aside(git: str, turn: int, path: str) -> None:
    """Note what is about to be set aside."""
    told = list(dict.fromkeys([*_told_aside(git, turn), path]))
    name = os.path.join(git, OURS, "aside.json")
    with open(f"{name}.new", "w", encoding="utf-8") as file:
        file.write(wire.dumps({"turn": turn, "paths": told}))
    os.replace(f"{name}.new", name)


def _forget(git: str, keep: set[int], index: str) -> None:
    """Keep as many snapshots as there is room for, so that a fork can begin at most turns."""
    folder = os.path.join(git, OURS, "snapshots")
    room = max(KEPT_BYTES // (2 * os.stat(index).st_size + STATE_BYTES), len(keep))
    turns = sorted(int(name) for name in os.listdir(folder) if name.isdigit())
    old = [turn for turn in turns if turn not in keep]
    for turn in old[: max(len(turns) - room, 0)]:
        remove(os.path.join(folder, str(turn)))


def _last(git: str) -> dict[str, Any] | None:
    try:
        name = os.path.join(git, OURS, "last")
        with open(name, encoding="utf-8", errors="surrogateescape") as file:
            record = wire.loads(file.read())
    except (OSError, ValueError):
        return None
    turn = _parts(str(record.get("name")))[0] if isinstance(record, dict) else ""
    kept = os.path.join(git, OURS, "snapshots", turn)
    if not turn or not all(os.path.isfile(os.path.join(kept, one)) for one in ("index", "state")):
        return None
    found: dict[str, Any] = record
    return found


def environment(git: str, workspace: str, index: str | None) -> dict[str, str]:
    """Return what git runs with here: on the private directory, by its own settings alone."""
    environment = dict(os.environ, GIT_DIR=git, GIT_WORK_TREE=workspace, LC_ALL="C")
    # What the agent wrote into its own settings must not hide files from us.
    environment.update(GIT_CONFIG_GLOBAL=os.devnull, GIT_CONFIG_NOSYSTEM="1")
    if index is not None:
        environment["GIT_INDEX_FILE"] = index
    return environment


def try_git(
    git: str, workspace: str, arguments: tuple[str, ...], index: str | None = None
) -> tuple[int, str]:
    """Run a git command on the workspace; return its status, and what it said of errors."""
    ended = _ran(git, workspace, arguments, index)
    return ended.status, ended.errors


def _ran(git: str, workspace: str, arguments: tuple[str, ...], index: str | None) -> children.Ended:
    ended = children.run(
        ["git", *arguments],
        children.Bounds(SECONDS, OUTPUT, errors=OUTPUT),
        cwd=workspace,
        environment=environment(git, workspace, index),
    )
    if ended.late or ended.flooded:
        bound = f"took more than {SECONDS} s" if ended.late else f"said more than {OUTPUT} bytes"
        raise ToolError(f"git {arguments[0]} {bound}")
    return ended


def run_git(git: str, workspace: str, *arguments: str, index: str | None = None) -> str:
    """Run a git command on the workspace; return its output.

    Raises:
        ToolError: it failed.
    """
    ended = _ran(git, workspace, arguments, index)
    if ended.status:
        raise ToolError(f"git {arguments[0]} failed: {ended.errors.strip()[-500:]}")
    return ended.output.decode("utf-8", "replace")
