"""Git that runs inside a workspace on its own: a checkout for the gates is made.

What it says comes from inside: it is bounded in size and in time.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence

import anyio

from orchestrator.errors import WorkspaceError, only
from orchestrator.ports import ByteReader, Sandbox, SandboxProcess
from orchestrator.records import SandboxSpec

ERRORS_LIMIT = 8192
PATIENCE_S = 600.0
"""Seconds that one command may take; a large repository's checkout needs some minutes."""

Take = Callable[[bytes], None]


class GitInside:
    """Runs git commands, each in a sandbox of its own.

    Args:
        sandbox: the walls.
        spec: what they show.
        work: the work tree, as it is seen inside.
    """

    def __init__(self, sandbox: Sandbox, spec: SandboxSpec, work: str) -> None:
        self._sandbox = sandbox
        self._spec = spec
        self._work = work

    async def check_out(self, commit: str) -> None:
        """Fill the empty work tree with a commit.

        Raises:
            WorkspaceError: it failed, or took too long.
        """
        argv = ["read-tree", "--reset", "-u", commit]
        await self._run("the checkout for the gates failed", argv, b"")

    async def take(self, commit: str, paths: Sequence[str]) -> None:
        """Make files of a fresh checkout as they are in another commit.

        Args:
            commit: where they are taken from; what it does not have is removed.
            paths: files of either commit.

        Raises:
            WorkspaceError: it failed, or took too long.
        """
        argv = ["--literal-pathspecs", "restore", f"--source={commit}", "--staged", "--worktree"]
        argv += ["--pathspec-from-file=-", "--pathspec-file-nul"]
        given = b"\0".join(map(os.fsencode, paths))
        await self._run("files of another commit could not be put in place", argv, given)

    async def _run(self, failed: str, argv: Sequence[str], given: bytes) -> None:
        process = await self._sandbox.start(["git", "-C", self._work, *argv], self._spec)
        try:
            with anyio.fail_after(PATIENCE_S):
                status, said = await _to_its_end(process, given)
        except TimeoutError:
            raise WorkspaceError(f"{failed}: it took over {PATIENCE_S:g} s") from None
        finally:
            await process.aclose()
        if status:
            raise WorkspaceError(f"{failed}: {said}")


async def _to_its_end(process: SandboxProcess, given: bytes) -> tuple[int, str]:
    """Serve all three streams side by side, so that none of them can hold up the others."""
    said = bytearray()

    def note(chunk: bytes) -> None:
        said.extend(chunk)
        del said[:-ERRORS_LIMIT]

    try:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_feed, process, given)
            tasks.start_soon(_each, process.stdout, lambda _: None)
            tasks.start_soon(_each, process.stderr, note)
    except BaseExceptionGroup as group:
        raise only(group) from None
    return await process.wait(), said.decode("utf-8", "replace").strip()[-500:]


async def _feed(process: SandboxProcess, data: bytes) -> None:
    if process.stdin is None:
        return
    try:
        if data:
            await process.stdin.send(data)
        await process.stdin.aclose()
    except (anyio.BrokenResourceError, anyio.ClosedResourceError):
        return


async def _each(output: ByteReader | None, take: Take) -> None:
    while output is not None:
        try:
            take(await output.receive())
        except anyio.EndOfStream:
            return
