"""The command line. A command's own module is loaded when that command is called."""

from __future__ import annotations

import gc
import sys
from collections.abc import Mapping
from importlib import import_module
from typing import Any

try:
    import click

    from orchestrator.cli.outputs import lasting, take_missing
except KeyboardInterrupt:  # whoever changes their mind at once is shown no traceback either
    sys.exit(130)

COMMANDS = {
    "issue": ("orchestrator.cli.issue", "Work on an issue, or go on with its unfinished run."),
    "watch": ("orchestrator.cli.watch", "Work on labelled issues, and on what is said of them."),
    "batch": ("orchestrator.cli.batch", "Work on many issues under one ceiling; tell of it."),
    "runs": ("orchestrator.cli.runs", "List runs, show one, go on with one."),
    "route": ("orchestrator.cli.route", "Tell who would get an issue, and why."),
    "gates": ("orchestrator.cli.gates", "Judge a branch that anybody wrote; list the gates."),
    "agents": ("orchestrator.cli.agents", "List the agents, show one, check agent files."),
    "init": ("orchestrator.cli.init", "Write config.yaml and agents/ into a repository."),
    "doctor": (
        "orchestrator.cli.doctor",
        "Tell what works on this machine, and how to mend the rest.",
    ),
}


class LazyGroup(click.Group):
    """A group whose commands are loaded when they are called, not when they are listed."""

    def list_commands(self, _: click.Context) -> list[str]:
        """Return the commands' names."""
        return list(COMMANDS)

    def get_command(self, _: click.Context, cmd_name: str) -> click.Command | None:
        """Load a command."""
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = import_module(COMMANDS[cmd_name][0]).command
        return command

    def format_commands(self, _: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands without loading them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, about) for name, (_, about) in COMMANDS.items()])


def version() -> str:
    """Return the installed version."""
    from importlib.metadata import version as installed

    return installed("issue-orchestrator")


@click.group(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Exit codes: 0 done, 1 ended not done, 2 wrong usage or settings, 3 needs a person, "
    "4 a limit was reached, 5 the machine or a service, 130 interrupted.",
)
@click.version_option(package_name="issue-orchestrator", message="%(version)s")
@click.option("--debug", is_flag=True, help="Show a traceback where something goes wrong.")
@click.pass_context
def cli(context: click.Context, debug: bool) -> None:
    """Route issues to agents that work in a sandbox, are judged by gates, and deliver a branch."""
    context.ensure_object(dict)["debug"] = debug


STARTING = 200_000
"""Objects that are made before the collector looks for the first time."""


def main(arguments: list[str] | None = None) -> Any:
    """Run the command line, and end with its exit code, whatever becomes of what it prints."""
    take_missing()
    with lasting():
        _called(arguments)


def _called(arguments: list[str] | None) -> None:
    given = sys.argv[1:] if arguments is None else arguments
    # Nothing that is loaded while starting is ever garbage; looking for some costs 30 ms.
    before = gc.get_threshold()
    said: dict[str, Any] = {}
    gc.set_threshold(STARTING)
    try:
        status = cli.main(args=given, prog_name="orchestrate", standalone_mode=False, obj=said)
    except click.exceptions.Abort:
        sys.exit(130)
    except click.exceptions.Exit as end:
        sys.exit(end.exit_code)
    except click.ClickException as error:
        error.show()
        sys.exit(2)
    except BaseException as error:
        if "--debug" in given and not isinstance(error, KeyboardInterrupt | SystemExit):
            raise
        sys.exit(told(error, said.get("places", {})))
    finally:
        gc.set_threshold(*before)
    sys.exit(status if isinstance(status, int) else 0)


def told(error: BaseException, places: Mapping[str, str]) -> int:
    """Say in one line what went wrong; return the exit code.

    Args:
        error: what was raised.
        places: folders and files that the command line named.
    """
    from orchestrator.cli.again import placed
    from orchestrator.errors import OrchestratorError, only
    from orchestrator.sinks.plain import line

    error = only(error)
    if isinstance(error, SystemExit):
        return error.code if isinstance(error.code, int) else 1
    if isinstance(error, KeyboardInterrupt):
        return 130
    if isinstance(error, BrokenPipeError):
        return 1
    if isinstance(error, OrchestratorError):
        hint = f" ({line(placed(error.hint, places), 600)})" if error.hint else ""
        click.echo(f"orchestrate: {line(str(error), 600)}{hint}", err=True)
        return error.exit_code
    kind = type(error).__name__
    click.echo(
        f"orchestrate: {kind}: {line(str(error), 400)} (run it with --debug for a traceback)",
        err=True,
    )
    return 5 if isinstance(error, OSError) else 1
