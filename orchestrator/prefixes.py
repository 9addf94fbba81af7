"""What the service's cache knows of requests: the bytes before each mark, and where two differ.

The service renders tools, then the system prompt, then messages, and keeps what stands before a
mark. Marks themselves, the limit of the reply and whether it streams are no part of that.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from hashlib import sha256

import orjson

from orchestrator.records import ModelRequest
from orchestrator.values import frozen

MARK = re.compile(rb',"cache_control":\{"type":"ephemeral"(?:,"ttl":"[0-9a-z]+")?\}\}\]\}$')
MARK_MOST = 80
"""Bytes that a mark and the end of a message take at most."""


@frozen
class Prefix:
    """All that stands before one mark.

    Attributes:
        upto: the block that the mark is on.
        digest: of every byte up to there, model included.
        life: how long it is kept, as the mark says.
    """

    upto: str
    digest: str
    life: str = "5m"


def parts(request: ModelRequest) -> Iterator[tuple[str, bytes, str]]:
    """Yield name, bytes without marks, and mark of each part of a request, in render order."""
    head = orjson.loads(b"{%b}" % request.head)
    yield "model", request.model.encode(), ""
    rest = {key: value for key, value in head.items() if key not in {"tools", "system"}}
    yield "settings", orjson.dumps(rest), ""
    yield "tools", orjson.dumps(head.get("tools", [])), ""
    for number, block in enumerate(head.get("system", []), 1):
        life = block.pop("cache_control", None)
        name = "system" if number == 1 else f"system block {number}"
        yield name, orjson.dumps(block), _life(life)
    for number, message in enumerate(request.messages, 1):
        bare, life = unmarked(message)
        yield f"message {number}", bare, life


def _life(mark: object) -> str:
    return str(mark.get("ttl", "5m")) if isinstance(mark, dict) else ""


def unmarked(message: bytes) -> tuple[bytes, str]:
    """Return a message without the mark that may be on its last block, and the mark's life."""
    found = MARK.search(message, max(0, len(message) - MARK_MOST))
    if found is None:
        return message, ""
    life = "1h" if b'"1h"' in found.group() else "5m"
    return message[: found.start()] + b"}]}", life


def prefixes(request: ModelRequest) -> list[Prefix]:
    """Return what a request asks the service to keep, the shortest first."""
    whole = sha256()
    found = []
    for name, part, life in parts(request):
        whole.update(b"%d:" % len(part))
        whole.update(part)
        if life:
            found.append(Prefix(name, whole.copy().hexdigest(), life))
    return found


def difference(before: ModelRequest, after: ModelRequest) -> str:
    """Name the first part by which a request does not continue an earlier one; empty if it does."""
    later = parts(after)
    for name, part, _ in parts(before):
        found = next(later, None)
        if found is None or found[:2] != (name, part):
            return name
    return ""
