"""What of PATH is shown inside."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from orchestrator import open_toolbox
from orchestrator.sandboxes.inside import toolchains
from tests.walls.inside import done


def an_environment(folder: Path, python: Path) -> Path:
    """Make what looks like an activated virtual environment; return its folder of programs."""
    programs = folder / "bin"
    programs.mkdir(parents=True)
    (folder / "lib").mkdir()
    (folder / "pyvenv.cfg").write_text(f"home = {python.parent}\n")
    (programs / "python3").symlink_to(python)
    return programs


def test_an_environment_without_its_interpreter_is_left_out(tmp_path: Path) -> None:
    """Programs of a virtual environment are shown where their interpreter is there too."""
    elsewhere = tmp_path / "versions" / "python3"
    elsewhere.parent.mkdir()
    elsewhere.touch()
    lacking = an_environment(tmp_path / "lacking", elsewhere)
    whole = an_environment(tmp_path / "whole", Path(os.path.realpath("/usr/bin/env")))
    mounts, path = toolchains({"PATH": f"{lacking}:{whole}", "HOME": "/nonexistent"})
    assert [mount.source for mount in mounts] == [str(whole.parent)]
    assert path == [str(whole)]


def test_a_folder_that_cannot_be_looked_at_is_left_out(tmp_path: Path) -> None:
    """A PATH may hold another user's folders, or what the system refuses to look up at all."""
    whole = an_environment(tmp_path / "whole", Path(os.path.realpath("/usr/bin/env")))
    told = f"/{'x' * 300}:{whole}"
    assert toolchains({"PATH": told, "HOME": "/nonexistent"})[1] == [str(whole)]


@pytest.mark.asyncio
@pytest.mark.parametrize("backend", ["bubblewrap", "landlock"])
async def test_python_starts_whatever_environment_is_active(
    backend: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With an environment active whose interpreter cannot be seen, the system's Python starts."""
    elsewhere = tmp_path / "versions" / "python3"
    elsewhere.parent.mkdir()
    elsewhere.write_text("#!/bin/sh\necho wrong\n")
    elsewhere.chmod(0o755)
    programs = an_environment(tmp_path / "active", elsewhere)
    monkeypatch.setenv("PATH", f"{programs}:/usr/bin:/bin")
    work = tmp_path / "work"
    work.mkdir()
    async with open_toolbox(work, state=tmp_path / "state", sandbox_backend=backend) as toolbox:
        assert await done(toolbox, "python3 -c 'print(1 + 1)'") == "2"
