"""Which issues a night is asked to work on, as people write it."""

from __future__ import annotations

import re

from orchestrator.errors import ConfigError

MOST = 1000
"""Issues that one night can be asked for."""

NUMBERS = re.compile(r"#?(?P<first>\d{1,18})\s*(?:-|\.\.)\s*#?(?P<last>\d{1,18})")
NAMED = re.compile(
    r"(?P<project>[A-Za-z][A-Za-z0-9_]*)-(?P<first>\d{1,18})\s*(?:-|\.\.)\s*"
    r"(?:(?P<again>[A-Za-z][A-Za-z0-9_]*)-)?(?P<last>\d{1,18})"
)
HINT = "like 1,4-9 or SHOP-12,SHOP-14-20"


def keys_of(said: str) -> tuple[str, ...]:
    """Return the keys that a list names, in its order, each once.

    Ranges are spelled out: ``4-9``, ``SHOP-4-9``, ``SHOP-4..SHOP-9``. Anything else is a key as it
    stands, also ``PROJ-12``, ``#7``, ``owner/name#7`` and an address; trackers say what it means.

    Raises:
        ConfigError: it is empty, a range runs backwards, or there are too many.
    """
    found: dict[str, None] = {}
    for part in re.split(r"[,\s]+", _joined(said)):
        if not part:
            continue
        for key in _spelled_out(part):
            found.setdefault(key)
            if len(found) > MOST:
                raise ConfigError(f"--issues: more than {MOST} issues", hint="take several nights")
    if not found:
        raise ConfigError("--issues: no issue is named", hint=HINT)
    return tuple(found)


def _joined(said: str) -> str:
    """Take away blanks around the marks of a range, so that ``4 - 9`` is one word."""
    return re.sub(r"(?<=\d)\s*(-|\.\.)\s*(?=#?[\w])", r"\1", said.strip())


def _spelled_out(part: str) -> list[str]:
    numbers = NUMBERS.fullmatch(part)
    if numbers is not None:
        return _range("", numbers["first"], numbers["last"], part)
    named = NAMED.fullmatch(part)
    if named is not None:
        if named["again"] is not None and named["again"].upper() != named["project"].upper():
            raise ConfigError(f"--issues: {part} begins and ends in different projects", hint=HINT)
        return _range(f"{named['project']}-", named["first"], named["last"], part)
    if part.startswith("-") or not re.search(r"\w", part):
        raise ConfigError(f"--issues: {part!r} is no issue", hint=HINT)
    return [part]


def _range(before: str, first: str, last: str, part: str) -> list[str]:
    low, high = int(first), int(last)
    if high < low:
        raise ConfigError(f"--issues: {part} runs backwards", hint=HINT)
    if high - low >= MOST:
        raise ConfigError(
            f"--issues: {part} is more than {MOST} issues", hint="take several nights"
        )
    if first.startswith("0") and len(first) == len(last):  # 007-012: keys that keep their zeros
        return [f"{before}{number:0{len(first)}d}" for number in range(low, high + 1)]
    return [f"{before}{number}" for number in range(low, high + 1)]
