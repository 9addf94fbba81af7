"""What ended runs left: found, counted, its work kept by a rescue ref, then removed."""

from __future__ import annotations

import os
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import anyio.to_thread

from orchestrator.errors import OrchestratorError
from orchestrator.removal import remove_tree
from orchestrator.repository import Repository
from orchestrator.rescuing import Rescue, has_refs, is_safe
from orchestrator.values import frozen


@frozen
class EndedRun:
    """A run that has ended, and what stands in its folder.

    Attributes:
        parts: what it worked with, and may be removed.
        works: whether files are among them that may hold work which never came out.
        changed: when something of it was last recorded, in seconds since 1970.
    """

    run: str
    state: str
    parts: tuple[Path, ...]
    works: bool
    changed: float


@frozen
class Cleared:
    """What became of what one run, or one kept set-up, has left.

    Attributes:
        what: the run's id, or the set-up's folder.
        freed: bytes on disk.
        rescue: the ref that keeps its work; empty where none was needed.
        kept: why nothing of it was removed; empty where it was.
    """

    what: str
    freed: int = 0
    rescue: str = ""
    kept: str = ""


class Clearing:
    """Removes what ended runs of one repository left.

    Args:
        repository: has their refs; None where it is gone.
        rescue: keeps work; None where nothing can be kept.
        bring_out: brings a run's uncollected work out and returns its commit, or nothing.
        dry: whether it is only told what would be done.
    """

    def __init__(
        self,
        repository: Repository | None,
        rescue: Rescue | None,
        bring_out: Callable[[str], Awaitable[str]],
        *,
        dry: bool = False,
    ) -> None:
        self._repository = repository
        self._rescue = rescue
        self._bring_out = bring_out
        self._dry = dry

    async def clear(self, ended: EndedRun) -> Cleared | None:
        """Remove what a run left; None where there is nothing.

        Work that no branch or tag holds is kept by a rescue ref first. Where that cannot be done
        nothing is removed.
        """
        refs = await self._refs(ended.run)
        if not ended.parts and not refs:
            return None
        freed = await anyio.to_thread.run_sync(size_of, ended.parts)
        try:
            rescue = await self._kept(ended)
            if not self._dry:
                for part in ended.parts:
                    await anyio.to_thread.run_sync(remove_tree, part)
                if self._repository is not None:
                    prefix = f"refs/orchestrate/{ended.run}/"
                    await anyio.to_thread.run_sync(self._repository.delete_refs, prefix)
        except OrchestratorError as error:
            return Cleared(ended.run, kept=str(error))
        return Cleared(ended.run, freed, rescue)

    async def _refs(self, run: str) -> bool:
        if self._repository is None:
            return False
        prefix = f"refs/orchestrate/{run}/"
        return await anyio.to_thread.run_sync(has_refs, self._repository, prefix)

    async def _kept(self, ended: EndedRun) -> str:
        """Keep the work of a run; return the ref, or what stands for it where nothing is done."""
        if self._repository is None or self._rescue is None:
            if ended.works:
                raise OrchestratorError("its repository is gone, and its files may hold work")
            return ""
        head = await anyio.to_thread.run_sync(
            self._repository.ref, f"refs/orchestrate/{ended.run}/head"
        )
        if self._dry:
            safe = not head or await anyio.to_thread.run_sync(is_safe, self._repository, head)
            return "" if safe and not ended.works else "its work would be kept first"
        held = await self._rescue.kept(ended.run, head)
        if not ended.works:
            return held
        commit = await self._bring_out(ended.run)
        return await self._rescue.kept(ended.run, commit) or held


def size_of(parts: Sequence[Path]) -> int:
    """Return the bytes that folders take on disk; a file with two names counts once."""
    total = 0
    seen: set[tuple[int, int]] = set()
    for part in parts:
        for folder, _, files in os.walk(part):
            for name in ("", *files):
                try:
                    status = (Path(folder) / name).lstat()
                except OSError:
                    continue
                if (status.st_dev, status.st_ino) not in seen:
                    seen.add((status.st_dev, status.st_ino))
                    total += status.st_blocks * 512
    return total


async def clear_setups(store: Path, older_s: float, *, dry: bool) -> list[Cleared]:
    """Remove kept set-ups that no run has used for so long; the next run makes them anew."""
    found = []
    for folder in sorted(store.glob("*/*")):
        try:
            age = time.time() - folder.stat().st_mtime
        except OSError:
            continue
        if age <= older_s:
            continue
        freed = await anyio.to_thread.run_sync(size_of, (folder,))
        try:
            if not dry:
                await anyio.to_thread.run_sync(remove_tree, folder)
        except OrchestratorError as error:
            found.append(Cleared(f"set-up {folder.name}", kept=str(error)))
        else:
            found.append(Cleared(f"set-up {folder.name}", freed))
    return found
