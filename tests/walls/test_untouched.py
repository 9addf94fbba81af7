"""The user's repository stays as it is, byte for byte, whatever is in it and done inside."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from orchestrator import OpenWorkspace, open_workspace
from orchestrator.errors import OrchestratorError
from tests.builders import a_commit, a_repository, git
from tests.walls.conftest import OpenRepository
from tests.walls.inside import done, sh
from tests.walls.outside import Photograph, differences, photograph

OURS = (".git/refs/orchestrate", ".git/logs/refs/orchestrate")
OBJECTS = ".git/objects/"
HOOKS = (
    "pre-commit", "post-commit", "post-checkout", "post-index-change", "reference-transaction",
    "pre-auto-gc", "post-rewrite", "fsmonitor-watchman", "update", "post-update", "pre-receive",
    "post-receive", "applypatch-msg", "commit-msg", "prepare-commit-msg", "pre-push",
)  # fmt: skip

ATTRIBUTES = "* filter=evil diff=evil merge=evil text=auto\n"
PLANT = """
git init -q nested && cd nested
git config core.fsmonitor {program}; git config core.hooksPath {folder}
git config core.sshCommand {program}; git config core.pager {program}
git config diff.external {program}; git config alias.status '!{program}'
git config filter.evil.clean {program}; git config filter.evil.smudge {program}
git config filter.evil.process {program}; git config filter.evil.required true
git config diff.evil.textconv {program}; git config merge.evil.driver {program}
echo '* filter=evil diff=evil merge=evil' > .gitattributes
printf '#!/bin/sh\\n{program}\\n' > .git/hooks/pre-commit
cp .git/hooks/pre-commit .git/hooks/post-checkout; chmod +x .git/hooks/*
echo content > file
"""

ATTACKS = {
    "config": "git config core.fsmonitor {program}; git config --file /git/config core.pager {program}",
    "global": "git config --global core.fsmonitor {program}; git config --global alias.add '!{program}'",
    "hooks": "echo {program} > /git/hooks/pre-commit; ln -s {program} /git/hooks/post-checkout",
    "base": "rm -rf /base; chmod -R 777 /base; touch /base/0/x /base/0/pack/x; rm -f /base/0/*/*",
    "gitfile": "rm -rf .git; echo 'gitdir: /tmp/x' > .git; mv .git .git2; ln -sfn /tmp .git",
    "attributes": f"echo '{ATTRIBUTES}' > .gitattributes; echo x > README.md",
    "modules": "printf '[submodule \"a\"]\\npath=a\\nurl=ext::{program}\\nupdate=!{program}\\n' "
    "> .gitmodules; git add -A",
    "nested": PLANT,
    "added": PLANT + "cd ..; git add nested; git commit -qm nested; echo more > nested/file",
    "committed": PLANT
    + "git add .; git commit -qm x; cd ..; git add nested; git commit -qm nested",
    "main": "git checkout -qB main; git commit -q --allow-empty -m x; git branch -f topic; "
    "git branch -D topic; git update-ref -d refs/heads/main",
    "tags": "git tag v1; git tag -f v0; git tag -d v0; git tag -am x v2",
    "stash": "echo x > README.md; git stash; git stash drop; echo y > README.md; git stash",
    "rebase": "git commit -q --allow-empty -m a; echo b > b; git add b; git commit -qm b; "
    "git rebase --force-rebase --root; git reset -q --hard HEAD~1",
    "links": "ln -s {program} link; ln -s {folder} folder; ln -s /etc/passwd README.md.link; "
    "rm README.md; ln -s ../../../../etc/passwd README.md",
    "refs": "rm -rf /git/refs /git/packed-refs; mkdir -p /git/refs/heads; echo junk > /git/HEAD",
    "objects": "mv /git/objects /git/o2; mkdir -p /git/objects/pack; ln -s {folder} /git/objects/info; "
    "kill -9 -1",
    "index": "echo junk > /git/index; touch /git/index.lock /git/HEAD.lock",
    "worktree": "git worktree add /tmp/w -b other; git clone -q . /tmp/c; git -C /tmp/c push origin x",
    "push": "git push /base/0 HEAD:refs/heads/main; git push file:///base HEAD; git gc --prune=now",
    "replace": "git replace -f HEAD $(git commit-tree HEAD^{{tree}} -m other)",
    "grafts": "git rev-parse HEAD > /git/shallow; echo > /git/info/grafts; echo > /git/commondir",
}


@pytest.fixture
def canary(tmp_path: Path, outside: Path) -> Path:
    """Return a program of the host that leaves a trace when anything runs it."""
    program = outside / "program"
    program.write_text(f"#!/bin/sh\ntouch {tmp_path}/ran\ncat\n", encoding="utf-8")
    program.chmod(0o755)
    return program


@pytest.fixture
def repository(tmp_path: Path, canary: Path) -> Path:
    """Return a repository in use: hostile files, hooks, tags, stash, packed refs, open changes."""
    top = a_repository(
        tmp_path / "repository",
        {"README.md": "# A project\n", "src/a.py": "A\n", ".gitattributes": ATTRIBUTES},
    )
    a_commit(top, {"src/b.py": "B\n"}, "Second commit")
    git(top, "tag", "v0")
    git(top, "branch", "topic")
    git(top, "pack-refs", "--all")
    git(top, "gc", "--quiet")
    a_commit(top, {"src/c.py": "C\n"}, "Third commit")
    git(top, "branch", "work")
    (top / "src/a.py").write_text("stashed\n", encoding="utf-8")
    git(top, "stash")
    for name in ("clean", "smudge", "process"):
        git(top, "config", f"filter.evil.{name}", str(canary))
    git(top, "config", "core.fsmonitor", str(canary))
    for name in HOOKS:
        (top / ".git/hooks" / name).write_bytes(canary.read_bytes())
        (top / ".git/hooks" / name).chmod(0o755)
    (top / "src/b.py").write_text("not committed\n", encoding="utf-8")
    (top / "untracked").write_text("mine\n", encoding="utf-8")
    return top


@pytest.fixture
def compared(repository: Path, outside: Path, tmp_path: Path) -> Callable[..., list[str]]:
    """Return what lists all that has changed since now, and proves that nothing was run."""
    before, beside = photograph(repository, leave_out=OURS), photograph(outside)
    (tmp_path / "ran").unlink(missing_ok=True)

    def changed() -> list[str]:
        assert not (tmp_path / "ran").exists(), "a program of the host was run"
        assert photograph(outside) == beside
        after = photograph(repository, leave_out=OURS)
        return [one for one in differences(before, after) if not is_new_object(one, before)]

    return changed


def is_new_object(name: str, before: Photograph) -> bool:
    """Tell whether a file is an object, or a pack of them, that was not there before."""
    if name in before or not name.startswith(OBJECTS):
        return False
    return "quarantine" not in name and Path(name).suffix in {"", ".pack", ".idx", ".rev"}


async def collected(workspace: OpenWorkspace, ref: str = "refs/heads/feature/out") -> str | None:
    """Collect the work; what is refused comes back as None."""
    try:
        return await workspace.collect(ref)
    except OrchestratorError:
        return None


def delivered(ref: str = "refs/heads/feature/out") -> set[str]:
    """Return all that a collected ref may add to a repository."""
    names = {f".git/{ref}", f".git/logs/{ref}"}
    return names | {str(Path(one).parent) for one in names}


@pytest.mark.asyncio
async def test_opening_and_closing_changes_nothing(
    repository: Path, open_repository: OpenRepository, compared: Callable[..., list[str]]
) -> None:
    """A workspace that is opened, used and closed leaves the repository byte for byte."""
    async with open_repository() as workspace:
        await done(workspace.toolbox, "echo x > src/a.py; git commit -qam x; git status")
        assert compared() == []
    assert compared() == []
    assert git(repository, "for-each-ref", "refs/orchestrate") == ""


@pytest.mark.asyncio
@pytest.mark.parametrize("attack", ATTACKS)
async def test_nothing_inside_reaches_the_repository(
    attack: str,
    canary: Path,
    repository: Path,
    open_repository: OpenRepository,
    compared: Callable[..., list[str]],
) -> None:
    """Whatever is done inside, only the collected ref, its reflog and new objects appear."""
    command = ATTACKS[attack].replace("{{", "{").replace("}}", "}")
    command = command.replace("{program}", str(canary)).replace("{folder}", str(canary.parent))
    async with open_repository() as workspace:
        with suppress(OrchestratorError):
            await sh(workspace.toolbox, command)
            await sh(workspace.toolbox, "echo more > /workspace/more")
        assert compared() == []
        commit = await collected(workspace)
    assert set(compared()) <= (delivered() if commit else set())
    assert git(repository, "for-each-ref", "refs/orchestrate") == ""
    if commit:
        assert git(repository, "rev-parse", "feature/out") == commit
        git(repository, "-c", "core.fsmonitor=false", "fsck", "--strict", "--no-dangling")


@pytest.mark.asyncio
@pytest.mark.parametrize(
    "name", ["/git", "/git/config", "/git/hooks", "/git/info", "/git/objects", "/workspace/.git"]
)
async def test_what_is_mounted_again_cannot_be_moved(
    name: str, canary: Path, open_repository: OpenRepository
) -> None:
    """No folder that the next sandbox is made from can be replaced by a link to a host path."""
    async with open_repository() as workspace:
        moved = await sh(
            workspace.toolbox, f"mv -T {name} {name}-moved && ln -s {canary.parent} {name}"
        )
        assert moved.is_error
        await sh(workspace.toolbox, "kill -9 -1")
        assert await done(workspace.toolbox, "cat README.md") == "# A project"


@pytest.mark.asyncio
async def test_collecting_adds_one_ref_and_objects(
    repository: Path, open_repository: OpenRepository, compared: Callable[..., list[str]]
) -> None:
    """A collected ref holds committed and uncommitted work; a second collect moves it forward."""
    base = git(repository, "rev-parse", "HEAD")
    async with open_repository() as workspace:
        await done(workspace.toolbox, "echo 1 > one; git add one; git commit -qm one; echo 2 > two")
        first = await workspace.collect("refs/heads/feature/out", message="The rest")
        assert set(compared()) == delivered()
        await done(workspace.toolbox, "echo 3 > three")
        second = await workspace.collect("refs/heads/feature/out", message="More")
    assert set(compared()) == delivered()
    assert git(repository, "log", "--format=%s", "feature/out", "--", "one", "two", "three") == (
        "More\nThe rest\none"
    )
    assert git(repository, "merge-base", first, second) == first
    assert git(repository, "merge-base", base, first) == base
    assert git(repository, "show", f"{second}:src/b.py") == "B"


@pytest.mark.asyncio
async def test_two_workspaces_share_nothing(
    repository: Path, state: Path, compared: Callable[..., list[str]]
) -> None:
    """Two workspaces of one repository do not see each other's work, and both come out."""
    async with (
        open_workspace(repository, state=state) as first,
        open_workspace(repository, "v0", branch="main", state=state) as second,
    ):
        await done(first.toolbox, "echo 1 > one; git add .; git commit -qm one; git tag mine")
        seen = await done(
            second.toolbox, "ls; git tag; git branch --all; git log --all --format=%s"
        )
        assert "one" not in seen.split() and "mine" not in seen.split()
        assert "* main" in seen and "topic" not in seen
        await done(second.toolbox, "echo 2 > two")
        await first.collect("refs/heads/feature/one")
        await second.collect("refs/heads/feature/two")
    assert set(compared()) == delivered("refs/heads/feature/one") | delivered(
        "refs/heads/feature/two"
    )
    assert git(repository, "for-each-ref", "refs/orchestrate") == ""


def test_the_machine_lets_the_canary_run(canary: Path, tmp_path: Path) -> None:
    """The canary does leave a trace when it runs: its absence means something."""
    assert os.spawnl(os.P_WAIT, str(canary), str(canary), "x") in {0, 1}
    assert (tmp_path / "ran").exists()
