"""What agents are looked after with: settings, and what is known of models' windows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from orchestrator.care import CareMeans
from orchestrator.prices import Model
from orchestrator.settings import Config


def care_of(
    config: Config, environment: Mapping[str, str], state: Path, *, slow: bool = False
) -> CareMeans:
    """Return what agents are looked after with.

    Args:
        config: says what may be done.
        environment: says whether the service is the vendor's own, and holds the key to it.
        state: where it is kept what the service has said of its models.
        slow: whether replies come in batches, minutes or hours later: marks then last an hour, and
            nothing is asked for that a batch might not take.
    """
    diagnose = config.context.diagnose
    if diagnose is None:
        diagnose = not environment.get("ANTHROPIC_BASE_URL", "")
    windows = Windows(environment, state / "models.json")
    context = config.context
    if slow:
        context, diagnose = replace(context, cache_marks="1h"), False
    return CareMeans(config.stuck, context, diagnose=diagnose, window=windows.of)


class Windows:
    """The windows of models: from the table, else as the service says, asked beside the work.

    Args:
        environment: holds the key and the address.
        path: where answers are kept for a day.
    """

    def __init__(self, environment: Mapping[str, str], path: Path) -> None:
        self._environment = environment
        self._path = path
        self._asked: set[str] = set()
        self._known: dict[str, int] = {}

    def of(self, model: Model) -> int:
        """Return a model's window in tokens; 0 while it is not known. Never waits."""
        if model.context or (model.price is None and model.id.startswith("replay:")):
            return model.context
        if model.id not in self._asked:
            self._asked.add(model.id)
            from orchestrator.models.windows import look_up

            look_up(model.id, self._environment, self._path, self._known)
        return self._known.get(model.id, 0)
