"""What is printed may be lost; what is worked on is not, and the exit code tells of it."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.runs.conftest import PROJECT, CommandLine

REPLAY = f"replay:{PROJECT / 'examples' / 'replies.jsonl'}"


def shell(command: CommandLine, text: str) -> subprocess.CompletedProcess[str]:
    """Run a line of bash in which ``$@`` is the command."""
    return subprocess.run(
        [
            "bash",
            "-o",
            "pipefail",
            "-c",
            text,
            "bash",
            *command.argv("issue", "1"),
            "--model",
            REPLAY,
        ],
        cwd=command.repo,
        env=command.environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.mark.parametrize(
    "line",
    [
        '"$@" 2>&1 | true',
        '"$@" | true',
        '"$@" >&-',
        '"$@" 2>&-',
        '"$@" <&- >&- 2>&-',
        '"$@" >/dev/full',
        '"$@" 2>/dev/full',
        '"$@" --json >/dev/full 2>&1',
    ],
)
def test_a_run_is_done_whoever_listens(orchestrate: CommandLine, line: str) -> None:
    """An output that is closed or full ends no run, and the exit code is the outcome's."""
    done = shell(orchestrate, line)
    assert done.returncode == 0, done.stderr
    assert "Error" not in done.stderr
    assert "Exception" not in done.stderr
    assert "RunFinished" in [kind for kind, _ in orchestrate.events()]


def test_a_full_disk_is_told(orchestrate: CommandLine) -> None:
    """Whoever wanted the output learns that it was lost."""
    done = shell(orchestrate, '"$@" --json >/dev/full')
    lost = "orchestrate: standard output cannot be written: No space left on device"
    assert done.stderr.splitlines()[-1] == lost


def test_no_file_gets_the_number_of_a_closed_output(
    orchestrate: CommandLine, tmp_path: Path
) -> None:
    """What is printed to a closed output is in no file that was opened meanwhile."""
    log = tmp_path / "events"
    done = shell(orchestrate, f'"$@" --log-file {log} >&- 2>&-')
    assert done.returncode == 0
    assert all(line.startswith("{") for line in log.read_text(encoding="utf-8").splitlines())


def test_an_interruption_while_it_loads_is_quiet(orchestrate: CommandLine, tmp_path: Path) -> None:
    """Ctrl-C before the command line is there ends with 130, and shows no traceback."""
    (tmp_path / "slow").mkdir()
    # Where the tests run in the background of a shell, the signal is ignored from the start.
    as_ever = "import os, signal\nsignal.signal(signal.SIGINT, signal.default_int_handler)\n"
    interrupted = f"{as_ever}os.kill(os.getpid(), signal.SIGINT)\n"
    (tmp_path / "slow" / "click.py").write_text(interrupted, encoding="utf-8")
    done = orchestrate.run("issue", "1", PYTHONPATH=str(tmp_path / "slow"))
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")
