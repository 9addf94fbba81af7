"""Words that do something where they are published: what they are, and how they do nothing."""

from __future__ import annotations

import re

MENTION = re.compile(r"@(?=\w)")
CLOSING = re.compile(
    r"(?i)\b(clos(?:e[sd]?|ing)|fix(?:e[sd]|ing)?|resolv(?:e[sd]?|ing)|implement(?:s|ed|ing)?)"
    r"([ \t]*:?\s+)(?!\u2060)(?=(?:issues?\s+)?[^\sA-Za-z]*(?:\S*#|https?://|[A-Za-z][A-Za-z0-9_]*-\d))"
)
"""What GitHub and GitLab close issues by, also those of Jira, when a change is merged."""
REFERENCE = re.compile(r"(?:#|\bGH-)(?=\d)", re.IGNORECASE)
BREAK = "\u2060"
"""A word joiner: unseen, and no part of a name or number."""
LOUD = re.compile(
    rf"{CLOSING.pattern}(?:issues?\s+)?(?P<whom>\S{{1,80}})|(?<![\w`.+-])@[A-Za-z0-9][\w/-]{{0,60}}"
)
ENDS = ".,;:!?()[]{}'\"*_`"


def calm(text: str) -> str:
    """Return plain text that mentions nobody, and closes and links no issue."""
    text = CLOSING.sub(rf"\1\2{BREAK}", text)
    text = REFERENCE.sub(rf"\g<0>{BREAK}", text)
    return MENTION.sub(f"@{BREAK}", text)


def loud(text: str, own: str = "") -> list[str]:
    """Return what in a text would close issues or mention people, once each.

    Args:
        text: as it is published.
        own: the number of the issue that may be closed.
    """
    found = [(one[0], (one["whom"] or "").strip(ENDS)) for one in LOUD.finditer(text)]
    said = [" ".join(text.split()).rstrip(ENDS) for text, whom in found if whom != f"#{own}"]
    return list(dict.fromkeys(said))
