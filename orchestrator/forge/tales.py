"""What every tracker does alike: priorities out of labels, bounds of texts, the report's words."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from orchestrator.pullrequests import Comment
from orchestrator.records import Outcome

BODY_LIMIT = 200_000
COMMENT_LIMIT = 20_000
PRIORITY = re.compile(
    r"(?:priority|prio)[ ]*[:/=-]{1,2}[ ]*(?P<level>[\w-]{1,30})|(?P<short>[pP][0-4])"
)


@dataclass(frozen=True, slots=True)
class Reading:
    """How a tracker's own words are read.

    Attributes:
        priorities: label, or priority in the tracker, to ours.
        states: state in the tracker, in small letters, to ours.
    """

    priorities: Mapping[str, str] = field(default_factory=dict)
    states: Mapping[str, str] = field(default_factory=dict)

    def priority_of(self, labels: Iterable[str]) -> str:
        """Return the priority that labels say: by the settings, else like ``P1``."""
        named = {name.lower(): level for name, level in self.priorities.items()}
        labels = list(labels)
        for label in labels:
            if label.lower() in named:
                return named[label.lower()]
        for label in labels:
            found = PRIORITY.fullmatch(label.lower())
            if found:
                return found["level"] or found["short"]
        return ""

    def state_of(self, name: str, otherwise: str) -> str:
        """Return our word for a state: by the settings, else the one given."""
        named = {known.lower(): state for known, state in self.states.items()}
        return named.get(name.lower(), otherwise)


def bounded(body: str, limit: int = BODY_LIMIT) -> str:
    """Cut a text that is too long for any model, and say so in it."""
    text = body.replace("\r\n", "\n")
    if len(text) <= limit:
        return text
    rest = len(text) - limit
    return f"{text[:limit]}\n[cut here: the text goes on for {rest} characters]"


def said_by(login: str, body: str, *, trusted: bool, tie: str = "", url: str = "") -> Comment:
    """Return a comment; of one whose author may not write, only that it is there."""
    kept = bounded(body, COMMENT_LIMIT) if trusted else ""
    return Comment(author=login, body=kept, association=tie, trusted=trusted, url=url)


def ending(outcome: Outcome) -> str:
    """Return how a run ended, as a comment; mentions of people call nobody."""
    lines = [f"**{outcome.status}** by {outcome.agent}", outcome.summary.strip()]
    if outcome.error:
        lines.append(f"What stopped it: {outcome.error}")
    if outcome.hint:
        lines.append(f"What to do: {outcome.hint}")
    if outcome.branch:
        lines.append(f"Branch: `{outcome.branch}`")
    return quiet("\n\n".join(line for line in lines if line))


def quiet(text: str) -> str:
    """Return markdown in which no mention calls people, no line is a command, no mark is hidden."""
    without = re.sub(r"<!--.*?(?:-->|\Z)", "", text, flags=re.DOTALL)
    # A word joiner keeps a name readable, and is no mention.
    named = re.sub(r"(?<![\w`])@(?=\w)", "@\u2060", without)
    return re.sub(r"^([ \t]*)/(?=[a-z_]+(?:\s|$))", "\\1\\\\/", named, flags=re.MULTILINE)
