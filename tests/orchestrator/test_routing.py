"""Which agent gets an issue, and why."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.definitions.folder import Source, files_below, roster
from orchestrator.errors import ConfigError, NoRoute
from orchestrator.records import AgentDefinition, Issue, Route
from orchestrator.routing.route import Router, Rules, choose_route
from orchestrator.routing.text import TextRouter
from tests.builders import a_definition, an_issue

BUNDLED = Path(__file__).parents[2] / "agents"

AGENTS = {
    one.name: one
    for one in (
        a_definition(
            name="painter", description="Paints buttons, colours and layout", prompt="Paint."
        ),
        a_definition(name="plumber", description="Mends pipes, valves and leaks", prompt="Plumb."),
        a_definition(name="writer", description="Writes manuals and guides", prompt="Write."),
    )
}


def route(
    issue: Issue, *, default: str | None = None, wanted: str | None = None, **labels: str
) -> Route:
    """Route an issue among three agents."""
    return choose_route(issue, AGENTS, Rules(labels=labels, default=default), wanted)


LEAK = an_issue(title="The valve leaks", body="Water everywhere near the pipes.")
VAGUE = an_issue(title="Zyx qwv", body="Rtz.")


def test_the_command_line_wins() -> None:
    """An agent that is named by hand is taken, whatever the issue says."""
    issue = an_issue(title=LEAK.title, assignees=("writer",), labels=("bug",))
    assert route(issue, wanted="painter", bug="plumber") == Route("painter", "command line", 1.0)


def test_an_assignee_comes_before_labels() -> None:
    """An issue that is assigned goes to its assignee."""
    issue = an_issue(title=LEAK.title, assignees=("writer",), labels=("bug",))
    assert route(issue, bug="plumber") == Route("writer", "assignee", 1.0, detail="writer")


def test_a_label_comes_before_the_text() -> None:
    """The first label that has a route decides; labels without one are passed over."""
    issue = an_issue(title=LEAK.title, labels=("urgent", "docs", "bug"))
    assert route(issue, bug="painter", docs="writer") == Route(
        "writer", "label", 1.0, detail="docs"
    )


def test_capitals_of_labels_do_not_matter() -> None:
    """Labels are compared as trackers do: without regard to capitals."""
    issue = an_issue(labels=("Area/Docs",))
    found = choose_route(issue, AGENTS, Rules(labels={"area/docs": "writer"}))
    assert (found.agent, found.detail) == ("writer", "Area/Docs")


PEOPLE = an_issue(assignees=("ada", "bob"), labels=("docs",), assigned_to_people=True)


def test_people_are_agents_only_where_the_settings_say_so() -> None:
    """A tracker's logins name no agent, unless ``routing.assignees`` maps them."""
    rules = Rules(labels={"docs": "writer"}, assignees={"bob": "plumber"})
    assert choose_route(PEOPLE, AGENTS, rules).detail == "bob -> plumber"
    assert choose_route(PEOPLE, AGENTS, Rules(labels={"docs": "writer"})).reason == "label"
    named = an_issue(assignees=("writer",), assigned_to_people=True, title="Zyx", body="")
    assert choose_route(named, AGENTS, Rules(default="painter")).reason == "default"


def test_a_file_that_the_issue_names_comes_before_the_text() -> None:
    """A path rule decides where no label does, and says which file fitted which rule."""
    issue = an_issue(title=LEAK.title, body="See docs/guide.md:12.", labels=("bug",))
    rules = Rules(labels={"area/x": "painter"}, paths={"docs/": "writer"})
    found = choose_route(issue, AGENTS, rules)
    assert (found.agent, found.reason, found.detail) == (
        "writer",
        "path",
        "docs/guide.md fits docs/",
    )
    labelled = an_issue(body="See docs/guide.md.", labels=("area/x",))
    assert choose_route(labelled, AGENTS, rules).agent == "painter"


def test_closed_issues_tell_who_has_what() -> None:
    """Words that no agent's file has lead to whoever had the closed issues that had them."""
    issue = an_issue(title="Quokka gizmo wobbles", body="The frobnicator hums.")
    closed = [
        (an_issue(title="Quokka gizmo is late", body="The frobnicator stalls."), "painter"),
        (an_issue(title="Frobnicator of the quokka", body="It hums."), "painter"),
        (an_issue(title="Pipes", body="A valve."), "plumber"),
    ]
    assert Router(AGENTS, Rules()).decide(issue).agent is None
    found = Router(AGENTS, Rules(), solved=closed).decide(issue)
    assert (found.agent, found.reason) == ("painter", "description")
    assert "quokka" in found.detail


def test_an_agent_that_cannot_change_anything_stands_back() -> None:
    """Of two agents that fit alike, the one that can change something is chosen."""
    same = {
        name: a_definition(name=name, description="Mends pipes, valves and leaks", prompt="Plumb.")
        for name in ("auditor", "plumber")
    }
    assert Router(same, Rules()).decide(LEAK).agent == "auditor"
    assert Router(same, Rules(), able=["plumber"]).decide(LEAK).agent == "plumber"


def test_equal_scores_go_by_name() -> None:
    """Of agents that fit alike, the name that sorts first is chosen, in whatever order they come."""
    names = ["zeta", "beta", "eta"]
    same = {name: a_definition(name=name, description="Mends pipes and valves") for name in names}
    ranked = Router(same, Rules()).decide(LEAK).ranked
    assert [name for name, _ in ranked] == ["beta", "eta", "zeta"]


@pytest.mark.parametrize("huge", ["a" * 1_000_000, "css " * 250_000, "x/" * 500_000, "\0" * 1000])
def test_a_huge_issue_is_no_burden(huge: str) -> None:
    """However long a text is, it is answered, and rules still come first."""
    issue = an_issue(title=huge, body=huge, labels=(huge, "docs"))
    assert route(issue, docs="writer").reason == "label"
    assert Router(AGENTS, Rules(paths={"**/*.py": "writer"})).decide(issue).reason in {
        "description",
        "none",
    }


def test_the_text_decides_by_shared_words() -> None:
    """Without assignment or label the agent whose file shares telling words is chosen."""
    found = route(LEAK, default="writer")
    assert (found.agent, found.reason) == ("plumber", "description")
    assert 0 < found.score <= 1
    assert "plumber" not in dict(found.runners_up)


def test_the_default_takes_what_nothing_decides() -> None:
    """An issue whose text says too little goes to the default agent."""
    found = route(VAGUE, default="writer")
    assert (found.agent, found.reason, found.score) == ("writer", "default", 0.0)


def test_without_a_default_a_person_decides() -> None:
    """Where nothing fits there is no route, and the error carries the scores."""
    with pytest.raises(NoRoute) as caught:
        route(VAGUE)
    assert {name for name, _ in caught.value.scores} == set(AGENTS)
    assert caught.value.exit_code == 3
    assert "--agent" in caught.value.hint


@pytest.mark.parametrize(
    ("issue", "wanted", "default", "labels"),
    [
        (LEAK, "plumbr", None, {}),
        (an_issue(assignees=("plumbr",)), None, None, {}),
        (an_issue(labels=("bug",)), None, None, {"bug": "plumbr"}),
        (VAGUE, None, "plumbr", {}),
    ],
)
def test_an_unknown_name_is_refused_with_the_nearest(
    issue: Issue, wanted: str | None, default: str | None, labels: dict[str, str]
) -> None:
    """A name that the roster does not have is an error that names the nearest, never a guess."""
    with pytest.raises(ConfigError, match="no agent 'plumbr'") as caught:
        route(issue, wanted=wanted, default=default, **labels)
    assert caught.value.hint == "did you mean plumber?"


def test_a_name_like_no_other_lists_all() -> None:
    """Where no name is near, all are named."""
    with pytest.raises(ConfigError) as caught:
        route(LEAK, wanted="xyz")
    assert caught.value.hint == "there are painter, plumber, writer"


@given(st.permutations(list(AGENTS)), st.text(), st.text())
def test_the_order_of_the_roster_does_not_matter(names: list[str], title: str, body: str) -> None:
    """The same issue and the same agents give the same ranking, in whatever order they were found."""
    issue = an_issue(title=title, body=body)
    shuffled = TextRouter({name: AGENTS[name] for name in names})
    assert shuffled.rank(issue).shares == TextRouter(AGENTS).rank(issue).shares


@given(st.text())
def test_the_text_cannot_name_its_agent(text: str) -> None:
    """An issue's text is never taken for an assignment, a label or a rule."""
    issue = an_issue(title=text, body=f"assignee: writer\nlabels: docs\nrouting:\n{text}")
    found = route(issue, default="painter", docs="writer")
    assert found.reason in {"description", "default"}


def test_no_agents_no_route() -> None:
    """An empty roster fits nothing."""
    with pytest.raises(NoRoute):
        choose_route(LEAK, {}, Rules())


@pytest.mark.parametrize(
    ("title", "body", "agent"),
    [
        (
            "Add a migration with an index",
            "The query plan shows a slow scan in PostgreSQL.",
            "database",
        ),
        ("CI pipeline fails", "The Docker build in the deployment workflow breaks.", "devops"),
        ("Button is cut off on mobile", "The React component's CSS layout overflows.", "frontend"),
        ("API endpoint returns wrong total", "The FastAPI service miscalculates.", "backend"),
        ("Document the install steps", "The README and the guide are out of date.", "docs"),
        ("Flaky tests", "Improve test coverage; regression tests are missing.", "qa"),
    ],
)
def test_the_bundled_agents_get_what_is_theirs(title: str, body: str, agent: str) -> None:
    """Issues in the words of a trade go to the bundled agent of that trade."""
    agents: dict[str, AgentDefinition] = dict(roster([Source("b", files_below(BUNDLED))]).agents)
    found = choose_route(an_issue(title=title, body=body), agents, Rules())
    assert found.agent.partition("-")[0] == agent
