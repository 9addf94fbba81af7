"""Git inside a workspace, when what runs there is not git at all."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path

import anyio
import pytest

from orchestrator.errors import WorkspaceError
from orchestrator.gitinside import GitInside
from orchestrator.records import SandboxSpec
from orchestrator.sandboxes.process import SandboxedProcess

pytestmark = pytest.mark.asyncio

SPEC = SandboxSpec(mounts=(), cwd="/")


class Instead:
    """A sandbox in which a shell script answers instead of git."""

    name = "instead"
    maps_paths = True
    own_processes = False
    gaps: tuple[str, ...] = ()
    owner: tuple[int, int] | None = None
    python = "python3"

    def __init__(self, script: str) -> None:
        self._script = script
        self.ended: list[int] = []

    async def check(self) -> str:
        """Nothing is proved."""
        return ""

    async def start(
        self, argv: Sequence[str], spec: SandboxSpec, *, pass_fds: Sequence[int] = ()
    ) -> SandboxedProcess:
        """Start the script."""
        assert argv[0] == "git" and spec is SPEC and not pass_fds
        pipe = subprocess.PIPE
        process = await anyio.open_process(
            ["bash", "-c", self._script], stdin=pipe, stdout=pipe, stderr=pipe
        )
        self.ended.append(process.pid)
        return SandboxedProcess(process)


def inside(script: str) -> GitInside:
    """Return git, played by a script."""
    return GitInside(Instead(script), SPEC, "/workspace")


async def test_paths_are_given_to_git() -> None:
    """What git is to work on comes in whole, and what it prints is passed over."""
    script = "cmp - <(printf 'a\\0b c') || exit 7; head -c 4000000 /dev/zero"
    await inside(script).take("a" * 40, ["a", "b c"])
    with pytest.raises(WorkspaceError, match="could not be put in place"):
        await inside(script).take("a" * 40, ["a", "b"])


async def test_a_flood_of_complaints_holds_nothing_up() -> None:
    """More on stderr than a pipe holds is read beside the rest, and only its end is kept."""
    script = "head -c 4000000 /dev/zero | tr '\\0' x >&2; cat; echo the reason >&2; exit 3"
    with anyio.fail_after(60), pytest.raises(WorkspaceError) as refused:
        await inside(script).take("a" * 40, ["a"])
    assert str(refused.value).endswith("the reason") and len(str(refused.value)) < 700


async def test_input_that_nobody_reads_holds_nothing_up() -> None:
    """A process that ends without reading gives its own error, not a broken pipe."""
    with pytest.raises(WorkspaceError, match="no such thing"):
        await inside("echo no such thing >&2; exit 1").take("a" * 40, ["x" * 10_000_000])


@pytest.mark.parametrize("script", ["exec sleep 1000", "exec yes", "exec yes >&2"])
async def test_what_never_ends_is_ended(script: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A checkout that takes for ever is given up, and its process is gone."""
    monkeypatch.setattr("orchestrator.gitinside.PATIENCE_S", 0.2)
    sandbox = Instead(script)
    with anyio.fail_after(60), pytest.raises(WorkspaceError, match=r"took over 0\.2 s"):
        await GitInside(sandbox, SPEC, "/workspace").check_out("a" * 40)
    assert not Path(f"/proc/{sandbox.ended[0]}").exists()
