"""What an HTTP status of the Messages API means for the one who asked."""

from __future__ import annotations

import re
from collections.abc import Mapping

import orjson

from orchestrator.errors import ConfigError, ModelError, ModelOverloaded, ModelRefused, TooLong
from orchestrator.models.rates import rates_of

TOO_LONG = re.compile(
    r"prompt is too long|exceed\w*[ _]context|context (window|length|limit)|too many tokens"
    r"|request_too_large|maximum context",
    re.IGNORECASE,
)
"""How services say that a request is longer than the model's window."""

RETRYABLE = {408, 409, 429}
HINTS = {
    401: "check ANTHROPIC_API_KEY",
    402: "check the account's billing",
    403: "this key may not use the model or resource",
    404: "check the model's name, and ANTHROPIC_BASE_URL",
}


def sendable(key: str) -> str:
    """Return a credential that can stand in a header; what cannot would be quoted in errors.

    Raises:
        ConfigError: no key looks like this one; it is not repeated.
    """
    if not (key.isascii() and key.isprintable()):
        raise ConfigError(
            "the key for the model's service holds characters that no key has",
            hint="set ANTHROPIC_API_KEY anew, without quotes and line ends",
        )
    return key


def without(key: str, said: str) -> str:
    """Return what a service or a gateway said without the key, which it may repeat."""
    return said.replace(key, "(the key)") if key else said


def error_for(status: int, headers: Mapping[str, str], body: bytes, key: str = "") -> ModelError:
    """Turn a status that is not 200 into an error that says whether to try again.

    Args:
        status: the answer's.
        headers: the answer's; they say when to try again.
        body: what it holds, or its beginning.
        key: the credential that was sent, which is in no error.

    Source: errors and rate limits, Messages API documentation.
    """
    said = _message(body, key)
    text = f"the model's service answered {status}: {said}"
    wanted = headers.get("x-should-retry")
    retryable = status in RETRYABLE or status >= 500
    if wanted in {"true", "false"}:
        retryable = wanted == "true"
    rates = rates_of(headers)
    wait = _retry_after(headers)
    if status in {429, 529, 503}:
        return ModelOverloaded(text, retryable=retryable, retry_after=wait, rates=rates)
    if retryable:
        return ModelError(text, retryable=True, retry_after=wait, rates=rates)
    if status in {400, 413} and TOO_LONG.search(said):
        return TooLong(text, hint="split the issue into smaller ones")
    return ModelRefused(text, mendable=status in HINTS, hint=HINTS.get(status, ""))


def _message(body: bytes, key: str) -> str:
    try:
        data = orjson.loads(body)
    except orjson.JSONDecodeError:
        text = without(key, body.decode("utf-8", "replace"))
        return text[:300].strip() or "(nothing)"
    error = data.get("error") if isinstance(data, dict) else None
    if isinstance(error, dict):
        return without(key, f"{error.get('type')}: {error.get('message')}")[:500]
    return without(key, str(data))[:300]


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """Return the seconds that the service asks to wait; a date or nonsense counts as nothing."""
    for name, scale in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        try:
            seconds = float(headers.get(name, "")) * scale
        except ValueError:
            continue
        if 0 <= seconds < float("inf"):
            return seconds
    return None
