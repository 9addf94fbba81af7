"""What every tracker does alike: priorities out of labels, bounds of texts, the report's words."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import field
from typing import Literal

from orchestrator.pullrequests import Comment
from orchestrator.records import Issue, Outcome
from orchestrator.settings import MoveSettings
from orchestrator.values import frozen

BODY_LIMIT = 200_000
COMMENT_LIMIT = 20_000
PRIORITY = re.compile(
    r"(?:priority|prio)[ ]*[:/=-]{1,2}[ ]*(?P<level>[\w-]{1,30})|(?P<short>[pP][0-4])"
)

UNSEEN = {"Cc", "Cf", "Co", "Cs", "Zl", "Zp"}
MENTION = re.compile(r"(?P<code>(?<![\\`])`[^`\n]+`(?!`))|(?<!\w)@(?=\w)")
COMMAND = re.compile(r"^([ \t]*)/(?=[A-Za-z_]+(?:\s|$))", re.MULTILINE)
REMEMBERED = 500


@frozen
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


UNMOVED = MoveSettings()
Stage = Literal["working", "delivered", "failed", "released"]


def stage_labels(moves: MoveSettings, to: Stage) -> tuple[str, tuple[str, ...]]:
    """Return the label that shows a stage, empty where it has none, and those of other stages."""
    wanted: str = getattr(moves, to)
    named = (moves.working, moves.delivered, moves.failed, moves.released)
    return wanted, tuple(dict.fromkeys(one for one in named if one and one != wanted))


def titled(title: str) -> str:
    """Return a title as one line that holds what a reader sees of it."""
    flat = " ".join(title.split())
    return "".join(one for one in flat if unicodedata.category(one) not in UNSEEN)[:300] or "(none)"


def called(name: str) -> str:
    """Return somebody's name, which may be of their own choice, as one short line."""
    return "" if not name.strip() else titled(name)[:100]


def remember(known: dict[str, Issue], issue: Issue) -> str:
    """Keep an issue that cannot be fetched by its key; the oldest make room. Returns the key."""
    known.pop(issue.key, None)
    while len(known) >= REMEMBERED:
        del known[next(iter(known))]
    known[issue.key] = issue
    return issue.key


def said_by(login: str, body: str, *, trusted: bool, tie: str = "", url: str = "") -> Comment:
    """Return a comment; of one whose author may not write, only that it is there."""
    kept = bounded(body, COMMENT_LIMIT) if trusted else ""
    return Comment(author=called(login), body=kept, association=tie, trusted=trusted, url=url)


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
    # What is left of one comment's end and another one's beginning is no comment either.
    without = re.sub(r"<!--.*?(?:-->|\Z)", "", text, flags=re.DOTALL).replace("<!--", "&lt;!--")
    # A word joiner keeps a name readable, and is no mention; in code nothing is one.
    named = MENTION.sub(lambda found: found["code"] or "@\u2060", without)
    return without_commands(named)


def without_commands(text: str) -> str:
    """Return markdown in which no line is a command to GitLab; it takes capitals for small."""
    return COMMAND.sub("\\1\\\\/", text)
