"""The first checkout of a workspace: what is seen of it is the same on every machine."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.checkout import OLD, check_out
from tests.builders import a_repository, git

FILES = {"a.txt": "a\n", "deep/er/b.txt": "b\n", "deep/c.txt": "c\n", "other/d.txt": "d\n"}


@pytest.mark.parametrize("names", [list(FILES), ["a.txt"]])
def test_files_and_folders_have_one_old_time(tmp_path: Path, names: list[str]) -> None:
    """A listing tells neither when nor in which order things were written."""
    repo = a_repository(tmp_path / "repo", {name: FILES[name] for name in names})
    own, work = tmp_path / "git", tmp_path / "work"
    work.mkdir()
    git(tmp_path, "init", "--quiet", "--bare", str(own))
    check_out(
        own,
        work,
        git(repo, "rev-parse", "HEAD"),
        borrowed=[repo / ".git" / "objects"],
        owner=None,
        object_format="sha1",
    )
    there = [work, *work.rglob("*")]
    assert {one.stat().st_mtime for one in there} == {OLD}
    written = {str(one.relative_to(work)) for one in there if one.is_file()}
    assert written == set(names)
