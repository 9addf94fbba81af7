"""Delivery beyond this machine: one push, one pull request, one answer a thread.

Each step is an intent, the act, and its result, in the run's own events. After a process was killed
between any two of them the next one looks at what is there, and does only what is missing.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Literal

import anyio.to_thread

from orchestrator.announcing import (
    answer_marker,
    answer_of,
    body_of,
    is_ours,
    merged_body,
    round_of,
    run_marker,
    title_of,
    with_round,
)
from orchestrator.calm import loud
from orchestrator.deliveryevents import (
    AnswerIntended,
    BranchPushed,
    PullRequestIntended,
    PullRequestSet,
    PushIntended,
    RoundNoted,
    ThreadAnswered,
)
from orchestrator.errors import (
    DeliveryRefused,
    JournalError,
    OrchestratorError,
    TrackerConflict,
    TrackerMissing,
)
from orchestrator.events import Event
from orchestrator.hostgit import run_git
from orchestrator.ports import CodeHost
from orchestrator.pullrequests import PullRequest, PullRequestWish
from orchestrator.records import SECRETS_GATE, Outcome, Run, Verdict
from orchestrator.remotes import Remote
from orchestrator.repository import Repository
from orchestrator.values import frozen

HEADS = "refs/heads/"
LOUD_MOST = 5
MESSAGES_MOST, MESSAGES_LIMIT = 200, 256 * 1024
"""Messages of commits, and bytes of them, that are looked through."""


@frozen
class Delivery:
    """What becomes of work that was let through, beyond the branch here.

    Attributes:
        remote: where it is pushed to.
        host: where pull requests are.
        mode: whether one is opened, and how.
        base: the branch it is to be merged into; empty means the one that the run started from.
        labels: that it gets.
        reviewers: that are asked.
        closes: whether issues are the host's own, so that merging closes them.
        rescue: whether work that was not let through is pushed under a name of its own.
        rounds: how many runs may go on with one pull request.
        clean: takes out of a model's words what must not be published.
    """

    remote: Remote
    host: CodeHost
    mode: Literal["draft", "ready", "none"] = "none"
    base: str = ""
    labels: tuple[str, ...] = ()
    reviewers: tuple[str, ...] = ()
    closes: bool = False
    rescue: bool = False
    rounds: int = 3
    clean: Callable[[str], str] = str


class Publisher:
    """Publishes the work of one run, once, whatever happens.

    Args:
        run: whose work it is.
        delivery: how it is published.
        repository: where its commits are.
        emit: records events; when it returns they are on disk.
        events: the run's events so far; it is looked at, never changed.
    """

    def __init__(
        self,
        run: Run,
        delivery: Delivery,
        *,
        repository: Repository,
        emit: Callable[..., Awaitable[None]],
        events: Sequence[Event],
    ) -> None:
        self._run = run
        self._delivery = delivery
        self._repository = repository
        self._emit = emit
        self._events = events

    async def publish(self, outcome: Outcome, base: str) -> Outcome:
        """Push the outcome's commit, have its pull request, and answer what it works on.

        Args:
            outcome: that of a run whose branch is set; it is what people are told.
            base: the commit that the work is a change of.

        Returns:
            The outcome, with where it was pushed to and its pull request.

        Raises:
            DeliveryRefused: only a person can go on.
            RemoteUnavailable: the remote cannot be reached; the same may succeed later.
            TrackerError: the code host did not do what was asked.
        """
        where = await self._pushed(outcome.branch, outcome.commit, base)
        outcome = dataclasses.replace(outcome, pushed=where)
        outcome = self._noted(outcome, await self._said_in_commits(outcome.commit, base))
        host = self._delivery.host
        if self._delivery.mode == "none":
            return outcome
        found = await self._pull_request(host, outcome)
        outcome = dataclasses.replace(outcome, pull_request=found.url)
        return self._noted(outcome, await self._answers(host, outcome))

    async def begun(self) -> None:
        """Have the pull request say that a run goes on with it, before anything is paid for.

        Where no journal of this run is found later, as on another machine, that bounds how often.

        Raises:
            TrackerError: the code host did not do what was asked.
        """
        continued = self._run.continues
        if continued is None or self._delivery.mode == "none":
            return
        done = RoundNoted(continued.number, continued.round)
        if done in self._events:
            return
        found = await self._delivery.host.find(continued.branch)
        if found is not None and found.state == "open" and round_of(found.body) < continued.round:
            wish = self._as_it_is(found, with_round(found.body, continued.round))
            await self._delivery.host.amend(found, wish)
        await self._emit(done)

    async def answer(self, outcome: Outcome) -> Outcome:
        """Answer what the run was to work on, where it has changed nothing.

        Returns:
            The outcome, with what could not be answered.

        Raises:
            TrackerError: the code host did not do what was asked.
        """
        if self._delivery.mode == "none":
            return outcome
        return self._noted(outcome, await self._answers(self._delivery.host, outcome))

    async def _said_in_commits(self, commit: str, base: str) -> list[str]:
        """Return a note of messages that do something when they are pushed or merged.

        They are the agent's own words, and part of what was judged: they cannot be made to do
        nothing any more, but whoever merges them can be told.
        """
        own = self._run.issue.key if self._delivery.closes else ""
        messages = partial(messages_of, self._repository, base, commit)
        found = loud(await anyio.to_thread.run_sync(messages), own)
        if not found:
            return []
        told = ", ".join(f"'{one}'" for one in found[:LOUD_MOST])
        more = f" and {len(found) - LOUD_MOST} more" if len(found) > LOUD_MOST else ""
        return [f"messages of its commits close issues or mention people: {told}{more}"]

    @staticmethod
    def _noted(outcome: Outcome, notes: Sequence[str]) -> Outcome:
        return dataclasses.replace(outcome, notes=(*outcome.notes, *notes))

    # -- the push --------------------------------------------------------------------------

    async def _pushed(self, branch: str, commit: str, base: str) -> str:
        remote = self._delivery.remote
        done = BranchPushed(remote.shown(), branch, commit)
        if done not in self._events:
            expected = self._run.base_commit if self._run.continues else None
            if expected is None:
                await require_known(self._repository, remote, base, self._run.base_ref)
            await self._intend(PushIntended(remote.shown(), branch, commit))
            await remote.push(branch, commit, expected=expected)
            await self._emit(done)
        return f"{remote.shown()} {branch}"

    async def rescued(
        self, outcome: Outcome, verdicts: Sequence[Verdict], gates: Sequence[str], base: str
    ) -> Outcome:
        """Push work that was not let through under a name of its own, where that may be.

        What the gate for secrets has not passed never leaves this machine.

        Args:
            outcome: its error says why it was not let through.
            verdicts: what the gates said of its commit.
            gates: the names of all gates that judge.
            base: the commit that the work is a change of; it holds what was merged in.

        Returns:
            The outcome, with where the work is, or why it could not be pushed.
        """
        there = self._is_pushed(outcome.commit)
        if there is not None:
            return dataclasses.replace(outcome, pushed=f"{there.remote} {there.branch}")
        if not self._delivery.rescue or not outcome.commit:
            return outcome
        if not verdicts or not may_leave(verdicts, outcome.commit, gates):
            return outcome
        remote = self._delivery.remote
        branch = f"rescue/{self._run.issue.key}-{self._run.run_id.rpartition('-')[2]}"
        done = BranchPushed(remote.shown(), branch, outcome.commit, rescue=True)
        where = f"the work is pushed as {branch} to {remote.shown()}, to be looked at"
        if done not in self._events:
            try:
                await require_known(self._repository, remote, base, self._run.base_ref)
                await self._intend(
                    PushIntended(remote.shown(), branch, outcome.commit, rescue=True)
                )
                await remote.push(branch, outcome.commit)
            except JournalError:
                raise
            except OrchestratorError as error:
                note = f"the work could not be pushed to be looked at: {error}"
                return dataclasses.replace(outcome, notes=(*outcome.notes, note))
            await self._emit(done)
        pushed = f"{remote.shown()} {branch}"
        return dataclasses.replace(outcome, pushed=pushed, notes=(*outcome.notes, where))

    def _is_pushed(self, commit: str) -> BranchPushed | None:
        """Return where a commit is pushed to under its own branch's name, if it is."""
        pushed = [one for one in self._events if isinstance(one, BranchPushed) and not one.rescue]
        return next((one for one in pushed if commit and one.commit == commit), None)

    async def _intend(self, intent: Event) -> None:
        if not any(one.key == intent.key for one in self._events):
            await self._emit(intent)

    # -- the pull request ------------------------------------------------------------------

    async def _pull_request(self, host: CodeHost, outcome: Outcome) -> PullRequest:
        branch = outcome.branch
        done = next((one for one in self._events if isinstance(one, PullRequestSet)), None)
        if done is not None:
            return PullRequest(done.number, done.url, "open", branch, self._base())
        found = await host.find(branch)
        self._require_open(found)
        # All of it: an agent's words are in what was seen of it and in findings, too.
        body = self._delivery.clean(body_of(self._run, outcome, closes=self._delivery.closes))
        await self._intend(PullRequestIntended(branch))
        if found is None or found.state != "open":
            found = await host.open(self._wish(branch, body))
        elif is_ours(found.body, self._run.issue.key):
            # One that this very run opened may have been cut off before anybody was asked.
            opened = self._run.continues is None and run_marker(self._run.run_id) in found.body
            wish = dataclasses.replace(
                self._as_it_is(found, merged_body(found.body, body)),
                labels=self._delivery.labels,
                reviewers=self._delivery.reviewers if opened else (),
            )
            found = await host.amend(found, wish)
        await self._emit(PullRequestSet(found.number, found.url))
        return found

    @staticmethod
    def _as_it_is(found: PullRequest, body: str) -> PullRequestWish:
        """Return a wish that leaves what people made of title, base, draft and reviewers."""
        return PullRequestWish(
            title=found.title,
            body=body,
            branch=found.branch,
            base=found.base,
            draft=found.draft,
        )

    def _require_open(self, found: PullRequest | None) -> None:
        """Refuse to open another one in place of one that a person has closed."""
        continued = self._run.continues
        ours = found is not None and run_marker(self._run.run_id) in found.body
        if continued is None and not ours:
            return
        if found is not None and found.state == "open":
            return
        state = found.state if found is not None else "gone"
        url = found.url if found is not None else continued.url if continued else ""
        raise DeliveryRefused(
            f"pull request {url} was {state} by somebody meanwhile",
            hint="the work is pushed; reopen the pull request, or open another one for its branch",
        )

    def _wish(self, branch: str, body: str) -> PullRequestWish:
        return PullRequestWish(
            title=title_of(self._run.issue, here=self._delivery.closes),
            body=body,
            branch=branch,
            base=self._base(),
            draft=self._delivery.mode == "draft",
            labels=self._delivery.labels,
            reviewers=self._delivery.reviewers,
        )

    def _base(self) -> str:
        return self._delivery.base or self._run.base_ref.removeprefix(HEADS)

    # -- answers ---------------------------------------------------------------------------

    async def _answers(self, host: CodeHost, outcome: Outcome) -> list[str]:
        """Answer each thread once; return what is to be told of those that are gone."""
        lost: list[str] = []
        if self._run.continues is None:
            return lost
        body = self._delivery.clean(answer_of(self._run, outcome))
        for thread in self._run.continues.feedback.threads:
            done = ThreadAnswered(thread.id)
            if done in self._events:
                continue
            await self._intend(AnswerIntended(thread.id))
            try:
                await host.answer(thread.id, answer_marker(thread), body)
            except (TrackerMissing, TrackerConflict) as error:
                # Somebody deleted or locked it meanwhile; that would never end otherwise.
                lost.append(f"a comment could not be answered: {error}")
                continue
            await self._emit(done)
        return lost


def messages_of(repository: Repository, base: str, commit: str) -> str:
    """Return the messages of the commits that work brings, as far as anybody reads them."""
    asked = ["log", f"-{MESSAGES_MOST}", "--format=%B", f"{base}..{commit}", "--"]
    done = run_git(asked, cwd=repository.common, check=False)
    return done.stdout[:MESSAGES_LIMIT].decode("utf-8", "replace")


def may_leave(verdicts: Sequence[Verdict], commit: str, gates: Sequence[str]) -> bool:
    """Tell whether the gate for secrets, where it judges at all, has passed this very commit."""
    said = [one for one in verdicts if one.gate == SECRETS_GATE]
    if any(one.state != "passed" or one.commit != commit for one in said):
        return False
    return bool(said) or SECRETS_GATE not in gates


async def require_known(repository: Repository, remote: Remote, base: str, ref: str) -> None:
    """Refuse to publish commits of the user's own that the remote does not have.

    Args:
        repository: where they are.
        remote: what is pushed to.
        base: the commit that work starts from, or is a change of.
        ref: the user's branch, for the hint.

    Raises:
        DeliveryRefused: no branch of the remote holds the base.
        RemoteUnavailable: the remote cannot be asked.
    """
    if await anyio.to_thread.run_sync(repository.was_fetched, remote.name, base):
        return
    heads = set((await remote.heads()).values())
    for head in heads:
        if head == base:
            return
    for head in heads:
        known = await anyio.to_thread.run_sync(repository.has, head)
        if known and await anyio.to_thread.run_sync(repository.is_ancestor, base, head):
            return
    name = ref.removeprefix(HEADS) or "YOUR-BRANCH"
    raise DeliveryRefused(
        f"{remote.shown()} does not have commit {base[:12]}, which the work starts from: pushing "
        "would publish commits of yours",
        hint=f"push them first: git push {remote.shown()} {name}",
    )
