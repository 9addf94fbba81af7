"""Events of delivery beyond this machine: an intent before each step, its result after."""

from __future__ import annotations

from orchestrator.values import frozen


@frozen
class PushIntended:
    """A branch of the remote is about to be set to a commit.

    Attributes:
        remote: as it may be told; no secret is in it.
        rescue: whether this is work that was not let through, under a name of its own.
    """

    remote: str
    branch: str
    commit: str
    rescue: bool = False

    @property
    def key(self) -> str:
        return f"{'rescue' if self.rescue else 'push'}/{self.commit}/intent"


@frozen
class BranchPushed:
    """A branch of the remote is at the commit."""

    remote: str
    branch: str
    commit: str
    rescue: bool = False

    @property
    def key(self) -> str:
        return f"{'rescue' if self.rescue else 'push'}/{self.commit}"


@frozen
class PullRequestIntended:
    """A pull request is about to be opened or amended."""

    branch: str

    @property
    def key(self) -> str:
        return "pull-request/intent"


@frozen
class PullRequestSet:
    """The pull request is there and says what it should."""

    number: str
    url: str

    @property
    def key(self) -> str:
        return "pull-request"


@frozen
class AnswerIntended:
    """A thread of the pull request is about to be answered."""

    thread: str

    @property
    def key(self) -> str:
        return f"answer/{self.thread}/intent"


@frozen
class ThreadAnswered:
    """A thread of the pull request is answered."""

    thread: str

    @property
    def key(self) -> str:
        return f"answer/{self.thread}"


@frozen
class RoundNoted:
    """The pull request says that a run goes on with it, before anything is paid for."""

    number: str
    round: int

    @property
    def key(self) -> str:
        return "round"


@frozen
class IssueMoved:
    """The tracker shows how far work on the issue is."""

    issue: str
    to: str

    @property
    def key(self) -> str:
        return f"issue/{self.to}"


@frozen
class IssueCommented:
    """The issue's own comment tells how the run ended."""

    issue: str
    url: str

    @property
    def key(self) -> str:
        return "issue/comment"
