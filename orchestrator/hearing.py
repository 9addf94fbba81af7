"""A reviewer's verdict: the tool that only a reviewer has, and what counts as an answer to it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from orchestrator.events import Event, ModelReplied
from orchestrator.ports import Tools
from orchestrator.records import SEVERITIES, Finding
from orchestrator.session import calls_of
from orchestrator.values import frozen
from orchestrator_tools.contract import (
    StateChange,
    ToolResult,
    ToolSpec,
    ToolState,
    text_result,
)

NAME = "verdict"
MOST_FINDINGS = 50
TEXT_LIMIT = 4000
"""Characters of one text in a verdict."""
LINES_MOST = 10_000_000

TEXT = {"type": "string", "minLength": 1, "maxLength": TEXT_LIMIT}
SPEC = ToolSpec(
    name=NAME,
    description=(
        "Gives your judgement of the change, and ends the review. `findings` holds everything you "
        "object to, one entry a cause, most severe first; it is empty if you object to nothing."
    ),
    input_schema={
        "type": "object",
        "properties": {
            "summary": {**TEXT, "description": "In two or three sentences: is the change right?"},
            "findings": {
                "type": "array",
                "maxItems": MOST_FINDINGS,
                "items": {
                    "type": "object",
                    "properties": {
                        "severity": {"type": "string", "enum": list(SEVERITIES)},
                        "file": {
                            "type": "string",
                            "description": "From the top of the repository; empty if none alone.",
                        },
                        "line": {
                            "type": "integer",
                            "minimum": 0,
                            "description": "In the file as it is now; 0 means all of it.",
                        },
                        "problem": {**TEXT, "description": "What goes wrong, and when."},
                        "advice": {**TEXT, "description": "What would mend it."},
                    },
                    "required": ["severity", "file", "line", "problem", "advice"],
                    "additionalProperties": False,
                },
            },
        },
        "required": ["summary", "findings"],
        "additionalProperties": False,
    },
    effect="none",
)


@frozen
class Judgement:
    """A valid verdict, as the reviewer gave it."""

    summary: str
    findings: tuple[Finding, ...]


class Hearing:
    """Listens for the verdict in one reviewer's session; all that it knows is in the journal.

    Args:
        session: the reviewer's session.
        events: the run's events so far; it is looked at, never changed.
        most: how many verdicts that are none are answered before it gives up.
    """

    def __init__(self, session: str, events: Callable[[], Sequence[Event]], *, most: int) -> None:
        self._session = session
        self._events = events
        self._most = most

    def is_over(self, reply: ModelReplied) -> bool:
        """Tell whether a reply ends the review: by a verdict, or by one broken one too many."""
        if judgement_in(reply) is not None:
            return True
        return broken_in(reply) != "" and len(self.broken()) >= self._most

    def judgement(self) -> Judgement | None:
        """Return the verdict, if one was given."""
        found = (judgement_in(one) for one in self._replies())
        return next((one for one in found if one is not None), None)

    def broken(self) -> list[str]:
        """Return what was wrong with each verdict that was none."""
        return [why for one in self._replies() if (why := broken_in(one))]

    def _replies(self) -> list[ModelReplied]:
        return [
            one
            for one in self._events()
            if isinstance(one, ModelReplied) and one.session == self._session
        ]


class ReviewTools:
    """What a reviewer may use: tools that read, and the verdict.

    Args:
        reading: the tools that read.
    """

    def __init__(self, reading: Tools) -> None:
        self._reading = reading

    def specs(self) -> list[ToolSpec]:
        """Return what the model is told about the tools."""
        return [*self._reading.specs(), SPEC]

    async def call(
        self,
        tool: str,
        arguments: Mapping[str, object],
        state: ToolState,
        *,
        show: Callable[[str], None] | None = None,
    ) -> tuple[ToolResult, StateChange]:
        """Run one call; a verdict that gets here is a broken one, and is told what is wrong."""
        if tool != NAME:
            return await self._reading.call(tool, arguments, state, show=show)
        parsed = parse(arguments)
        why = parsed if isinstance(parsed, str) else "give one verdict, in a reply of its own"
        return text_result(f"{NAME}: {why}", is_error=True), StateChange()


def judgement_in(reply: ModelReplied) -> Judgement | None:
    """Return the verdict that a reply holds, if it holds one and it is whole."""
    asked = [one for one in calls_of(reply) if one.tool == NAME]
    if len(asked) != 1 or asked[0].call_id in reply.broken_calls:
        return None
    parsed = parse(asked[0].arguments)
    return None if isinstance(parsed, str) else parsed


def broken_in(reply: ModelReplied) -> str:
    """Return what is wrong with a reply's verdict; empty where it is right, or there is none."""
    asked = [one for one in calls_of(reply) if one.tool == NAME]
    if not asked or judgement_in(reply) is not None:
        return ""
    if len(asked) > 1:
        return "there is more than one"
    parsed = parse(asked[0].arguments)
    return parsed if isinstance(parsed, str) else "it was cut off"


def parse(arguments: Any) -> Judgement | str:
    """Return a verdict from a call's arguments, or what is wrong with them."""
    if not isinstance(arguments, Mapping):
        return "expected an object with summary and findings"
    unknown = sorted(str(one) for one in arguments if one not in {"summary", "findings"})
    if unknown:
        return f"unknown: {', '.join(unknown)[:100]}"
    summary, listed = arguments.get("summary"), arguments.get("findings")
    if not _is_text(summary):
        return f"summary: expected text of 1 to {TEXT_LIMIT} characters"
    if not isinstance(listed, list) or len(listed) > MOST_FINDINGS:
        return f"findings: expected a list of at most {MOST_FINDINGS}"
    findings = []
    for number, one in enumerate(listed):
        finding = _finding(one)
        if isinstance(finding, str):
            return f"findings[{number}]{finding}"
        findings.append(finding)
    return Judgement(str(summary), tuple(findings))


def _finding(given: object) -> Finding | str:
    names = {"severity", "file", "line", "problem", "advice"}
    if not isinstance(given, dict) or set(given) != names:
        return f": expected an object of exactly {', '.join(sorted(names))}"
    severity = next((one for one in SEVERITIES if one == given["severity"]), None)
    if severity is None:
        return f".severity: expected one of {', '.join(SEVERITIES)}"
    path, line = given["file"], given["line"]
    if not isinstance(path, str) or len(path) > TEXT_LIMIT or "\n" in path:
        return ".file: expected a path, or an empty text"
    if not isinstance(line, int) or isinstance(line, bool) or not 0 <= line < LINES_MOST:
        return ".line: expected a whole number from 0"
    for name in ("problem", "advice"):
        if not _is_text(given[name]):
            return f".{name}: expected text of 1 to {TEXT_LIMIT} characters"
    return Finding(severity, path, line, given["problem"], given["advice"])


def _is_text(value: object) -> bool:
    return isinstance(value, str) and len(value.strip()) > 0 and len(value) <= TEXT_LIMIT
