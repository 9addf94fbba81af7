"""Nights of one state directory: begun, gone on with, and put together from their parts."""

from __future__ import annotations

import os
import random
import secrets
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Self

import anyio

from orchestrator import config as configuration
from orchestrator.accounts import Account
from orchestrator.assembly.clients import batches_of
from orchestrator.assembly.machine import make_private
from orchestrator.assembly.nightplaces import NightPlace
from orchestrator.assembly.runtime import Orchestrator
from orchestrator.assembly.sharing import sound
from orchestrator.batches.book import (
    Heard,
    NightBook,
    decode_events,
    decode_night,
    encode_night,
    unheard,
)
from orchestrator.batches.jobs import WHOSE, Looks, nobody
from orchestrator.batches.lane import Lane
from orchestrator.batches.nights import LaneName, Night, NightBegun, Planned, Site
from orchestrator.batches.posting import LanePace
from orchestrator.batches.shift import Shift, ShiftPace
from orchestrator.batches.views import NightView
from orchestrator.errors import ConfigError, JournalError, NoSuchRun
from orchestrator.journals.nights import NightRow, SqliteNight, SqliteNights
from orchestrator.journals.owners import owner_of
from orchestrator.journals.sqlite import SqliteJournal
from orchestrator.messagebatches import MessageBatches
from orchestrator.ports import IssueTracker, ModelClient
from orchestrator.records import Limits


class Nights:
    """Batches of issues, kept in one state directory.

    Used as an async context manager::

        async with Nights(state=folder) as nights, nights.begun(night) as shift:
            await shift.work()

    Args:
        state: the state directory; None is ``$XDG_STATE_HOME/orchestrate``.
        heard: is told of each event of a night once it is on disk, and how the night stands.
        looks: is told of what the runs do: ``await looks((repo, issue), run, event)``.
        trackers: where issues come from, by the repository's id; None asks the settings.
        client: asks the model in the usual way; None makes one from the settings.
        batches: sends and reads Message Batches; None makes them from the environment.
        agents: a folder of agent files that wins over all others.
        sandbox_backend: ``none`` gives up the walls, as the flag does.
        lane_pace: when batches are sent, and how they are asked about.
        pace: how faults that are not an agent's are repeated.
    """

    def __init__(  # noqa: PLR0913 - what an embedder may choose
        self,
        *,
        state: str | Path | None = None,
        heard: Heard = unheard,
        looks: Looks = nobody,
        trackers: Mapping[str, IssueTracker] | None = None,
        client: ModelClient | None = None,
        batches: MessageBatches | None = None,
        agents: str | Path | None = None,
        sandbox_backend: str | None = None,
        lane_pace: LanePace | None = None,
        pace: ShiftPace | None = None,
    ) -> None:
        folder = Path(state) if state is not None else configuration.state_folder(os.environ)
        self._state = folder.absolute()
        self._heard = heard
        self._looks = looks
        self._trackers = dict(trackers or {})
        self._client = client
        self._batches = batches
        self._agents = agents
        self._sandbox_backend = sandbox_backend
        self._lane_pace = lane_pace or LanePace()
        self._pace = pace
        self._journal: SqliteJournal | None = None

    async def __aenter__(self) -> Self:
        """Open the journal."""
        make_private(self._state)
        self._journal = SqliteJournal(self._state / "journal.db", owner=owner_of(os.getpid()))
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close the journal."""
        journal, self._journal = self._journal, None
        if journal is not None:
            journal.close()

    # -- looking ---------------------------------------------------------------------------

    async def rows(self) -> list[NightRow]:
        """Return all nights, newest first."""
        return await self._kept().rows()

    async def view(self, night: str = "") -> NightView:
        """Return how a night stands, whoever works on it.

        Args:
            night: its id or the beginning of it; empty is the newest.

        Raises:
            NoSuchRun: there is none.
        """
        row = await self._row(night)
        return NightView(
            decode_night(row.record), decode_events(await self._kept().events(row.night))
        )

    async def _row(self, night: str) -> NightRow:
        if night:
            return await self._kept().row(night)
        rows = await self.rows()
        if not rows:
            raise NoSuchRun("there is no batch yet", hint="begin one: orchestrate batch")
        return rows[0]

    # -- working ---------------------------------------------------------------------------

    @asynccontextmanager
    async def begun(self, night: Night) -> AsyncIterator[Shift]:
        """Begin a night, and give what works on it.

        Args:
            night: with its plan; an empty id or moment of beginning is filled in.

        Raises:
            OrchestratorError: it cannot be begun; then nothing is recorded of it.
        """
        began = night.began or time.time()
        name = night.night or f"{time.strftime('%Y-%m-%d', time.localtime(began))}-{_few()}"
        night = replace(night, night=name, began=began)
        async with AsyncExitStack() as stack:
            places, account, lanes = await self._opened(night, night.plan, stack)
            kept = await self._kept().begin(night.night, encode_night(night))
            shift = await self._shift(night, NightView(night), kept, places, account, lanes)
            stack.push_async_callback(_over, shift)
            yield shift

    @asynccontextmanager
    async def resumed(
        self,
        night: str = "",
        *,
        ceiling: Limits | None = None,
        per_issue: Limits | None = None,
        parallel: int | None = None,
        until: float | None = None,
        lane: LaneName | None = None,
    ) -> AsyncIterator[Shift]:
        """Go on with what is unfinished of a night, and give what works on it.

        Args:
            night: its id or the beginning of it; empty is the newest that is unfinished.
            ceiling: another one for the whole night: what is spent counts.
            per_issue: other limits of each run.
            parallel: how many issues are worked on at once.
            until: another end; None keeps the old one where it is still to come, else has none.
            lane: another lane.

        Raises:
            OrchestratorError: there is none, or another process works on it.
        """
        row = await self._row(night) if night else await self._unfinished()
        view = NightView(
            decode_night(row.record), decode_events(await self._kept().events(row.night))
        )
        old = view.night
        if until is None and old.until is not None and old.until > time.time():
            until = old.until
        new = replace(
            old,
            ceiling=ceiling or old.ceiling,
            per_issue=per_issue or old.per_issue,
            parallel=parallel or old.parallel,
            until=until,
            lane=lane or old.lane,
        )
        async with AsyncExitStack() as stack:
            left = [one.planned for one in view.unfinished()]
            places, account, lanes = await self._opened(new, left, stack)
            kept = await self._kept().take_over(row.night)
            shift = await self._shift(new, view, kept, places, account, lanes)
            stack.push_async_callback(_over, shift)
            yield shift

    async def _unfinished(self) -> NightRow:
        rows = [one for one in await self.rows() if one.state != "ended" and not one.is_worked_on]
        if not rows:
            raise NoSuchRun(
                "there is no unfinished batch", hint="begin one: orchestrate batch --label NAME"
            )
        return rows[0]

    async def _opened(
        self, night: Night, left: Sequence[Planned], stack: AsyncExitStack
    ) -> tuple[dict[str, NightPlace], Account, _Lanes]:
        """Open each repository of a night; all that can be refused is refused here."""
        began = time.monotonic()
        sound(night.per_issue)
        account = Account(
            sound(night.ceiling), elapsed_s=lambda: time.monotonic() - began, whose=WHOSE
        )
        lanes = _Lanes(self._lane_batches(night, stack))
        places = {}
        for site in night.sites:
            made = await stack.enter_async_context(self._orchestrator(site, account, lanes))
            who = dict.fromkeys(one.agent for one in left if one.repo == site.repo)
            await made.ready(list(who), night.wanted.model)
            places[site.repo] = NightPlace(made, self._open(), site.repo)
        missing = {one.repo for one in night.plan} - set(places)
        if missing:
            raise ConfigError(f"no folder is known of the repository {min(missing)}")
        return places, account, lanes

    def _orchestrator(self, site: Site, account: Account, lanes: _Lanes) -> Orchestrator:
        return Orchestrator.from_config(
            site.config or None,
            repo=site.top,
            state=self._state,
            client=self._client,
            tracker=self._trackers.get(site.repo),
            sandbox_backend=self._sandbox_backend,
            agents=self._agents,
            together=account,
            lane=lanes.of_run if lanes.batches is not None else None,
        )

    def _lane_batches(self, night: Night, stack: AsyncExitStack) -> MessageBatches | None:
        if night.lane == "now":
            return None
        if self._batches is not None:
            return self._batches  # its giver closes it
        made = batches_of(os.environ)
        stack.push_async_callback(made.aclose)
        return made

    async def _shift(
        self,
        night: Night,
        view: NightView,
        kept: SqliteNight,
        places: Mapping[str, NightPlace],
        account: Account,
        lanes: _Lanes,
    ) -> Shift:
        book = NightBook(kept, view, self._heard)
        await book.emit(NightBegun(kept.epoch, night, time.time()))
        for one in view.issues.values():
            for run, before in one.before.items():
                standing = await places[one.planned.repo].standing(run)
                account.book(max(standing.spent_usd - before, 0.0), standing.spent_tokens)
        if lanes.batches is not None:
            lanes.lane = Lane(
                lanes.batches,
                emit=book.emit,
                sent=view.turns,
                live=lanes.live,
                pace=self._lane_pace,
                clock=time.monotonic,
                wall=time.time,
            )
        lanes.shift = Shift(
            book,
            places,
            purse=account,
            lane=lanes.lane,
            looks=self._looks,
            pace=self._pace,
            wall=time.time,
            dice=random.Random(),  # noqa: S311 - jitter of waiting times
        )
        return lanes.shift

    def _open(self) -> SqliteJournal:
        if self._journal is None:
            raise ConfigError("use it inside its `async with` block")
        return self._journal

    def _kept(self) -> SqliteNights:
        return SqliteNights(self._open().database, owner=owner_of(os.getpid()))


class _Lanes:
    """Who asks for replies: the lane, once it is there, else the usual way."""

    def __init__(self, batches: MessageBatches | None) -> None:
        self.batches = batches
        self.lane: Lane | None = None
        self.shift: Shift | None = None

    def live(self) -> int:
        return 0 if self.shift is None else self.shift.live()

    def of_run(self, run: str, usual: ModelClient) -> ModelClient:
        return usual if self.lane is None else self.lane.of_run(run, usual)


async def _over(shift: Shift) -> None:
    """Leave a night in order, whatever ended the work on it."""
    with anyio.CancelScope(shield=True), suppress(JournalError):
        await shift.over()


def _few() -> str:
    return secrets.token_hex(2)
