"""Amounts on the command line: numbers that a sum can reach."""

from __future__ import annotations

import math
from typing import Any

import click


class Amount(click.FloatRange):
    """Dollars or minutes, from 0 up; neither infinite nor no number at all."""

    name = "amount"

    def __init__(self) -> None:
        super().__init__(min=0)

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Return the number; tell how it is meant where it is none."""
        number: float = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{value} is no amount; leave the option out for no limit", param, ctx)
        return number


AMOUNT = Amount()
