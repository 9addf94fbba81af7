"""The agent's commit as gates see it: clean checkouts, each in a sandbox of its own."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import anyio
import anyio.to_thread

from orchestrator.ports import Clock, Sandbox, SandboxProcess
from orchestrator.records import SandboxSpec
from orchestrator.removal import remove_tree
from orchestrator.repository import Repository
from orchestrator.workspaces import Workspace

OUTPUT_LIMIT = 64 * 1024
SETTINGS = (
    "pyproject.toml",
    "setup.cfg",
    "tox.ini",
    "pytest.ini",
    "package.json",
    "go.mod",
    "Cargo.toml",
)
PROBE_S = 20.0


@dataclass(frozen=True, slots=True)
class FinishedCommand:
    """What the host saw of a command; ``exit_status`` is None if it was ended for its time."""

    argv: tuple[str, ...]
    exit_status: int | None
    output: str
    duration_s: float


class CommittedChange:
    """A commit to judge.

    Args:
        folder: where checkouts are made; they are removed after use.
        repository: holds the commit and the base.
        sandbox: the walls; every command gets fresh ones.
    """

    def __init__(  # noqa: PLR0913 - every collaborator is passed in
        self,
        *,
        folder: Path,
        repository: Repository,
        sandbox: Sandbox,
        issue_key: str,
        branch: str,
        base: str,
        commit: str,
        tree: str,
        clock: Clock,
    ) -> None:
        self.issue_key = issue_key
        self.branch = branch
        self.base = base
        self.commit = commit
        self.tree = tree
        self._folder = folder
        self._repository = repository
        self._sandbox = sandbox
        self._clock = clock
        self._numbers = itertools.count(1)

    async def files(self) -> Mapping[str, bytes]:
        """Return the settings files of the base commit, which the agent cannot have changed."""
        return await anyio.to_thread.run_sync(self._files)

    def _files(self) -> dict[str, bytes]:
        entries = self._repository.entries(self.base, *SETTINGS)
        blobs = self._repository.blobs([sha for _, sha in entries.values()])
        return dict(zip(entries, blobs, strict=True))

    async def names(self) -> Sequence[str]:
        """Return the paths of all files of the commit."""
        return await anyio.to_thread.run_sync(self._repository.names, self.commit)

    async def base_names(self) -> Sequence[str]:
        """Return the paths of all files of the base commit."""
        return await anyio.to_thread.run_sync(self._repository.names, self.base)

    async def available(self, probe: str) -> bool:
        """Tell whether a command succeeds in a sandbox with an empty workspace."""
        done = await self._run(probe, PROBE_S, commit=None)
        return done.exit_status == 0

    async def run(self, command: str, timeout_s: float) -> FinishedCommand:
        """Run a shell command on a clean checkout of the commit."""
        return await self._run(command, timeout_s, commit=self.commit)

    async def run_on_base(self, command: str, timeout_s: float) -> FinishedCommand:
        """Run a shell command on a clean checkout of the base."""
        return await self._run(command, timeout_s, commit=self.base)

    async def _run(self, command: str, timeout_s: float, *, commit: str | None) -> FinishedCommand:
        folder = self._folder / f"gate-{next(self._numbers)}"
        workspace = Workspace(
            folder,
            repository=self._repository,
            base=commit or self.base,
            branch=self.branch,
            sandbox=self._sandbox,
            identity="gates",
        )
        try:
            await anyio.to_thread.run_sync(workspace.lay_out)
            if commit is not None:
                await workspace.check_out_inside(commit)
            return await self._watched(command, workspace.spec(), timeout_s)
        finally:
            with anyio.CancelScope(shield=True):
                await anyio.to_thread.run_sync(remove_tree, folder)

    async def _watched(self, command: str, spec: SandboxSpec, timeout_s: float) -> FinishedCommand:
        argv = ("bash", "-c", command)
        started = self._clock()
        status: int | None = None
        output = _Output()
        process = await self._sandbox.start(
            ("bash", "-c", 'exec 2>&1; exec "$@"', "bash", *argv), spec
        )
        try:
            with anyio.move_on_after(timeout_s):
                if process.stdin is not None:
                    await process.stdin.aclose()
                await output.read(process)
                status = await process.wait()
        finally:
            await process.aclose()
        said = output.text()
        if process.reason:
            said = f"{said}\n(ended: {process.reason})".strip()
        return FinishedCommand(argv, status, said, self._clock() - started)


class _Output:
    """The head and the tail of what a command prints, in bounded memory."""

    def __init__(self) -> None:
        self._head = bytearray()
        self._tail = bytearray()
        self._missing = 0

    async def read(self, process: SandboxProcess) -> None:
        while process.stdout is not None:
            try:
                chunk = await process.stdout.receive()
            except anyio.EndOfStream:
                return
            room = OUTPUT_LIMIT // 2 - len(self._head)
            self._head += chunk[: max(room, 0)]
            self._tail += chunk[max(room, 0) :]
            surplus = len(self._tail) - OUTPUT_LIMIT // 2
            if surplus > 0:
                del self._tail[:surplus]
                self._missing += surplus

    def text(self) -> str:
        gap = f"\n[... {self._missing} bytes left out ...]\n" if self._missing else ""
        head = self._head.decode("utf-8", "replace")
        return f"{head}{gap}{self._tail.decode('utf-8', 'replace')}".strip()
