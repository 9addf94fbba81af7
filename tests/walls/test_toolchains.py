"""What of PATH is shown inside."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from orchestrator import open_toolbox
from orchestrator.assembly.surroundings import shared_of
from orchestrator.repository import locate
from orchestrator.sandboxes.inside import toolchains
from tests.builders import git, write_files
from tests.walls.inside import done


def an_environment(folder: Path, python: Path) -> Path:
    """Make what looks like an activated virtual environment; return its folder of programs."""
    programs = folder / "bin"
    programs.mkdir(parents=True)
    (folder / "lib").mkdir()
    (folder / "pyvenv.cfg").write_text(f"home = {python.parent}\n")
    (programs / "python3").symlink_to(python)
    return programs


def a_python(programs: Path, needed: str) -> None:
    """Make what looks like a Python that needs a library of its own prefix, or of the system."""
    programs.mkdir(parents=True)
    library = programs.parent / "lib"
    library.mkdir()
    words = ["", needed, str(library), ""]
    (programs / "python3.11").write_bytes(b"\x7fELF" + "\0".join(words).encode())
    (programs / "python3").symlink_to("python3.11")


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


@pytest.mark.parametrize("shared", [True, False])
def test_a_python_that_has_to_stay_in_its_place(shared: bool, tmp_path: Path) -> None:
    """Below a home, where things appear under another path, one of a shared build is left out."""
    programs = tmp_path / "versions" / "3.11" / "bin"
    a_python(programs, "libpython3.11.so.1.0" if shared else "libm.so.6")
    there = {"PATH": str(programs)}
    assert toolchains(there | {"HOME": "/nonexistent"})[1] == [str(programs)]
    moved = toolchains(there | {"HOME": str(tmp_path)})[1]
    assert moved == ([] if shared else ["/opt/toolchains/0-3.11/bin"])
    assert len(toolchains(there | {"HOME": str(tmp_path)}, in_place=True)[1]) == 1


def test_a_shared_environment_finds_its_python_in_its_place(tmp_path: Path) -> None:
    """What workspace.share shows comes with its interpreter, of a shared build below a home too."""
    programs = tmp_path / "versions" / "3.11" / "bin"
    a_python(programs, "libpython3.11.so.1.0")
    top = tmp_path / "project"
    write_files(top, {"sums.py": "", ".gitignore": ".venv\n"})
    git(top, "init", "--quiet", "--initial-branch=main")
    git(top, "add", "--all")
    git(top, "commit", "--quiet", "--message=begin")
    (an_environment(top / ".venv", programs / "python3") / "python").symlink_to("python3")
    head = git(top, "rev-parse", "HEAD")
    shared, notices = shared_of([".venv"], locate(top), head, {"HOME": str(tmp_path)})
    assert not notices
    shown = {(mount.source, mount.target) for mount in shared.mounts}
    assert shown == {
        (f"{top}/.venv", "/workspace/.venv"),
        (f"{top}/.venv", f"{top}/.venv"),
        (str(programs.parent), str(programs.parent)),
    }


def test_what_is_no_program_is_not_read_from(tmp_path: Path) -> None:
    """A pipe that is called python3 holds nobody up."""
    programs = tmp_path / "tools" / "bin"
    programs.mkdir(parents=True)
    os.mkfifo(programs / "python3")
    assert len(toolchains({"PATH": str(programs), "HOME": str(tmp_path)})[1]) == 1


@pytest.mark.asyncio
async def test_the_python_that_these_tests_run_on_is_whole_or_not_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever way it was built: the Python that is found inside loads its own modules."""
    monkeypatch.setenv("PATH", f"{sys.base_prefix}/bin:/usr/bin:/bin")
    work = tmp_path / "work"
    work.mkdir()
    async with open_toolbox(work, state=tmp_path / "state") as toolbox:
        assert await done(toolbox, "python3 -c 'import ssl, sqlite3; print(1 + 1)'") == "2"


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
