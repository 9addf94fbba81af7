"""Limits that nothing can be measured by are refused, wherever they come from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from orchestrator import Limits, Orchestrator
from orchestrator.assembly.nightplans import NightWish, plan_night
from orchestrator.assembly.nights import Nights
from orchestrator.assembly.sharing import limits_of, shared_account
from orchestrator.batches.nights import Night, Wanted
from orchestrator.cli import cli
from orchestrator.errors import ConfigError
from orchestrator.planning import Wish
from tests.builders import git

NONE = [float("nan"), float("inf"), float("-inf"), -1.0]
COMMANDS = [
    ("issue", "1", "--limit-usd"),
    ("issue", "1", "--limit-minutes"),
    ("batch", "--label", "x", "--limit-usd"),
    ("batch", "--label", "x", "--per-issue-usd"),
    ("batch", "resume", "--limit-usd"),
    ("runs", "resume", "1-a", "--limit-usd"),
    ("runs", "resume", "1-a", "--limit-minutes"),
    ("runs", "fork", "1-a", "--at", "1", "--limit-usd"),
    ("runs", "fork", "1-a", "--at", "1", "--limit-minutes"),
]


@pytest.mark.parametrize("said", ["nan", "inf", "-inf", "-1", "1e999", "NaN", "x"])
@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_the_command_line_takes_amounts(command: tuple[str, ...], said: str) -> None:
    """What is no number that a sum can reach is a wrong use, told with the option."""
    done = CliRunner().invoke(cli, [*command, said])
    assert done.exit_code == 2, done.output
    assert f"Invalid value for '{command[-1]}'" in done.output


@pytest.mark.parametrize("most", NONE)
@pytest.mark.parametrize("name", ["limit_usd", "limit_minutes", "limit_tokens", "limit_turns"])
def test_a_run_takes_limits_that_can_be_kept(name: str, most: Any) -> None:
    """A program's limits are looked at before a run begins; zero and none are kept as they are."""
    with pytest.raises(ConfigError, match="cannot be kept"):
        limits_of(Wish(**{name: most}), Limits())
    assert limits_of(Wish(limit_usd=0.0), Limits(turns=3)) == Limits(usd=0.0, turns=3)


@pytest.mark.parametrize("most", NONE)
def test_all_runs_of_a_process_have_limits_that_can_be_kept(most: float, tmp_path: Path) -> None:
    """What they may use up together is looked at when they are set up."""
    with pytest.raises(ConfigError, match="cannot be kept"):
        shared_account(Limits(usd=most))
    (tmp_path / "a").touch()
    git(tmp_path, "init", "--quiet")
    git(tmp_path, "add", "a")
    git(tmp_path, "commit", "--quiet", "--message=a")
    with pytest.raises(ConfigError, match="cannot be kept"):
        Orchestrator.from_config(repo=tmp_path, state=tmp_path / "s", together=Limits(usd=most))


@pytest.mark.asyncio
@pytest.mark.parametrize("which", ["ceiling", "per_issue"])
async def test_a_night_has_limits_that_can_be_kept(which: str, tmp_path: Path) -> None:
    """A night whose ceiling is no number has no ceiling; it is not even planned, nor begun."""
    limits: Any = {which: Limits(usd=float("nan"))}
    with pytest.raises(ConfigError, match="cannot be kept"):
        await plan_night(NightWish((tmp_path,), Wanted(), **limits), state=tmp_path / "state")
    night = Night("n-1", (), Wanted(), (), **limits)
    async with Nights(state=tmp_path / "state") as nights:
        with pytest.raises(ConfigError, match="cannot be kept"):
            async with nights.begun(night):
                pass
        assert await nights.rows() == []
