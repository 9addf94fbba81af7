"""Agent files as texts, and what is made of them."""

from __future__ import annotations

from orchestrator.definitions.definition import Checked, check
from orchestrator.records import AgentDefinition

REST = "tools: Read, Bash\nmodel: opus\n---\nMend it.\n"
LAUGHS = "\n".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 9))


def header(*lines: str, end: str = "---\nMend it.\n") -> str:
    """Build a file whose agent is named for it and described, with more lines in its header."""
    return "\n".join(["---", "name: helper", "description: Helps", *lines, end])


def look(text: str | bytes, file: str = "agents/helper.md") -> Checked:
    """Check a file."""
    return check(text if isinstance(text, bytes) else text.encode(), file)


def agent_of(one: Checked) -> AgentDefinition:
    """Return the agent that a file was read as."""
    assert one.definition is not None, one.error
    assert one.error is None
    return one.definition


def remarks(one: Checked) -> list[tuple[str, int, int]]:
    """Return code and place of everything the author is told."""
    return [(remark.code, remark.line, remark.column) for remark in one.remarks]


def refusal(one: Checked) -> tuple[int, int, str]:
    """Return place and words of a refusal."""
    assert (one.status, one.definition) == ("refused", None)
    assert one.error is not None
    return one.error.line, one.error.column, one.error.message
