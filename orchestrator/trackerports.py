"""What an adapter of a tracker or a code host must offer; ``ports`` has them all on one page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, Protocol, runtime_checkable

from orchestrator.pullrequests import Feedback, PullRequest, PullRequestWish
from orchestrator.records import Issue, Outcome


class IssueTracker(Protocol):
    """Where issues come from and reports go to."""

    async def fetch(self, key: str) -> Issue:
        """Return an issue.

        Raises:
            IssueNotFound: there is none with this key.
            TrackerError: the tracker cannot be read.
        """
        ...

    async def report(self, issue: Issue, outcome: Outcome) -> None:
        """Tell the tracker how a run ended, if it wants to know."""
        ...


@runtime_checkable
class IssueKeys(Protocol):
    """A tracker whose issues can be named in more than one way."""

    def key_of(self, said: str) -> str:
        """Return an issue's one key; nobody is asked.

        Raises:
            IssueNotFound: it is no key, or another project's.
        """
        ...


@runtime_checkable
class IssueHistory(Protocol):
    """A tracker that can tell which issues were solved, and who had them."""

    async def solved(self, most: int) -> Sequence[Issue]:
        """Return closed issues that had an assignee, newest first.

        Raises:
            TrackerError: the tracker cannot be read.
        """
        ...


@runtime_checkable
class IssueQueue(Protocol):
    """A tracker that can tell which issues wait for work."""

    async def candidates(self, labels: Sequence[str], most: int) -> Sequence[Issue]:
        """Return open issues that carry all of the labels, oldest first, without comments.

        Raises:
            TrackerError: the tracker cannot be read to its end; a part is never returned as all.
        """
        ...


@runtime_checkable
class UnreadableIssues(Protocol):
    """A tracker that may hold issues which cannot be read, so that nobody knows their labels."""

    async def unreadable(self) -> Sequence[str]:
        """Return the keys of issues that cannot be read; fetching one says why."""
        ...


@runtime_checkable
class IssueStates(Protocol):
    """A tracker that can show how far work on an issue is: in a state of its own, or by a label."""

    async def move(
        self, issue: Issue, to: Literal["working", "delivered", "failed", "released"]
    ) -> None:
        """Show how far work is, as the settings name it; where it shows that, nothing is sent.

        A stage that the settings do not name sends nothing, but takes away the label that another
        stage has put there. What a person has closed meanwhile stays closed.

        Raises:
            TrackerError: the tracker does not take it, or has no such state; work can go on.
        """
        ...


@runtime_checkable
class Closing(Protocol):
    """A tracker, host or board that has something to close."""

    async def aclose(self) -> None:
        """Close connections; closing twice does no harm."""
        ...


class CodeHost(Protocol):
    """Where pull requests are; every call can be repeated and changes nothing the second time."""

    async def find(self, branch: str) -> PullRequest | None:
        """Return the pull request of a branch: an open one first, else the newest.

        Raises:
            TrackerError: the host cannot be asked.
        """
        ...

    async def open(self, wish: PullRequestWish) -> PullRequest:
        """Open a pull request; one that is open already for the branch is returned as it is.

        Raises:
            TrackerError: it cannot be opened.
        """
        ...

    async def amend(self, found: PullRequest, wish: PullRequestWish) -> PullRequest:
        """Make an open pull request what is wished; nothing is sent where it is that already.

        Raises:
            TrackerError: it cannot be changed.
        """
        ...

    async def comment(
        self, number: str, marker: str, body: str, *, on: Literal["issue", "pull request"]
    ) -> str:
        """Write a comment, or edit the one of ours that has the marker; returns its address.

        Args:
            number: of the issue or pull request.
            marker: letters, digits and ``-:_./``; it is hidden in the comment.
            body: markdown.
            on: what the number counts.

        Raises:
            TrackerError: it cannot be written.
        """
        ...

    async def feedback(self, found: PullRequest) -> Feedback:
        """Return what waits for an answer: threads of people who may write, and failed checks.

        Raises:
            TrackerError: the host cannot be asked.
        """
        ...

    async def answer(self, thread: str, marker: str, body: str) -> None:
        """Answer a thread, once for a marker.

        Raises:
            TrackerError: it cannot be answered.
        """
        ...

    async def push_url(self) -> tuple[str, Mapping[str, str]]:
        """Return the https address to push to, and git's environment that holds the secret.

        The mapping is ``GIT_CONFIG_COUNT``, ``GIT_CONFIG_KEY_0`` and ``GIT_CONFIG_VALUE_0``, which
        set ``http.<address>.extraHeader``: no secret is in the address or in argv.

        Raises:
            TrackerError: there is no credential.
        """
        ...


class Claims(Protocol):
    """Marks issues as taken, so that no two orchestrators work on one."""

    async def claim(self, issue: str, run: str) -> bool:
        """Take an issue for a run, or renew that; tells whether it is this run's now.

        Raises:
            TrackerError: nobody can tell.
        """
        ...

    async def release(self, issue: str, run: str) -> None:
        """Give an issue back; where it is another run's, nothing is changed.

        Raises:
            TrackerError: the tracker does not take it.
        """
        ...


class Board(Protocol):
    """Notes under an issue that orchestrators leave for each other."""

    async def notes(self, issue: str) -> Sequence[tuple[str, str]]:
        """Return marker and text of each note of an account that may write, oldest first.

        Raises:
            TrackerError: they cannot be read to their end.
        """
        ...

    async def note(self, issue: str, marker: str, text: str) -> None:
        """Write a note, or edit the one that has the marker: it keeps its place.

        Raises:
            TrackerError: it cannot be written.
        """
        ...
