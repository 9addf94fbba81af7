"""Which agent gets an issue, and why: assignment, then labels, then the text, then the default.

Deterministic and offline. Nothing in an issue's text can change the roster or the rules.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Collection, Mapping, Sequence

from orchestrator.errors import ConfigError, NoRoute
from orchestrator.records import AgentDefinition, Issue, Route

LEAST_SCORE = 0.12
"""Below this the text says too little, and a person decides."""

TITLE_WEIGHT = 3
WORD = re.compile(r"[a-z][a-z0-9+#]{2,}")
STOP = frozenset(
    [
        "the",
        "and",
        "for",
        "with",
        "that",
        "this",
        "from",
        "are",
        "not",
        "but",
        "has",
        "have",
        "had",
        "was",
        "were",
        "will",
        "would",
        "should",
        "can",
        "could",
        "when",
        "where",
        "what",
        "which",
        "who",
        "why",
        "how",
        "its",
        "our",
        "your",
        "you",
        "they",
        "them",
        "then",
        "than",
        "into",
        "onto",
        "only",
        "also",
        "all",
        "any",
        "each",
        "use",
        "used",
        "using",
        "make",
        "makes",
        "made",
        "need",
        "needs",
        "new",
        "old",
        "one",
        "two",
    ]
)
ENDINGS = ("ations", "ation", "ings", "ing", "ies", "ers", "er", "ed", "es", "s", "e")


def choose_route(
    issue: Issue,
    agents: Mapping[str, AgentDefinition],
    *,
    labels: Mapping[str, str],
    default: str | None = None,
    wanted: str | None = None,
    able: Collection[str] | None = None,
) -> Route:
    """Choose the agent for an issue.

    Args:
        issue: the issue.
        agents: the roster.
        labels: label to agent.
        default: the agent for what nothing else decides.
        wanted: the agent named on the command line; it wins.
        able: the agents that can change something; only these are chosen by words. None is all.

    Raises:
        ConfigError: a name that was given is not in the roster.
        NoRoute: nothing fits; the error carries the scores.
    """
    if wanted is not None:
        return Route(agent=known(wanted, agents), reason="command line", score=1.0)
    for name in issue.assignees:
        return Route(agent=known(name, agents), reason="assignee", score=1.0)
    for label in issue.labels:
        if label in labels:
            return Route(agent=known(labels[label], agents), reason=f"label {label}", score=1.0)
    ranked = [one for one in rank(issue, agents) if able is None or one[0] in able]
    if ranked and ranked[0][1] >= LEAST_SCORE:
        (best, score), *rest = ranked
        return Route(agent=best, reason="description", score=score, runners_up=tuple(rest[:3]))
    if default is not None:
        return Route(agent=known(default, agents), reason="default", score=0.0)
    raise NoRoute(
        f"no agent fits issue {issue.key}",
        scores=tuple(ranked[:3]),
        hint="name one with --agent, give it a label that has a route, or set routing.default",
    )


def known(name: str, agents: Mapping[str, AgentDefinition]) -> str:
    """Return the name if the roster has it.

    Raises:
        ConfigError: it has not; the error names the nearest.
    """
    if name in agents:
        return name
    import difflib

    near = difflib.get_close_matches(name, list(agents), n=3)
    hint = (
        f"did you mean {' or '.join(near)}?" if near else f"there are {', '.join(sorted(agents))}"
    )
    raise ConfigError(f"there is no agent {name!r}", hint=hint)


def rank(issue: Issue, agents: Mapping[str, AgentDefinition]) -> list[tuple[str, float]]:
    """Score every agent by the telling words that its file shares with the issue."""
    files = {
        name: Counter(_stems(one.description)) + Counter(set(_stems(one.prompt)))
        for name, one in agents.items()
    }
    asked = Counter(_stems(issue.title) * TITLE_WEIGHT + _stems(issue.body))
    if not files or not asked:
        return []
    weight = {word: _rarity(word, list(files.values())) for word in asked}
    most = sum(weight[word] * _damped(count) for word, count in asked.items()) or 1.0
    scores = []
    for name, words in files.items():
        shared = sum(
            weight[w] * _damped(n) * _damped(words[w]) for w, n in asked.items() if w in words
        )
        scores.append((name, round(min(shared / most, 1.0), 4)))
    return sorted(scores, key=lambda one: (-one[1], one[0]))


def _rarity(word: str, files: Sequence[Counter[str]]) -> float:
    having = sum(word in words for words in files)
    return math.log(1 + (len(files) + 1) / (having + 1))


def _damped(count: int) -> float:
    return 1 + math.log(count) if count else 0.0


def _stems(text: str) -> list[str]:
    return [_stem(word) for word in WORD.findall(text.lower()) if word not in STOP]


def _stem(word: str) -> str:
    for ending in ENDINGS:
        if word.endswith(ending) and len(word) - len(ending) >= 3:
            return word[: -len(ending)]
    return word
