"""A process whose start is interrupted is ended, and nothing of it stays open."""

from __future__ import annotations

import asyncio
import gc
import os
from pathlib import Path

import anyio
import pytest

from orchestrator.assembly.machine import make_private, make_sandbox
from orchestrator.ports import Sandbox
from orchestrator.records import SandboxSpec
from tests.walls.outside import processes_with

MARKER = f"4327.{os.getpid()}"
"""Seconds, by which a process of this test is told from those of another worker."""


async def interrupted(sandbox: Sandbox, moments: int) -> None:
    """Start a process, and give it up after so many rounds of the event loop."""

    async def run() -> None:
        process = await sandbox.start(("sleep", MARKER), SandboxSpec(mounts=(), cwd="/tmp"))
        try:
            await anyio.sleep_forever()
        finally:
            await process.aclose()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(run)
        for _ in range(moments):
            await asyncio.sleep(0)
        tasks.cancel_scope.cancel()


@pytest.mark.parametrize("moments", range(14))
def test_an_interruption_leaves_nothing(tmp_path: Path, moments: int) -> None:
    """Whenever a start is interrupted, no process and no pipe of it is left when that has ended."""
    make_private(tmp_path)
    sandbox = make_sandbox("none", tmp_path)
    anyio.run(sandbox.check)
    before = set(Path("/proc/self/fd").iterdir())
    anyio.run(interrupted, sandbox, moments)
    left = set(Path("/proc/self/fd").iterdir()) - before
    assert not left
    assert not processes_with(f"sleep\x00{MARKER}")
    gc.collect()  # what was left open would be told now, as a warning
