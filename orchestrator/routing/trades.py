"""The lexicon of trades: which words speak of which trade, and how strongly."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from typing import Any

import yaml

from orchestrator.routing.words import JOINT, Words, stem_of

STRENGTH = {"named": 2.0, "strong": 3.0, "telling": 2.0, "hint": 1.0}
"""What a word adds to an issue's claim on a trade."""

SAID_BY_AGENT = {"named": 6.0, "strong": 3.0, "telling": 1.5, "hint": 0.25}
"""What a word adds to an agent's claim on a trade: it names itself rather than shows symptoms."""

LONGEST = 5


@dataclass(frozen=True, slots=True, eq=False)
class Entry:
    """One word or phrase: what it says of trades, from an issue and from an agent."""

    word: str
    asks: Mapping[str, float] = field(default_factory=dict)
    offers: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Lexicon:
    """All entries.

    Attributes:
        entries: by their stems, one for a word and several for a phrase.
        longest: the most words of a phrase that begins with a stem.
        strangers: trades that are no software work.
    """

    entries: Mapping[tuple[str, ...], Entry]
    longest: Mapping[str, int]
    strangers: frozenset[str]

    def found(self, words: Words) -> list[tuple[Entry, int]]:
        """Return the entries that a text has, the longest phrase first, and how often."""
        counts: Counter[tuple[str, ...]] = Counter()
        at, sequence = 0, words.sequence
        while at < len(sequence):
            most = min(self.longest.get(sequence[at], 1), len(sequence) - at)
            for length in range(most, 0, -1):
                key = tuple(sequence[at : at + length])
                if key in self.entries:
                    counts[key] += 1
                    at += length - 1
                    break
            at += 1
        for extra, count in words.extras.items():
            if (extra,) in self.entries:
                counts[(extra,)] += count
        return [(self.entries[key], count) for key, count in counts.items()]


@cache
def lexicon() -> Lexicon:
    """Return the lexicon; read once."""
    text = files("orchestrator.routing").joinpath("trades.yaml").read_bytes()
    return lexicon_of(yaml.load(text, Loader=yaml.CSafeLoader))


def lexicon_of(trades: Mapping[str, Mapping[str, Any]]) -> Lexicon:
    """Build a lexicon from trades as the file tells them."""
    asks: dict[tuple[str, ...], dict[str, float]] = defaultdict(dict)
    offers: dict[tuple[str, ...], dict[str, float]] = defaultdict(dict)
    written: dict[tuple[str, ...], str] = {}
    longest: dict[str, int] = {}
    for trade, rows in trades.items():
        for kind, strength in STRENGTH.items():
            for word in rows.get(kind, "").split():
                key = stems_of(word)
                written.setdefault(key, word.replace("+", " ") if len(key) > 1 else word)
                asks[key][trade] = max(strength, asks[key].get(trade, 0.0))
                offers[key][trade] = max(SAID_BY_AGENT[kind], offers[key].get(trade, 0.0))
                longest[key[0]] = max(len(key), longest.get(key[0], 0))
    strangers = frozenset(trade for trade, rows in trades.items() if rows.get("about") == "none")
    entries = {key: Entry(written[key], asks[key], offers[key]) for key in asks}
    return Lexicon(entries, longest, strangers)


def stems_of(word: str) -> tuple[str, ...]:
    """Return the stems of a word of the lexicon, several for a phrase."""
    if word.startswith("<") or word.rstrip("+") != word:
        return (word,)
    parts = [part for part in word.split("+") if part]
    if any(part[0].isdigit() for part in parts[1:]) or len(parts) == 1:
        return (stem_of(word),)
    return tuple(stem_of(piece) for part in parts for piece in JOINT.split(part) if piece)
