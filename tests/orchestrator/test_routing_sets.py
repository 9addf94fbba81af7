"""How often the router is right: three sets of issues and three rosters, each by another hand."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from orchestrator.definitions.folder import Source, files_below, roster
from orchestrator.records import AgentDefinition
from orchestrator.routing import trades
from orchestrator.routing.listed import listed_issues
from orchestrator.routing.route import Router, Rules
from orchestrator.routing.text import TextRouter
from orchestrator.routing.words import Words
from tests.builders import a_definition, an_issue

SETS = Path(__file__).parents[1] / "routing"
NAMES = ("one", "two", "three")


def agents_of(name: str) -> dict[str, AgentDefinition]:
    return dict(roster([Source(name, files_below(SETS / name / "agents"))]).agents)


@pytest.mark.parametrize("rostered", NAMES)
@pytest.mark.parametrize("name", NAMES)
def test_the_right_agent_is_found(name: str, rostered: str) -> None:
    """Of issues in other words than its roster's, three quarters go to the right agent at once.

    Of set ``two`` only totals were looked at; the others were there while the lexicon was written
    and its weights were fitted.
    """
    names = yaml.safe_load((SETS / rostered / "names.yaml").read_text("utf-8"))
    old = {new: trade for trade, new in names.items()}
    file = SETS / name / "issues.yaml"
    expected = yaml.safe_load(file.read_text("utf-8"))
    router = Router(agents_of(rostered), Rules())
    first, three, nobody = [], [], []
    for issue, item in zip(listed_issues(file.read_bytes(), str(file)), expected, strict=True):
        decision = router.decide(issue)
        ranked = [old[one] for one, _ in decision.ranked]
        if item["kind"] == "none":
            nobody.append(decision.agent is None)
            continue
        first.append(decision.agent is not None and ranked[0] in item["agents"])
        three.append(any(one in item["agents"] for one in ranked[:3]))
    assert len(first) >= 90 and len(nobody) >= 15
    assert sum(first) / len(first) >= 0.75
    assert sum(three) / len(three) >= 0.88
    assert sum(nobody) / len(nobody) >= 0.5


def test_names_are_never_looked_at() -> None:
    """Agents under other names get the same shares: what they say of themselves decides."""
    agents = agents_of("one")
    issue = an_issue(title="The tooltip is cut off", body="The CSS of the page overflows.")
    renamed = {f"frontend-{number}": one for number, one in enumerate(agents.values())}
    before = sorted(share for _, share in TextRouter(agents).rank(issue).shares)
    after = sorted(share for _, share in TextRouter(renamed).rank(issue).shares)
    assert before == after


def test_shares_are_shares() -> None:
    """The shares of all agents and of nobody add up to 1."""
    for item in yaml.safe_load((SETS / "one" / "issues.yaml").read_text("utf-8"))[:40]:
        found = TextRouter(agents_of("one")).rank(an_issue(title=item["title"], body=item["body"]))
        assert sum(share for _, share in found.shares) + found.nobody == pytest.approx(1, abs=0.001)


def test_an_agent_for_what_no_software_trade_does() -> None:
    """Work of strangers is nobody's, unless an agent says that it does it."""
    refund = an_issue(title="I want a refund", body="My payment was charged twice, call me.")
    agents = {"web": a_definition(name="web", description="Builds web pages: HTML, CSS, React")}
    assert Router(agents, Rules()).decide(refund).agent is None
    desk = a_definition(name="desk", description="Customer support: answers refunds and complaints")
    assert Router({**agents, "desk": desk}, Rules()).decide(refund).agent == "desk"


def test_trades_that_no_lexicon_knows() -> None:
    """Agents of trades that are in no lexicon get the issues that share their own words."""
    agents = {
        "keeper": a_definition(name="keeper", description="Breeds axolotls and cleans aquariums"),
        "luthier": a_definition(name="luthier", description="Restores violins, bows and varnish"),
    }
    router = Router(agents, Rules())
    assert router.decide(an_issue(title="The axolotl hides", body="")).agent == "keeper"
    assert router.decide(an_issue(title="Cracked varnish on a violin", body="")).agent == "luthier"
    assert router.decide(an_issue(title="Zyx", body="Qwv.")).agent is None


def test_what_is_read_is_what_was_written() -> None:
    """The compiled lexicon is that of ``trades.yaml``: run ``make lexicon`` after a change."""
    room = Path(trades.__file__).parent
    written = trades.compiled(yaml.safe_load((room / "trades.yaml").read_text("utf-8")))
    assert json.loads((room / "trades.json").read_text("utf-8")) == written


@pytest.mark.parametrize(
    ("forms", "other"),
    [
        (("migrate", "migrates", "migrated", "migrating", "migration", "migrations"), "migraine"),
        (("cache", "caches", "cached", "caching"), "cash"),
        (("deploy", "deploys", "deployed", "deployment", "deployments"), "employ"),
        (("query", "queries"), "quest"),
        (("stop", "stops", "stopped", "stopping"), "step"),
        (("theme", "themes"), "them"),
    ],
)
def test_forms_of_a_word_are_one(forms: tuple[str, ...], other: str) -> None:
    """The forms of a word are the same stem, and another word is another."""
    assert len({tuple(Words(one).sequence) for one in forms}) == 1
    assert Words(other).sequence != Words(forms[0]).sequence


def test_shapes_are_words() -> None:
    """Versions, durations, requests and files are told by their shape."""
    text = "PATCH /users answers 500 after 300 ms in v1.2.3; see CVE-2021-44228 and src/a.tsx, 40 %"
    shapes = {one for one in Words(text).extras if one.startswith("<")}
    assert shapes == {
        *("<method>", "<status>", "<duration>", "<version>", "<cve>", "<.tsx>", "<percent>"),
    }
