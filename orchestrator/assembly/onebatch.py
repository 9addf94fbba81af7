"""A whole batch in one call, for programs: planned, begun, worked through."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from orchestrator import config as configuration
from orchestrator.assembly.nightplans import NightWish, plan_night
from orchestrator.assembly.nights import Nights
from orchestrator.batches.book import Heard, unheard
from orchestrator.batches.jobs import Looks, nobody
from orchestrator.batches.nights import LaneName, Night, Wanted
from orchestrator.batches.views import NightView
from orchestrator.errors import ConfigError
from orchestrator.ports import IssueTracker
from orchestrator.records import Limits


async def run_batch(  # noqa: PLR0913 - what may be wished for
    repo: str | Path | Sequence[str | Path] = ".",
    *,
    labels: Sequence[str] = (),
    issues: Sequence[str] = (),
    agent: str | None = None,
    model: str | None = None,
    limit_usd: float | None = None,
    per_issue_usd: float | None = None,
    parallel: int = 4,
    until: float | None = None,
    lane: LaneName = "now",
    state: str | Path | None = None,
    config: str | Path | None = None,
    agents: str | Path | None = None,
    sandbox_backend: str | None = None,
    trackers: Mapping[str, IssueTracker] | None = None,
    heard: Heard = unheard,
    looks: Looks = nobody,
) -> NightView:
    """Work on many issues under one ceiling, and return how they stand at the end.

    Cancelled in the middle it parks what runs; ``Nights.resumed`` goes on with it.

    Args:
        repo: any folder of the repository, or of several.
        labels: issues that carry all of them; none leaves it to ``issues``, or to the settings.
        issues: keys.
        agent: who works on them; None routes each by itself.
        model: alias, id or recording; None leaves it to agents and settings.
        limit_usd: dollars that all of it may cost; None has no ceiling.
        per_issue_usd: dollars that one issue may cost; None leaves it to the settings.
        parallel: how many issues are worked on at once.
        until: when it is over, in seconds since 1970.
        lane: ``batches`` asks models in batches, slowly and for half the price.
        state: the state directory; None is ``$XDG_STATE_HOME/orchestrate``.
        config: a settings file that wins over the others.
        agents: a folder of agent files that wins over all others.
        sandbox_backend: ``none`` gives up the walls, as the flag does.
        trackers: where issues come from, by the repository's id.
        heard: is told of each event of the batch, and how it stands.
        looks: is told of what the runs do.

    Raises:
        OrchestratorError: it cannot be planned or begun; what happens later is an issue's fate.
    """
    folder = Path(state) if state is not None else configuration.state_folder(os.environ)
    for name, given in (("labels", labels), ("issues", issues)):
        if isinstance(given, str):  # a sequence too, of its letters
            raise ConfigError(f"{name} is a list: {name}=[{given!r}]")
    repos = (repo,) if isinstance(repo, str | Path) else tuple(repo)
    wish = NightWish(
        repos=tuple(Path(one) for one in repos),
        wanted=Wanted(labels=tuple(labels), issues=tuple(issues), agent=agent, model=model),
        config=None if config is None else Path(config),
        agents=None if agents is None else Path(agents),
        ceiling=Limits(usd=limit_usd),
        per_issue=Limits(usd=per_issue_usd),
        parallel=parallel,
        minutes_left=None if until is None else max(until - time.time(), 0.0) / 60,
        lane=lane,
    )
    plan = await plan_night(wish, state=folder.absolute(), trackers=trackers)
    night = Night(
        night="",
        sites=plan.sites,
        wanted=wish.wanted,
        plan=plan.plan,
        ceiling=wish.ceiling,
        per_issue=wish.per_issue,
        parallel=parallel,
        until=until,
        lane=lane,
    )
    nights = Nights(
        state=folder,
        heard=heard,
        looks=looks,
        trackers=trackers,
        agents=agents,
        sandbox_backend=sandbox_backend,
    )
    async with nights, nights.begun(night) as shift:
        await shift.work()
        return shift.view
