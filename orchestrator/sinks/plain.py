"""Text from anywhere, made safe for a terminal."""

from __future__ import annotations

import unicodedata

UNSAFE = {"Cc", "Cf", "Co", "Cs", "Zl", "Zp"}


def safe(text: str, *, keep: str = "\n\t") -> str:
    """Replace what a terminal would act on: controls, escapes, directions, private characters.

    Args:
        text: from a model, a tool, an issue or a file.
        keep: control characters that may stay.
    """
    return "".join(
        char
        if char in keep or unicodedata.category(char) not in UNSAFE
        else "\N{REPLACEMENT CHARACTER}"
        for char in text
    )


def line(text: str, width: int = 100) -> str:
    """Return text as one safe line of a bounded width."""
    flat = " ".join(safe(text, keep="").replace("\N{REPLACEMENT CHARACTER}", " ").split())
    return flat if len(flat) <= width else f"{flat[: width - 1]}\N{HORIZONTAL ELLIPSIS}"


def escaped(char: str) -> str:
    """Return a character as JSON escapes: a pair of them beyond the first plane."""
    units = char.encode("utf-16-be")
    return "".join(f"\\u{units[at : at + 2].hex()}" for at in range(0, len(units), 2))


def safe_json(data: bytes) -> str:
    """Return JSON text in which what a terminal would act on is escaped; it means the same."""
    return "".join(
        escaped(char) if unicodedata.category(char) in UNSAFE and char != "\n" else char
        for char in data.decode()
    )
