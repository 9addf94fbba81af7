"""A second agent judges the change against the issue, from a clean checkout of its own."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Sequence
from itertools import count
from pathlib import Path

import anyio
import anyio.to_thread

from orchestrator import prompts, reviewfindings, toolbox
from orchestrator.agent import Agent
from orchestrator.asking import Asking, Ending, Fallback, Patience, stopped_by
from orchestrator.care import Care, CareMeans
from orchestrator.errors import ConfigError
from orchestrator.events import (
    REVIEW,
    Event,
    Prompted,
    Reviewed,
    Signal,
    TranscriptOpened,
)
from orchestrator.governor import Governor
from orchestrator.hearing import Hearing, ReviewTools
from orchestrator.limits import Ledger
from orchestrator.patches import read_patch
from orchestrator.permissions import Permissions
from orchestrator.ports import Clock, ModelClient, Sandbox
from orchestrator.prices import Model
from orchestrator.records import (
    AgentDefinition,
    Finding,
    Limits,
    Review,
    Run,
    Severity,
    VerdictState,
)
from orchestrator.removal import remove_tree
from orchestrator.repository import Repository
from orchestrator.session import Session
from orchestrator.toolcode import boot_argv
from orchestrator.toolserver import ToolServer
from orchestrator.transcript import encode_head, encode_message, text_block
from orchestrator.values import frozen
from orchestrator.workflow import Work
from orchestrator.workspaces import Shared, Workspace

WHOSE = "the review"
"""Whose the limits of all reviews are."""

CHANGING = ("Write", "Edit", "Bash")
"""Tools that no reviewer has, whatever its file says."""

ASKED_MOST = 2
"""How often a reviewer that stops without a verdict is asked for one."""

BROKEN_MOST = 3
"""Verdicts that are none, after which a review is given up."""


@frozen
class ReviewMeans:
    """What a review is done with.

    Attributes:
        client: gives what asks the model, for a session.
        floor: the least severity of findings that go back.
        rounds: how often findings go back.
        usd: what all reviews of a run may cost; None means no limit of their own.
        turns: what one review may take.
    """

    definition: AgentDefinition
    model: Model
    client: Callable[[str], ModelClient]
    floor: Severity
    rounds: int
    usd: float | None
    turns: int


class NoSnapshots:
    """A reviewer changes nothing, so nothing is kept."""

    def begin(self, turn: int) -> None:
        """Do nothing."""

    async def settled(self) -> None:
        """Do nothing."""

    def state(self) -> tuple[int, str]:
        """Return nothing: there is no state."""
        return 0, ""


class Reviewer:
    """Reviews the commits of one run.

    Args:
        run: whose commits they are.
        means: what a review is done with.
        folder: where checkouts are made; they are removed after use.
        guidance: the repository's own, of the base commit.
        ledger: the run's account, which pays as well.
        time_left: tells the seconds that the run still has; None means no limit.
        events: the run's events so far; it is looked at, never changed.
        emit: records events; when it returns they are on disk.
        show: shows a signal.
        care: what its reviewers are looked after with.
        shared: what is shown of the user's own checkout.
        governor: has the models' lanes.
        fallback: goes on where the reviewer's model is not to be had.
    """

    def __init__(  # noqa: PLR0913 - every collaborator is passed in
        self,
        *,
        run: Run,
        means: ReviewMeans,
        folder: Path,
        repository: Repository,
        sandbox: Sandbox,
        guidance: str,
        ledger: Ledger,
        time_left: Callable[[], float | None],
        events: Sequence[Event],
        emit: Callable[..., Awaitable[None]],
        show: Callable[[Signal], None],
        clock: Clock,
        patience: Patience,
        dice: random.Random,
        care: CareMeans,
        shared: Shared | None = None,
        governor: Governor | None = None,
        fallback: Fallback | None = None,
    ) -> None:
        self._run = run
        self._means = means
        self._folder = folder
        self._repository = repository
        self._sandbox = sandbox
        self._guidance = guidance
        self._ledger = ledger
        self._time_left = time_left
        self._events = events
        self._emit = emit
        self._show = show
        self._clock = clock
        self._patience = patience
        self._dice = dice
        self._care = care
        self._shared = shared
        self._governor = governor
        self._fallback = fallback

    async def reviewed(self, work: Work, number: int) -> Review | Ending:
        """Return the review of a commit; one that is journaled stands.

        Args:
            work: what is reviewed.
            number: the round.

        Returns:
            The review, or why the run itself has to stop, after which it goes on here.
        """
        for event in self._events:
            if isinstance(event, Reviewed):
                known = event.review
                if (known.tree, known.base) == (work.tree, work.base):
                    return known
        patch = await anyio.to_thread.run_sync(read_patch, self._repository, work.base, work.commit)
        # Named by both commits, so that a review is taken up again on the very same change only.
        named = f"commit {work.commit[:12]} against {work.base[:12]}"
        place = self._workspace(work).layout.workspace
        text = prompts.change_message(
            self._run.issue, patch, named=named, guidance=self._guidance, place=place
        )
        at = self._unused(text)
        found = await self._review(work, text, at)
        if isinstance(found, Review):
            await self._emit(Reviewed(number, found))
        return found

    @property
    def _checkout(self) -> Path:
        return self._folder / "review"

    def _workspace(self, work: Work) -> Workspace:
        """Return where the commit is checked out: never where its author works."""
        return Workspace(
            self._checkout,
            repository=self._repository,
            base=work.commit,
            branch="review",
            sandbox=self._sandbox,
            identity="review",
            shared=self._shared,
        )

    def _unused(self, text: str) -> int:
        """Return the number of the review to do: one that was begun on the very same change."""
        done = max((e.review.number for e in self._events if isinstance(e, Reviewed)), default=0)
        message = encode_message("user", [text_block(text)])
        for number in count(done + 1):
            begun = self._asked(f"{REVIEW}{number}")
            if not begun or begun[0].message == message:
                return number
        raise AssertionError("numbers do not end")

    def _asked(self, session: str) -> list[Prompted]:
        return [
            one
            for one in self._events
            if isinstance(one, Prompted) and one.session == session and one.cause == "change"
        ]

    async def _review(self, work: Work, text: str, number: int) -> Review | Ending:
        name = f"{REVIEW}{number}"
        account = self._account(name, REVIEW)
        try:
            client = self._means.client(name)
        except ConfigError as error:
            return self._review_of(work, number, ("not_executed", str(error), ()))
        workspace = self._workspace(work)
        hearing = Hearing(name, lambda: self._events, most=BROKEN_MOST)
        try:
            await anyio.to_thread.run_sync(workspace.clear)
            await anyio.to_thread.run_sync(workspace.lay_out)
            await workspace.check_out_inside(work.commit)
            server = ToolServer(self._sandbox, workspace.spec, boot_argv(self._sandbox))
            async with server.open():
                agent = await self._agent(name, client, workspace, server, account, hearing)
                with account.at_work():
                    ending = await self._heard(agent, hearing, text)
        finally:
            with anyio.CancelScope(shield=True):
                await anyio.to_thread.run_sync(remove_tree, self._checkout)
        if self._stops_run(ending):
            return ending
        judged = hearing.judgement()
        summary = prompts.cleaned(judged.summary) if judged else ""
        found = reviewfindings.judged(judged, hearing.broken(), ending.error, self._means.floor)
        return self._review_of(work, number, found, summary)

    def _review_of(
        self,
        work: Work,
        number: int,
        judged: tuple[VerdictState, str, tuple[Finding, ...]],
        summary: str = "",
    ) -> Review:
        name = f"{REVIEW}{number}"
        state, reason, found = judged
        return Review(
            number=number,
            state=state,
            reason=reason,
            summary=summary,
            findings=found,
            floor=self._means.floor,
            agent=self._means.definition.name,
            model=self._means.model.id,
            cost_usd=round(self._account(name, name).spent_usd, 6),
            commit=work.commit,
            tree=work.tree,
            base=work.base,
        )

    def _account(self, session: str, of: str) -> Ledger:
        """Return an account of the sessions whose names begin so, with what was spent already."""
        account = Ledger(
            Limits(usd=self._means.usd, turns=self._means.turns),
            self._means.model.price,
            max_output=self._means.model.max_output,
            above=self._ledger,
            session=session,
            account=of,
            whose=WHOSE,
        )
        account.recount(self._events)
        return account

    async def _agent(
        self,
        name: str,
        client: ModelClient,
        workspace: Workspace,
        server: ToolServer,
        account: Ledger,
        hearing: Hearing,
    ) -> Agent:
        allowed = self._permissions(workspace)
        tools = ReviewTools(toolbox.Toolbox(server, allowed, is_full=server.is_full))
        session = await self._session(name, workspace, tools)
        cache = self._care.cache(self._means.model, self._clock)

        def asking(of: Session, ledger: Ledger) -> Asking:
            of.model = of.model or session.model  # a summary is written by who answers
            return Asking(
                session=of,
                model=self._means.model.id,
                client=client,
                ledger=ledger,
                emit=self._emit,
                show=self._show,
                cache=cache,
                patience=self._patience,
                dice=self._dice,
                run=self._run.run_id,
                governor=self._governor,
                fallback=self._fallback,
            )

        return Agent(
            session=session,
            asking=asking(session, account),
            care=Care(
                self._care,
                session=session,
                model=self._means.model,
                ledger=account,
                cache=cache,
                asking=asking,
                events=lambda: self._events,
                fallback=self._fallback.model if self._fallback else None,
                writes=False,
            ),
            tools=tools,
            ledger=account,
            snapshots=NoSnapshots(),
            notes=list,
            emit=self._emit,
            show=self._show,
            clock=self._clock,
            until=hearing.is_over,
        )

    def _permissions(self, workspace: Workspace) -> Permissions:
        definition, layout = self._means.definition, workspace.layout
        return Permissions(
            definition.tools,
            (*definition.denied, *CHANGING),
            every=toolbox.every_tool(),
            workspace=layout.workspace,
            home=layout.home,
        )

    async def _session(self, name: str, workspace: Workspace, tools: ReviewTools) -> Session:
        """Return the session as it was left, or a new one, whose opening is recorded."""
        place, definition = workspace.layout.workspace, self._means.definition
        session = Session.rebuilt(name, self._events, place)
        if session is None:
            prompt = prompts.reviewer_prompt(definition)
            opened = TranscriptOpened(name, encode_head(prompt, tools.specs(), definition.effort))
            await self._emit(opened)
            session = Session.rebuilt(name, [opened], place)
        if session is None:
            raise AssertionError("a session that was just opened is there")
        return session

    async def _heard(self, agent: Agent, hearing: Hearing, text: str) -> Ending:
        """Let the reviewer work until it has judged, or will not."""
        if len(agent.session.transcript) == 0:
            agent.prompt(text, "change")
        while True:
            ending = await self._within_time(agent)
            asked = len(self._asked(agent.session.name)) - 1
            if ending.kind != "finished" or agent.session.reply is not None:
                return ending
            if hearing.judgement() is not None or asked >= ASKED_MOST:
                return ending
            agent.prompt(prompts.ASK_VERDICT, "change")

    async def _within_time(self, agent: Agent) -> Ending:
        limit = self._ledger.account.time_limit()
        if limit is None:
            return await agent.run()
        with anyio.move_on_after(self._time_left()):
            return await agent.run()
        return stopped_by(limit, "was reached in its review")

    def _stops_run(self, ending: Ending) -> bool:
        """Tell whether what ended a review is the run's matter: it can go on here later."""
        time = self._time_left()
        if ending.kind == "unavailable" or (time is not None and time <= 0):
            return True
        return ending.limit is not None and ending.limit.whose != WHOSE
