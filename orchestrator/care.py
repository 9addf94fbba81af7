"""What looks after an agent beside its turns: whether it is stuck, and how long its transcript is.

Neither is loaded before there is a reply to look at.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from orchestrator.asking import Asking
from orchestrator.cacheuse import CacheUse
from orchestrator.events import Event
from orchestrator.limits import Ledger
from orchestrator.prices import Model
from orchestrator.session import Session
from orchestrator.settings import ContextSettings, StuckSettings
from orchestrator.values import frozen

if TYPE_CHECKING:
    from orchestrator.shortening import Shortening
    from orchestrator.stuck import Watch


def known_window(model: Model) -> int:
    """Return a model's window as the table of models has it; 0 where it does not."""
    return model.context


@frozen
class CareMeans:
    """What agents are looked after with.

    Attributes:
        diagnose: whether the service is asked why its cache missed.
        window: tells a model's window in tokens; 0 where it is not known.
    """

    stuck: StuckSettings
    context: ContextSettings
    diagnose: bool = False
    window: Callable[[Model], int] = known_window

    def cache(self, model: Model, clock: Callable[[], float]) -> CacheUse:
        """Return what keeps account of one session's use of the service's cache."""
        marks = self.context.cache_marks
        return CacheUse(model.price, clock, marks=marks, diagnose=self.diagnose)


class Care:
    """Looks after the agent of one session.

    Args:
        means: what it is done with.
        session: whose.
        model: who is asked.
        fallback: who is asked where the session was switched to it; None where nobody else is.
        ledger: the session's account.
        cache: what the service is taken to have kept of it.
        asking: gives what asks within a session, on an account.
        events: the run's events so far.
        writes: whether the agent is there to change files.
        answers: whether its words alone may be all that is wanted of it.
    """

    def __init__(  # noqa: PLR0913 - every collaborator is passed in
        self,
        means: CareMeans,
        *,
        session: Session,
        model: Model,
        ledger: Ledger,
        cache: CacheUse,
        asking: Callable[[Session, Ledger], Asking],
        events: Callable[[], Sequence[Event]],
        writes: bool,
        answers: bool = False,
        fallback: Model | None = None,
    ) -> None:
        self._means = means
        self._session = session
        self._model = model
        self._fallback = fallback
        self._ledger = ledger
        self._cache = cache
        self._asking = asking
        self._events = events
        self._writes = writes
        self._answers = answers

    def _answering(self) -> Model:
        """Return the model that the session is with now."""
        other = self._fallback
        return other if other is not None and self._session.model == other.id else self._model

    def watch(self) -> Watch:
        """Return what tells whether the agent goes round in circles."""
        from orchestrator.stuck import Watch

        return Watch.rebuilt(
            self._means.stuck,
            self._session.name,
            self._events(),
            writes=self._writes,
            answers=self._answers,
        )

    def shortening(self, note: Callable[[Event], None]) -> Shortening:
        """Return what makes the transcript shorter.

        Args:
            note: adds an event that is recorded with the next request.
        """
        from orchestrator.shortening import Shortening

        return Shortening(
            session=self._session,
            asking=self._asking,
            ledger=self._ledger,
            cache=self._cache,
            model=self._answering,
            settings=self._means.context,
            window=lambda: self._means.window(self._answering()),
            events=self._events,
            note=note,
        )
