"""Agent files of other programs, and what the author of one is told of it."""

from __future__ import annotations

import pytest

from orchestrator.toolbox import permissions_of
from tests.orchestrator.agent_texts import agent_of, header, look, remarks

# -- other programs' files


def test_switches_of_opencode() -> None:
    """Of a map of switches what is off is denied, everything else inherited."""
    text = "---\ndescription: b\nmode: subagent\ntools:\n  write: false\n  Edit: false\n  read: true\n---\n"
    one = look(text)
    agent = agent_of(one)
    assert (one.status, agent.name, agent.tools) == ("ok", "helper", None)
    assert agent.denied == ("Write", "Edit")
    assert permissions_of(agent).names == ("Read", "Bash", "Grep", "Glob")
    assert remarks(one) == [("name-from-filename", 0, 0), ("foreign-form", 5, 3)]


def test_a_permission_map_is_told() -> None:
    """Another program's permissions are not acted upon, and the author is told."""
    one = look(header("permission:", "  edit: deny"))
    assert agent_of(one).tools is None
    assert remarks(one) == [("not-acted-upon", 5, 3)]
    assert "disallowedTools" in one.remarks[0].message


def test_files_of_copilot() -> None:
    """Their name is a title and may hold a colon, models may be several, the file names the agent."""
    text = '---\nname: "SE: DevOps"\ndescription: b\nmodel: [GPT-4.1, opus]\n---\n'
    one = look(text, "x/ops.agent.md")
    assert (agent_of(one).name, one.models, agent_of(one).model) == (
        "SE: DevOps",
        ("GPT-4.1", "opus"),
        "GPT-4.1",
    )
    assert one.models_at == ((4, 9), (4, 18))
    assert remarks(one) == [("name-form", 2, 7)]
    nameless = look("---\ndescription: b\n---\n", "x/ops.agent.md")
    assert agent_of(nameless).name == "ops"
    assert remarks(nameless) == [("name-from-filename", 0, 0)]


# -- what authors should know


@pytest.mark.parametrize(
    ("line", "code", "column", "told"),
    [
        ("tols: Read", "unknown-key", 1, "did you mean 'tools'"),
        ("Tools: Read", "unknown-key", 1, "did you mean 'tools'"),
        ("descripton: x", "unknown-key", 1, "did you mean 'description'"),
        ("max-turns: 3", "unknown-key", 1, "did you mean 'maxTurns'"),
        ("zebra: x", "unknown-key", 1, "unknown key 'zebra'"),
        ("allowedTools: Read", "unknown-key", 15, "did you mean 'tools'"),
        ("allowed-tools: Read", "unknown-key", 16, "did you mean 'tools'"),
        ("tools: MultiEdit", "removed-tool", 8, "is now 'Edit'"),
        ("tools: LS", "removed-tool", 8, "is now 'Glob'"),
        ("tools: Task", "removed-tool", 8, "is now 'Agent'"),
        ("tools: Raed", "unknown-tool", 8, "did you mean 'Read'"),
        ("tools: read", "unknown-tool", 8, "did you mean 'Read'"),
        ("tools: Microsoft Docs", "unknown-tool", 8, "unknown tool 'Microsoft Docs'"),
        ("disallowedTools: bash", "unknown-tool", 18, "did you mean 'Bash'"),
        ("tools: WebFetch", "no-such-tool-here", 8, "no 'WebFetch' here"),
        ("tools: mcp__github__*", "no-mcp", 8, "MCP"),
        ('color: "#ff0000"', "unknown-colour", 8, "none of red"),
        ("effort: huge", "unknown-effort", 9, "none of low"),
        ("isolation: worktree", "always-so", 12, "private copy"),
        ("permissionMode: plan", "not-acted-upon", 17, "permissionMode"),
        ("skills: [a]", "not-acted-upon", 9, "skills"),
        ("mcpServers: [a]", "not-acted-upon", 13, "mcpServers"),
        ("hooks: {a: b}", "not-acted-upon", 8, "hooks"),
        ("memory: user", "not-acted-upon", 9, "memory"),
        ("background: true", "not-acted-upon", 13, "background"),
        ("initialPrompt: x", "not-acted-upon", 16, "initialPrompt"),
    ],
)
def test_warnings(line: str, code: str, column: int, told: str) -> None:
    """What means nothing, or something else than it seems, is told at its place; it is no repair."""
    one = look(header(line))
    assert one.status == "ok"
    assert remarks(one) == [(code, 4, column)]
    assert told in one.remarks[0].message
    assert agent_of(one).warnings == (f"agents/helper.md:4:{column}: {one.remarks[0].message}",)


def test_a_description_too_long_to_route_by() -> None:
    """A very long description is kept, with a warning."""
    one = look(header().replace("Helps", "x" * 1025))
    assert remarks(one) == [("long-description", 3, 14)]
    assert len(agent_of(one).description) == 1025


@pytest.mark.parametrize(
    ("name", "code"), [("Upper Case", "name-form"), ("other", "name-unlike-file")]
)
def test_names_that_will_surprise(name: str, code: str) -> None:
    """A name of another form, or unlike the file's, is told."""
    assert remarks(look(f"---\nname: {name}\ndescription: b\n---\n")) == [(code, 2, 7)]


def test_effort_and_turns() -> None:
    """Effort is one of five words in any case; turns are a number."""
    agent = agent_of(look(header("effort: HIGH", "maxTurns: 12", "color: Red")))
    assert (agent.effort, agent.max_turns, agent.warnings) == ("high", 12, ())
    assert agent_of(look(header("effort: huge"))).effort == ""


# -- what may not be used


@pytest.mark.parametrize(
    ("lines", "denied", "names"),
    [
        (("disallowedTools: Edit, Write",), ("Edit", "Write"), ("Read", "Bash", "Grep", "Glob")),
        (("disallowedTools: [Bash]", "tools: Read, Bash"), ("Bash",), ("Read",)),
        (("disallowedTools: '*'",), ("*",), ()),
        (("disallowedTools: *",), ("*",), ()),
        (("disallowedTools: [Read, '*']",), ("*",), ()),
        (("disallowedTools:",), (), ("Read", "Write", "Edit", "Bash", "Grep", "Glob")),
        (
            ("tools: Read, Bash(git *, a), Edit", "disallowedTools: Edit, Bash(git push:*)"),
            ("Edit", "Bash(git push:*)"),
            ("Read", "Bash"),
        ),
    ],
)
def test_denied_tools(
    lines: tuple[str, ...], denied: tuple[str, ...], names: tuple[str, ...]
) -> None:
    """Names, rules and the star deny; a rule with a comma is one rule."""
    agent = agent_of(look(header(*lines)))
    assert agent.denied == denied
    assert permissions_of(agent).names == names
