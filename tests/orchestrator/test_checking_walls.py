"""Walls are proved once for all who ask at the same time."""

from __future__ import annotations

import anyio
import pytest

from orchestrator.errors import SandboxUnavailable
from orchestrator.sandboxes.checking import Checking


class Proof:
    """A check that ends when it is told to."""

    def __init__(self, *ends: str | SandboxUnavailable) -> None:
        self.begun = 0
        self.go_on = anyio.Event()
        self._ends = list(ends)

    async def __call__(self) -> str:
        self.begun += 1
        await self.go_on.wait()
        end = self._ends.pop(0)
        if isinstance(end, SandboxUnavailable):
            raise end
        return end


async def asked(checking: Checking, proof: Proof, heard: list[str]) -> None:
    """Ask, and note what is heard."""
    try:
        heard.append(await checking.once(proof))
    except SandboxUnavailable as error:
        heard.append(f"{error} ({error.hint})")


@pytest.mark.asyncio
async def test_who_asks_meanwhile_hears_the_same() -> None:
    """Ten runs that begin together prove the walls once; who comes a second later asks anew."""
    now = 100.0
    checking = Checking(clock=lambda: now)
    proof, heard = Proof("proved", "again"), list[str]()
    async with anyio.create_task_group() as tasks:
        for _ in range(10):
            tasks.start_soon(asked, checking, proof, heard)
        await anyio.wait_all_tasks_blocked()
        proof.go_on.set()
    assert heard == ["proved"] * 10
    now = 100.9
    assert await checking.once(proof) == "proved"
    assert proof.begun == 1
    now = 101.0
    assert await checking.once(proof) == "again"


@pytest.mark.asyncio
async def test_a_failure_is_heard_by_all_and_kept_for_nobody() -> None:
    """Every one of them learns why, and what to do; a later check may succeed."""
    broken = SandboxUnavailable("no namespaces", hint="allow them")
    checking, proof, heard = Checking(), Proof(broken, "proved"), list[str]()
    async with anyio.create_task_group() as tasks:
        for _ in range(3):
            tasks.start_soon(asked, checking, proof, heard)
        await anyio.wait_all_tasks_blocked()
        proof.go_on.set()
    assert heard == ["no namespaces (allow them)"] * 3
    assert proof.begun == 1
    assert await checking.once(proof) == "proved"


@pytest.mark.asyncio
async def test_one_that_is_called_off_leaves_the_check_to_the_next() -> None:
    """A run that is stopped while it proves the walls takes nobody else with it."""
    checking, proof, heard = Checking(), Proof("proved"), list[str]()
    stopped = anyio.CancelScope()

    async def first() -> None:
        with stopped:
            await asked(checking, proof, heard)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(first)
        await anyio.wait_all_tasks_blocked()
        for _ in range(2):
            tasks.start_soon(asked, checking, proof, heard)
        await anyio.wait_all_tasks_blocked()
        stopped.cancel()
        await anyio.wait_all_tasks_blocked()
        proof.go_on.set()
    assert heard == ["proved"] * 2
    assert proof.begun == 2
