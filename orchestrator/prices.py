"""What models cost and can do: one dated table, to which the configuration may add."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from pathlib import Path

from orchestrator.errors import ConfigError
from orchestrator.records import Usage
from orchestrator.values import frozen

TABLE = Path(__file__).with_name("prices.yaml")
DEFAULT_MAX_OUTPUT = 32_000
INHERIT = "inherit"
"""What an agent's file says where it leaves the model to the settings."""


@frozen
class Price:
    """Dollars per million tokens."""

    input: float
    output: float
    cache_read: float
    cache_write: float
    cache_write_1h: float

    def cost(self, usage: Usage) -> float:
        """Return the price of a reply in dollars."""
        return (
            usage.input_tokens * self.input
            + usage.output_tokens * self.output
            + usage.cache_read_tokens * self.cache_read
            + usage.cache_write_tokens * self.cache_write
            + usage.cache_write_1h_tokens * self.cache_write_1h
        ) / 1e6


@frozen
class Model:
    """A model that can be asked.

    Attributes:
        price: None for an id that is not in the table.
        max_output: the most tokens of one reply.
        context: the most tokens of one request with its reply; 0 where that is not known.
    """

    id: str
    price: Price | None
    max_output: int = DEFAULT_MAX_OUTPUT
    aliases: tuple[str, ...] = ()
    context: int = 0


@cache
def table() -> dict[str, Model]:
    """Return the models of the bundled table, by id and by alias."""
    import yaml

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    data = yaml.load(TABLE.read_text(encoding="utf-8"), Loader=loader)  # noqa: S506 - a safe loader, in C where there is one
    rates = data["cache"]
    models = [
        Model(
            id=name,
            price=with_cache_rates(
                row["input"], row["output"], rates["read"], rates["write"], rates["write_1h"]
            ),
            max_output=row["max_output"],
            aliases=tuple(row.get("aliases", ())),
            context=row.get("context", 0),
        )
        for name, row in data["models"].items()
    ]
    return by_name(models)


def with_cache_rates(
    input_usd: float,
    output_usd: float,
    read: float = 0.1,
    write: float = 1.25,
    write_1h: float = 2.0,
) -> Price:
    """Build a price from the two base prices; cache prices are shares of the input's."""
    return Price(
        input=input_usd,
        output=output_usd,
        cache_read=input_usd * read,
        cache_write=input_usd * write,
        cache_write_1h=input_usd * write_1h,
    )


def by_name(models: Iterable[Model]) -> dict[str, Model]:
    """Index models by id and alias."""
    found: dict[str, Model] = {}
    for model in models:
        for name in (model.id, *model.aliases):
            found[name.lower()] = model
    return found


def named(name: str | None, default: str) -> str:
    """Return the model that a file or a wish names, else the one of the settings."""
    return default if name is None or name.strip().lower() == INHERIT else name


def resolve(name: str, extra: dict[str, Model]) -> Model:
    """Return the model that an alias or a full id names.

    Args:
        name: alias or id, in any case.
        extra: models of the configuration, by name; they win.

    Raises:
        ConfigError: the name is neither in the table nor shaped like a full id.
    """
    wanted = name.strip().lower()
    for known in (extra, table()):
        if wanted in known:
            return known[wanted]
    if wanted.startswith("claude-") and wanted.count("-") >= 2:
        return Model(id=name.strip(), price=None)
    names = ", ".join(sorted({*extra, *(key for key in table() if "-" not in key)}))
    raise ConfigError(
        f"unknown model {name!r}", hint=f"known aliases: {names}; or a full id like claude-opus-5-5"
    )
