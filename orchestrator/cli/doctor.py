"""``orchestrate doctor``: what works on this machine, and how to mend what does not."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import click

from orchestrator.cli.options import option
from orchestrator.values import frozen

OLDEST_GIT = (2, 31)


@frozen
class Finding:
    """One thing that was looked at."""

    name: str
    works: bool
    said: str
    fix: str = ""
    needed: bool = True
    backend: str = ""
    """The walls that can use it; empty where it is not about walls."""
    gaps: tuple[str, ...] = ()
    """What it does not hold, though it works."""


@click.command()
@option("--state", type=click.Path(path_type=Path), help="Where runs are kept.")
@option("--json", "as_json", is_flag=True, help="Print a JSON array.")
def command(state: Path | None, as_json: bool) -> int:
    """Tell what works on this machine, and how to mend what does not."""
    from orchestrator.config import state_folder

    place = (state or state_folder(os.environ)).absolute()
    checks: tuple[Callable[[Path], Finding], ...] = (_python, _git, _state, _sandbox, _rg, _key)
    findings = [check(place) for check in checks] + _walls(place)
    if as_json:
        import orjson

        sys.stdout.write(orjson.dumps(findings, option=orjson.OPT_INDENT_2).decode() + "\n")
    else:
        for one in findings:
            mark = "ok  " if one.works else ("FAIL" if one.needed else "none")
            about = f" ({one.backend})" if one.backend else ""
            click.echo(f"{mark}  {one.name:<8} {one.said}{about}")
            for gap in one.gaps:
                click.echo(f"      {'':<8} gap: {gap}")
            if one.fix and not one.works:
                click.echo(f"      {'':<8} fix: {one.fix}")
    return 0 if all(one.works for one in findings if one.needed) else 5


def _python(_: Path) -> Finding:
    return Finding("python", works=True, said=sys.version.split()[0])


def _git(_: Path) -> Finding:
    import re

    fix = "install git 2.31 or newer"
    try:
        done = subprocess.run(["git", "--version"], capture_output=True, text=True, check=False)
    except OSError:
        return Finding("git", works=False, said="not installed", fix=fix)
    found = re.search(r"(\d+)\.(\d+)", done.stdout)
    works = found is not None and (int(found[1]), int(found[2])) >= OLDEST_GIT
    return Finding("git", works=works, said=done.stdout.strip(), fix=fix)


def _state(place: Path) -> Finding:
    from orchestrator.assembly.machine import make_private
    from orchestrator.errors import JournalError

    try:
        make_private(place)
    except JournalError as error:
        return Finding("state", works=False, said=str(error), fix=error.hint)
    return Finding("state", works=True, said=str(place))


def _sandbox(place: Path) -> Finding:
    import anyio

    from orchestrator import config
    from orchestrator.assembly.machine import make_sandbox
    from orchestrator.errors import OrchestratorError

    try:
        settings = config.load(user=config.user_file(os.environ), repository=None).sandbox
        sandbox = make_sandbox(settings, place)
        proved = anyio.run(sandbox.check)
    except (OrchestratorError, OSError) as error:
        fix = error.hint if isinstance(error, OrchestratorError) else ""
        return Finding("sandbox", works=False, said=str(error), fix=fix)
    said = f"{sandbox.name}: {proved}"
    return Finding("sandbox", works=True, said=said, gaps=sandbox.gaps)


def _walls(place: Path) -> list[Finding]:
    """Return what each kind of walls finds on this machine; none of it is needed by itself."""
    import anyio

    from orchestrator.sandboxes.survey import survey

    try:
        probed = anyio.run(survey, place, os.environ)
    except OSError as error:
        return [Finding("walls", works=False, said=str(error), needed=False, backend="all")]
    return [
        Finding(one.name, one.works, one.said, one.fix, needed=False, backend=one.backend)
        for one in probed
    ]


def _rg(_: Path) -> Finding:
    from orchestrator.sandboxes.probe import rg_candidates

    found = rg_candidates(os.environ)
    said = found[0] if found else "not installed"
    return Finding("rg", works=bool(found), said=said, fix="install ripgrep")


def _key(_: Path) -> Finding:
    there = bool(os.environ.get("ANTHROPIC_API_KEY"))
    said = "ANTHROPIC_API_KEY is set" if there else "ANTHROPIC_API_KEY is not set"
    fix = "export ANTHROPIC_API_KEY=..."
    return Finding("key", works=there, said=said, fix=fix, needed=False)
