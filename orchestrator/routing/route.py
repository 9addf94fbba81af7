"""Which agent gets an issue, and why: assignment, labels, files it names, text, the default.

Deterministic and offline. Nothing in an issue's text can change the roster or the rules.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import field
from typing import TYPE_CHECKING

from orchestrator.errors import ConfigError, NoRoute
from orchestrator.records import AgentDefinition, Issue, Route, RouteChoice
from orchestrator.values import frozen

if TYPE_CHECKING:
    from orchestrator.routing.paths import Hint
    from orchestrator.routing.text import Ranked, TextRouter


@frozen
class Rules:
    """What people decided beforehand.

    Attributes:
        labels: label to agent; capitals do not matter.
        paths: pattern of files to agent; ``paths.py`` says how they fit.
        assignees: login of a person to agent.
        default: the agent for what nothing else decides.
    """

    labels: Mapping[str, str] = field(default_factory=dict)
    paths: Mapping[str, str] = field(default_factory=dict)
    assignees: Mapping[str, str] = field(default_factory=dict)
    default: str | None = None


@frozen
class Decision:
    """Who gets an issue.

    Attributes:
        agent: None leaves it to a person.
        reason: ``command line``, ``assignee``, ``label``, ``path``, ``description``, ``model``,
            ``default`` or ``none``.
        detail: which label, file or words.
        score: from 0 to 1, how sure.
        ranked: agents and their scores, best first.
        text: what the text said, where it was asked.
        choice: what a model said, where one was asked.
    """

    agent: str | None
    reason: str
    detail: str
    score: float
    ranked: tuple[tuple[str, float], ...]
    text: Ranked | None = None
    choice: RouteChoice | None = None

    def route(self, issue: Issue) -> Route:
        """Return it as the route of an issue.

        Raises:
            NoRoute: it is a person's to choose.
        """
        if self.agent is None:
            raise NoRoute(
                f"no agent fits issue {issue.key}",
                scores=self.ranked[:3],
                hint="name one with --agent, give it a label that has a route, or set "
                "routing.default",
            )
        others = tuple(one for one in self.ranked if one[0] != self.agent)
        return Route(self.agent, self.reason, self.score, others[:3], self.detail, self.choice)


class Router:
    """Decides for any number of issues who gets them.

    Args:
        agents: the roster.
        rules: what people decided beforehand.
        able: the agents that can change something; the others are chosen by words only where they
            fit far better. None is all.
        solved: closed issues and the agents that had them, newest first.
    """

    def __init__(
        self,
        agents: Mapping[str, AgentDefinition],
        rules: Rules,
        *,
        able: Collection[str] | None = None,
        solved: Sequence[tuple[Issue, str]] = (),
    ) -> None:
        self._agents = agents
        self._rules = rules
        self._labels = {label.casefold(): agent for label, agent in rules.labels.items()}
        self._able = able
        self._solved = solved
        self._text: TextRouter | None = None

    def decide(self, issue: Issue, wanted: str | None = None) -> Decision:
        """Decide who gets an issue.

        Args:
            issue: the issue.
            wanted: the agent named on the command line; it wins.

        Raises:
            ConfigError: a name that was given is not in the roster; the error names the nearest.
        """
        return self.by_rule(issue, wanted) or self.by_text(issue)

    def by_rule(self, issue: Issue, wanted: str | None = None) -> Decision | None:
        """Decide by what people said; None where they said nothing of this issue.

        Raises:
            ConfigError: a name that was given is not in the roster; the error names the nearest.
        """
        if wanted is not None:
            return self._said(wanted, "command line", "")
        for person in issue.assignees:
            agent = self._rules.assignees.get(person)
            if agent is not None:
                return self._said(agent, "assignee", f"{person} -> {agent}")
            if not issue.assigned_to_people:
                return self._said(person, "assignee", person)
        for label in issue.labels:
            agent = self._labels.get(label.casefold())
            if agent is not None:
                return self._said(agent, "label", label)
        hint = self._hint(issue)
        if hint is not None:
            detail = f"{hint.file} fits {hint.pattern}"
            return self._said(hint.agent, "path", detail, round(hint.share, 4))
        return None

    def _hint(self, issue: Issue) -> Hint | None:
        if not self._rules.paths:
            return None
        from orchestrator.routing.paths import path_hint

        return path_hint(issue, self._rules.paths)

    def _said(self, agent: str, reason: str, detail: str, score: float = 1.0) -> Decision:
        name = known(agent, self._agents)
        return Decision(name, reason, detail, score, ((name, score),))

    def by_text(self, issue: Issue) -> Decision:
        """Decide by what the issue says, else by the default."""
        if self._text is None:
            from orchestrator.routing.text import TextRouter

            self._text = TextRouter(self._agents, able=self._able, solved=self._solved)
        found = self._text.rank(issue)
        best = found.best
        if best is not None:
            score = dict(found.shares)[best]
            detail = ", ".join(found.told(best)[:5])
            return Decision(best, "description", detail, score, found.shares, found)
        if self._rules.default is not None:
            name = known(self._rules.default, self._agents)
            return Decision(name, "default", "", 0.0, found.shares, found)
        return Decision(None, "none", "", found.nobody, found.shares, found)


def choose_route(
    issue: Issue, agents: Mapping[str, AgentDefinition], rules: Rules, wanted: str | None = None
) -> Route:
    """Choose the agent for one issue.

    Args:
        issue: the issue.
        agents: the roster.
        rules: what people decided beforehand.
        wanted: the agent named on the command line; it wins.

    Raises:
        ConfigError: a name that was given is not in the roster.
        NoRoute: nothing fits; the error carries the scores.
    """
    return Router(agents, rules).decide(issue, wanted).route(issue)


def known(name: str, agents: Mapping[str, AgentDefinition]) -> str:
    """Return the name if the roster has it.

    Raises:
        ConfigError: it has not; the error names the nearest.
    """
    if name in agents:
        return name
    import difflib

    shown = name if len(name) <= 80 else f"{name[:80]}..."
    near = difflib.get_close_matches(name[:200], list(agents), n=3)
    hint = (
        f"did you mean {' or '.join(near)}?" if near else f"there are {', '.join(sorted(agents))}"
    )
    raise ConfigError(f"there is no agent {shown!r}", hint=hint)
