"""What a reply's headers say of the service's limits of rate."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

from orchestrator.amounts import RateNews

KINDS = ("requests", "tokens", "input-tokens", "output-tokens")
PREFIX = "anthropic-ratelimit-"


def rates_of(headers: Mapping[str, str]) -> tuple[RateNews, ...]:
    """Return what headers say of each limit; what is no number or no time is passed over.

    Source: rate limits, Messages API documentation.
    """
    found = []
    for kind in KINDS:
        most = headers.get(f"{PREFIX}{kind}-limit")
        left = headers.get(f"{PREFIX}{kind}-remaining")
        if most is None or left is None:
            continue
        try:
            news = RateNews(
                kind, int(most), max(int(left), 0), _seconds(headers.get(f"{PREFIX}{kind}-reset"))
            )
        except ValueError:
            continue
        if news.most > 0:
            found.append(news)
    return tuple(found)


def _seconds(reset: str | None) -> float:
    """Return the seconds until a moment; 0 where none is named."""
    if not reset:
        return 0.0
    moment = datetime.fromisoformat(reset)
    moment = moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
    return max((moment - datetime.now(UTC)).total_seconds(), 0.0)
