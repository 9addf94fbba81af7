"""The user's repository: every git command that runs on the host, hardened.

Host git never looks at an agent's tree. It reads the base commit, checks in what came out of a
sandbox, and moves refs. The user's checkout, index, HEAD, configuration and hooks stay as they are.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from orchestrator.errors import RepositoryRefused, WorkspaceError
from orchestrator.hostgit import environment, path_list, run_git
from orchestrator.objects import FULL_ID, Entry, Found, Listings, ObjectReader
from orchestrator.records import DiffStat
from orchestrator.values import frozen

if TYPE_CHECKING:
    from git.cmd import Git

PLAIN_BRANCH = re.compile(r"feature/[A-Za-z0-9_]+(?:-[a-z0-9]+)*")
"""Names of this form are valid refs whatever they hold; only others have to be asked about."""
BLOB_LIMIT = 4 * 1024 * 1024


@frozen
class Located:
    """Where a repository is and what kind it is."""

    common: Path
    """The real path of its common git directory: what it is known by."""
    top: Path | None
    """The top of the checkout one stands in; None for a bare repository."""
    shallow: bool
    object_format: str
    head: str
    """The commit that HEAD names."""
    branch: str = ""
    """The full name of the branch that HEAD is on; empty where it is on none."""


class Repository:
    """The user's repository.

    Args:
        located: what ``locate`` found.
    """

    def __init__(self, located: Located) -> None:
        self.located = located
        self.common = located.common
        self.top = located.top
        self.id = str(located.common)
        self._objects = ObjectReader(located.common)
        self._listings = Listings()
        self._command: Git | None = None

    def close(self) -> None:
        """End what was started to read objects; it starts again when it is needed."""
        self._objects.close()

    # -- reading ---------------------------------------------------------------------------

    def commit(self, name: str) -> str:
        """Return the id of the commit that a name means.

        Raises:
            RepositoryRefused: it names no commit.
        """
        # HEAD is that of the checkout one stands in, which may be a linked one.
        if name == "HEAD" or name.startswith(("HEAD~", "HEAD^")):
            name = f"{self.located.head}{name.removeprefix('HEAD')}"
        # What people name may be anything that git can be asked, and end the process that stays.
        asked = ("rev-parse", "--verify", "--quiet", "--end-of-options", f"{name}^{{commit}}")
        found = self._git(*asked, check=False).stdout.decode().strip()
        if not FULL_ID.fullmatch(found):
            raise RepositoryRefused(f"{name!r} names no commit of this repository")
        return found

    def tree(self, commit: str) -> str:
        """Return the id of a commit's tree."""
        found = self._object(f"{commit}^{{tree}}")
        if found is None:
            raise WorkspaceError(f"commit {commit} is missing from the repository")
        return found.sha

    def names(self, commit: str, *paths: str) -> list[str]:
        """Return the paths of all files of a commit, at or below some paths if given."""
        return list(self.entries(commit, *paths))

    def entries(self, commit: str, *paths: str) -> dict[str, Entry]:
        """Return mode and object id of the files of a commit at or below some paths."""
        known = self._listings.find(commit, paths)
        if known is not None:
            return known
        output = self._git("ls-tree", "-r", "-z", "--full-tree", commit, "--", *paths).stdout
        found: dict[str, Entry] = {}
        for entry in output.split(b"\0"):
            if entry:
                about, _, name = entry.partition(b"\t")
                mode, _, sha = about.decode().split(" ", 2)
                found[os.fsdecode(name)] = (mode, sha)
        self._listings.keep(commit, paths, found)
        return found

    def blobs(self, shas: Sequence[str]) -> list[bytes]:
        """Return the contents of objects, in order; one that is too large comes back empty."""
        found = self._objects.read(shas, largest=BLOB_LIMIT)
        for sha, one in zip(shas, found, strict=True):
            if one is None:
                raise WorkspaceError(f"object {sha} is missing from the repository")
        return [one.data or b"" for one in found if one is not None]

    def has(self, name: str) -> bool:
        """Tell whether a commit is there, by its id or a ref."""
        return self._object(f"{name}^{{commit}}") is not None

    def is_ancestor(self, older: str, newer: str) -> bool:
        """Tell whether one commit is reachable from another."""
        done = self._git("merge-base", "--is-ancestor", older, newer, check=False)
        return done.returncode == 0

    def merge_base(self, one: str, other: str) -> str:
        """Return the commit that two have in common, or an empty string."""
        done = self._git("merge-base", "--end-of-options", one, other, check=False)
        return done.stdout.decode().strip()

    def is_dirty(self) -> bool:
        """Tell whether the checkout has changes that are not committed."""
        if self.top is None:
            return False
        asked = ["status", "--porcelain", "--untracked-files=no", "--ignore-submodules=all"]
        env = environment(_no_filters(self.top))
        return bool(run_git(asked, cwd=self.top, env=env, check=False).stdout.strip())

    def object_folders(self) -> list[Path]:
        """Return every folder of objects that this repository reads: its own, and borrowed ones."""
        found: list[Path] = []
        waiting = [self.common / "objects"]
        while waiting and len(found) < 16:
            folder = waiting.pop(0).resolve()
            if folder in found or not folder.is_dir():
                continue
            found.append(folder)
            listed = folder / "info" / "alternates"
            if listed.is_file():
                lines = listed.read_text(errors="surrogateescape").splitlines()
                waiting += [folder / line for line in lines if line and not line.startswith("#")]
        return found

    def require_complete(self, commit: str) -> None:
        """Refuse a partial clone that lacks objects of a commit's tree.

        Raises:
            RepositoryRefused: objects are missing.
        """
        settings = (self.common / "config").read_bytes().lower()
        if b"partialclone" not in settings and b"promisor" not in settings:
            return
        listed = self._git("rev-list", "--objects", "--no-walk", "--missing=print", commit)
        if any(line.startswith(b"?") for line in listed.stdout.splitlines()):
            raise RepositoryRefused(
                "this is a partial clone that lacks files of the base commit",
                hint="run: git fetch --refetch --filter=blob:limit=1g origin",
            )

    def diff_stat(self, base: str, commit: str) -> DiffStat:
        """Count what a commit changes against another."""
        output = self._counting().execute(
            [
                "git",
                "diff",
                "--numstat",
                "-z",
                "--no-renames",
                "--no-ext-diff",
                "--no-textconv",
                base,
                commit,
                "--",
            ],
            env=environment(GIT_DIR=str(self.common)),
            strip_newline_in_stdout=False,
        )
        files = added = removed = 0
        for entry in str(output).split("\0"):
            words = entry.strip("\n").split("\t", 2)
            if len(words) == 3:
                files += 1
                added += int(words[0]) if words[0].isdigit() else 0
                removed += int(words[1]) if words[1].isdigit() else 0
        return DiffStat(files=files, added=added, removed=removed)

    def _counting(self) -> Git:
        """Return GitPython's command, which asks for git's version once."""
        if self._command is None:
            # Its import costs 40 ms: it waits until a run has something to count.
            import git

            self._command = git.cmd.Git(str(self.common))
        return self._command

    # -- remotes ---------------------------------------------------------------------------

    def remote_address(self, name: str) -> str:
        """Return where a remote is pushed to, as the settings have it; empty where it has none."""
        for key in ("pushurl", "url"):
            done = self._git("config", "--get-all", f"remote.{name}.{key}", check=False)
            lines = done.stdout.decode("utf-8", "surrogateescape").splitlines()
            if lines:
                return lines[0]
        return ""

    def was_fetched(self, remote: str, commit: str) -> bool:
        """Tell whether a branch of the remote, as it was last seen, holds a commit."""
        prefix = f"refs/remotes/{remote}/"
        asked = ("for-each-ref", "--count=1", f"--contains={commit}", prefix)
        return bool(self._git(*asked, check=False).stdout.strip())

    # -- refs ------------------------------------------------------------------------------

    def ref(self, name: str) -> str:
        """Return what a full ref name points at, or an empty string."""
        found = self._object(name)
        return found.sha if found is not None else ""

    def set_ref(self, name: str, commit: str, *, expected: str | None = None) -> None:
        """Set a ref; with ``expected`` only if it still is that (empty: if it does not exist).

        Raises:
            WorkspaceError: it is something else by now, or cannot be written.
        """
        old = [] if expected is None else [expected or "0" * len(commit)]
        self._git("update-ref", "--no-deref", "--create-reflog", name, commit, *old)

    def delete_refs(self, prefix: str) -> None:
        """Delete all refs below a prefix of ours."""
        if not prefix.startswith("refs/orchestrate/"):
            raise WorkspaceError(f"{prefix} is not ours to delete")
        listed = self._text("for-each-ref", "--format=delete %(refname)", prefix)
        if listed:
            self._git("update-ref", "--stdin", stdin=listed.encode())

    def free_branch(self, wanted: str, base: str, there: Mapping[str, str] | None = None) -> str:
        """Return the branch name to use: as wanted, or with the first suffix that is free.

        A branch that exists is taken only if it would move forward and nobody has it checked out.

        Args:
            wanted: the name.
            base: the commit that the work starts from.
            there: branches of the remote that it will be pushed to, and their commits.

        Raises:
            RepositoryRefused: git does not accept the name.
        """
        plain = PLAIN_BRANCH.fullmatch(wanted) is not None
        if not plain and self._git("check-ref-format", "--branch", wanted, check=False).returncode:
            raise RepositoryRefused(f"{wanted!r} is not a possible branch name")
        listed = self._text(
            "for-each-ref", "--format=%(refname:lstrip=2) %(objectname)", "refs/heads/"
        )
        branches = dict(line.split(" ", 1) for line in listed.splitlines() if " " in line)
        for number in range(1, 100):
            name = wanted if number == 1 else f"{wanted}-{number}"
            clash = any(
                one.startswith(f"{name}/") or name.startswith(f"{one}/") for one in branches
            )
            if clash or not self._continues(base, (there or {}).get(name, "")):
                continue
            if name not in branches:
                return name
            forward = self.is_ancestor(branches[name], base)
            if forward and name not in self.checked_out():
                return name
        raise RepositoryRefused(f"no free branch name near {wanted!r}", hint="delete old branches")

    def _continues(self, commit: str, old: str) -> bool:
        return not old or (self.has(old) and self.is_ancestor(old, commit))

    def checked_out(self) -> set[str]:
        """Return the branches that some work tree has out."""
        listed = self._text("worktree", "list", "--porcelain")
        prefix = "branch refs/heads/"
        return {
            line.removeprefix(prefix) for line in listed.splitlines() if line.startswith(prefix)
        }

    # -- what comes out of a sandbox -------------------------------------------------------

    def import_pack(self, pack: Path, *, base: str, head: str, limit: int) -> str:
        """Check a pack in quarantine and take its objects in; return the commit to judge.

        A head that does not descend from the base becomes one commit of its tree on the base.

        Args:
            pack: a thin pack, as ``git pack-objects --thin`` writes it.
            base: the commit the agent started from.
            head: the commit that the pack is said to bring.
            limit: the largest pack that is accepted, in bytes.

        Raises:
            WorkspaceError: the pack is broken, too large, or does not hold what it must.
        """
        if not FULL_ID.fullmatch(head):
            raise WorkspaceError("the workspace names no commit")
        objects = self.common / "objects"
        quarantine = Path(tempfile.mkdtemp(prefix="orchestrate-quarantine-", dir=objects))
        try:
            (quarantine / "pack").mkdir()
            env = environment(
                {"transfer.fsckObjects": "true", "fetch.fsckObjects": "true"},
                GIT_DIR=str(self.common),
                GIT_OBJECT_DIRECTORY=str(quarantine),
                GIT_ALTERNATE_OBJECT_DIRECTORIES=path_list([objects]),
            )
            if pack.stat().st_size:
                arguments = ["index-pack", "--stdin", "--fix-thin", "--strict"]
                with pack.open("rb") as file:
                    self._index_pack([*arguments, f"--max-input-size={limit}"], file, env)
            head = self._peeled(head, env)
            run_git(["rev-list", "--objects", "--quiet", head, "--not", base], cwd=objects, env=env)
            self._move_pack(quarantine / "pack", objects / "pack")
        finally:
            shutil.rmtree(quarantine, ignore_errors=True)
        if head == base or self.is_ancestor(base, head):
            return head
        return self._flattened(head, base)

    def _peeled(self, head: str, env: Mapping[str, str]) -> str:
        """Return the commit that an object is or, a tag, names."""
        asked = ["rev-parse", "--verify", "--quiet", "--end-of-options", f"{head}^{{commit}}"]
        done = run_git(asked, cwd=self.common, env=env, check=False)
        found = done.stdout.decode().strip()
        if not FULL_ID.fullmatch(found):
            raise WorkspaceError("what came out of the workspace is no commit")
        return found

    def _index_pack(self, arguments: list[str], data: BinaryIO, env: Mapping[str, str]) -> None:
        try:
            run_git(arguments, cwd=self.common, env=env, stdin=data)
        except WorkspaceError as error:
            raise WorkspaceError(
                f"what the agent committed was refused: {error}",
                hint="its work tree is kept with the run",
            ) from None

    def _move_pack(self, source: Path, target: Path) -> None:
        """Move a pack in; its index comes last, since that is what makes it visible."""
        target.mkdir(exist_ok=True)
        order = {".pack": 0, ".rev": 1, ".idx": 2}
        files = [one for one in source.iterdir() if one.suffix in order]
        for file in sorted(files, key=lambda one: order[one.suffix]):
            file.replace(target / file.name)

    def _flattened(self, head: str, base: str) -> str:
        tree = self.tree(head)
        asked = ("log", "-1", "--format=%B", "--no-show-signature", head)
        message = self._git(*asked).stdout or b"Work of an agent\n"
        who = {
            "GIT_AUTHOR_NAME": "orchestrate",
            "GIT_AUTHOR_EMAIL": "orchestrate@localhost",
            "GIT_COMMITTER_NAME": "orchestrate",
            "GIT_COMMITTER_EMAIL": "orchestrate@localhost",
        }
        env = environment(GIT_DIR=str(self.common)) | who
        done = run_git(["commit-tree", tree, "-p", base], cwd=self.common, env=env, stdin=message)
        return done.stdout.decode().strip()

    # -- running git -----------------------------------------------------------------------

    def _git(
        self, *arguments: str, stdin: bytes | None = None, check: bool = True
    ) -> subprocess.CompletedProcess[bytes]:
        # A path is a name, whatever characters it begins with.
        env = environment(GIT_DIR=str(self.common), GIT_LITERAL_PATHSPECS="1")
        return run_git(arguments, cwd=self.common, env=env, stdin=stdin, check=check)

    def _object(self, name: str) -> Found | None:
        return self._objects.read([name], largest=0)[0]

    def _text(self, *arguments: str) -> str:
        return self._git(*arguments).stdout.decode("utf-8", "surrogateescape")


def locate(folder: Path) -> Repository:
    """Find the repository that a folder belongs to.

    Raises:
        RepositoryRefused: it is in none, or the repository has no commit yet.
        WorkspaceError: git is missing.
    """
    if not folder.is_dir():
        raise RepositoryRefused(f"{folder} is not a folder")
    # One call: git answers in order, and stops at the first question that has no answer.
    asked = ("--git-common-dir", "--is-shallow-repository", "--show-object-format")
    more = ("--is-bare-repository", "HEAD^{commit}", "--symbolic-full-name", "HEAD")
    done = run_git(["rev-parse", *asked, *more, "--show-toplevel"], cwd=folder, check=False)
    lines = done.stdout.decode("utf-8", "surrogateescape").splitlines()
    if len(lines) < 4:
        said = done.stderr.decode("utf-8", "replace").strip()
        if "dubious ownership" in said:
            hint = f"run: git config --global --add safe.directory {folder}"
            raise RepositoryRefused(f"git does not trust {folder}: another user owns it", hint=hint)
        raise RepositoryRefused(f"{folder} is not in a git repository", hint="run: git init")
    common = (folder / lines[0]).resolve()
    head = lines[4] if len(lines) > 4 else ""
    if not FULL_ID.fullmatch(head):
        raise RepositoryRefused(
            f"{folder} has no commit yet",
            hint="commit something first: an agent starts from a commit",
        )
    return Repository(
        Located(
            common=common,
            top=Path(lines[6]) if len(lines) > 6 and lines[3] == "false" else None,
            shallow=lines[1] == "true",
            object_format=lines[2],
            head=head,
            branch=lines[5] if lines[5].startswith("refs/heads/") else "",
        )
    )


def _no_filters(checkout: Path) -> dict[str, str]:
    """Return settings that switch off every filter which a checkout's settings name."""
    asked = ["config", "-z", "--name-only", "--get-regexp", "^filter[.]"]
    listed = run_git(asked, cwd=checkout, check=False)
    names = {
        key.split(".", 1)[1].rpartition(".")[0]
        for key in listed.stdout.decode("utf-8", "surrogateescape").split("\0")
        if key.count(".") > 1
    }
    off = {"clean": "", "smudge": "", "process": "", "required": "false"}
    return {f"filter.{name}.{part}": value for name in sorted(names) for part, value in off.items()}
