"""``orchestrate init``: write config.yaml and agents/ into a repository."""

from __future__ import annotations

from pathlib import Path

import click

from orchestrator.cli.options import option


@click.command()
@option(
    "--repo", type=click.Path(path_type=Path), default=Path(), help="Any folder of the repository."
)
@option("--force", is_flag=True, help="Replace files that are there already.")
def command(repo: Path, force: bool) -> None:
    """Write config.yaml and agents/ into the repository, and a first issue if it has none.

    Files that are there already are left alone.
    """
    from orchestrator.assembly.machine import bundled
    from orchestrator.errors import ConfigError
    from orchestrator.repository import locate

    top = locate(repo.absolute()).top
    if top is None:
        raise ConfigError("a bare repository has no files to write to", hint="run it in a checkout")
    _write(top / "config.yaml", bundled("config.yaml").read_bytes(), top, force=force)
    for path in sorted(bundled("agents").glob("*.md")):
        _write(top / "agents" / path.name, path.read_bytes(), top, force=force)
    if not (top / "issues").exists():
        _write(top / "issues" / "1-say-what-you-want.md", FIRST_ISSUE.encode(), top, force=force)
    click.echo("commit agents/ so that runs can use them: they are read from the base commit")


def _write(path: Path, data: bytes, top: Path, *, force: bool) -> None:
    from orchestrator.errors import WorkspaceError

    shown = path.relative_to(top)
    link = next((one for one in (path.parent, path) if one != top and one.is_symlink()), None)
    if link is not None:
        why = f"{link.relative_to(top)} is a symbolic link, which could lead out of the repository"
        click.echo(f"kept   {shown} ({why})")
        return
    if path.exists() and not force:
        click.echo(f"kept   {shown}")
        return
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    except OSError as error:
        raise WorkspaceError(
            f"{error.filename or path} cannot be written: {error.strerror}"
        ) from None
    click.echo(f"wrote  {shown}")


FIRST_ISSUE = """\
---
title: Say what you want
labels: []
state: open
assignee:
priority: normal
blocked_by: []
---
Describe what is wrong or missing, and how one can see that it is right.
"""
