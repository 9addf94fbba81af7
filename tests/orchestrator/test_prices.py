"""Prices: the bundled table, and what the configuration adds to it."""

from __future__ import annotations

from dataclasses import fields

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.errors import ConfigError
from orchestrator.prices import Model, by_name, resolve, table, with_cache_rates
from orchestrator.records import Usage

COUNT = st.integers(min_value=0, max_value=10**9)
USAGES = st.builds(Usage, COUNT, COUNT, COUNT, COUNT, COUNT)


def test_every_kind_of_token_has_its_price() -> None:
    """A reply costs each kind of token at its own rate, in dollars per million."""
    price = with_cache_rates(4, 20)
    million = 1_000_000
    assert price.cost(Usage(input_tokens=million)) == pytest.approx(4)
    assert price.cost(Usage(output_tokens=million)) == pytest.approx(20)
    assert price.cost(Usage(cache_read_tokens=million)) == pytest.approx(0.4)
    assert price.cost(Usage(cache_write_tokens=million)) == pytest.approx(5)
    assert price.cost(Usage(cache_write_1h_tokens=million)) == pytest.approx(8)


@given(USAGES, USAGES)
def test_costs_add_up(one: Usage, other: Usage) -> None:
    """Two replies cost together what their added counts cost."""
    price = with_cache_rates(3, 15)
    assert price.cost(one + other) == pytest.approx(price.cost(one) + price.cost(other))


@given(USAGES)
def test_nothing_that_went_in_is_left_out(usage: Usage) -> None:
    """The prompt's tokens are all that went in, whether cached or not."""
    out = usage.output_tokens
    whole = sum((getattr(usage, one.name) for one in fields(Usage)), start=0)
    assert usage.prompt_tokens == whole - out


@pytest.mark.parametrize("name", ["opus", "OPUS", " opus ", "claude-opus-5-5"])
def test_alias_and_id_name_the_same_model(name: str) -> None:
    """A model is found by alias or id, in any case and with blanks around."""
    assert resolve(name, {}).id == "claude-opus-5-5"


def test_own_models_win_over_the_table() -> None:
    """A model of the configuration stands in for one of the table with the same name."""
    own = Model(id="claude-opus-5-5", price=with_cache_rates(1, 2), aliases=("opus",))
    assert resolve("opus", by_name([own])) == own


def test_an_unknown_full_id_has_no_price() -> None:
    """A full id that no table knows can be used, but without a price."""
    model = resolve("claude-novel-9-1", {})
    assert (model.id, model.price) == ("claude-novel-9-1", None)


@pytest.mark.parametrize("name", ["", "gpt", "claude-", "claude-opus"])
def test_an_unknown_name_is_refused_with_the_known_ones(name: str) -> None:
    """What is neither known nor shaped like a full id is refused, naming the aliases."""
    own = by_name([Model(id="house-model", price=None, aliases=("house",))])
    with pytest.raises(ConfigError) as caught:
        resolve(name, own)
    for alias in ("opus", "sonnet", "haiku", "house"):
        assert alias in caught.value.hint


def test_the_table_is_whole() -> None:
    """Every model of the bundled table has prices that make sense and room for a reply."""
    models = table()
    assert {"opus", "sonnet", "haiku", "fable"} <= set(models)
    for model in models.values():
        assert model.price is not None
        assert 0 < model.price.cache_read < model.price.input < model.price.cache_write
        assert model.price.cache_write < model.price.cache_write_1h
        assert model.price.input < model.price.output
        assert model.max_output >= 8192
