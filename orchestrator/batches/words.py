"""How fates, money and time of a night are said."""

from __future__ import annotations

import math

from orchestrator.batches.nights import Expected, Fate, FateKind, Why

KINDS: dict[FateKind, str] = {
    "done": "done",
    "not_done": "not done",
    "infrastructure": "machine or service",
    "parked": "parked",
    "passed_over": "passed over",
    "vanished": "vanished",
}
"""What became of an issue, in the order in which it is counted."""

WHYS: dict[Why, str] = {
    "": "",
    "ceiling": "the night's ceiling was reached",
    "until": "no time was left",
    "blocked": "an issue that comes before it is not done",
    "stopped": "somebody stopped the night",
    "not_ready": "it is not ready to be worked on",
    "limit": "its own limit was reached",
}

TOLD_ALONE: frozenset[Why] = frozenset({"blocked", "stopped", "not_ready"})
"""Reasons that what was said tells by itself."""

STATUSES = {
    "done": "done",
    "gate_failed": "a gate failed",
    "needs_human": "a person has to look",
    "limit_reached": "a limit was reached",
    "cancelled": "stopped",
    "unavailable": "the machine or a service was not available",
    "failed": "failed",
}


STANDINGS = {
    "working": "being worked on",
    "resting": "tried again later",
    "waiting": "not begun",
}


def fate_words(fate: Fate | None, standing: str = "waiting") -> str:
    """Return what became of an issue, in a few words."""
    if fate is None:
        return STANDINGS.get(standing, standing)
    word = KINDS[fate.kind]
    if fate.kind == "not_done" and fate.status is not None:
        return f"{word}: {STATUSES[fate.status]}"
    return word


def why_words(fate: Fate | None) -> str:
    """Return why an issue ended as it did: the reason, then what was said."""
    if fate is None:
        return ""
    if fate.said and fate.why in TOLD_ALONE:
        return fate.said
    parts = dict.fromkeys(one for one in (WHYS[fate.why], fate.said) if one)
    return ": ".join(parts)


def counted(counts: dict[str, int]) -> str:
    """Return how many issues had each fate, as one line; what nobody had is left out."""
    names: dict[str, str] = {**KINDS} | STANDINGS
    return ", ".join(f"{counts[kind]} {name}" for kind, name in names.items() if counts.get(kind))


def dollars(usd: float) -> str:
    """Return money as people read it: cents, and more of them where it is less than ten."""
    if usd < 0:
        return f"-{dollars(-usd)}"
    if 0 < usd < 0.1:
        return f"${usd:.4f}"
    return f"${usd:,.2f}"


def minutes(value: float) -> str:
    """Return minutes as people read them."""
    if not math.isfinite(value):
        return "?"
    if 0 < value < 1:
        return f"{max(round(value * 60), 1)} s"
    whole = round(value)
    if whole < 100:
        return f"{whole} min"
    return f"{whole // 60} h {whole % 60:02d} min"


def seconds(value: float) -> str:
    """Return a duration in seconds as people read it."""
    return f"{max(round(value), 0)} s" if value < 100 else minutes(value / 60)


def usd_range(one: Expected) -> str:
    """Return expected dollars with their range."""
    return f"{dollars(one.usd)} ({dollars(one.usd_low)} to {dollars(one.usd_high)})"


def minutes_range(one: Expected) -> str:
    """Return expected minutes with their range."""
    low, high = minutes(one.minutes_low), minutes(one.minutes_high)
    return f"{minutes(one.minutes)} ({low} to {high})"
