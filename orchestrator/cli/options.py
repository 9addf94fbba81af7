"""Options of the command line: left out, or saying something."""

from __future__ import annotations

from functools import partial
from typing import Any

import click
from click.core import ParameterSource


class Said(click.Option):
    """An option that is left out, or says something.

    An empty one comes of an empty variable, and means nothing: a night without an end at worst.
    """

    def process_value(self, ctx: click.Context, value: Any) -> Any:
        """Return the option's value; an empty one is wrong usage."""
        each = value if isinstance(value, tuple | list) else (value,)
        said = ctx.get_parameter_source(self.name or "") is not ParameterSource.DEFAULT
        if said and any(isinstance(one, str) and not one.strip() for one in each):
            raise click.BadParameter("it is empty: give it a value, or leave it out", ctx, self)
        return super().process_value(ctx, value)


option = partial(click.option, cls=Said)
"""Declares an option of a command, as ``click.option`` does."""
