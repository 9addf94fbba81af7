"""``orchestrate gates``: judge a branch that anybody wrote, and tell which gates there are."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from orchestrator.cli.options import option

if TYPE_CHECKING:
    from orchestrator.assembly.branches import JudgedBranch
    from orchestrator.assembly.runtime import Orchestrator
    from orchestrator.ports import EventSink
    from orchestrator.records import Verdict

TAIL = 20
WIDTH = 160
"""Lines of a failed gate's output that are shown, and characters of each."""

REPO = option(
    "--repo", type=click.Path(path_type=Path), default=Path(), help="Any folder of the repository."
)
STATE = option(
    "--state", type=click.Path(path_type=Path), help="Where checkouts are made for a while."
)
CONFIG = option(
    "--config", type=click.Path(path_type=Path), help="A settings file that wins over the others."
)
SANDBOX = option(
    "--sandbox",
    type=click.Choice(["auto", "bubblewrap", "landlock", "container", "external", "none"]),
    help="The walls. none: no walls, commands run as you; external: all this runs in yours.",
)


@click.group()
def command() -> None:
    """Judge a branch by the gates that judge an agent's work; no model is asked."""


@command.command("run")
@REPO
@option("--branch", default="", help="What is judged; else what is checked out.")
@option("--base", default="", help="What it is a change of; else origin/HEAD, main, master.")
@option("--strict", is_flag=True, help="Fail also where a gate could not be executed.")
@option("--json", "as_json", is_flag=True, help="Print one JSON object, nothing else.")
@STATE
@CONFIG
@SANDBOX
def run_gates(  # noqa: PLR0913 - one parameter an option
    *,
    repo: Path,
    branch: str,
    base: str,
    strict: bool,
    as_json: bool,
    state: Path | None,
    config: Path | None,
    sandbox: str | None,
) -> int:
    """Judge the commits of a branch, each gate on a clean checkout in a sandbox of its own.

    Ends with 0 if no gate failed, 1 if one did, 3 if only a person can let it through, 2 for a
    wrong branch or setting, and 5 where the machine cannot run them.
    """
    import anyio

    from orchestrator.cli.running import may_colour
    from orchestrator.sinks.terminal import TerminalSink

    sinks: list[EventSink] = []
    if sys.stderr.isatty() and not as_json:
        sinks.append(TerminalSink(sys.stderr, colour=may_colour(sys.stderr)))

    async def judged() -> JudgedBranch:
        made = _orchestrator(repo, state, config, sandbox, sinks)
        async with made as orchestrator:
            return await orchestrator.judge(branch=branch, base=base)

    found = anyio.run(judged)
    if as_json:
        _print_json(found)
    else:
        click.echo("\n".join(_table(found)))
    return _status(found.verdicts, strict=strict)


@command.command("list")
@REPO
@option("--json", "as_json", is_flag=True, help="Print a JSON array.")
@STATE
@CONFIG
def list_gates(repo: Path, as_json: bool, state: Path | None, config: Path | None) -> None:
    """List the gates that judge work in this repository, in order, and why each does."""
    from orchestrator.sinks.plain import line

    rows = _orchestrator(repo, state, config, None, []).gates()
    if as_json:
        _print_json([{"gate": name, "why": why} for name, why in rows])
        return
    for name, why in rows:
        click.echo(f"{line(name, 30):<16} {line(why, 200)}")
    if not rows:
        click.echo("no gate is configured: nothing is judged")


def _orchestrator(
    repo: Path,
    state: Path | None,
    config: Path | None,
    sandbox: str | None,
    sinks: Sequence[EventSink],
) -> Orchestrator:
    from orchestrator.assembly.runtime import Orchestrator

    return Orchestrator.from_config(
        config, repo=repo, state=state, sandbox_backend=sandbox, sinks=sinks
    )


def _status(verdicts: Sequence[Verdict], *, strict: bool) -> int:
    """Return the exit code that verdicts mean."""
    failed = [one for one in verdicts if one.state == "failed"]
    if any(not one.person for one in failed):
        return 1
    if failed:
        return 3
    return 1 if strict and any(one.state != "passed" for one in verdicts) else 0


def _table(found: JudgedBranch) -> list[str]:
    from orchestrator.delivery import MARKS
    from orchestrator.sinks.plain import line, safe

    at = f"{line(found.branch)} at {found.commit[:12]}, a change of {found.base[:12]}"
    lines = [at]
    for one in found.verdicts:
        took = f" {one.duration_s:.1f} s" if one.duration_s else ""
        person = ", a person has to look" if one.person and one.state == "failed" else ""
        mark = MARKS[one.state]
        lines.append(f"  {mark:<13} {line(one.gate, 30):<16} {line(one.reason, 120)}{person}{took}")
        if one.state == "failed" and one.details:
            tail = safe(one.details).splitlines()[-TAIL:]
            lines += [f"    | {each[:WIDTH]}".rstrip() for each in tail]
    lines += [f"  note: {line(one, 200)}" for one in found.notes]
    if not found.verdicts:
        lines.append("  no gate is configured: nothing was judged")
    return lines


def _print_json(value: object) -> None:
    import orjson

    from orchestrator.sinks.plain import safe_json

    sys.stdout.write(safe_json(orjson.dumps(value, option=orjson.OPT_INDENT_2)) + "\n")
