"""Whether the models that an agent file names are known, and what they cost."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from orchestrator import prices
from orchestrator.definitions.definition import Checked
from orchestrator.definitions.remark import Remark
from orchestrator.errors import ConfigError


def with_model_remarks(checked: Checked, extra: dict[str, prices.Model]) -> Checked:
    """Return what came of a file, with a remark on each model that is unknown or has no price.

    Args:
        checked: a file; one that was skipped or refused comes back as it is.
        extra: models of the configuration, by name.
    """
    if checked.definition is None:
        return checked
    return replace(checked, remarks=(*checked.remarks, *_remarks(checked, extra)))


def _remarks(checked: Checked, extra: dict[str, prices.Model]) -> Iterator[Remark]:
    for name, (line, column) in zip(checked.models, checked.models_at, strict=True):
        if name.strip().lower() == prices.INHERIT:
            continue
        try:
            model = prices.resolve(name, extra)
        except ConfigError as error:
            told = f"model: {error} ({error.hint})"
            yield Remark("unknown-model", line, column, told)
            continue
        if model.price is None:
            told = (
                f"model: no price is known for {name!r}; give it one under models: in config.yaml"
            )
            yield Remark("unpriced-model", line, column, told)
