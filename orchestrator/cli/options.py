"""Options and arguments of the command line: left out, or saying something."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from orchestrator.cli.again import remember


class Said(click.Option):
    """An option that is left out, or says something.

    An empty one comes of an empty variable, and means nothing: a night without an end at worst.
    """

    def process_value(self, ctx: click.Context, value: Any) -> Any:
        """Return the option's value; an empty one is wrong usage."""
        _require_said(self, ctx, value)
        if ctx.get_parameter_source(self.name or "") is ParameterSource.COMMANDLINE:
            remember(ctx, self.name or "", value)
        return super().process_value(ctx, value)


class Named(click.Argument):
    """An argument that names something: an issue, a run, an agent, files.

    An empty one would name the folder one is in, or the last night. What is no text names no run.
    """

    def process_value(self, ctx: click.Context, value: Any) -> Any:
        """Return the argument's value; an empty one is wrong usage, and so is one of odd bytes."""
        _require_said(self, ctx, value)
        if isinstance(value, str) and not _is_text(value):
            raise click.BadParameter("it is no text in UTF-8", ctx, self)
        return super().process_value(ctx, value)


class _Written(click.Path):
    """A file that a command writes: no folder, and in a folder that there is."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        path = Path(os.fsdecode(super().convert(value, param, ctx)))
        if not path.parent.is_dir():
            self.fail(f"there is no folder {str(path.parent)!r}", param, ctx)
        return path


def _require_said(parameter: click.Parameter, ctx: click.Context, value: Any) -> None:
    if ctx.get_parameter_source(parameter.name or "") is ParameterSource.DEFAULT:
        return
    each = value if isinstance(value, tuple | list) else (value,)
    if any(isinstance(one, str) and not one.strip() for one in each):
        instead = "" if parameter.required else ", or leave it out"
        raise click.BadParameter(f"it is empty: give it a value{instead}", ctx, parameter)


def _is_text(value: str) -> bool:
    """Tell whether what the shell gave is UTF-8; Python has other bytes as lone surrogates."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


option = partial(click.option, cls=Said)
"""Declares an option of a command, as ``click.option`` does."""

argument = partial(click.argument, cls=Named)
"""Declares an argument of a command, as ``click.argument`` does."""

WRITTEN = _Written(dir_okay=False, readable=False, writable=True, path_type=Path)
"""The type of an option that names a file to be written."""
