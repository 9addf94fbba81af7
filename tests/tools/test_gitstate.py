"""Git's own small files in one file: everything comes back, and a broken file changes nothing."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from orchestrator_tools import gitstate, snapshot, wire
from orchestrator_tools.errors import ToolError
from tests.tools.repos import Repo


def seen(git: Path) -> dict[str, tuple[int, int, bytes]]:
    """Return mode, time and content of all that is kept."""
    found = {}
    for name in gitstate.names(str(git)):
        path = git / name
        status = path.lstat()
        content = os.fsencode(path.readlink()) if path.is_symlink() else path.read_bytes()
        found[name] = (status.st_mode, status.st_mtime_ns, content)
    return found


def filled(repo: Repo) -> Path:
    """Return a git directory with files of all kinds."""
    git = repo.git
    repo.sh("git tag light; git branch side; echo 2 >kept; git commit -qam second; git pack-refs")
    (git / "empty").write_bytes(b"")
    (git / "large").write_bytes(bytes(range(256)) * 8192)
    (git / "link").symlink_to("nowhere/at all")
    (git / "refs" / "heads" / os.fsdecode(b"caf\xe9")).write_bytes((git / "HEAD").read_bytes())
    (git / "tool").write_text("x", "utf-8")
    (git / "tool").chmod(0o755)
    os.utime(git / "tool", ns=(1, 1_234_567_891))
    return git


def test_everything_comes_back(repo: Repo, tmp_path: Path) -> None:
    """Contents, modes, times and links of whatever name; what came since is gone."""
    git, kept = filled(repo), tmp_path / "kept"
    before = seen(git)
    gitstate.keep(str(git), str(kept))
    objects = sorted((git / "objects").rglob("*"))
    repo.sh("git checkout -q --detach; git tag -d light; git branch -D side; git tag new")
    (git / "tool").unlink()
    (git / "link").unlink()
    (git / "link").mkdir()
    (git / "large").write_bytes(b"small")
    gitstate.put_back(str(kept), str(git))
    assert seen(git) == before
    assert sorted((git / "objects").rglob("*")) == objects


def test_a_pipe_and_locks_are_left_out(repo: Repo, tmp_path: Path) -> None:
    """What would hold us, or tell git that somebody works, is not kept."""
    os.mkfifo(repo.git / "pipe")
    (repo.git / "index.lock").touch()
    gitstate.keep(str(repo.git), str(tmp_path / "kept"))
    gitstate.put_back(str(tmp_path / "kept"), str(repo.git))
    assert not (repo.git / "pipe").exists() and not (repo.git / "index.lock").exists()
    assert repo.sh("git status --porcelain") == ""


def test_a_broken_file_changes_nothing(repo: Repo, tmp_path: Path) -> None:
    """Cut anywhere, or with other bytes in its list: it is refused before anything is removed."""
    git, kept, broken = repo.git, tmp_path / "kept", tmp_path / "broken"
    gitstate.keep(str(git), str(kept))
    data, before = kept.read_bytes(), seen(git)
    for cut in [*range(0, len(data), 97), len(data) - 1, len(data) - 8, len(data) - 9]:
        broken.write_bytes(data[:cut])
        with pytest.raises(ToolError, match="cannot be read"):
            gitstate.put_back(str(broken), str(git))
    for name in ("../HEAD", "/HEAD", "config", "hooks/post", "refs/../../x", ""):
        listed = wire.dumps([[name, 0, False, 0o644, 1, 1]]).encode()
        broken.write_bytes(listed + len(listed).to_bytes(8, "big"))
        with pytest.raises(ToolError, match="cannot be read"):
            gitstate.put_back(str(broken), str(git))
    assert seen(git) == before


def test_a_name_that_is_no_text_is_no_obstacle_to_a_snapshot(repo: Repo) -> None:
    """A branch whose name is not UTF-8 is kept and put back like any other."""
    name = b"caf\xe9"
    (repo.git / "refs" / "heads" / os.fsdecode(name)).write_bytes(
        repo.sh("git rev-parse HEAD").encode()
    )
    git, work = str(repo.git), str(repo.work)
    taken = snapshot.take(git, work, 1)["snapshot"]
    assert snapshot.take(git, work, 2)["snapshot"] == taken
    (repo.git / "refs" / "heads" / os.fsdecode(name)).unlink()
    snapshot.restore(git, work, taken)
    heads = [os.fsencode(one.name) for one in (repo.git / "refs" / "heads").iterdir()]
    assert name in heads
