"""The least that a run's requests can cost, against every way of marking them there is."""

from __future__ import annotations

import importlib.util
import itertools
import random
import sys
from pathlib import Path
from types import ModuleType

import pytest

BENCH = Path(__file__).parents[2] / "bench" / "least.py"


@pytest.fixture(scope="module")
def least() -> ModuleType:
    """The benchmark's arithmetic: bench/ is no package."""
    spec = importlib.util.spec_from_file_location("least", BENCH)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["least"] = module
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("seed", range(12))
def test_no_way_of_marking_costs_less(least: ModuleType, seed: int) -> None:
    """Whichever requests write what is new in them, the bound is never above what they cost."""
    dice = random.Random(seed)
    sizes = list(itertools.accumulate(dice.randint(100, 5000) for _ in range(7)))
    prices = least.Prices()
    bound = least.least_usd([least.Asked(size, 0, 50) for size in sizes], prices)
    costs = []
    for marks in itertools.product((False, True), repeat=len(sizes)):
        cached, spent = 0, 0.0
        for size, marked in zip(sizes, marks, strict=True):
            rest = size - cached
            spent += cached * prices.read + rest * (prices.write if marked else 1.0)
            cached = size if marked else cached
        costs.append(spent * prices.input / 1e6 + len(sizes) * 50 * prices.output / 1e6)
    assert bound <= min(costs) + 1e-12
    assert bound >= min(costs) * 0.93, "and it is near the best of them"


def test_a_single_request_is_not_written(least: ModuleType) -> None:
    """What is sent once costs its input; what is sent again pays for being kept."""
    prices = least.Prices()
    one = least.Asked(1_000_000, 0, 0)
    assert least.least_usd([one], prices) == pytest.approx(5.0)
    assert least.least_usd([one, one], prices) == pytest.approx(6.25 + 0.5)


def test_what_could_be_read(least: ModuleType) -> None:
    """All that the request before has sent could be read, and no more."""
    asked = [least.Asked(1000, 0, 0), least.Asked(3000, 1000, 0), least.Asked(4000, 2850, 0)]
    assert least.could_be_read(asked) == 4000
    assert least.read_share(asked) == pytest.approx(3850 / 4000)
    assert least.read_share(asked[:1]) == 1.0
