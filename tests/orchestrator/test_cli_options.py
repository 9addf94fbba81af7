"""Every option of every command: left out, or saying something."""

from __future__ import annotations

from collections.abc import Iterator

import click
import pytest

from orchestrator.cli import COMMANDS, cli


def options() -> Iterator[tuple[str, ...]]:
    """Yield each option that takes a value, after the words of its command."""
    yield from _of(cli, ())


def _of(command: click.Command, path: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    for one in command.params:
        if isinstance(one, click.Option) and not one.is_flag and not one.count:
            yield (*path, one.opts[-1])
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            below = command.get_command(context, name)
            assert below is not None
            yield from _of(below, (*path, name))


OPTIONS = list(options())
COMMANDS_BELOW = list(dict.fromkeys(path[:-1] for path in OPTIONS))


def test_no_command_is_left_out() -> None:
    """Each command has options here, those of commands below commands too."""
    assert {path[0] for path in OPTIONS} == set(COMMANDS)
    assert ("runs", "resume", "--model") in OPTIONS
    assert ("issue", "--agent") in OPTIONS


@pytest.mark.parametrize("path", OPTIONS, ids=" ".join)
@pytest.mark.parametrize("nothing", ["", " "])
def test_an_empty_option_is_wrong_usage(path: tuple[str, ...], nothing: str) -> None:
    """An empty variable in a script is no agent, no folder and no limit: it is told."""
    with pytest.raises(click.BadParameter) as refused:
        cli.main([*path, nothing], prog_name="orchestrate", standalone_mode=False)
    said = refused.value.format_message()
    assert path[-1] in said, "the option that is meant"


@pytest.mark.parametrize("words", COMMANDS_BELOW, ids=" ".join)
def test_an_option_that_is_left_out_is_no_empty_one(words: tuple[str, ...]) -> None:
    """What a command has of itself is never told to the caller as a wrong value of theirs."""
    command: click.Command = cli
    context = click.Context(cli)
    for word in words:
        assert isinstance(command, click.Group)
        found = command.get_command(context, word)
        assert found is not None
        command = found
    for one in command.params:
        if isinstance(one, click.Option) and not one.required:
            one.handle_parse_result(click.Context(command), {}, [])
