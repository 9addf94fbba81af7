"""Replies that were kept, or written by hand, in the journal's own form, played in order."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import orjson

from orchestrator.errors import ConfigError, ModelRefused
from orchestrator.events import AUTHOR, ModelReplied, decode
from orchestrator.records import ModelReply, ModelRequest


class ReplayClient:
    """Answers the n-th request of a session with the n-th reply of a recording.

    It keeps no count: the turn is told from the request, so a resumed run goes on where it was.

    Args:
        replies: the recording.
    """

    def __init__(self, replies: Sequence[ModelReplied]) -> None:
        self._replies = list(replies)

    async def reply(self, request: ModelRequest) -> ModelReply:
        """Return the next reply of the recording.

        Raises:
            ModelRefused: the recording has ended.
        """
        turn = sum(message.startswith(b'{"role":"assistant"') for message in request.messages)
        if turn >= len(self._replies):
            raise ModelRefused(f"the recording ends after {len(self._replies)} replies")
        kept = self._replies[turn]
        return ModelReply(
            blocks=tuple(orjson.loads(kept.message)["content"]),
            stop_reason=kept.stop_reason,
            usage=kept.usage,
            request_id=kept.request_id,
            broken_calls=kept.broken_calls,
        )

    async def aclose(self) -> None:
        """Nothing to close."""


def load_replies(path: Path, session: str = AUTHOR) -> list[ModelReplied]:
    """Read a recording: a line an event, ``{"kind": ..., "data": {...}}``; others are passed over.

    Raises:
        ConfigError: it cannot be read, or holds no reply.
    """
    try:
        lines = path.read_bytes().splitlines()
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from None
    replies: list[ModelReplied] = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            record = orjson.loads(line)
            event = decode(record["kind"], orjson.dumps(record["data"]))
        except (ValueError, KeyError, TypeError) as error:
            raise ConfigError(f"{path}:{number}: not an event: {error}") from None
        if isinstance(event, ModelReplied) and event.session == session:
            replies.append(event)
    if not replies:
        raise ConfigError(f"{path} holds no replies of a session {session!r}")
    return sorted(replies, key=lambda reply: reply.turn)
