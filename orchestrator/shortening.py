"""Makes a session's transcript shorter before a request, where that pays or has to be."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Sequence

from orchestrator import context, shrinking
from orchestrator.asking import Asking, Ending
from orchestrator.cacheuse import CacheUse, expected_turns
from orchestrator.contextevents import Compacted, ResultsCleared
from orchestrator.events import Event, ModelReplied, Prompted
from orchestrator.limits import Ledger
from orchestrator.modelevents import ModelSwitched, RequestIntended
from orchestrator.prices import Model
from orchestrator.session import Session, words_of
from orchestrator.settings import ContextSettings
from orchestrator.transcript import REPLY, encode_message, text_block
from orchestrator.weighing import History, Result, weighed

SUMMARY = "/summary"
"""How the session ends in which a summary is asked for; its turns are those it is asked after."""

TRIES = 4
"""How often one turn's request may be made shorter because the service does not take it."""

BY_THE_WAY = ("continue", "stuck")
"""Causes of messages that bring no new work."""

APART = 4
"""Turns between two summaries, at least."""

LEAST_FULL = 0.2
"""A window is never taken for full below this share."""

RESERVE_SHARE = 0.1
MOST_TOLD = re.compile(r"(\d{4,})\D{1,30}(?:>|maximum|limit)\D{0,40}(\d{4,})")
KNOWN_MOST = 0.9
"""Share of what was too long that may be asked next, where the service names no limit."""

Record = Callable[..., Awaitable[None]]


class Shortening:
    """Shortens the transcript of one session.

    Args:
        session: whose.
        asking: gives what asks within a session, on an account.
        ledger: the session's account.
        cache: what the service is taken to have kept.
        model: tells who is asked.
        settings: what may be done.
        window: tells the tokens of prompt and reply together; 0 where that is not known.
        events: the run's events so far.
        note: adds an event that is recorded with the next request.
    """

    def __init__(  # noqa: PLR0913 - every collaborator is passed in
        self,
        *,
        session: Session,
        asking: Callable[[Session, Ledger], Asking],
        ledger: Ledger,
        cache: CacheUse,
        model: Callable[[], Model],
        settings: ContextSettings,
        window: Callable[[], int],
        events: Callable[[], Sequence[Event]],
        note: Callable[[Event], None],
    ) -> None:
        self._session = session
        self._asking = asking
        self._ledger = ledger
        self._cache = cache
        self._model = model
        self._settings = settings
        self._window = window
        self._events = events
        self._note = note
        self._most = 0
        self._tried = (0, 0)

    async def before(self, record: Record) -> Ending | None:
        """Shorten the transcript, if now is the time; returns why the run has to stop instead.

        Args:
            record: records an event together with what waits to be recorded before it.
        """
        session = self._session
        if session.full:
            return await self.exceeded("", record)
        if not self._is_due():
            return None
        history, outlook = self._weighed(), self._outlook()
        apart = not session.compacted or session.turn - session.compacted >= APART
        decision = context.decide(
            history,
            outlook,
            clear=self._settings.clear,
            compact=self._settings.compact and apart,
        )
        if decision is None:
            return None
        why = shrinking.why(decision)
        if decision.kind == "clear":
            self._clear(history, decision.clear, why)
            return None
        return await self._compact(history, outlook, why, record)

    async def exceeded(self, error: str, record: Record) -> Ending | None:
        """Shorten a transcript that the service does not take; an ending where that is no use.

        Args:
            error: what the service said.
            record: as in ``before``.
        """
        session, history = self._session, self._weighed()
        turn, tries = self._tried
        tries = tries + 1 if turn == session.turn else 1
        self._tried = (session.turn, tries)
        self._most = self._limit(error, history)
        outlook = self._outlook()
        why = "the model's window was full"
        everything = context.clearing_all(history)
        if tries == 1 and everything.tokens >= 0.2 * history.tokens:
            self._clear(history, everything.clear, why)
            return None
        kept = context.tail_length(history, outlook) if tries < TRIES - 1 else 0
        if tries < TRIES and kept < len(session.transcript) - 1:
            if tries <= 2 and self._settings.compact and history.tokens < self._most:
                return await self._compact(history, outlook, why, record)
            self._restart(history, "", kept, why, asked=False)
            return None
        return Ending(
            "failed",
            error=error or "the transcript no longer fits the model's context window",
            hint="split the issue into smaller ones",
        )

    # -- what there is ---------------------------------------------------------------------

    def _is_due(self) -> bool:
        session = self._session
        messages = session.transcript.messages
        if not session.asked or not session.prompt_tokens or messages[-1].startswith(REPLY):
            return False
        per_token = session.asked / session.prompt_tokens
        outlook = self._outlook()
        floor = context.floor_tokens(outlook, session.shortened / per_token) * per_token
        size = session.transcript.size()
        full = size / per_token >= outlook.full * outlook.room
        return full or context.due(session.asked, size, floor=floor)

    def _weighed(self) -> History:
        session = self._session
        transcript = session.transcript
        return weighed(
            transcript.head,
            transcript.messages,
            asked=session.asked,
            tokens=session.prompt_tokens,
        )

    def _outlook(self) -> context.Outlook:
        window, limits, model = self._window(), self._ledger.limits, self._model()
        left = None if limits.turns is None else limits.turns - self._ledger.turns
        return context.Outlook(
            price=model.price,
            window=window,
            reserve=min(model.max_output, int(window * RESERVE_SHARE)),
            turns=expected_turns(self._session.turn, left),
            full=min(max(self._settings.full, LEAST_FULL), 1.0),
            cold=self._cache.is_cold(),
            most=self._most,
        )

    def _limit(self, error: str, history: History) -> int:
        """Return the most tokens that a request may have, as far as the service told."""
        told = MOST_TOLD.search(error)
        known = int(history.tokens * KNOWN_MOST)
        if told is None:
            return known
        sent, most = int(told[1]), int(told[2])
        # Its count and ours differ; what matters is the share that has to go.
        return min(known, int(history.tokens * most / sent)) if sent > most else known

    # -- what is done ----------------------------------------------------------------------

    def _clear(self, history: History, chosen: Sequence[Result], why: str) -> None:
        session = self._session
        messages = shrinking.cleared(session.transcript.messages, chosen)
        tokens = int(sum(one.saved for one in chosen))
        same = self._rewritten(history, messages[0][0])
        event = ResultsCleared(session.name, session.turn, messages, len(chosen), tokens, why, same)
        session.apply(event)
        self._note(event)

    async def _compact(
        self, history: History, outlook: context.Outlook, why: str, record: Record
    ) -> Ending | None:
        """Ask the model for a summary, and put it in the place of older turns."""
        found = await self._summary(record)
        if isinstance(found, Ending) and found.kind in {"limit", "unavailable"}:
            return found
        words = found if isinstance(found, str) else ""
        kept = context.tail_length(history, outlook)
        self._restart(history, words, kept, why, asked=bool(words))
        return None

    async def _summary(self, record: Record) -> str | Ending:
        session = self._session
        name = f"{session.name}{SUMMARY}"
        asked = Session(name, session.transcript.copy(), session.tools, turn=session.turn)
        asked.life, asked.model = session.life, session.model
        asked.transcript.append(encode_message("user", [text_block(shrinking.ASK)]), blocks=1)
        reply = None
        for event in self._events():
            if isinstance(event, RequestIntended | ModelReplied | ModelSwitched):
                if (event.session, event.turn) != (name, session.turn):
                    continue
                if isinstance(event, ModelReplied):
                    reply = event
                elif isinstance(event, ModelSwitched):
                    asked.apply(event)
                else:
                    asked.attempts = event.attempt
        if reply is None:
            account = self._ledger.within(name)
            ending = await self._asking(asked, account).ask(record)
            reply = asked.final or asked.reply
            if ending is not None or reply is None:
                return ending or ""
        return words_of(reply)

    def _restart(self, history: History, words: str, kept: int, why: str, *, asked: bool) -> None:
        session = self._session
        messages = session.transcript.messages
        message = shrinking.summarized(messages, history, words, kept=kept, told=self._told())
        before = session.transcript.size()
        same = self._rewritten(history, 0)
        left = len(message) + sum(len(one) + 1 for one in messages[len(messages) - kept :])
        saved = 1 - (len(session.transcript.head) + left) / before
        tokens = max(int(history.tokens * saved), 0)
        event = Compacted(session.name, session.turn, message, kept, tokens, why, same, asked)
        session.apply(event)
        self._note(event)

    def _told(self) -> bytes:
        """Return the message that sent the agent back to work last; empty where none did."""
        name = self._session.name
        sent = (
            one.message
            for one in reversed(self._events())
            if isinstance(one, Prompted) and one.session == name and one.cause not in BY_THE_WAY
        )
        return next(sent, b"")

    def _rewritten(self, history: History, index: int) -> int:
        """Tell account and cache from which message on the bytes are other ones."""
        transcript = self._session.transcript
        same = history.head + sum(history.messages[:index])
        known = history.head + sum(history.messages[: len(history.messages) - history.new])
        self._cache.rewritten(min(same / known, 1.0) if known else 0.0)
        size = len(transcript.head) + sum(len(one) + 1 for one in transcript.messages[:index])
        self._ledger.rewritten(size)
        return size
