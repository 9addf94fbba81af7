"""In which order the issues of a night are begun, and which are not worked on side by side."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import field

from orchestrator.records import Issue
from orchestrator.routing.paths import named_files
from orchestrator.values import frozen

WORDS = {
    0: ("blocker", "critical", "highest", "immediate", "urgent", "emergency"),
    1: ("high", "major", "important"),
    2: ("medium", "normal", "moderate", "default", ""),
    3: ("low", "minor"),
    4: ("lowest", "trivial", "someday", "nice-to-have"),
}
RANKS = {word: rank for rank, words in WORDS.items() for word in words}
USUAL = RANKS["normal"]
LAST = 9
NUMBER = re.compile(r"(?:p|prio(?:rity)?)?[ :/=_-]*(\d{1,6})")
EVERYWHERE = frozenset({"changelog.md", "readme.md"})
"""Files that many issues name without being about them."""

Id = tuple[str, str]
"""A repository's id and an issue's key."""


@frozen
class Waiting:
    """An issue that waits for its turn.

    Attributes:
        agent: who is expected to get it; empty where nobody can tell.
        age: its place among the issues of its repository, the oldest first; one where all have the
            same leaves it to the keys.
    """

    issue: Issue
    repo: str = ""
    agent: str = ""
    age: int = 0

    @property
    def id(self) -> Id:
        """Return what names it in a night."""
        return self.repo, self.issue.key


@frozen
class Order:
    """The issues of a night in their order.

    Attributes:
        turns: all of them, whose blockers can be done before them.
        circles: issues that wait for each other, each circle in its order; nobody can begin them.
        stuck: issues that wait for a circle, or for one that waits for it, and for whom.
        blockers: the issues of the night that come before one.
        outside: what one waits for that is not in the night; whether it is done is not known here.
        apart: issues of the same repository that name the same files, and the first such file.
    """

    turns: tuple[Waiting, ...]
    circles: tuple[tuple[Id, ...], ...] = ()
    stuck: Mapping[Id, Id] = field(default_factory=dict)
    blockers: Mapping[Id, tuple[str, ...]] = field(default_factory=dict)
    outside: Mapping[Id, tuple[str, ...]] = field(default_factory=dict)
    apart: Mapping[Id, Mapping[str, str]] = field(default_factory=dict)


def ordered(waiting: Sequence[Waiting], *, side_by_side: bool = False) -> Order:
    """Order issues: blockers first, then by priority, age and key.

    A blocker is as urgent as the most urgent issue that waits for it. Among issues of one urgency
    repositories take turns, and in a repository its agents.

    Args:
        waiting: each issue once.
        side_by_side: whether issues that name the same files may be worked on at once.
    """
    issues = {one.id: one for one in waiting}
    before = {one.id: _blockers(one, issues) for one in waiting}
    circles = circles_of({one: [*keys] for one, keys in before.items()})
    stuck = _stuck(before, {one for circle in circles for one in circle})
    closed = {one for circle in circles for one in circle} | set(stuck)
    free = [one for one in waiting if one.id not in closed]
    return Order(
        turns=tuple(_in_turns(free, before)),
        circles=circles,
        stuck=stuck,
        blockers={one: tuple(key for _, key in keys) for one, keys in before.items() if keys},
        outside={one.id: keys for one in waiting if (keys := _outside(one, issues))},
        apart={} if side_by_side else files_shared(free),
    )


def rank_of(priority: str) -> int:
    """Return how urgent a priority is, 0 the most: words, ``P0`` to ``P4``, numbers; 2 is usual."""
    word = priority.strip().lower()
    if word in RANKS:
        return RANKS[word]
    number = NUMBER.fullmatch(word)
    if number is not None:
        return min(int(number[1]), LAST)
    return RANKS.get(re.split(r"[^a-z-]+", word)[0], USUAL)


def key_order(key: str) -> tuple[tuple[int, int | str], ...]:
    """Return what keys are sorted by: numbers in them by their value."""
    return tuple(
        (0, int(part)) if part.isdecimal() else (1, part.lower())
        for part in re.split(r"(\d{1,18})", key)
        if part
    )


def _blockers(one: Waiting, issues: Mapping[Id, Waiting]) -> list[Id]:
    ids = ((one.repo, key.lstrip("#")) for key in one.issue.blocked_by)
    return list(dict.fromkeys(each for each in ids if each in issues))


def _outside(one: Waiting, issues: Mapping[Id, Waiting]) -> tuple[str, ...]:
    keys = (key.lstrip("#") for key in one.issue.blocked_by)
    return tuple(dict.fromkeys(key for key in keys if (one.repo, key) not in issues))


def _stuck(before: Mapping[Id, Sequence[Id]], circling: Collection[Id]) -> dict[Id, Id]:
    """Return the issues outside circles that wait for one, and what each waits for."""
    after: dict[Id, list[Id]] = defaultdict(list)
    for one, blockers in before.items():
        for blocker in blockers:
            after[blocker].append(one)
    found: dict[Id, Id] = {}
    looked_at = sorted(circling)
    while looked_at:
        blocker = looked_at.pop()
        for one in after[blocker]:
            if one not in found and one not in circling:
                found[one] = blocker
                looked_at.append(one)
    return found


def _in_turns(waiting: Sequence[Waiting], before: Mapping[Id, Sequence[Id]]) -> list[Waiting]:
    """Take one issue after the other: the most urgent whose blockers have been taken."""
    ranks = _ranks(waiting, before)
    missing = {one.id: len(before[one.id]) for one in waiting}
    after: dict[Id, list[Waiting]] = defaultdict(list)
    for one in waiting:
        for blocker in before[one.id]:
            after[blocker].append(one)
    ready = [one for one in waiting if not missing[one.id]]
    by_age = sorted(waiting, key=lambda one: (one.age, key_order(one.issue.key), one.repo))
    places = {one.id: place for place, one in enumerate(by_age)}
    repos: Counter[str] = Counter()
    agents: Counter[Id] = Counter()
    taken: list[Waiting] = []
    while ready:
        chosen = min(
            ready,
            key=lambda one: (
                ranks[one.id],
                repos[one.repo],
                agents[one.repo, one.agent],
                places[one.id],
            ),
        )
        ready.remove(chosen)
        taken.append(chosen)
        repos[chosen.repo] += 1
        agents[chosen.repo, chosen.agent] += 1
        for one in after[chosen.id]:
            missing[one.id] -= 1
            if not missing[one.id]:
                ready.append(one)
    return taken


def _ranks(waiting: Sequence[Waiting], before: Mapping[Id, Sequence[Id]]) -> dict[Id, int]:
    """Return how urgent each issue is, by itself or for what waits for it."""
    ranks = {one.id: rank_of(one.issue.priority) for one in waiting}
    for one in sorted(ranks, key=lambda each: ranks[each]):
        looked_at = [one]
        while looked_at:
            current = looked_at.pop()
            for blocker in before[current]:
                if ranks[blocker] > ranks[one]:
                    ranks[blocker] = ranks[one]
                    looked_at.append(blocker)
    return ranks


def circles_of(before: Mapping[Id, Sequence[Id]]) -> tuple[tuple[Id, ...], ...]:
    """Return the circles of a relation, each from its first member on; without recursion.

    Args:
        before: what each one waits for; what is named nowhere else waits for nothing.
    """
    numbers: dict[Id, int] = {}
    lowest: dict[Id, int] = {}
    path: list[Id] = []
    on_path: set[Id] = set()
    found: list[tuple[Id, ...]] = []
    for start in before:
        if start in numbers:
            continue
        walk = [(start, iter(before[start]))]
        _enter(start, numbers, lowest, path, on_path)
        while walk:
            one, blockers = walk[-1]
            for blocker in blockers:
                if blocker not in numbers:
                    _enter(blocker, numbers, lowest, path, on_path)
                    walk.append((blocker, iter(before.get(blocker, ()))))
                    break
                if blocker in on_path:
                    lowest[one] = min(lowest[one], numbers[blocker])
            else:
                walk.pop()
                if walk:
                    lowest[walk[-1][0]] = min(lowest[walk[-1][0]], lowest[one])
                if lowest[one] == numbers[one]:
                    members = _leave(one, path, on_path)
                    if len(members) > 1 or one in before.get(one, ()):
                        found.append(_around(members, before))
    return tuple(sorted(found, key=lambda circle: key_order(circle[0][1])))


def _enter(
    one: Id, numbers: dict[Id, int], lowest: dict[Id, int], path: list[Id], on_path: set[Id]
) -> None:
    numbers[one] = lowest[one] = len(numbers)
    path.append(one)
    on_path.add(one)


def _leave(one: Id, path: list[Id], on_path: set[Id]) -> list[Id]:
    members = []
    while True:
        member = path.pop()
        on_path.discard(member)
        members.append(member)
        if member == one:
            return members


def _around(members: Sequence[Id], before: Mapping[Id, Sequence[Id]]) -> tuple[Id, ...]:
    """Return members of a circle so that each waits for the next, as far as one way round goes."""
    inside = set(members)
    at = min(members, key=lambda one: key_order(one[1]))
    walked = [at]
    while True:
        onward = [one for one in before[at] if one in inside and one not in walked]
        if not onward:
            return (*walked, *sorted(inside - set(walked)))
        at = onward[0]
        walked.append(at)


def files_shared(waiting: Iterable[Waiting]) -> dict[Id, dict[str, str]]:
    """Return for each issue the others of its repository that name one of its files, and which.

    A name without folders is the same file as one that ends in it.
    """
    by_last: dict[tuple[str, str], list[tuple[Waiting, str]]] = defaultdict(list)
    found: dict[Id, dict[str, str]] = {}
    for one in waiting:
        for file in named_files(f"{one.issue.title}\n{one.issue.body}"):
            last = file.rpartition("/")[2].lower()
            if last in EVERYWHERE:
                continue
            for other, theirs in by_last[one.repo, last]:
                if other.id != one.id and _same_file(file, theirs):
                    found.setdefault(one.id, {}).setdefault(other.issue.key, file)
                    found.setdefault(other.id, {}).setdefault(one.issue.key, theirs)
            by_last[one.repo, last].append((one, file))
    return found


def _same_file(first: str, second: str) -> bool:
    short, long = sorted((first.lower(), second.lower()), key=len)
    return short == long or long.endswith(f"/{short}")
