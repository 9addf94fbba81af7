"""Commands that a hint names, with the places that this command line has named."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from typing import Any

import click

TAKEN = {
    "issue": ("repo", "state", "config"),
    "runs resume": ("repo", "state", "config"),
    "runs": ("state",),
    "batch": ("state",),
}
"""Which of these options each command has; of two that fit, the longer one."""

NAMED = re.compile(r"\borchestrate (?P<command>issue|runs resume|runs|batch)\b[^`;]*$")
"""A command at the end of a hint."""


def remember(context: click.Context, option: str, value: Any) -> None:
    """Take note of a place that the command line names."""
    if any(option in options for options in TAKEN.values()):
        context.find_root().ensure_object(dict).setdefault("places", {})[option] = str(value)


def places() -> Mapping[str, str]:
    """Return what the command line that is being run has named."""
    context = click.get_current_context(silent=True)
    return _of(context.find_root().obj) if context is not None else {}


def _of(said: object) -> Mapping[str, str]:
    found = said.get("places") if isinstance(said, dict) else None
    return found if isinstance(found, dict) else {}


def placed(hint: str, named: Mapping[str, str] | None = None) -> str:
    """Return a hint whose command looks where this one did: elsewhere it would begin anew.

    Args:
        hint: as the outcome or the error has it.
        named: the places; None are those of the command line that is being run.
    """
    found = NAMED.search(hint)
    if found is None:
        return hint
    given = places() if named is None else named
    options = [
        f" --{name} {shlex.quote(given[name])}"
        for name in TAKEN[found["command"]]
        if name in given and f"--{name} " not in hint
    ]
    return hint + "".join(options)
