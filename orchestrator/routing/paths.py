"""Files that an issue names, and the agents whose rules they fit."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from fnmatch import fnmatchcase

from orchestrator.records import Issue
from orchestrator.values import frozen

NAMES_LIMIT = 200
TEXT_LIMIT = 200_000
RUN = re.compile(r"[^\s`'\"<>()\[\]{},;|*?]+")
ADDRESS = re.compile(r"[a-z][a-z0-9+.-]*://[^/]*", re.IGNORECASE)
IN_TREE = re.compile(r"/(?:-/)?(?:blob|tree|raw|edit|src)/[^/]+/(.+)")
PLACE = re.compile(r"(?:[:#]L?\d+(?:[:-]L?\d+)*)?[:.!?\u2026]*$")
ABBREVIATIONS = {"e.g", "i.e"}
LAST = re.compile(
    r"[\w@+-][\w@.+-]*\.[A-Za-z][A-Za-z0-9_]{0,9}$|(?:Dockerfile|Makefile|Jenkinsfile)$"
)


@frozen
class Hint:
    """What the files that an issue names say of who should have it.

    Attributes:
        agent: whose rules fit most of them; the rule written first wins a draw.
        pattern: the rule that fitted first.
        file: the file that it fitted.
        share: files that fitted rules of this agent, among those that fitted any.
    """

    agent: str
    pattern: str
    file: str
    share: float


def path_hint(issue: Issue, rules: Mapping[str, str]) -> Hint | None:
    """Tell which agent's rules the files fit that an issue names; None where none fits.

    Args:
        issue: title and body are read, and whether the files exist is not asked.
        rules: pattern to agent. ``*`` stays within a folder, ``**`` spans folders; a pattern
            without a slash fits names in any folder, one that ends in a slash all below a folder.
    """
    if not rules:
        return None
    votes: Counter[str] = Counter()
    first: dict[str, tuple[int, str, str]] = {}
    for file in named_files(f"{issue.title}\n{issue.body}"):
        for number, (pattern, agent) in enumerate(rules.items()):
            if fits(file, pattern):
                votes[agent] += 1
                first[agent] = min(
                    first.get(agent, (number, pattern, file)), (number, pattern, file)
                )
                break
    if not votes:
        return None
    agent = min(votes, key=lambda one: (-votes[one], first[one][0]))
    _, pattern, file = first[agent]
    return Hint(agent, pattern, file, votes[agent] / votes.total())


def named_files(text: str) -> list[str]:
    """Return the paths that a text names, in order, each once; links into a tree count too."""
    found: dict[str, None] = {}
    for run in RUN.findall(text[:TEXT_LIMIT]):
        name = _named(run)
        if name:
            found.setdefault(name)
            if len(found) == NAMES_LIMIT:
                break
    return list(found)


def _named(run: str) -> str:
    """Return the path in a run of characters without spaces; empty where there is none."""
    name = run[:1000]
    address = ADDRESS.match(name)
    if address:
        inside = IN_TREE.search(name[address.end() :])
        if inside is None:
            return ""
        name = inside[1]
    name = PLACE.sub("", name.replace("\\", "/"))
    while name.startswith("./"):
        name = name[2:]
    name = name.removeprefix("/workspace/").lstrip("/")
    folder, _, last = name.rpartition("/")
    if LAST.match(last) is None or name in ABBREVIATIONS or ".." in folder.split("/"):
        return ""
    return name


def fits(file: str, pattern: str) -> bool:
    """Tell whether a path fits a pattern."""
    wanted = pattern.removeprefix("./").removeprefix("/")
    if wanted.endswith("/"):
        wanted += "**"
    if "/" not in wanted:
        return fnmatchcase(file.rpartition("/")[2], wanted)
    return _fits(tuple(file.split("/")), tuple(wanted.split("/")))


def _fits(parts: tuple[str, ...], wanted: tuple[str, ...]) -> bool:
    """Match folder by folder; which ends can be reached is carried along, so no pattern is slow."""
    reached = {0}
    reached |= _spanned(reached, wanted)
    for part in parts:
        ahead = (_after(at, part, wanted) for at in reached)
        reached = {at for at in ahead if at is not None}
        reached |= _spanned(reached, wanted)
        if not reached:
            return False
    return len(wanted) in reached


def _after(at: int, part: str, wanted: tuple[str, ...]) -> int | None:
    """Return the place that a folder leads to; None where it does not fit."""
    if at == len(wanted):
        return None
    if wanted[at] == "**":
        return at
    return at + 1 if fnmatchcase(part, wanted[at]) else None


def _spanned(reached: set[int], wanted: tuple[str, ...]) -> set[int]:
    """Return the places after every ``**`` that stands for no folder at all."""
    found = set()
    for start in reached:
        at = start
        while at < len(wanted) and wanted[at] == "**":
            at += 1
            found.add(at)
    return found
