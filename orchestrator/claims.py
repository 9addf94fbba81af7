"""Which run has an issue: by notes under it, or by files of this machine."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
import tempfile
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

import anyio
import anyio.to_thread

from orchestrator.errors import TrackerError
from orchestrator.ports import Board
from orchestrator.values import frozen

PREFIX = "claim/"
UNTIL = re.compile(r"until ([0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z)")
FORM = "%Y-%m-%dT%H:%M:%SZ"


@frozen
class _Claim:
    run: str
    until: float


class NoteClaims:
    """Claims as notes under the issue: of two, the older one holds; a stale one holds nothing.

    Args:
        board: where the notes are.
        hours: how long a claim holds.
        clock: seconds since 1970.
    """

    def __init__(self, board: Board, *, hours: float, clock: Callable[[], float]) -> None:
        self._board = board
        self._hours = hours
        self._clock = clock

    async def claim(self, issue: str, run: str) -> bool:
        """Take an issue for a run; written first, then read back, so that only one has it."""
        before = await self._standing(issue)
        if before and before[0].run != run:
            return False
        until = datetime.fromtimestamp(self._clock() + self._hours * 3600, UTC).strftime(FORM)
        text = f"orchestrate works on this, run `{run}`, until {until} at the latest."
        await self._board.note(issue, f"{PREFIX}{run}", text)
        after = await self._standing(issue)
        if not after or not any(one.run == run for one in after):
            raise TrackerError(
                f"the note by which issue {issue} is taken cannot be read back",
                retryable=True,
                hint="may this account write to the project?",
            )
        if after[0].run == run:
            return True
        await self.release(issue, run)
        return False

    async def release(self, issue: str, run: str) -> None:
        """Edit the run's own note, if it still holds the issue."""
        if any(one.run == run for one in await self._standing(issue)):
            text = f"orchestrate no longer works on this: run `{run}` has ended."
            await self._board.note(issue, f"{PREFIX}{run}", text)

    async def _standing(self, issue: str) -> Sequence[_Claim]:
        """Return the claims that hold, the oldest first."""
        found = []
        for marker, text in await self._board.notes(issue):
            told = UNTIL.search(text)
            if marker.startswith(PREFIX) and told:
                until = datetime.strptime(told[1], FORM).replace(tzinfo=UTC).timestamp()
                found.append(_Claim(marker.removeprefix(PREFIX), until))
        now, most = self._clock(), self._hours * 3600 * 24
        # One that claims for years is no claim of ours.
        return [one for one in found if now < one.until <= now + most]


class FileClaims:
    """Claims as files of one state directory.

    Args:
        folder: where they are.
        repo: tells issues of different repositories apart.
        hours: how long a claim holds.
        clock: seconds since 1970.
        owner: this process, as ``is_alive`` knows it.
        is_alive: tells whether a process is still there.
    """

    def __init__(
        self,
        folder: Path,
        *,
        repo: str,
        hours: float,
        clock: Callable[[], float],
        owner: str,
        is_alive: Callable[[str], bool],
    ) -> None:
        self._folder = folder
        self._repo = repo
        self._hours = hours
        self._clock = clock
        self._owner = owner
        self._is_alive = is_alive

    async def claim(self, issue: str, run: str) -> bool:
        """Take an issue for a run; a claim whose process is gone holds nothing."""
        return await anyio.to_thread.run_sync(self._claim, issue, run)

    async def release(self, issue: str, run: str) -> None:
        """Remove the run's own claim."""
        await anyio.to_thread.run_sync(self._release, issue, run)

    async def dead(self, issue: str) -> str:
        """Return the run of a process that is gone, where it still has an issue; else nothing."""
        return await anyio.to_thread.run_sync(self._dead, issue)

    def _dead(self, issue: str) -> str:
        with _Lock(self._folder):
            kept = _read(self._path(issue)) or {}
        owner = str(kept.get("owner"))
        gone = kept.get("left") or (owner != self._owner and not self._is_alive(owner))
        return str(kept.get("run", "")) if gone else ""

    async def holds(self, issue: str, run: str) -> bool:
        """Tell whether a run has an issue already."""
        kept = await anyio.to_thread.run_sync(_read, self._path(issue)) or {}
        return kept.get("run") == run and not kept.get("left")

    async def leave(self, issue: str, run: str) -> None:
        """Note that a run no longer has an issue, though others still read that it has."""
        await anyio.to_thread.run_sync(self._leave, issue, run)

    def _leave(self, issue: str, run: str) -> None:
        path = self._path(issue)
        with _Lock(self._folder):
            kept = _read(path) or {}
            if kept.get("run") == run:
                _write(path, {**kept, "left": True})

    def _claim(self, issue: str, run: str) -> bool:
        path = self._path(issue)
        with _Lock(self._folder):
            kept = _read(path)
            until = kept.get("until") if kept else None
            held = isinstance(until, int | float) and until > self._clock()
            held = held and not (kept or {}).get("left")
            if kept is not None and held and kept.get("run") != run:
                owner = str(kept.get("owner"))
                if owner == self._owner or self._is_alive(owner):
                    return False
            fresh = self._clock() + self._hours * 3600
            _write(path, {"run": run, "until": fresh, "owner": self._owner})
        return True

    def _release(self, issue: str, run: str) -> None:
        path = self._path(issue)
        with _Lock(self._folder):
            if (_read(path) or {}).get("run") == run:
                path.unlink(missing_ok=True)

    def _path(self, issue: str) -> Path:
        name = hashlib.sha256(f"{self._repo}\0{issue}".encode()).hexdigest()[:32]
        return self._folder / f"{name}.json"


class SharedClaims:
    """Claims that others read, with a file here that tells which of them a dead process left.

    Args:
        here: of all processes that share a state directory.
        there: of all machines.
    """

    def __init__(self, here: FileClaims, there: NoteClaims) -> None:
        self._here = here
        self._there = there

    async def claim(self, issue: str, run: str) -> bool:
        """Take an issue for a run; what a process of this state directory left is taken over."""
        left = await self._here.dead(issue)
        if left and left != run:
            await self._there.release(issue, left)
        renewed = await self._here.holds(issue, run)
        if not await self._here.claim(issue, run):
            return False
        try:
            taken = await self._there.claim(issue, run)
        except BaseException:
            if not renewed:  # the note may stand there all the same
                with anyio.CancelScope(shield=True):
                    await self._here.leave(issue, run)
            raise
        if not taken:
            await self._here.release(issue, run)
        return taken

    async def release(self, issue: str, run: str) -> None:
        """Give an issue back in both places; where others cannot be told, that is made up for."""
        try:
            await self._there.release(issue, run)
        except BaseException:
            with anyio.CancelScope(shield=True):
                await self._here.leave(issue, run)
            raise
        await self._here.release(issue, run)


class _Lock:
    """A folder of claims, for one process at a time."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._file = -1

    def __enter__(self) -> None:
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._file = os.open(self._folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(self._file, fcntl.LOCK_EX)

    def __exit__(self, *_: object) -> None:
        os.close(self._file)


def _read(path: Path) -> dict[str, object] | None:
    try:
        kept = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return kept if isinstance(kept, dict) else None


def _write(path: Path, kept: dict[str, object]) -> None:
    number, name = tempfile.mkstemp(dir=path.parent)
    with os.fdopen(number, "w", encoding="utf-8") as file:
        json.dump(kept, file)
    Path(name).replace(path)
