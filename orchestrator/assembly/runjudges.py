"""Who judges the work of a repository's runs; what is the same for all of them is read once."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING

from orchestrator.means import Judges
from orchestrator.ports import Gate, ModelClient
from orchestrator.prices import Model
from orchestrator.records import AgentDefinition, Run
from orchestrator.repository import Repository
from orchestrator.settings import Config

if TYPE_CHECKING:
    from orchestrator.review import ReviewMeans

ModelOf = Callable[[Run, AgentDefinition, str | None], Model]
ClientOf = Callable[[Run, Model, str], ModelClient]


class RunJudges:
    """Says who judges a run: the gates, and a reviewer where the settings want one.

    Args:
        config: the settings.
        repository: what is worked on.
        base: the commit whose settings files say what the repository sets up.
        given: a program's own gates.
        agents: tells all agents, by name.
        model_of: gives the model that reviews a run as an agent, where the settings may name one.
        client_of: gives what asks that model for a run, in a session.
    """

    def __init__(  # noqa: PLR0913 - every collaborator is passed in
        self,
        config: Config,
        *,
        repository: Repository,
        base: str,
        given: Sequence[Gate],
        agents: Callable[[], Mapping[str, AgentDefinition]],
        model_of: ModelOf,
        client_of: ClientOf,
    ) -> None:
        self._config = config
        self._repository = repository
        self._base = base
        self._given = tuple(given)
        self._agents = agents
        self._model_of = model_of
        self._client_of = client_of

    def of(self, run: Run) -> Judges:
        """Return who judges a run."""
        settings = self._config.gates
        return Judges(
            gates=self._gates,
            names=self.names,
            rounds=settings.rounds,
            parallel=settings.parallel,
            require_tests=settings.require_tests,
            follow_base=settings.follow_base,
            review=self._review(run),
        )

    def names(self) -> tuple[str, ...]:
        """Return the names of all gates, in order.

        Raises:
            ConfigError: two have one name.
        """
        return self._names

    @cached_property
    def _names(self) -> tuple[str, ...]:
        return tuple(gate.name for gate in self._gates())

    @cached_property
    def _files(self) -> Mapping[str, bytes]:
        from orchestrator.change import settings_files

        return settings_files(self._repository, self._base)

    def _gates(self) -> list[Gate]:
        """Return the gates for one judging: what they learn in it is not for the next one."""
        from orchestrator.assembly.judges import gates_of

        return [one.gate for one in gates_of(self._config, self._files, self._given)]

    def _review(self, run: Run) -> ReviewMeans | None:
        if not self._config.review.enabled:
            return None
        from orchestrator.assembly.judges import review_of

        return review_of(
            self._config,
            self._agents(),
            model_of=lambda agent, wanted: self._model_of(run, agent, wanted),
            client_of=lambda model, session: self._client_of(run, model, session),
        )
