"""What a text speaks of: its words as stems, in order, and the shapes of things it names."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from functools import lru_cache

TEXT_LIMIT = 20_000
"""Characters of one text that are read: what an issue is about stands at its beginning."""

SQL = (
    r"\b(?:SELECT .{1,80}FROM|INSERT INTO|DELETE FROM|(?:ALTER|CREATE|DROP) (?:TABLE|INDEX)"
    r"|ADD (?:CONSTRAINT|COLUMN)|ORDER BY|GROUP BY|LEFT JOIN|WHERE)\b"
)
SHAPES = tuple(
    (f"<{name}>", re.compile(pattern))
    for name, pattern in (
        ("cve", r"\bCVE-\d{4}-\d{3,}"),
        ("method", r"\b(?:GET|POST|PUT|PATCH|DELETE|HEAD) /"),
        ("status", r"\b(?i:http|status|returns?|answers?|code|gives?|an?|with)(?: a)? [1-5]\d\d\b"),
        ("sql", SQL),
        ("version", r"\bv?\d{1,4}\.\d{1,4}\.(?:\d{1,4}|x)\b|\bv\d{1,4}\b|\b\d{1,3}\.x\b"),
        ("duration", r"\b\d[\d.,]*\s?(?i:ms|s|sec|secs|seconds?|min|minutes?|h|hours?)\b"),
        ("bytes", r"\b\d[\d.,]*\s?(?i:[kmgt]i?b)\b"),
        ("percent", r"\d\s?%"),
    )
)
FILE = re.compile(r"[\w-]\.(py|ts|tsx|js|jsx|css|scss|html|vue|svelte|swift|kt|dart|go|java|rb|php"
                  r"|cs|rs|cpp|h|sql|tf|ya?ml|sh|md|rst)\b")  # fmt: skip
DOCKERFILE = re.compile(r"\bDockerfile\b")
VOWEL = re.compile(r"[aeiouy]")
CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
WORD = re.compile(r"[^\W\d_][^\W_]*(?:['\u2019./-][^\W_]+)*(?:\+\+|#|\+\d)?|\d+[^\W\d_][^\W_]*")
JOINT = re.compile(r"['\u2019./-]")
_KEPT = """
accounting batching building documented embedded finding findings freezes heading headings
meeting paged paging parking production profile profiles rotating rotation signed staging stored
testimonial undocumented weekly wording
"""
AS_THEY_ARE = frozenset(_KEPT.split())
"""Words whose stem would be that of another word with another meaning."""

_FILLING = """
a about after all also am an and any are as at be because been before being but by can cannot
could did do does doing don done each else even ever few for from get gets getting got had has
have having he her here his how i if in into is it its just like made make makes making many may
me might more most much must my need needs no nor not now of off on once one only onto or other
our out over own please same she should since so some such than that the their them then there
these they this those though through to too two under until up upon us use used uses using very
want wants was we well were what when where which while who whom whose why will with within
without would yet you your s t re ve ll d m
"""
STOP = frozenset(_FILLING.split())


_COMMON = """
able across act actual add again against agree ahead allow already alway anyone anything appear
apply approach area around arrive ask away back bad base basic become begin behave behaviour
behind believe best better beyond big bit both break bring broken bug build call care case catch
cause certain change check choose clean clear close code come common complete concern confirm
contain context continue correct cost could count cover create current day deal decide deep
define deliver depend describe design detail develop developer different difficult direct
discover discuss do down drop due during early easy effect either empty end engineer ensure
enough entire error especial etc everyone everything exact exist expect expert explain extra
fact fail fair fall far fast feature feel field fill final find fine first fit fix follow form
forward found four free full fully further general give given go good great group grow guide
half hand handle happen hard hear help hide high hint hold home hope hour idea identify
immediate implement important improve include inform input inside instead intend interest issue
item join keep key kind know lack large last late later lead leave left less let level like line
list little local long look lose lot low main maintain manage manual match matter maximum mean
mend minimum mind minute miss month move multiple name near necessary never new next nice normal
note nothing notice number off offer official often old open option order output outside
overview own part pass past pattern people perform perhaps pick piece place plain plan play
point possible practice prefer prepare present press pretty prevent previous prior problem
proceed process produce product project proper provide put quality question quick quite raise
ran rather reach read ready real realise really reason receive recent record reduce refer
regular relate relevant remain remember remove replace report request require responsible rest
result return review right role rule run safe save say search second see seem send senior
separate set several share short show side sign similar simple single sit situation size small
software solution solve someone something sort source speak special specialist specific split
stand standard start state stay step still stop story strong structure style suggest support
sure system take talk task team tell term thank thing think third three time today together
tool top total touch track true try turn type understand unit update usual valid value various
verify version view visit wait walk watch way week went whether whole wide without wonder word
work world worry worth write wrong year yesterday
"""
COMMON = frozenset(_COMMON.split())
"""Words that say nothing of a trade, though an issue and an agent may share them."""


class Words:
    """The words of a text.

    Attributes:
        sequence: stems in order, None where a sentence breaks; nothing is left out.
        extras: compounds as they are written (``ci/cd``, ``next.js``) and shapes, with counts.
        spelled: how a stem is first written.
    """

    __slots__ = ("extras", "sequence", "spelled")

    def __init__(self, text: str) -> None:
        text = text[:TEXT_LIMIT]
        self.extras: Counter[str] = Counter()
        for name, shape in SHAPES:
            found = sum(1 for _ in shape.finditer(text))
            if found:
                self.extras[name] = found
        self.extras.update(f"<.{one}>" for one in FILE.findall(text))
        if DOCKERFILE.search(text):
            self.extras["<dockerfile>"] += 1
        self.sequence: list[str] = []
        self.spelled: dict[str, str] = {}
        for word in WORD.findall(text):
            self._take(word)

    def _take(self, word: str) -> None:
        if word.isalpha() and word[1:].islower():  # as nearly all are
            lower = word.lower()
            stem = stem_of(lower)
            self.sequence.append(stem)
            self.spelled.setdefault(stem, lower)
            return
        for end in ("'s", "\u2019s", "s'"):
            word = word.removesuffix(end)
        parts = [part for piece in JOINT.split(word) for part in CAMEL.split(piece) if part]
        if len(parts) > 1:
            whole = stem_of(word.lower())
            self.extras[whole] += 1
            self.spelled.setdefault(whole, word.lower())
        for part in parts:
            stem = stem_of(part.lower())
            self.sequence.append(stem)
            self.spelled.setdefault(stem, part.lower())

    def telling(self) -> Iterator[str]:
        """Give every stem that is no mere filling, and every compound."""
        for one in self.sequence:
            if not one.endswith(".") and one not in COMMON_STEMS and len(one) > 1:
                yield one
        for one in self.extras:
            if not one.startswith("<"):
                yield one


@lru_cache(maxsize=16384)
def stem_of(word: str) -> str:
    """Return a word without its ending, the same for all of its forms that matter here."""
    if word in STOP:
        return f"{word}."  # "them" is no form of "theme"
    if len(word) <= 3 or word in AS_THEY_ARE or not word.isascii():
        return word
    word = _shortened(_singular(word))
    for ending, least in (("ment", 9), ("ly", 6)):
        if word.endswith(ending) and len(word) >= least:
            word = word.removesuffix(ending)
    if word.endswith(("tion", "sion")) and len(word) > 6:
        word = word[:-3]
    return word[:-1] if word.endswith("e") and len(word) > 3 else word


def _singular(word: str) -> str:
    if word.endswith("ies") and len(word) > 4:
        return f"{word[:-3]}y"
    if word.endswith(("sses", "xes", "ches", "shes", "zes")):
        return word[:-2]
    if word.endswith("s") and not word.endswith(("ss", "us", "is")):
        return word[:-1]
    return word


def _shortened(word: str) -> str:
    """Drop what a verb's form adds, and the letter that is doubled before it."""
    for ending in ("ing", "ed"):
        rest = word.removesuffix(ending)
        if rest != word and len(rest) >= 3 and VOWEL.search(rest):
            doubled = rest[-1] == rest[-2] and rest[-1] not in "lsz"
            return rest[:-1] if doubled else rest
    return word


COMMON_STEMS = frozenset(stem_of(word) for word in COMMON)
