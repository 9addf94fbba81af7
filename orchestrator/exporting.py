"""A run's journal as lines of JSON: a trajectory that other programs read, and that can be played.

The form, one object a line, in the order in which things were recorded::

    {"form": 1, "run": "7-0a1b2c3d", "seq": 4, "at": 1764445200.5, "epoch": 1,
     "kind": "ModelReplied", "key": "author/turn/1/reply", "data": {...}}

``data`` is the event as the journal has it: its fields are those of the class ``kind``. Messages in
it are JSON text, character for character as they were sent, but for keys of known form.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import orjson

from orchestrator.values import frozen

FORM = 1
"""Of the lines; it rises when a reader would have to know."""


@frozen
class Recorded:
    """An event as the journal has it.

    Attributes:
        at: when it was recorded, in seconds since 1970.
    """

    seq: int
    epoch: int
    key: str
    kind: str
    data: bytes
    at: float


def lines(run: str, events: Iterable[Recorded], clean: Callable[[str], str]) -> Iterator[bytes]:
    """Yield a run's events as lines of JSON, without their ends.

    Args:
        run: its id.
        events: in order.
        clean: takes keys of known form out of a text; no text of the run is left out of it.
    """
    for one in events:
        record = {
            "form": FORM,
            "run": run,
            "seq": one.seq,
            "at": one.at,
            "epoch": one.epoch,
            "kind": one.kind,
            "key": one.key,
            "data": _cleaned(orjson.loads(one.data), clean),
        }
        yield orjson.dumps(record)


def _cleaned(value: object, clean: Callable[[str], str]) -> object:
    """Return a value of JSON with every text in it cleaned, the names of members too."""
    if isinstance(value, str):
        return _cleaned_text(value, clean)
    if isinstance(value, list):
        return [_cleaned(one, clean) for one in value]
    if isinstance(value, dict):
        return {clean(name): _cleaned(one, clean) for name, one in value.items()}
    return value


def _cleaned_text(text: str, clean: Callable[[str], str]) -> str:
    """Clean a text; a message is JSON itself, and its texts are cleaned, not its encoding."""
    if text.startswith('{"role":'):
        try:
            message = orjson.loads(text)
        except ValueError:
            return clean(text)
        done = _cleaned(message, clean)
        return text if done == message else orjson.dumps(done).decode()
    return clean(text)
