"""Which agent an issue's text asks for: by the trades that both speak of, and by shared words."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence

from orchestrator.records import AgentDefinition, Issue
from orchestrator.routing.trades import Lexicon, lexicon
from orchestrator.routing.words import Words
from orchestrator.values import frozen

TITLE = 1.8
"""How much more a word of the title says than one of the body."""
BODY_OF_AGENT = 0.6
"""How much a word of an agent's body says of it, against one of its description."""
SHARED = 0.7
"""How much a word says that issue and agent share, against one of the lexicon."""
RAREST = 2.6
"""What a word counts that one agent of the roster has, however many there are."""
SHARED_MOST = 3.5
NOBODY = 1.9
"""Evidence that has to be there before an agent is likelier than nobody."""
UNABLE = 1.5
"""Evidence that an agent is behind by when it cannot change anything."""
SOLVED = 1.0
"""How much a word of a closed issue says of who had it, against one of a description."""
SOLVED_TRADES = 0.35
"""How far the trades of closed issues count for who had them, against the agent's own file."""
LEAST_CLAIM = 9.0
"""What an agent's file has to say of trades for it to be wholly of them; one clear word is more."""
LEAST_SHOWN = 0.2
STRANGE = 0.9
"""How much a word of strangers speaks for nobody, against one of a trade for an agent."""
SHARPNESS = 0.6
"""How far evidence is trusted: scores come out as often right as they say."""


@frozen
class Ranked:
    """Every agent's share, and what the shares come from.

    Attributes:
        shares: best first; they and ``nobody`` add up to 1.
        nobody: how likely it is that no agent of the roster should have it.
        asks: what the issue asks for: trade to evidence, most first.
        words: what of the issue spoke for each trade.
        shared: the words that issue and agent share, by agent.
        trades: how far each agent is of each trade.
    """

    shares: tuple[tuple[str, float], ...]
    nobody: float
    asks: Mapping[str, float]
    words: Mapping[str, tuple[str, ...]]
    shared: Mapping[str, tuple[str, ...]]
    trades: Mapping[str, Mapping[str, float]]

    @property
    def best(self) -> str | None:
        """Return the likeliest agent; None where nobody is likelier."""
        if not self.shares or self.shares[0][1] <= self.nobody:
            return None
        return self.shares[0][0]

    def told(self, agent: str) -> list[str]:
        """Return the issue's words that spoke for an agent, the strongest first."""
        of = self.trades[agent]
        trades = sorted(self.asks, key=lambda one: (-self.asks[one] * of.get(one, 0.0), one))
        words = [word for one in trades if of.get(one, 0.0) > LEAST_SHOWN
                 for word in self.words[one]]  # fmt: skip
        return list(dict.fromkeys([*words, *self.shared[agent]]))


@frozen
class Profile:
    """What is known of one agent.

    Attributes:
        trades: how far it is of each trade; the squares add up to 1, or it is empty.
        words: stems of its description and body, each with what it counts.
    """

    trades: Mapping[str, float]
    words: Mapping[str, float]


class TextRouter:
    """Ranks the agents of one roster for any number of issues.

    Args:
        agents: the roster. Names are never looked at: only descriptions and bodies.
        able: the agents that can change something; the others have to fit far better. None is all.
        solved: closed issues and the agents that had them.
        words: the lexicon; None is the one that comes with the package.
    """

    def __init__(
        self,
        agents: Mapping[str, AgentDefinition],
        *,
        able: Collection[str] | None = None,
        solved: Sequence[tuple[Issue, str]] = (),
        words: Lexicon | None = None,
    ) -> None:
        self._lexicon = words or lexicon()
        self._unable = frozenset(() if able is None else agents.keys() - set(able))
        had: dict[str, list[Issue]] = defaultdict(list)
        for issue, agent in solved:
            had[agent].append(issue)
        self._profiles = {
            name: self._profile(one, had[name]) for name, one in sorted(agents.items())
        }
        having = Counter(word for one in self._profiles.values() for word in one.words)
        whole = len(self._profiles) + 1
        self._rarity = {
            word: RAREST * math.log(whole / number) / math.log(whole)
            for word, number in having.items()
        }

    def rank(self, issue: Issue) -> Ranked:
        """Return every agent's share in an issue."""
        title, body = Words(issue.title), Words(issue.body)
        asks, words = self._asked(title, body)
        counts = dict.fromkeys(title.telling(), TITLE)
        for word in body.telling():
            counts[word] = max(counts.get(word, 0.0), 1.0)
        spelled = body.spelled | title.spelled
        evidence: dict[str, float] = {}
        shared: dict[str, tuple[str, ...]] = {}
        for name, profile in self._profiles.items():
            claim = sum(asks[trade] * share for trade, share in profile.trades.items())
            common = {
                word: counts[word] * profile.words[word] * self._rarity[word]
                for word in counts.keys() & profile.words.keys()
            }
            found = claim + min(SHARED * sum(common.values()), SHARED_MOST)
            evidence[name] = found - UNABLE if name in self._unable else found
            strongest = sorted(common, key=lambda word: (-common[word], word))[:8]
            shared[name] = tuple(spelled[word] for word in strongest)
        strange = max((asks[trade] for trade in self._lexicon.strangers), default=0.0)
        shares, nobody = _shares(evidence, max(NOBODY, STRANGE * strange + NOBODY / 2))
        of = {name: one.trades for name, one in self._profiles.items()}
        return Ranked(shares, nobody, _most_first(asks), words, shared, of)

    def _asked(
        self, title: Words, body: Words
    ) -> tuple[dict[str, float], dict[str, tuple[str, ...]]]:
        weights: dict[str, float] = defaultdict(float)
        for text, share in ((title, TITLE), (body, 1.0)):
            for stems, count in self._lexicon.found(text).items():
                weights[stems] += share * _damped(count)
        asks: dict[str, float] = defaultdict(float)
        words: dict[str, list[tuple[float, str]]] = defaultdict(list)
        for stems, weight in weights.items():
            entry = self._lexicon[stems]
            for trade, strength in entry.asks.items():
                asks[trade] += weight * strength
                words[trade].append((-weight * strength, entry.word))
        told = {trade: tuple(word for _, word in sorted(found)) for trade, found in words.items()}
        return asks, told

    def _profile(self, agent: AgentDefinition, solved: Sequence[Issue]) -> Profile:
        description, body = Words(agent.description), Words(agent.prompt)
        trades: dict[str, float] = defaultdict(float)
        for text, weight in ((description, 1.0), (body, BODY_OF_AGENT)):
            for stems, count in self._lexicon.found(text).items():
                for trade, strength in self._lexicon[stems].offers.items():
                    trades[trade] += weight * strength * _damped(count)
        words = dict.fromkeys(body.telling(), BODY_OF_AGENT)
        trades = _of_length_one(trades, LEAST_CLAIM)
        if solved:
            had = Counter(word for one in solved for word in _once(one))
            words |= {one: max(words.get(one, 0.0), SOLVED * _share(count, len(solved)))
                      for one, count in had.items()}  # fmt: skip
            for trade, value in self._trades_of(solved).items():
                trades[trade] = trades.get(trade, 0.0) + SOLVED_TRADES * value
            trades = _of_length_one(trades, 1.0)
        words |= dict.fromkeys(description.telling(), 1.0)
        return Profile(trades, words)

    def _trades_of(self, solved: Sequence[Issue]) -> dict[str, float]:
        total: dict[str, float] = defaultdict(float)
        for issue in solved:
            asks, _ = self._asked(Words(issue.title), Words(issue.body))
            for trade, value in _of_length_one(asks).items():
                total[trade] += value
        return _of_length_one(total)


def _once(issue: Issue) -> set[str]:
    return {*Words(issue.title).telling(), *Words(issue.body).telling()}


def _share(count: int, issues: int) -> float:
    """Return what a word counts that some of an agent's closed issues have: one has to recur."""
    return min(1.0, (count + 1) / (min(issues, 8) + 1))


def _of_length_one(values: Mapping[str, float], least: float = 0.0) -> dict[str, float]:
    """Bring values to length 1; such as are shorter than ``least`` stay below it."""
    length = max(math.sqrt(sum(value * value for value in values.values())), least)
    return {one: value / length for one, value in values.items()} if length else {}


def _damped(count: int) -> float:
    return 1 + math.log(count)


def _shares(
    evidence: Mapping[str, float], least: float
) -> tuple[tuple[tuple[str, float], ...], float]:
    """Turn evidence into shares: what is twice as sure is not twice as large, but a power."""
    most = max([least, *evidence.values()])
    powers = {name: math.exp(SHARPNESS * (value - most)) for name, value in evidence.items()}
    nobody = math.exp(SHARPNESS * (least - most))
    whole = nobody + sum(powers.values())
    shares = sorted(
        ((name, round(power / whole, 4)) for name, power in powers.items()),
        key=lambda one: (-one[1], one[0]),
    )
    return tuple(shares), round(nobody / whole, 4)


def _most_first(asks: Mapping[str, float]) -> dict[str, float]:
    ordered = sorted(asks.items(), key=lambda one: (-one[1], one[0]))
    return {trade: round(value, 2) for trade, value in ordered if value}
