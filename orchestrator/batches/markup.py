"""HTML that is safe by how it is made: text is escaped unless it is markup already."""

from __future__ import annotations

import html
from collections.abc import Iterable

from orchestrator.prompts import cleaned
from orchestrator.values import frozen

VOID = frozenset({"meta", "rect", "line", "br"})
"""Elements without an end; those of SVG are closed in their beginning."""


@frozen
class Html:
    """Markup that was made here; everything else is text."""

    markup: str


Content = str | Html | Iterable["Html | str"]


def tag(element: str, /, *content: Content, **attributes: str | float | None) -> Html:
    """Return an element.

    Args:
        element: its name.
        content: markup of ours, or text of anybody, which is escaped.
        attributes: ``class_`` means class, other underscores are dashes; None leaves one out.
    """
    given = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{_escaped(str(value))}"'
        for key, value in attributes.items()
        if value is not None
    )
    if element in VOID:
        return Html(f"<{element}{given}/>")
    return Html(f"<{element}{given}>{together(*content).markup}</{element}>")


def together(*content: Content) -> Html:
    """Return pieces one after the other."""
    parts = []
    for one in content:
        if isinstance(one, Html):
            parts.append(one.markup)
        elif isinstance(one, str):
            parts.append(_escaped(one))
        else:
            parts.append(together(*one).markup)
    return Html("".join(parts))


def theirs(text: str, *, limit: int = 400) -> Html:
    """Return text of an issue or a model as one piece whose direction is its own."""
    short = text if len(text) <= limit else f"{text[:limit]}\N{HORIZONTAL ELLIPSIS}"
    return tag("bdi", " ".join(cleaned(short).split()))


def link(text: str, address: str) -> Html:
    """Return a link to a page of the web; an address of any other kind is shown as text."""
    if address.lower().startswith(("https://", "http://")) and not any(
        char.isspace() for char in address
    ):
        return tag("a", theirs(text), href=cleaned(address), rel="noopener noreferrer nofollow")
    return theirs(text)


def _escaped(text: str) -> str:
    return html.escape(cleaned(text), quote=True)
