"""The lexicon of trades: which words speak of which trade, and how strongly.

People write it in ``trades.yaml``. What is read is ``trades.json``, which ``make lexicon`` makes of
it: its words are stems already, and that takes a tenth of the time.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Any

import orjson

from orchestrator.routing.words import JOINT, Words, stem_of
from orchestrator.values import frozen

KINDS = ("named", "strong", "telling", "hint")
ASKED = (1.5, 3.8, 2.0, 1.0)
"""What a word of each kind adds to an issue's claim on a trade."""

OFFERED = (12.0, 3.5, 1.5, 0.25)
"""What it adds to an agent's claim on a trade: an agent names itself, and shows no symptoms."""


@frozen
class Entry:
    """One word or phrase.

    Attributes:
        word: as it is written in the lexicon.
        asks: what it says of an issue: trade to evidence.
        offers: what it says of an agent.
    """

    word: str
    asks: Mapping[str, float]
    offers: Mapping[str, float]


class Lexicon:
    """All entries, by their stems.

    Args:
        compiled: what ``compiled`` made.

    Attributes:
        strangers: trades that are no software work.
    """

    def __init__(self, compiled: Mapping[str, Any]) -> None:
        self.strangers = frozenset(compiled["strangers"])
        self._trades: list[str] = compiled["trades"]
        self._longest: Mapping[str, int] = compiled["longest"]
        self._entries: Mapping[str, str] = compiled["entries"]
        self._made: dict[str, Entry] = {}

    def __getitem__(self, stems: str) -> Entry:
        """Return an entry; made when it is first asked for, as most never are."""
        entry = self._made.get(stems)
        if entry is None:
            word, *said = self._entries[stems].split("|")
            asks, offers = {}, {}
            for one in said:
                number, kinds = one.split(":")
                trade = self._trades[int(number)]
                asks[trade] = max(ASKED[int(kind)] for kind in kinds)
                offers[trade] = max(OFFERED[int(kind)] for kind in kinds)
            entry = self._made[stems] = Entry(word or stems, asks, offers)
        return entry

    def found(self, words: Words) -> Counter[str]:
        """Return the entries that a text has, the longest phrase first, and how often."""
        counts: Counter[str] = Counter()
        at, sequence = 0, words.sequence
        entries, longest = self._entries, self._longest
        while at < len(sequence):
            for length in range(longest.get(sequence[at], 1), 1, -1):
                stems = " ".join(sequence[at : at + length])
                if stems in entries:
                    counts[stems] += 1
                    at += length
                    break
            else:
                if sequence[at] in entries:
                    counts[sequence[at]] += 1
                at += 1
        for extra, count in words.extras.items():
            if extra in self._entries:
                counts[extra] += count
        return counts


@cache
def lexicon() -> Lexicon:
    """Return the lexicon; read once."""
    return Lexicon(orjson.loads(files("orchestrator.routing").joinpath("trades.json").read_bytes()))


def compiled(trades: Mapping[str, Mapping[str, str]]) -> dict[str, Any]:
    """Turn trades, as people write them, into what is read: by stems, and ready to be counted.

    Args:
        trades: for each trade the words of each kind, separated by spaces, ``a+b`` for a phrase.
    """
    written: dict[str, str] = {}
    said: dict[str, dict[int, str]] = defaultdict(dict)
    longest: dict[str, int] = {}
    for number, rows in enumerate(trades.values()):
        for kind, name in enumerate(KINDS):
            for word in rows.get(name, "").split():
                stems = stems_of(word)
                key = " ".join(stems)
                written.setdefault(key, word.replace("+", " ") if len(stems) > 1 else word)
                kinds = said[key].get(number, "")
                said[key][number] = kinds if str(kind) in kinds else f"{kinds}{kind}"
                if len(stems) > 1:
                    longest[stems[0]] = max(len(stems), longest.get(stems[0], 0))
    return {
        "trades": list(trades),
        "strangers": sorted(name for name, rows in trades.items() if rows.get("about") == "none"),
        "longest": dict(sorted(longest.items())),
        # Texts, not lists: the collector has less to look through, and most are never needed.
        "entries": {key: _told(key, written[key], said[key]) for key in sorted(written)},
    }


def _told(key: str, word: str, said: Mapping[int, str]) -> str:
    kinds = [f"{number}:{each}" for number, each in sorted(said.items())]
    return "|".join(["" if word == key else word, *kinds])


def stems_of(word: str) -> tuple[str, ...]:
    """Return the stems of a word of the lexicon, several for a phrase."""
    if word.startswith("<") or word.rstrip("+") != word:
        return (word,)
    parts = [part for part in word.split("+") if part]
    if any(part[0].isdigit() for part in parts[1:]) or len(parts) == 1:
        return (stem_of(word),)
    return tuple(stem_of(piece) for part in parts for piece in JOINT.split(part) if piece)
