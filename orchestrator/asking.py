"""Asking for one reply: what it may cost is reserved, one attempt is made, and again if need be."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Awaitable, Callable
from typing import Literal

import anyio

from orchestrator.amounts import Reached
from orchestrator.cacheuse import CacheUse, expected_turns
from orchestrator.errors import MalformedReply, ModelError, TooLong
from orchestrator.events import ModelReplied, Signal, Waiting
from orchestrator.governor import Governor
from orchestrator.lanes import Pass
from orchestrator.limits import Ledger, Reservation
from orchestrator.modelevents import ModelSwitched, RequestFailed, RequestIntended
from orchestrator.ports import ModelClient
from orchestrator.prices import Model
from orchestrator.rebuilding import as_kept
from orchestrator.records import ModelReply, ModelRequest, Usage
from orchestrator.session import Session
from orchestrator.transcript import encode_message
from orchestrator.values import frozen

MOST_BACKOFF_S = 32.0
DOUBLED_MOST = 16
"""After so many failures the wait has long reached the longest one."""

Record = Callable[..., Awaitable[None]]


@frozen
class Patience:
    """How failed attempts at a reply are repeated.

    Attributes:
        reply_s: seconds that one whole reply may take.
    """

    retries: int = 8
    backoff_s: float = 0.5
    longest_wait_s: float = 300.0
    reply_s: float = 3600.0


@frozen
class Fallback:
    """The model that a session goes on with where its own is not to be had."""

    model: Model
    client: ModelClient


@frozen
class Ending:
    """Why an agent stopped, and its last words.

    Attributes:
        kind: ``full`` where the service does not take the request because it is too long.
        limit: what was reached, where the kind is ``limit``.
    """

    kind: Literal["finished", "refused", "limit", "unavailable", "failed", "full", "stuck"]
    words: str = ""
    error: str = ""
    hint: str = ""
    limit: Reached | None = None


def stopped_by(limit: Reached, how: str = "was reached") -> Ending:
    """Return the end of what a limit stopped.

    Args:
        limit: which one.
        how: what is said of it.
    """
    return Ending("limit", error=f"{limit.said} {how}", limit=limit)


class Asking:
    """Asks for the replies of one session.

    A client with an attribute ``ungoverned`` that is true, as one that sends requests in batches
    and waits for hours, has no place in a lane, and its replies may take as long as they do.

    Args:
        session: where the work stands; a reply is applied to it.
        model: the model's full id.
        client: asks the model; makes one attempt a call.
        ledger: what may still be used up.
        emit: records events together; when it returns they are on disk.
        show: shows a signal; never waits.
        cache: what the service is taken to have kept of the session's requests.
        patience: how failed attempts are repeated.
        dice: spreads the waits of many runs.
        run: whose requests they are, among all that ask the same model.
        governor: has the models' lanes; None where nothing is governed.
        fallback: asked where the model is not to be had for longer than patience allows.
    """

    def __init__(  # noqa: PLR0913 - every collaborator is passed in
        self,
        *,
        session: Session,
        model: str,
        client: ModelClient,
        ledger: Ledger,
        emit: Record,
        show: Callable[[Signal], None],
        cache: CacheUse,
        patience: Patience,
        dice: random.Random,
        run: str = "",
        governor: Governor | None = None,
        fallback: Fallback | None = None,
    ) -> None:
        self._session = session
        self._model = model
        self._client = client
        self._ledger = ledger
        self._emit = emit
        self._show = show
        self._cache = cache
        self._patience = patience
        self._dice = dice
        self._run = run
        self._governor = governor
        self._fallback = fallback if fallback is None or fallback.model.id != model else None
        if self._fallback is not None and session.model == self._fallback.model.id:
            self._go_on_with(self._fallback)  # it was switched to before

    async def ask(self, record: Record) -> Ending | None:
        """Ask for the next reply, again where that may help; None when it came.

        Args:
            record: records an event together with what waits to be recorded before it.
        """
        failures = 0
        while True:
            error = await self._try(record)
            if not isinstance(error, ModelError):
                return error
            if isinstance(error, TooLong):
                return Ending("full", error=str(error), hint=error.hint)
            failures += 1
            wait = self._wait_after(error, failures)
            if wait is None:
                if await self._switched(error, record):
                    failures = 0
                    continue
                passing = error.retryable or error.mendable
                kind: Literal["unavailable", "failed"] = "unavailable" if passing else "failed"
                return Ending(kind, error=str(error), hint=error.hint)
            self._show(Waiting(f"{error}", wait))
            await anyio.sleep(wait)

    def _request(self) -> ModelRequest:
        """Build the next request, with marks that last as long as is expected to pay."""
        session = self._session
        limit = self._ledger.limits.turns
        left = None if limit is None else limit - self._ledger.turns
        return session.transcript.request(
            model=self._model,
            max_tokens=1,
            life=self._cache.sending(session.life, expected_turns(session.turn, left)),
            previous=session.message_id if self._cache.diagnose else None,
        )

    async def _try(self, record: Record) -> ModelError | Ending | None:
        """Make one attempt, in its turn; None when the reply came."""
        reached = self._ledger.reached()
        if reached:
            return stopped_by(reached)
        request = self._request()
        try:
            place = await self._entered(request)
        except ModelError as error:
            return error
        try:
            reserved = await self._reserved(request)
            if isinstance(reserved, Ending):
                return reserved
            return await self._attempt(request, reserved, record, place)
        finally:
            self._ledger.let_go()
            if place is not None:
                place.failed()

    async def _entered(self, request: ModelRequest) -> Pass | None:
        """Wait for the request's turn in its model's lane; None where there is no lane for it."""
        if self._governor is None or self._is_ungoverned():
            return None
        lane = self._governor.lane(self._model)
        fresh = self._ledger.fresh_tokens(request)
        return await lane.enter(self._run, fresh, self._show, self._patience.longest_wait_s)

    def _is_ungoverned(self) -> bool:
        return bool(getattr(self._client, "ungoverned", False))

    async def _reserved(self, request: ModelRequest) -> Reservation | Ending:
        """Reserve what the request may cost; what others hold just now is waited for."""
        while True:
            reached = self._ledger.reached()
            if reached:
                return stopped_by(reached)
            reserved = self._ledger.reserve(request)
            if reserved is not None:
                return reserved
            if not self._ledger.is_held_up(request):
                return stopped_by(self._ledger.rest(), "does not pay for another reply")
            self._show(Waiting("other runs have reserved what is left", 0.0))
            await self._ledger.account.changed()

    async def _attempt(
        self, request: ModelRequest, reserved: Reservation, record: Record, place: Pass | None
    ) -> ModelError | None:
        session, turn = self._session, self._session.turn
        attempt = session.attempts + 1
        intent = RequestIntended(
            session.name,
            turn,
            attempt,
            reserved.usd,
            reserved.max_tokens,
            reserved.tokens,
            request.life,
        )
        session.apply(intent)
        await record(intent)
        request = dataclasses.replace(request, max_tokens=reserved.max_tokens)
        try:
            reply = await self._reply(request)
        except anyio.get_cancelled_exc_class():
            # Its intent stays open in the journal, and counts the same when the run goes on.
            self._ledger.lose(reserved.usd, reserved.tokens)
            raise
        except ModelError as error:
            if place is not None:
                place.failed(error)
            cost = self._ledger.input_usd(request) if error.started else 0.0
            tokens = self._ledger.input_tokens(request) if error.started else 0
            self._ledger.lose(cost, tokens)
            await self._emit(RequestFailed(session.name, turn, attempt, str(error), cost, tokens))
            return error
        if place is not None:
            place.replied(reply.rates, reply.usage)
        await self._keep(reply, request)
        return None

    async def _reply(self, request: ModelRequest) -> ModelReply:
        """Ask once; a reply that trickles for too long is given up, and was paid for."""
        if self._is_ungoverned():
            return _sound(await self._client.reply(request))
        with anyio.move_on_after(self._patience.reply_s):
            return _sound(await self._client.reply(request))
        raise ModelError(
            f"the reply did not come to its end within {self._patience.reply_s:g} s",
            retryable=True,
            started=True,
        )

    async def _keep(self, reply: ModelReply, request: ModelRequest) -> None:
        """Put a reply on disk before anything uses it."""
        cost = self._ledger.cost(reply.usage) * reply.price_share
        session = self._session
        lost = self._ledger.lost(session.name, session.turn) if reply.taken_up else (0.0, 0)
        event = ModelReplied(
            session=session.name,
            turn=session.turn,
            message=encode_message("assistant", reply.blocks),
            stop_reason=reply.stop_reason,
            usage=reply.usage,
            cost_usd=cost,
            request_id=reply.request_id,
            broken_calls=reply.broken_calls,
            request_bytes=request.size(),
            message_id=reply.message_id,
            missed=self._cache.replied(session.turn, request, reply),
            prompt_tokens=reply.usage.prompt_tokens,
            regained_usd=lost[0],
            regained_tokens=lost[1],
        )
        self._ledger.settle(request.size(), reply.usage, cost, lost)  # it is spent, kept or not
        with anyio.CancelScope(shield=True):
            await self._emit(event)
        session.apply(event)

    def _wait_after(self, error: ModelError, failures: int) -> float | None:
        """Return the seconds to wait before the next attempt; None to give up."""
        patience = self._patience
        if not error.retryable or failures > patience.retries:
            return None
        if error.retry_after is not None:
            return error.retry_after if error.retry_after <= patience.longest_wait_s else None
        doubled: float = patience.backoff_s * 2 ** min(failures - 1, DOUBLED_MOST)
        most = min(doubled, MOST_BACKOFF_S)
        return most * (0.75 + 0.25 * self._dice.random())

    # -- the other model -------------------------------------------------------------------

    async def _switched(self, error: ModelError, record: Record) -> bool:
        """Go on with the other model, if there is one and it may answer; tell whether it does."""
        fallback = self._fallback
        if fallback is None or not error.retryable or error.unreachable:
            return False
        session, before = self._session, self._model
        event = ModelSwitched(session.name, session.turn, before, fallback.model.id, str(error))
        await record(event)  # behind what opened the session, which may not be recorded yet
        session.apply(event)
        self._go_on_with(fallback)
        self._ledger.cool()
        return True

    def _go_on_with(self, fallback: Fallback) -> None:
        self._model, self._client = fallback.model.id, fallback.client
        self._ledger.switch(fallback.model.price, fallback.model.max_output)
        self._cache.switch(fallback.model.price)
        self._fallback = None


def _sound(reply: object) -> ModelReply:
    """Return a client's reply; what it counts is added up, limited by and kept.

    Raises:
        MalformedReply: it is none, or does not count what a reply counts.
    """
    if not isinstance(reply, ModelReply):
        raise MalformedReply(f"the client gave no reply but {type(reply).__name__}", started=True)
    try:
        usage = as_kept(Usage, reply.usage)
    except TypeError as error:
        raise MalformedReply(f"the usage of a reply is none: {error}", started=True) from None
    if min(dataclasses.astuple(usage)) < 0:
        raise MalformedReply("the usage of a reply is less than nothing", started=True)
    return reply
