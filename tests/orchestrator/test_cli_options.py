"""Every option and argument of every command: left out, or saying something."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest

from orchestrator.cli import COMMANDS, cli

Words = tuple[str, ...]


def commands(command: click.Command = cli, words: Words = ()) -> Iterator[tuple[Words, Any]]:
    """Yield each command with its words, those below commands too."""
    yield words, command
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            below = command.get_command(context, name)
            assert below is not None
            yield from commands(below, (*words, name))


OPTIONS = [
    (*words, one.opts[-1])
    for words, command in commands()
    for one in command.params
    if isinstance(one, click.Option) and not one.is_flag and not one.count
]
ARGUMENTS = {
    words: one
    for words, command in commands()
    for one in command.params
    if isinstance(one, click.Argument)
}


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


@pytest.mark.parametrize(
    "command", [one for _, one in commands()], ids=[" ".join(words) for words, _ in commands()]
)
def test_an_option_that_is_left_out_is_no_empty_one(command: click.Command) -> None:
    """What a command has of itself is never told to the caller as a wrong value of theirs."""
    for one in command.params:
        if not one.required:
            one.handle_parse_result(click.Context(command), {}, [])


@pytest.mark.parametrize("words", ARGUMENTS, ids=" ".join)
@pytest.mark.parametrize("nothing", ["", " "])
def test_an_empty_argument_is_wrong_usage(words: Words, nothing: str) -> None:
    """An empty variable in a script is no run, no issue and not the folder one is in."""
    given = ["--at", "1"] if words[-1] == "fork" else []
    with pytest.raises(click.BadParameter, match="it is empty"):
        cli.main([*words, nothing, *given], prog_name="orchestrate", standalone_mode=False)


@pytest.mark.parametrize(
    "words", [words for words, one in ARGUMENTS.items() if one.nargs == 1], ids=" ".join
)
def test_a_name_that_is_no_text_is_wrong_usage(words: Words) -> None:
    """Bytes that are not UTF-8 name nothing; it is told as such, and not by a decoder's error."""
    given = ["--at", "1"] if words[-1] == "fork" else []
    with pytest.raises(click.BadParameter, match="no text in UTF-8"):
        cli.main([*words, "\udcff", *given], prog_name="orchestrate", standalone_mode=False)


@pytest.mark.parametrize(
    "path", [one for one in OPTIONS if one[-1] in {"--output", "--log-file"}], ids=" ".join
)
def test_a_file_to_be_written_is_no_folder(path: Words, tmp_path: Path) -> None:
    """A folder, or a file in a folder that is not there, is told before anything is begun."""
    for place, said in ((tmp_path, "is a directory"), (tmp_path / "no" / "file", "no folder")):
        with pytest.raises(click.BadParameter, match=said):
            cli.main([*path, str(place)], prog_name="orchestrate", standalone_mode=False)
