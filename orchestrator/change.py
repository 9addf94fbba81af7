"""The agent's commit as gates see it: clean checkouts, each in a sandbox of its own."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import anyio
import anyio.to_thread

from orchestrator.commands import FinishedCommand, left_behind, run_command
from orchestrator.errors import DiskFull, WorkspaceError
from orchestrator.hostgit import is_full
from orchestrator.patches import read_changes, read_history
from orchestrator.ports import PLAIN, Clock, Sandbox
from orchestrator.records import Conditions, FileChange, SandboxSpec
from orchestrator.removal import remove_tree
from orchestrator.repository import Repository
from orchestrator.workspaces import Shared, Workspace

if TYPE_CHECKING:
    from orchestrator.setups import SetupResult, Setups

SETTINGS = (
    "pyproject.toml",
    "setup.cfg",
    "tox.ini",
    "pytest.ini",
    "package.json",
    "go.mod",
    "Cargo.toml",
    ".coveragerc",
    ".flake8",
    ".mypy.ini",
    ".pytest.ini",
    ".ruff.toml",
    "mypy.ini",
    "pyrightconfig.json",
    "pytest.toml",
    "ruff.toml",
    "tsconfig.json",
)
PROBE_S = 20.0
AT_ONCE = 200
"""Paths in one git command."""
KEPT_LIMIT = 8 * 1024 * 1024
"""Bytes of files that are kept for the next gate."""
LOADED_MOST, TOGETHER = 100, 10
"""Changed files whose contents are read before any gate asks for them, and so many at a time."""


def settings_files(repository: Repository, commit: str) -> dict[str, bytes]:
    """Return the settings files of tools at the top of a commit, by name."""
    entries = repository.entries(commit, *SETTINGS)
    blobs = repository.blobs([sha for _, sha in entries.values()])
    return dict(zip(entries, blobs, strict=True))


class CommittedChange:
    """A commit to judge.

    Args:
        folder: where checkouts are made; they are removed after use.
        repository: holds the commit and the base.
        sandbox: the walls; every command gets fresh ones.
        setups: installs what the commit needs, as for an agent.
        shared: what is shown of the user's own checkout, as to an agent.
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
        setups: Setups | None = None,
        shared: Shared | None = None,
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
        self._setups = setups
        self._shared = shared
        self._installing = anyio.Lock()
        self._reading = anyio.Lock()
        self._changes: Sequence[FileChange] | None = None
        self._listed: dict[str, Sequence[str]] = {}
        self._there: dict[str, frozenset[str]] = {}
        self._known: dict[tuple[str, str], bytes | None] = {}
        self._room = KEPT_LIMIT
        self._settings: Mapping[str, bytes] | None = None
        self._history: tuple[Sequence[FileChange] | None] | None = None
        self._installed: dict[str, SetupResult] = {}
        self._numbers = itertools.count(1)

    async def load(self) -> None:
        """Read at once what most gates ask for; a trip to a thread takes longer than that.

        What cannot be read is told to the gates that need it.
        """
        with contextlib.suppress(Exception):
            async with self._reading:
                await anyio.to_thread.run_sync(self._load)

    def _load(self) -> None:
        repository, commits = self._repository, (self.commit, self.base)
        self._changes = changes = read_changes(repository, self.base, self.commit)
        self._history = (read_history(repository, self.base, self.commit, changes),)
        self._listed = {commit: tuple(repository.names(commit)) for commit in commits}
        self._there = {commit: frozenset(names) for commit, names in self._listed.items()}
        self.settings()
        if len(changes) > LOADED_MOST:
            return
        paths = [one.path for one in changes]
        for commit, at in itertools.product(commits, range(0, len(paths), TOGETHER)):
            wanted = paths[at : at + TOGETHER]
            found = self._read(commit, wanted)
            for path in wanted:
                self._keep(commit, path, found.get(path))
            if self._room < KEPT_LIMIT // 2:
                return

    async def files(self) -> Mapping[str, bytes]:
        """Return the settings files of the base commit, which the agent cannot have changed."""
        if self._settings is None:
            return await anyio.to_thread.run_sync(self.settings)
        return self._settings

    def settings(self) -> Mapping[str, bytes]:
        """Return the same at once, for who need not wait."""
        if self._settings is None:
            self._settings = settings_files(self._repository, self.base)
        return self._settings

    async def names(self) -> Sequence[str]:
        """Return the paths of all files of the commit."""
        return await self._names(self.commit)

    async def base_names(self) -> Sequence[str]:
        """Return the paths of all files of the base commit."""
        return await self._names(self.base)

    async def _names(self, commit: str) -> Sequence[str]:
        async with self._reading:
            if commit not in self._listed:
                listed = await anyio.to_thread.run_sync(self._repository.names, commit)
                self._listed[commit] = tuple(listed)
        return self._listed[commit]

    async def changes(self) -> Sequence[FileChange]:
        """Return what the commit does to each file, against the base; read once."""
        async with self._reading:
            if self._changes is None:
                self._changes = await anyio.to_thread.run_sync(
                    read_changes, self._repository, self.base, self.commit
                )
        return self._changes

    async def history(self) -> Sequence[FileChange] | None:
        """Return what each commit brings, whatever later ones took away; None: too many of them."""
        whole = await self.changes()
        if self._history is None:
            read = await anyio.to_thread.run_sync(
                read_history, self._repository, self.base, self.commit, whole
            )
            self._history = (read,)
        return self._history[0]

    async def read(self, *paths: str) -> Mapping[str, bytes]:
        """Return files of the commit."""
        return await self._once(self.commit, paths)

    async def read_base(self, *paths: str) -> Mapping[str, bytes]:
        """Return files of the base commit, which the agent cannot have changed."""
        return await self._once(self.base, paths)

    async def _once(self, commit: str, paths: Sequence[str]) -> Mapping[str, bytes]:
        """Read files; most gates look at the same few."""
        async with self._reading:
            known = {
                path: self._known[commit, path] for path in paths if (commit, path) in self._known
            }
            there = self._there.get(commit, paths)  # what is not listed need not be looked for
            wanted = [path for path in dict.fromkeys(paths) if path not in known and path in there]
            if wanted:
                found = await anyio.to_thread.run_sync(self._read, commit, wanted)
                known |= {path: found.get(path) for path in wanted}
                for path in wanted:
                    self._keep(commit, path, known[path])
        return {path: data for path, data in known.items() if data is not None}

    def _keep(self, commit: str, path: str, data: bytes | None) -> None:
        """Keep a file for the next gate, as long as there is room."""
        size = len(data or b"")
        if size <= self._room:
            self._known[commit, path] = data
            self._room -= size

    def _read(self, commit: str, paths: Sequence[str]) -> dict[str, bytes]:
        found: dict[str, bytes] = {}
        for at in range(0, len(paths), AT_ONCE):
            wanted = paths[at : at + AT_ONCE]
            entries = {
                path: sha
                for path, (mode, sha) in self._repository.entries(commit, *wanted).items()
                if path in wanted and mode.startswith("100")
            }
            blobs = self._repository.blobs(list(entries.values()))
            found |= zip(entries, blobs, strict=True)
        return found

    async def available(self, probe: str) -> bool:
        """Tell whether a command succeeds in a sandbox with an empty workspace."""
        done = await self._run(probe, PROBE_S, PLAIN, commit=None)
        return done.exit_status == 0

    async def run(
        self, command: str, timeout_s: float, conditions: Conditions = PLAIN
    ) -> FinishedCommand:
        """Run a shell command on a clean checkout of the commit."""
        return await self._run(command, timeout_s, conditions, commit=self.commit)

    async def run_on_base(
        self, command: str, timeout_s: float, conditions: Conditions = PLAIN
    ) -> FinishedCommand:
        """Run a shell command on a clean checkout of the base."""
        return await self._run(command, timeout_s, conditions, commit=self.base)

    async def _run(
        self, command: str, timeout_s: float, conditions: Conditions, *, commit: str | None
    ) -> FinishedCommand:
        folder = self._folder / f"gate-{next(self._numbers)}"
        workspace = Workspace(
            folder,
            repository=self._repository,
            base=commit or self.base,
            branch=self.branch,
            sandbox=self._sandbox,
            identity="gates",
            shared=self._shared,
        )
        try:
            done = await self._done_in(workspace, command, timeout_s, conditions, commit)
            if done.exit_status != 0 and is_full(folder):
                raise DiskFull(f"{command!r} failed")
            left = left_behind(workspace.folder / "tmp", conditions.reports)
            return dataclasses.replace(done, reports=left)
        except WorkspaceError as error:
            # What failed inside for want of room says nothing of the change.
            if is_full(folder) and not isinstance(error, DiskFull):
                raise DiskFull(str(error)) from None
            raise
        finally:
            with anyio.CancelScope(shield=True):
                await anyio.to_thread.run_sync(remove_tree, folder)

    async def _done_in(
        self,
        workspace: Workspace,
        command: str,
        timeout_s: float,
        conditions: Conditions,
        commit: str | None,
    ) -> FinishedCommand:
        """Fill a workspace, and run a command in it."""

        def lay_out() -> None:
            # A process that was killed may have left one here, with what its commands wrote.
            workspace.clear()
            workspace.lay_out()

        await anyio.to_thread.run_sync(lay_out)
        if commit is not None:
            await workspace.check_out_inside(commit)
            if conditions.taking:
                other = self.base if commit == self.commit else self.commit
                await workspace.take_inside(other, conditions.taking)
        if self._setups is not None:
            await self._setups.put(await self._result(self._setups, commit), workspace)
        return await run_command(
            self._sandbox,
            _spec(workspace, conditions),
            command,
            timeout_s=timeout_s,
            clock=self._clock,
            limit=conditions.output,
        )

    async def _result(self, setups: Setups, commit: str | None) -> SetupResult:
        """Return what has to be installed for a commit; made once, and never kept for others.

        What an agent's commit makes is nobody's but its own: another run must not lean on it.
        """
        wanted = commit or self.commit
        async with self._installing:
            found = self._installed.get(wanted) or await setups.kept(wanted)
            if found is None:
                found = await setups.run(wanted, self._folder / f"setup-{wanted}")
            self._installed[wanted] = found
            return found


def _spec(workspace: Workspace, conditions: Conditions) -> SandboxSpec:
    tmp = workspace.layout.tmp
    told = tuple((name, value.replace("{tmp}", tmp)) for name, value in conditions.environment)
    return workspace.spec().adding(environment=told)
