"""Bash: one command in a fresh shell, its output, its status, and the cwd it ends in."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from orchestrator_tools import bash
from orchestrator_tools.contract import ToolResult
from orchestrator_tools.errors import ToolError
from orchestrator_tools.output import TEXT_LIMIT
from orchestrator_tools.place import Place

SAFETY_S = 60
"""Seconds after which a test that hangs fails; no test measures them."""


def sh(place: Place, command: str, timeout: float = SAFETY_S * 1000) -> ToolResult:
    return bash.run(bash.Arguments(command=command, timeout=timeout), place)


@pytest.mark.parametrize(
    ("command", "text", "code"),
    [
        ("echo out; echo err >&2; echo out", "out\nerr\nout", 0),
        ("", "(no output)", 0),
        ("printf '\\n\\n'", "(no output)", 0),
        ("false", "Exit code 1", 1),
        ("echo said; exit 3", "Exit code 3\nsaid", 3),
        ("kill -9 $$", "Exit code 137", 137),
        ("printf '  two\\n'", "  two", 0),
        ("printf 'a\\0b\\377c'", "a\N{REPLACEMENT CHARACTER}b\N{REPLACEMENT CHARACTER}c", 0),
        ("printf '\\033[31mred\\033[0m'", "\033[31mred\033[0m", 0),
        ("echo 日本 | tr -d '\\n'", "日本", 0),
        ("cat; read line || echo end of input", "end of input", 0),
        ("shopt -o errexit pipefail; [[ a == a ]] && echo {1,2}", None, 0),
    ],
)
def test_answers_with_output_and_status(
    place: Place, command: str, text: str | None, code: int
) -> None:
    """The answer is both streams in order and the exit code, an error where it is not 0."""
    result = sh(place, command)
    if text is not None:
        assert result.text == text
    assert (result.details["exit_code"], result.is_error) == (code, code != 0)


def test_reports_a_syntax_error(place: Place) -> None:
    """A command that bash cannot parse is an error with bash's own message."""
    result = sh(place, "if then")
    assert result.is_error
    assert "syntax error" in result.text


def test_refuses_a_nul(place: Place) -> None:
    """A NUL cannot be part of a command."""
    with pytest.raises(ToolError, match="NUL"):
        sh(place, "echo a\0b")


def test_starts_a_fresh_shell_each_time(place: Place) -> None:
    """Variables and functions do not carry over."""
    sh(place, "export X=1; f() { echo f; }")
    assert sh(place, 'echo "[$X]"; type f 2>/dev/null').text == "Exit code 1\n[]"


@pytest.mark.parametrize(
    "command",
    [
        "cd sub",
        "cd sub; exit 3",
        "cd sub && false",
        "cd link",
        "pushd sub >/dev/null",
        "cd sub; (cd /)",
    ],
)
def test_carries_the_cwd_over(place: Place, work: Path, command: str) -> None:
    """The cwd at the end of a command, its exit included, is reported without links."""
    (work / "sub").mkdir()
    (work / "link").symlink_to("sub")
    sh(place, command)
    assert place.change().cwd == str(work / "sub")
    place.cwd = str(work / "sub")
    assert sh(place, "pwd").text == str(work / "sub")


@pytest.mark.parametrize("name", ["grüße 日本", 'a\'b "$c"', "-n", "two\nlines"])
def test_carries_an_odd_cwd_over(place: Place, work: Path, name: str) -> None:
    """The name of the folder may be made of anything, a line end included."""
    (work / name).mkdir()
    (work / "two").mkdir()
    sh(place, f"cd -- {shlex.quote(name)}")
    assert place.change().cwd == str(work / name)


def test_falls_back_to_the_workspace(place: Place, work: Path) -> None:
    """A cwd that was removed is not reported, and the next command starts in the workspace."""
    (work / "sub").mkdir()
    sh(place, "cd sub; rmdir ../sub")
    assert place.change().cwd is None
    place.cwd = str(work / "sub")
    assert sh(place, "pwd").text == str(work)


def test_output_is_not_taken_for_the_cwd(place: Place, work: Path) -> None:
    """Whatever a command prints, only its real cwd is reported."""
    sh(place, "echo /tmp; echo /tmp >&2; pwd -P() { echo /tmp; }")
    assert place.change().cwd == str(work)


def test_leaves_descriptor_nine_to_the_command(place: Place, work: Path) -> None:
    """A command may use descriptor 9, as lock files do, and nothing is written to it."""
    (work / "sub").mkdir()
    sh(place, "exec 9>lock; cd sub")
    assert (work / "lock").read_text() == ""
    assert place.change().cwd == str(work / "sub")


def test_works_whatever_descriptors_are_free(place: Place, work: Path) -> None:
    """The cwd is reported even where the pipe for it happens to be descriptor 9."""
    code = (
        "import os, sys\n"
        "from orchestrator_tools import bash\n"
        "from orchestrator_tools.place import Place\n"
        "while os.dup(0) < 7: pass\n"
        "place = Place(sys.argv[1], sys.argv[1], sys.argv[1], 'rg', {})\n"
        "print(bash.run(bash.Arguments('cd /; echo ok'), place).text, place.new_cwd)\n"
    )
    tools = Path(bash.__file__).parent.parent
    done = subprocess.run(
        [sys.executable, "-c", code, str(work)],
        env={**os.environ, "PYTHONPATH": str(tools)},
        capture_output=True,
        text=True,
        check=True,
        timeout=SAFETY_S,
    )
    assert done.stdout == "ok /\n"


def test_long_output_is_kept_whole_in_a_file(place: Place) -> None:
    """Output over the limit is shown by head and tail and kept whole in a named file."""
    result = sh(place, "echo first; seq 20000; echo last")
    (log,) = Path(place.scratch).iterdir()
    whole = log.read_text()
    assert whole == "first\n" + "".join(f"{n}\n" for n in range(1, 20001)) + "last\n"
    assert result.truncated
    assert not result.is_error
    assert result.text.startswith("first\n1\n2\n")
    assert result.text.endswith(f"last\n\n(output of {len(whole)} bytes kept whole in {log})")
    assert f"[... {len(whole) - TEXT_LIMIT} characters left out ...]" in result.text


def test_huge_output_is_cut_between_characters(place: Place) -> None:
    """Of output too large to load, the shown head and tail are whole characters, truly counted."""
    characters = 2_000_000
    result = sh(place, f"printf x; head -c {characters} /dev/zero | sed 's/\\x00/日/g'")
    (log,) = Path(place.scratch).iterdir()
    assert log.stat().st_size == 3 * characters + 1
    assert result.truncated
    assert "\N{REPLACEMENT CHARACTER}" not in result.text
    shown = result.text.count("日") + result.text.count("x")
    assert shown <= TEXT_LIMIT


def test_huge_output_is_counted(place: Place) -> None:
    """What is left out of output too large to load is counted in full."""
    result = sh(place, "head -c 5000000 /dev/zero | tr '\\0' x")
    assert f"[... {5_000_000 - TEXT_LIMIT} " in result.text


def test_short_output_leaves_no_file(place: Place) -> None:
    """Output that is shown whole leaves nothing in the scratch folder."""
    sh(place, "echo short")
    assert list(Path(place.scratch).iterdir()) == []


def test_outlives_an_emptied_scratch_folder(place: Place) -> None:
    """A command that empties the scratch folder still has its output answered."""
    result = sh(place, f"echo before; rm -rf {place.scratch}/*; echo after")
    assert (result.text, result.is_error) == ("before\nafter", False)
