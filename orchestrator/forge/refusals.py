"""What a service's refusal means for the one who asked."""

from __future__ import annotations

import unicodedata
from collections.abc import Collection
from typing import Any

from orchestrator.errors import (
    TrackerConflict,
    TrackerError,
    TrackerMissing,
    TrackerRefused,
    Unanswered,
)

SAID_LIMIT = 300
LOOKED_AT = 100_000


def refusal(service: str, status: int, said: str, what: str, hint: str = "") -> TrackerError:
    """Turn a status that is no success into an error.

    Args:
        service: its name, for people.
        status: of the answer.
        said: the answer's message.
        what: the request, as method and path.
        hint: how the credential is named, for refusals of it.
    """
    told = f"{service} answered {status} to {what}: {said or '(nothing)'}"
    if status in {401, 403}:
        wrong = hint or "the credential is wrong, or has run out"
        may_not = "this account may not do that; look at its permissions"
        return TrackerRefused(told, hint=wrong if status == 401 else may_not)
    if status in {404, 410, 451}:
        return TrackerMissing(told, hint="it does not exist, or this account may not see it")
    if status in {409, 412, 422}:
        return TrackerConflict(told)
    if status in {301, 302, 307, 308}:
        return TrackerMissing(
            f"{service} has moved what was asked for ({what})",
            hint="name the project as it is called now",
        )
    passing = status >= 500 or status == 408
    return Unanswered(told, retryable=True) if passing else TrackerError(told)


def is_limited(data: Any) -> bool:
    """Tell whether an answer in GraphQL is a refusal for a limit: its status is a success."""
    listed = data.get("errors") if isinstance(data, dict) else None
    if not isinstance(listed, list) or data.get("data"):
        return False
    return any(isinstance(one, dict) and one.get("type") == "RATE_LIMITED" for one in listed)


def message_of(data: Any, *, hide: Collection[str] = ()) -> str:
    """Return what an answer says of itself, in one short line, whatever service it is of.

    Args:
        data: the answer's JSON.
        hide: what must not be in the line, however the service repeats it.
    """
    parts: list[str] = []
    if isinstance(data, dict):
        for name in ("message", "error", "error_description", "errorMessages", "errors"):
            parts += _texts(data.get(name))
    elif isinstance(data, str):
        parts.append(data)
    # Hidden before it is cut: half a secret would be none of these any more.
    return one_line("; ".join(dict.fromkeys(parts)), hide=hide)


def one_line(text: str, *, hide: Collection[str] = ()) -> str:
    """Return hostile text as one short line without anything that a terminal obeys."""
    flat = " ".join(_without(text, hide)[:LOOKED_AT].split())
    seen = "".join(char for char in flat if unicodedata.category(char)[0] != "C")
    seen = _without(seen, hide)
    return seen if len(seen) <= SAID_LIMIT else f"{seen[:SAID_LIMIT]}..."


def _without(text: str, secrets: Collection[str]) -> str:
    for secret in sorted(secrets, key=len, reverse=True):
        text = text.replace(secret, "***")
    return text


def _texts(value: Any, depth: int = 0) -> list[str]:
    if isinstance(value, str):
        return [value]
    if depth > 3:
        return []
    if isinstance(value, list):
        return [text for one in value[:5] for text in _texts(one, depth + 1)]
    if isinstance(value, dict):
        if isinstance(value.get("message"), str):
            return [value["message"]]
        pairs = [(name, _texts(one, depth + 1)) for name, one in list(value.items())[:6]]
        return [f"{name}: {text}" for name, texts in pairs for text in texts]
    return []
