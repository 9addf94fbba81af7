"""Any branch, judged by the gates that judge an agent's: without a model, and without a run."""

from __future__ import annotations

import re
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import anyio.to_thread

from orchestrator.assembly.judges import Listed, gates_of
from orchestrator.assembly.scratch import Scratch
from orchestrator.assembly.surroundings import needs_of, shared_of
from orchestrator.change import CommittedChange, settings_files
from orchestrator.checkout import hand_over
from orchestrator.config import OWN, SHARED
from orchestrator.errors import RepositoryRefused
from orchestrator.events import Event
from orchestrator.gates.detect import DetectedTestsGate, candidate_of
from orchestrator.judging import judge_change
from orchestrator.ports import EventSink, Gate, Sandbox
from orchestrator.preparation import Needs
from orchestrator.records import Verdict
from orchestrator.repository import Repository
from orchestrator.settings import Config
from orchestrator.setups import Setups
from orchestrator.values import frozen
from orchestrator.workspaces import Shared

DEFAULTS = (
    "refs/remotes/origin/HEAD",
    "refs/heads/main",
    "refs/heads/master",
    "refs/remotes/origin/main",
    "refs/remotes/origin/master",
)
"""Where the branch is looked for that others are changes of, in order."""

ISSUE = re.compile(r"feature/([A-Z][A-Z0-9_]*-[0-9]+(?=-)|[A-Za-z0-9_]+)-")
NO_ISSUE = "NUMBER"
"""Stands for the issue of a branch whose name has none; the branch-name gate tells it so."""


@frozen
class JudgedBranch:
    """What the gates said of a branch."""

    branch: str
    commit: str
    base: str
    tree: str
    verdicts: tuple[Verdict, ...]
    notes: tuple[str, ...] = ()


@frozen
class Judging:
    """Judges branches of one repository.

    Attributes:
        config: the settings, with the repository's own as its checkout has them.
        sinks: are told of each verdict as it comes.
        given: a program's own gates.
        reload: makes the settings anew, with the repository's own as a commit has them; None where
            a program gave the settings.
    """

    repository: Repository
    config: Config
    state: Path
    sandbox: Sandbox
    environment: Mapping[str, str]
    sinks: tuple[EventSink, ...] = ()
    given: tuple[Gate, ...] = ()
    reload: Callable[[Mapping[str, bytes]], Config] | None = None

    async def judge(self, branch: str, base: str) -> JudgedBranch:
        """Let gates judge a branch; which ones, and how, is what its base says.

        Args:
            branch: its name, or any name of a commit; empty means what is checked out.
            base: what it is a change of; empty means the default branch.

        Raises:
            RepositoryRefused: there is no such branch or base, or nothing between them.
            SandboxUnavailable: this machine has no walls.
        """
        name, commit, since = await anyio.to_thread.run_sync(self._resolved, branch, base)
        await self.sandbox.check()
        config = await anyio.to_thread.run_sync(self._config_of, since)
        gates = await anyio.to_thread.run_sync(self.listed, config, since)
        needs = needs_of(
            config,
            state=self.state,
            repository=self.repository,
            sandbox=self.sandbox,
            environment=self.environment,
        )
        shared, notes = self._shared(config, since)
        notes = (*notes, *(f"sandbox {self.sandbox.name}: {gap}" for gap in self.sandbox.gaps))
        with Scratch(self.state, self.repository) as folder:
            change = CommittedChange(
                folder=folder,
                repository=self.repository,
                sandbox=self.sandbox,
                issue_key=issue_of(name),
                branch=name,
                base=since,
                commit=commit,
                tree=await anyio.to_thread.run_sync(self.repository.tree, commit),
                clock=time.monotonic,
                setups=self._setups(needs),
                shared=shared,
            )
            verdicts = await judge_change(
                change,
                [one.gate for one in gates],
                (),
                self._tell,
                number=1,
                parallel=config.gates.parallel,
            )
        if await anyio.to_thread.run_sync(self.repository.is_dirty):
            notes = (*notes, "your uncommitted changes are not judged")
        return JudgedBranch(name, commit, since, change.tree, tuple(verdicts), notes)

    async def _tell(self, *events: Event) -> None:
        for event in events:
            for sink in self.sinks:
                await sink(event)

    def listed(self, config: Config, commit: str) -> list[Listed]:
        """Return the gates that settings and the files of a base commit ask for."""
        return gates_of(config, settings_files(self.repository, commit), self.given)

    def described(self) -> list[tuple[str, str]]:
        """Return name and reason of each gate; for tests that are detected, how they are run."""
        listed = self.listed(self.config, self.repository.located.head)
        return [(one.gate.name, self._why(one)) for one in listed]

    def _config_of(self, commit: str) -> Config:
        """Return the settings, with the repository's own as a commit has them."""
        if self.reload is None:
            return self.config
        entries = {
            name: sha
            for name, (mode, sha) in self.repository.entries(commit, OWN, SHARED).items()
            if mode.startswith("100")
        }
        blobs = self.repository.blobs(list(entries.values()))
        return self.reload(dict(zip(entries, blobs, strict=True)))

    def _why(self, listed: Listed) -> str:
        if not isinstance(listed.gate, DetectedTestsGate):
            return listed.why
        head = self.repository.located.head
        names = self.repository.names(head)
        change = CommittedChange(
            folder=self.state,
            repository=self.repository,
            sandbox=self.sandbox,
            issue_key="",
            branch="",
            base=head,
            commit=head,
            tree="",
            clock=time.monotonic,
        )
        candidate = candidate_of(names, change.settings())
        found = f"would run: {candidate.command}" if candidate else "finds no tests in HEAD"
        return f"{listed.why}; {found}"

    def _resolved(self, branch: str, base: str) -> tuple[str, str, str]:
        """Return the branch's name, its commit, and the commit that it is a change of."""
        repository = self.repository
        name = branch or repository.located.branch or "HEAD"
        commit = repository.commit(name)
        wanted = base or self._default()
        try:
            other = repository.commit(wanted)
        except RepositoryRefused as error:
            raise RepositoryRefused(
                str(error), hint="name what it is a change of: --base"
            ) from None
        since = repository.merge_base(other, commit) or other
        if since == commit and not base:
            raise RepositoryRefused(
                f"{short(name)} has nothing that {short(wanted)} has not",
                hint="name another with --branch, or what it is a change of with --base",
            )
        return short(name), commit, since

    def _default(self) -> str:
        for ref in DEFAULTS:
            if self.repository.ref(ref):
                return ref
        raise RepositoryRefused(
            "nothing tells what this is a change of: there is no origin/HEAD, main or master",
            hint="name it with --base",
        )

    def _shared(self, config: Config, commit: str) -> tuple[Shared, tuple[str, ...]]:
        names = config.workspace.share
        if not names:
            return Shared(), ()
        return shared_of(names, self.repository, commit, self.environment)

    def _setups(self, needs: Needs) -> Setups | None:
        if needs.plan is None:
            return None

        @asynccontextmanager
        async def serve(folder: Path) -> AsyncIterator[Path]:
            from orchestrator.egress.allowed import EgressLimits
            from orchestrator.egress.proxy import EgressProxy

            network = needs.network
            limits = EgressLimits(received=network.received, sent=network.sent)
            proxy = EgressProxy(network.setup, limits, self._tell, used=(0, 0))
            async with proxy.open(folder) as socket:
                hand_over(socket, self.sandbox.owner)
                yield socket

        return Setups(
            store=needs.store,
            plan=needs.plan,
            repository=self.repository,
            sandbox=self.sandbox,
            clock=time.monotonic,
            serve=serve if needs.network.setup else None,
        )


def issue_of(branch: str) -> str:
    """Return the key of the issue that a branch's name carries."""
    found = ISSUE.match(branch)
    return found[1] if found else NO_ISSUE


def short(name: str) -> str:
    """Return a branch's short name."""
    for prefix in ("refs/heads/", "refs/remotes/"):
        name = name.removeprefix(prefix)
    return name
