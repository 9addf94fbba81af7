"""``orchestrate init``: what it writes, and where it does not."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.runs.conftest import ORCHESTRATE


def init(repo: Path, *more: str) -> subprocess.CompletedProcess[str]:
    """Run the command in a repository."""
    environment = {"PATH": os.environ["PATH"], "HOME": str(repo.parent)}
    return subprocess.run(
        [str(ORCHESTRATE), "init", *more],
        cwd=repo,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize("folder", ["agents", "issues"])
@pytest.mark.parametrize("more", [[], ["--force"]], ids=["", "force"])
def test_nothing_is_written_through_a_link(
    shop: Path, tmp_path: Path, folder: str, more: list[str]
) -> None:
    """A folder that a clone brings as a link leads anywhere: nothing is written or replaced there."""
    place = shop / folder
    if place.exists():
        place.rename(tmp_path / "aside")
    outside = tmp_path / "outside"
    outside.mkdir()
    mine = outside / "qa-engineer.md"
    mine.write_text("mine\n", encoding="utf-8")
    place.symlink_to(outside)
    done = init(shop, *more)
    assert done.returncode == 0, done.stderr
    assert [one.read_text(encoding="utf-8") for one in outside.iterdir()] == ["mine\n"]
    if folder == "agents":
        said = "(agents is a symbolic link, which could lead out of the repository)"
        assert f"kept   agents/qa-engineer.md {said}" in done.stdout
        assert "wrote  agents/" not in done.stdout


def test_a_link_that_leads_nowhere_is_kept(shop: Path, tmp_path: Path) -> None:
    """Such a link names a place where nothing is yet: it is not made there."""
    aside = shop / "issues"
    aside.rename(tmp_path / "aside")
    aside.symlink_to(tmp_path / "nowhere")
    (shop / "config.yaml").symlink_to(tmp_path / "nothing.yaml")
    done = init(shop, "--force")
    assert done.returncode == 0, done.stderr
    assert "kept   config.yaml (config.yaml is a symbolic link" in done.stdout
    assert "kept   issues/1-say-what-you-want.md (issues is a symbolic link" in done.stdout
    assert not (tmp_path / "nowhere").exists() and not (tmp_path / "nothing.yaml").exists()


def test_a_place_that_cannot_be_written_is_named(shop: Path) -> None:
    """A file where the folder should be: it is told which, in a sentence."""
    (shop / "agents").write_text("a file\n", encoding="utf-8")
    done = init(shop)
    assert done.returncode == 5
    assert done.stderr == f"orchestrate: {shop}/agents cannot be written: File exists\n"
