"""What an agent's file allows, held in whole runs; judged from the work and from the requests."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from orchestrator.errors import DefinitionError
from orchestrator.events import RunStarted
from orchestrator.testing import says
from tests.builders import an_agent_file
from tests.runs.conftest import git
from tests.runs.stage import Stage

pytestmark = pytest.mark.asyncio

TOOLS = "tools: Read, Edit(shop/**), Bash(git *), Bash(python3 -m unittest *)"
MENDED = (
    "Edit",
    {"file_path": "shop/pricing.py", "old_string": "amount > ", "new_string": "amount >= "},
)
READ = ("Read", {"file_path": "shop/pricing.py"})


def hire(stage: Stage, *lines: str) -> None:
    """Give the stage one agent, whose header has these lines."""
    stage.agents = stage.state.parent / "hired"
    stage.agents.mkdir()
    (stage.agents / "mender.md").write_bytes(
        an_agent_file("name: mender", "description: Mends", *lines)
    )


def bash(command: str) -> tuple[str, dict[str, str]]:
    """Return a call that runs a command."""
    return ("Bash", {"command": command})


async def test_commands(stage: Stage) -> None:
    """A refused command does nothing and the answer names what may be run; an allowed one runs."""
    hire(stage, TOOLS)
    refused = [
        "touch sneaked-1",
        "git status; touch sneaked-2",
        "git status && touch sneaked-3",
        "git log > sneaked-4",
        'git log "$(touch sneaked-5)"',
        "bash -c 'touch sneaked-6'",
        'python3 -c \'open("sneaked-7", "w")\'',
        "git status &\ntouch sneaked-8",
        "PATH=. git status",
    ]
    calls = [*map(bash, refused), READ, MENDED]
    outcome = await stage.play(
        says("", *calls), says("", bash("python3 -m unittest -q")), says("Mended."), agent="mender"
    )
    results = stage.results(1)
    for command, (text, failed) in zip(refused, results, strict=False):
        assert failed, command
        assert text.startswith("Bash: "), text
        told = "git *, python3 -m unittest *" in text or "write it plainly" in text
        assert told, (command, text)
    assert "this agent may run only: git *, python3 -m unittest *" in results[0][0]
    assert [failed for _, failed in results[len(refused) :]] == [False, False]
    ((text, failed),) = stage.results(2)
    assert not failed and "OK" in text
    assert outcome.status == "done"
    files = git(stage.repo, "ls-tree", "-r", "--name-only", outcome.commit)
    assert "sneaked" not in files
    assert git(stage.repo, "diff", "--name-only", "main", outcome.commit) == "shop/pricing.py"


async def test_only_its_tools_are_offered(stage: Stage) -> None:
    """The model is told of the agent's tools only, and a call of another one is answered so."""
    hire(stage, TOOLS)
    write = ("Write", {"file_path": "shop/new.py", "content": "x = 1\n"})
    outcome = await stage.play(says("", READ, write), says("Nothing."), agent="mender")
    asked = json.loads(stage.model.requests[0].body())
    assert [tool["name"] for tool in asked["tools"]] == ["Read", "Edit", "Bash"]
    text, failed = stage.results(1)[1]
    assert failed and "You have no tool 'Write'" in text
    assert outcome.status == "needs_human"


async def test_a_link_out_of_the_rule(stage: Stage) -> None:
    """An edit is judged by where its path leads: through a link out of the rule it changes nothing."""
    hire(stage, TOOLS)
    (stage.repo / "outside.txt").write_text("one\n", encoding="utf-8")
    (stage.repo / "shop" / "link.txt").symlink_to("../outside.txt")
    (stage.repo / "shop" / "up").symlink_to("..")
    git(stage.repo, "add", "--all")
    git(stage.repo, "commit", "--quiet", "--message", "links")
    paths = [
        *("shop/link.txt", "shop/up/outside.txt", "outside.txt", "shop/../outside.txt"),
        "/workspace/shop/up/outside.txt",
    ]
    reads = [("Read", {"file_path": path}) for path in paths]
    edits = [
        ("Edit", {"file_path": path, "old_string": "one", "new_string": "two"}) for path in paths
    ]
    outcome = await stage.play(
        says("", *reads), says("", *edits), says("", READ, MENDED), says("Mended."), agent="mender"
    )
    assert [failed for _, failed in stage.results(1)] == [False] * len(paths)
    for text, failed in stage.results(2):
        assert failed and "may use Edit only on shop/**" in text, text
        assert "/workspace/outside.txt" in text
    assert outcome.status == "done"
    assert git(stage.repo, "show", f"{outcome.commit}:outside.txt") == "one"


async def test_denied_calls(stage: Stage) -> None:
    """What is denied stays denied where the tool is allowed, whatever starts the command."""
    hire(stage, "tools: Read, Edit, Bash", "disallowedTools: Bash(rm *), Edit(tests/**)")
    gone = [
        bash("rm shop/pricing.py"),
        bash("env rm shop/pricing.py"),
        bash("sh -c 'rm shop/pricing.py'"),
    ]
    outcome = await stage.play(says("", *gone, READ, MENDED), says("Mended."), agent="mender")
    assert [failed for _, failed in stage.results(1)] == [True, True, True, False, False]
    assert "denied Bash(rm *)" in stage.results(1)[0][0]
    assert outcome.status == "done"
    assert git(stage.repo, "cat-file", "-t", f"{outcome.commit}:shop/pricing.py") == "blob"


LOOK = bash("git status")


@pytest.mark.parametrize(
    ("wish", "turns"), [({}, 2), ({"limit_turns": 3}, 3), ({"limit_turns": 1}, 1)]
)
async def test_turns(stage: Stage, wish: dict[str, Any], turns: int) -> None:
    """The file's most turns narrow the limit; the user's own word on the command line wins."""
    hire(stage, TOOLS, "maxTurns: 2")
    outcome = await stage.play(*[says("", LOOK)] * 5, agent="mender", **wish)
    assert (outcome.status, outcome.turns) == ("limit_reached", turns)
    assert len(stage.model.requests) == turns
    assert stage.only(RunStarted).run.limits.turns == turns


async def test_turns_do_not_widen(stage: Stage) -> None:
    """A file cannot raise the limit that is set."""
    hire(stage, TOOLS, "maxTurns: 900")
    stage.settings("limits: {turns: 2}\n")
    outcome = await stage.play(*[says("", LOOK)] * 5, agent="mender")
    assert (outcome.status, outcome.turns) == ("limit_reached", 2)


@pytest.mark.parametrize(
    ("lines", "wanted"),
    [(("effort: xhigh",), {"effort": "xhigh"}), (("effort: huge",), None), ((), None)],
)
async def test_effort(stage: Stage, lines: tuple[str, ...], wanted: dict[str, str] | None) -> None:
    """How hard the model is asked to think stands in every request; an unknown word does not."""
    hire(stage, TOOLS, *lines)
    await stage.play(says("", LOOK), says("Nothing."), agent="mender")
    assert len(stage.model.requests) == 2
    for request in stage.model.requests:
        assert json.loads(request.body()).get("output_config") == wanted
        assert (b'"output_config":' in request.body()) == (wanted is not None)


@pytest.mark.parametrize(
    "line",
    ["tools: Raed, WebFetch", "tools: [mcp__github__*]", "tools: []", "disallowedTools: '*'"],
)
async def test_an_agent_without_tools(stage: Stage, line: str) -> None:
    """An agent that could do nothing is refused before any request, and nothing is journaled."""
    hire(stage, line)
    with pytest.raises(DefinitionError, match="agent mender has no tool that is here"):
        await stage.play(says("never"), agent="mender")
    assert stage.model.requests == []
    assert stage.heard == []
    assert not list(Path(stage.state).glob("runs/*"))
    assert git(stage.repo, "branch", "--list", "feature/*") == ""


async def test_a_broken_file_stops_every_run(stage: Stage) -> None:
    """A folder with a broken agent is refused at its place, before any request."""
    hire(stage, "tools: Read", "tools: Bash")
    with pytest.raises(DefinitionError, match=r"mender\.md:5:1: 'tools' is given twice"):
        await stage.play(says("never"))
    assert stage.model.requests == []
    assert stage.heard == []
