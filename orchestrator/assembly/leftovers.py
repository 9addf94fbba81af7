"""Clearing up a state directory: every repository's ended runs, and what is kept of set-ups."""

from __future__ import annotations

import os
import time
from pathlib import Path

from orchestrator import config as configuration
from orchestrator.assembly.machine import chosen_walls, make_sandbox
from orchestrator.assembly.runfolders import workspace_parts
from orchestrator.clearing import Cleared, Clearing, EndedRun, clear_setups
from orchestrator.errors import OrchestratorError
from orchestrator.journals.sqlite import RunRow, SqliteJournal
from orchestrator.ports import Sandbox
from orchestrator.repository import Repository, locate
from orchestrator.rescuing import Rescue
from orchestrator.settings import Config

LIVING = {"running", "parked"}
HALF_MADE_S = 3600.0
"""A younger folder that the journal does not know may be one of a run that is about to begin."""


class Leftovers:
    """Clears a state directory up.

    Args:
        state: the directory.
        journal: its journal.
        sandbox: a back end's name; None is what the user's settings say.
    """

    def __init__(self, state: Path, journal: SqliteJournal, *, sandbox: str | None = None) -> None:
        self._state = state
        self._journal = journal
        self._config: Config = configuration.load(
            user=configuration.user_file(os.environ), repository=None
        )
        self._walls = sandbox
        self._sandbox: Sandbox | None = None

    async def clear(self, *, older_s: float, dry: bool) -> list[Cleared]:
        """Remove what ended runs left; return what became of each.

        Args:
            older_s: runs that ended, and set-ups that were used, later than so many seconds ago
                stay as they are.
            dry: whether it is only told.
        """
        rows = await self._journal.rows()
        found: list[Cleared] = []
        for row in rows:
            if row.state in LIVING or time.time() - row.changed <= older_s:
                continue
            cleared = await self._clearing(row, dry=dry).clear(self._ended(row))
            if cleared is not None:
                found.append(cleared)
        known = {row.run for row in rows}
        found += await self._unknown(known, max(older_s, HALF_MADE_S), dry=dry)
        return found + await clear_setups(self._state / "setups", older_s, dry=dry)

    def _ended(self, row: RunRow) -> EndedRun:
        parts = tuple(workspace_parts(self._state / "runs" / row.run))
        works = any((one / "work").is_dir() for one in parts)
        return EndedRun(row.run, row.state, parts, works, row.changed)

    def _clearing(self, row: RunRow, *, dry: bool) -> Clearing:
        repository = _repository(row.repo)

        async def bring_out(run: str) -> str:
            rescue = self._rescue(repository)
            if rescue is None:
                return ""
            events = await self._journal.events(run)
            return await rescue.from_workspace(row.record, events, self._state / "runs" / run)

        return Clearing(repository, self._rescue(repository), bring_out, dry=dry)

    def _rescue(self, repository: Repository | None) -> Rescue | None:
        if repository is None:
            return None
        if self._sandbox is None:
            walls = chosen_walls(self._config.sandbox, self._walls)
            self._sandbox = make_sandbox(walls, self._state)
        limit = self._config.workspace.pack_limit_mb * 1024 * 1024
        return Rescue(repository, self._sandbox, pack_limit=limit)

    async def _unknown(self, known: set[str], older_s: float, *, dry: bool) -> list[Cleared]:
        """Clear folders of runs that never began; there is no work in them."""
        found = []
        clearing = Clearing(None, None, _nothing, dry=dry)
        for folder in sorted((self._state / "runs").glob("*")):
            age = time.time() - folder.stat().st_mtime
            parts = tuple(workspace_parts(folder))
            if folder.name in known or age <= older_s or not parts:
                continue
            works = any((one / "work").is_dir() for one in parts)
            ended = EndedRun(folder.name, "unknown", parts, works, folder.stat().st_mtime)
            cleared = await clearing.clear(ended)
            found += [cleared] if cleared is not None else []
        return found


async def _nothing(_: str) -> str:
    return ""


def _repository(common: str) -> Repository | None:
    """Return a run's repository, if it is still there."""
    try:
        found = locate(Path(common))
    except OrchestratorError:
        return None
    return found if found.id == common else None
