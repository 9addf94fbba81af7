"""What people and code hosts say of work: comments, pull requests, threads, checks."""

from __future__ import annotations

from typing import Literal

from orchestrator.values import frozen


@frozen
class Comment:
    """What somebody wrote under an issue or a pull request.

    Attributes:
        association: how the service names the author's tie to the project, like ``MEMBER``.
        trusted: whether the author may write to the project; of others the body is left out.
        path: the file that it is about, for a comment on a change.
        line: in that file; 0 means the file as a whole.
    """

    author: str
    body: str
    association: str = ""
    trusted: bool = False
    url: str = ""
    path: str = ""
    line: int = 0


PullRequestState = Literal["open", "closed", "merged"]


@frozen
class PullRequest:
    """A pull request as its host has it.

    Attributes:
        number: how the host counts it, as text.
        branch: its head; the host's own repository only, never a fork's.
        base: what it is to be merged into.
        sha: the commit that its head is at; empty where the host does not say.
    """

    number: str
    url: str
    state: PullRequestState
    branch: str
    base: str
    title: str = ""
    body: str = ""
    draft: bool = False
    sha: str = ""
    author: str = ""
    labels: tuple[str, ...] = ()


@frozen
class PullRequestWish:
    """What a pull request is to be.

    Attributes:
        labels: are added; those that a person put there stay.
        reviewers: logins; ``org/team`` on GitHub asks a team.
        assignees: logins.
    """

    title: str
    body: str
    branch: str
    base: str
    draft: bool = False
    labels: tuple[str, ...] = ()
    reviewers: tuple[str, ...] = ()
    assignees: tuple[str, ...] = ()


@frozen
class Thread:
    """A conversation on a pull request that waits for an answer.

    Attributes:
        id: what an answer is given to.
        comments: by people who may write to the project, and our own answers, oldest first.
        markers: hidden markers of answers that are there already, by this account.
        kind: on lines of the change, or on the pull request as a whole.
    """

    id: str
    comments: tuple[Comment, ...]
    markers: tuple[str, ...] = ()
    kind: Literal["lines", "whole"] = "lines"
    resolved: bool = False


@frozen
class FailedCheck:
    """A check of the host that failed on a pull request's commit.

    Attributes:
        summary: what it says of itself, shortened; hostile text.
    """

    name: str
    conclusion: str
    summary: str = ""
    url: str = ""


@frozen
class Feedback:
    """What a pull request's host has to say of it.

    Attributes:
        threads: unresolved ones in which somebody with write access spoke.
        failed: checks that failed on ``sha``.
        sha: the commit that it is about.
        pending: how many checks have not ended yet.
        left_out: how many comments were left out, for their authors may not write.
    """

    threads: tuple[Thread, ...] = ()
    failed: tuple[FailedCheck, ...] = ()
    sha: str = ""
    pending: int = 0
    left_out: int = 0


@frozen
class Continued:
    """A pull request that a run goes on with.

    Attributes:
        round: how many runs have gone on with it, this one included.
        feedback: what waited for an answer when the run began.
    """

    number: str
    url: str
    branch: str
    round: int
    feedback: Feedback
