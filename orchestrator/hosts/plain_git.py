"""A code host that is plain git: it takes pushes, and knows of no pull requests."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, NoReturn

from orchestrator.errors import TrackerError
from orchestrator.pullrequests import Feedback, PullRequest, PullRequestWish
from orchestrator.remoteurls import RemoteUrl


class PlainGit:
    """A remote over https, ssh or a folder, with the user's own git credentials.

    Args:
        url: where it is.
    """

    def __init__(self, url: RemoteUrl) -> None:
        self._url = url

    async def find(self, branch: str) -> PullRequest | None:
        """Return nothing: there are no pull requests."""
        del branch
        return None

    async def open(self, wish: PullRequestWish) -> PullRequest:
        """Refuse.

        Raises:
            TrackerError: always.
        """
        self._refuse(f"a pull request for {wish.branch} cannot be opened")

    async def amend(self, found: PullRequest, wish: PullRequestWish) -> PullRequest:
        """Refuse.

        Raises:
            TrackerError: always.
        """
        del wish
        self._refuse(f"pull request {found.number} cannot be changed")

    async def comment(
        self, number: str, marker: str, body: str, *, on: Literal["issue", "pull request"]
    ) -> str:
        """Refuse.

        Raises:
            TrackerError: always.
        """
        del marker, body
        self._refuse(f"{on} {number} cannot be commented on")

    async def feedback(self, found: PullRequest) -> Feedback:
        """Return nothing: nobody can say anything here."""
        del found
        return Feedback()

    async def answer(self, thread: str, marker: str, body: str) -> None:
        """Refuse.

        Raises:
            TrackerError: always.
        """
        del marker, body
        self._refuse(f"thread {thread} cannot be answered")

    async def push_url(self) -> tuple[str, Mapping[str, str]]:
        """Return the remote's address; the user's own git has the credentials."""
        return self._url.address, {}

    async def aclose(self) -> None:
        """Do nothing: git's own connections end with its commands."""

    def _refuse(self, what: str) -> NoReturn:
        raise TrackerError(
            f"{what}: plain git has none", hint="set delivery.pull_request: none, or name a host"
        )
