"""JSON as the standard library's ``json`` reads and writes it, without what loading that costs.

``json`` compiles regular expressions for what its half in C does without them: with the modules
they bring along seven milliseconds of each start. Where that half is not what is known of it,
``json`` does the work itself; the tests hold both against each other.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

BLANK = " \t\n\r"


class _Reading:
    """What the reader is told, in the names by which it asks."""

    strict = True
    object_hook = object_pairs_hook = array_hook = None
    parse_float, parse_int = float, int
    parse_constant = {
        "NaN": float("nan"),
        "Infinity": float("inf"),
        "-Infinity": -float("inf"),
    }.__getitem__


def _refuse(value: object) -> Any:
    raise TypeError(f"{type(value).__name__} cannot be written as JSON")


try:
    from _json import encode_basestring, make_encoder, make_scanner

    def _writer() -> Any:
        return make_encoder({}, _refuse, encode_basestring, None, ":", ",", False, False, True)

    _scan = make_scanner(_Reading)  # type: ignore[arg-type]
    _writer()
except (ImportError, AttributeError, TypeError):
    import json

    def loads(text: str) -> Any:
        """Read a value."""
        return json.loads(text)

    def dumps(value: Any) -> str:
        """Write a value in as few characters as it needs."""
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"))

else:

    def loads(text: str) -> Any:
        """Read a value.

        Raises:
            ValueError: this is none, or more than one.
            RecursionError: it is nested too deep.
        """
        try:
            value, end = _scan(text, len(text) - len(text.lstrip(BLANK)))
        except StopIteration:
            raise ValueError("not JSON") from None
        if text[end:].strip(BLANK):
            raise ValueError("more than one value")
        return value

    def dumps(value: Any) -> str:
        """Write a value in as few characters as it needs."""
        return "".join(_writer()(value, 0))
