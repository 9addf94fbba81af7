"""What can go wrong, by who acts next.

Limits, failed gates and cancellation are outcomes, not errors.
"""

from __future__ import annotations

import errno

from orchestrator.amounts import RateNews
from orchestrator.values import frozen

MACHINE = frozenset(
    {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EMFILE, errno.ENFILE, errno.ENOMEM}
)
"""Failures that say nothing of a run: it can go on when they are mended."""


class OrchestratorError(Exception):
    """Everything that this package raises on purpose.

    ``hint`` says what to do next; ``exit_code`` is what the command line ends with.
    """

    exit_code = 1

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


@frozen
class At:
    """A place in a file; line and column count from 1, 0 means the file as a whole."""

    file: str
    line: int = 0
    column: int = 0

    def __str__(self) -> str:
        """Return ``file:line:column``, as compilers do."""
        return ":".join([self.file, *(str(part) for part in (self.line, self.column) if part)])


class ConfigError(OrchestratorError):
    """A setting is wrong; the user mends it."""

    exit_code = 2

    def __init__(self, message: str, *, at: At | None = None, hint: str = "") -> None:
        super().__init__(f"{at}: {message}" if at else message, hint=hint)
        self.at = at


class DefinitionError(ConfigError):
    """An agent or issue file is broken; its author mends it."""


class TrackerError(OrchestratorError):
    """The issue tracker did not do what was asked."""

    exit_code = 5

    def __init__(self, message: str, *, retryable: bool = False, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.retryable = retryable


class TrackerRefused(TrackerError):
    """The service does not take the credential, or the account may not do this."""


class TrackerConflict(TrackerError):
    """What was asked does not go with how things are there: it exists already, or has changed."""


class TrackerMissing(TrackerError):
    """There is nothing at an address, or nothing that this account may see."""


class TrackerBusy(TrackerError):
    """The service asks to wait for longer than is waited.

    Attributes:
        wait_s: the seconds that it asks for.
    """

    def __init__(self, message: str, *, wait_s: float, hint: str = "") -> None:
        super().__init__(message, retryable=True, hint=hint)
        self.wait_s = wait_s


class Unanswered(TrackerError):
    """No answer that counts came: what was asked may have been done, or not."""


class IssueNotFound(TrackerError):
    """There is no such issue."""

    exit_code = 2


class IssueAmbiguous(TrackerError):
    """Two files are the same issue; a person renames one."""

    exit_code = 2


class IssueNotReady(TrackerError):
    """The issue is closed, or waits for others; a person decides."""

    exit_code = 3


class IssueTaken(IssueNotReady):
    """Another orchestrator works on the issue."""


class NoSuchRun(OrchestratorError):
    """There is no such run in the journal."""

    exit_code = 2


class NoRoute(OrchestratorError):
    """No agent fits the issue; a person chooses one."""

    exit_code = 3

    def __init__(
        self, message: str, *, scores: tuple[tuple[str, float], ...] = (), hint: str = ""
    ) -> None:
        super().__init__(message, hint=hint)
        self.scores = scores


class ModelError(OrchestratorError):
    """One attempt at a model's reply failed.

    Attributes:
        retryable: whether the same request may succeed later.
        retry_after: seconds that the service asked to wait, if it did.
        started: whether the reply had begun, so that its input was paid for.
        mendable: whether a person can mend it, after which the same request may succeed.
        unreachable: whether there was no connection, so that no other model answers either.
        rates: what the service said of its limits of rate.
    """

    exit_code = 5

    def __init__(  # noqa: PLR0913 - what is known of a failure
        self,
        message: str,
        *,
        retryable: bool = False,
        retry_after: float | None = None,
        started: bool = False,
        mendable: bool = False,
        unreachable: bool = False,
        rates: tuple[RateNews, ...] = (),
        hint: str = "",
    ) -> None:
        super().__init__(message, hint=hint)
        self.unreachable = unreachable
        self.rates = rates
        self.retryable = retryable
        self.retry_after = retry_after
        self.started = started
        self.mendable = mendable


class ModelOverloaded(ModelError):
    """The service is over its capacity, or we are over our rate."""


class ModelRefused(ModelError):
    """The service refuses the request itself: key, model, size or form."""


class TooLong(ModelRefused):
    """The service does not take a request because it is longer than the model's window."""


class MalformedReply(ModelError):
    """What arrived is not a reply: a broken stream, or one that ended too early."""


class SandboxUnavailable(OrchestratorError):
    """This machine has no working walls; nothing is run without them."""

    exit_code = 5


class WorkspaceError(OrchestratorError):
    """A repository or a run's workspace is not as it must be."""

    exit_code = 5


class DiskFull(WorkspaceError):
    """There is no room for what has to be written; the run goes on once there is.

    Args:
        failed: what failed for it.
    """

    def __init__(self, failed: str) -> None:
        hint = "free some space, or choose another folder with --state"
        super().__init__(f"the disk is full: {failed}", hint=hint)


class DeliveryRefused(WorkspaceError):
    """The branch cannot be set as things are; a person decides what becomes of the commit."""

    exit_code = 3


class RemoteUnavailable(OrchestratorError):
    """A remote cannot be reached or does not take the credentials; the same may succeed later."""

    exit_code = 5


class RepositoryRefused(WorkspaceError):
    """The repository cannot be worked on, for a reason that its owner can mend."""

    exit_code = 2


class JournalError(OrchestratorError):
    """The journal cannot be read or written; nothing goes on without it."""

    exit_code = 5


class LeaseLost(JournalError):
    """Another process has taken the run over; this one stops at once."""


def only(error: BaseException) -> BaseException:
    """Return the one error that matters in a group of them: ours before others."""
    while isinstance(error, BaseExceptionGroup):
        inner: list[BaseException] = list(error.exceptions)
        ours = [one for one in inner if isinstance(one, OrchestratorError | BaseExceptionGroup)]
        error = (ours or inner)[0]
    return error


def is_machine_fault(error: BaseException) -> bool:
    """Tell whether an error is the machine's: no walls, a full disk; also where it is told anew."""
    seen: list[BaseException] = []
    current: BaseException | None = error
    while current is not None and current not in seen:
        if isinstance(current, SandboxUnavailable | DiskFull):
            return True
        if isinstance(current, OSError) and current.errno in MACHINE:
            return True
        seen.append(current)
        current = current.__cause__ or current.__context__
    return False
