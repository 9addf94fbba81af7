"""Who judges the work of a run: the gates that the settings name, and a reviewer."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence

from orchestrator.assembly.changegates import gates_of_changes
from orchestrator.assembly.commandgates import gates_of_commands
from orchestrator.errors import ConfigError
from orchestrator.ports import Gate, ModelClient
from orchestrator.prices import Model
from orchestrator.records import AgentDefinition
from orchestrator.review import ReviewMeans
from orchestrator.routing.route import known
from orchestrator.settings import Config
from orchestrator.values import frozen


@frozen
class Listed:
    """A gate, and why it judges."""

    gate: Gate
    why: str


def gates_of(
    config: Config, files: Mapping[str, bytes], given: Sequence[Gate] = ()
) -> list[Listed]:
    """Return the gates that judge one change, in order.

    Args:
        config: the settings.
        files: the settings files of the base commit, which say what the repository sets up.
        given: a program's own, which judge after all others.

    Raises:
        ConfigError: two have one name, or one has none that can be told.
    """
    from orchestrator.gates.branch import BranchGate

    settings = config.gates
    found: list[Listed] = []
    if settings.branch_name:
        found.append(Listed(BranchGate(), "gates.branch_name is true"))
    found += [Listed(gate, why) for gate, why in gates_of_changes(settings)]
    found += [Listed(gate, why) for gate, why in gates_of_commands(settings, files)]
    found += [Listed(gate, "given to Orchestrator(gates=...)") for gate in given]
    for one in given:
        name: object = getattr(one, "name", None)
        if not isinstance(name, str) or not name or not name.isprintable():
            raise ConfigError(
                f"a gate cannot be called {name!a}", hint="its `name` is a word for people"
            )
    twice = [name for name, number in Counter(one.gate.name for one in found).items() if number > 1]
    if twice:
        raise ConfigError(
            f"two gates are called {twice[0]!r}",
            hint="give each a name of its own, in gates.commands or in your program",
        )
    return found


def review_of(
    config: Config,
    agents: Mapping[str, AgentDefinition],
    *,
    model_of: Callable[[AgentDefinition, str | None], Model],
    client_of: Callable[[Model, str], ModelClient],
) -> ReviewMeans | None:
    """Return how changes are reviewed; None where the settings want no review.

    Args:
        config: the settings.
        agents: all agents, by name.
        model_of: gives the model of an agent, where the settings may name another.
        client_of: gives what asks that model, for a session.

    Raises:
        ConfigError: there is no such agent or model, or a limit of dollars cannot be kept.
    """
    settings = config.review
    if not settings.enabled:
        return None
    definition = agents[known(settings.agent, agents)]
    model = model_of(definition, settings.model)
    limited = settings.usd is not None or config.limits.usd is not None
    if limited and model.price is None:
        raise ConfigError(
            f"{model.id} has no known price, so review.usd cannot be kept",
            hint="give it one under `models:` in your config.yaml, or set review.usd: null",
        )
    return ReviewMeans(
        definition=definition,
        model=model,
        client=lambda session: client_of(model, session),
        floor=settings.floor,
        rounds=settings.rounds,
        usd=settings.usd,
        turns=settings.turns,
    )
