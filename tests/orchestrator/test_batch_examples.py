"""The examples of batches: cron, systemd, GitHub Actions, and the settings of the docs."""

from __future__ import annotations

import re
import shutil
import subprocess
import textwrap
from pathlib import Path
from typing import Any

import click
import pytest
import yaml

from orchestrator.cli import cli
from orchestrator.config import load

PROJECT = Path(__file__).parents[2]
EXAMPLES = PROJECT / "examples"
WORKFLOW = EXAMPLES / "batch-actions.yml"
CRON = EXAMPLES / "batch.cron"
SERVICE = EXAMPLES / "orchestrate-batch.service"
TIMER = EXAMPLES / "orchestrate-batch.timer"
PAGE = PROJECT / "docs" / "batch.md"


def workflow() -> dict[str, Any]:
    """Return the workflow."""
    found: dict[str, Any] = yaml.safe_load(WORKFLOW.read_text(encoding="utf-8"))
    return found


def scripts() -> list[str]:
    """Return the scripts of the workflow."""
    return [step["run"] for step in workflow()["jobs"]["night"]["steps"] if "run" in step]


def commands() -> list[str]:
    """Return every call of the command line in the examples and the page."""
    text = "\n".join(
        ["\n".join(scripts()), *(path.read_text("utf-8") for path in (CRON, SERVICE, TIMER, PAGE))]
    )
    found = re.findall(r"\borchestrate (?:batch)\b[^\n>&|#)`·]*", text)
    return list(dict.fromkeys(one.strip() for one in found))


@pytest.mark.parametrize("command", commands())
def test_commands_are_known(command: str) -> None:
    """Every command and option that an example or the page uses is there."""
    words = command.split()[1:]
    context = click.Context(cli)
    found = cli.get_command(context, words[0])
    assert isinstance(found, click.Group)
    inner = found.get_command(context, words[1]) if len(words) > 1 else None
    chosen = inner or found
    known = {name for one in chosen.params for name in one.opts}
    assert {word for word in words if word.startswith("--")} <= known


def test_there_are_commands_in_every_example() -> None:
    """The commands above are those of all examples."""
    assert len(commands()) > 10
    for path in (CRON, SERVICE, WORKFLOW):
        assert "orchestrate batch" in path.read_text(encoding="utf-8")


def test_scripts_of_the_workflow_are_shell() -> None:
    """Each script parses, and nothing that people write is put into one."""
    assert len(scripts()) == 3
    for script in scripts():
        done = subprocess.run(["bash", "-n"], input=script, text=True, check=False, timeout=30)
        assert done.returncode == 0
        assert "${{" not in script


def test_the_workflows_options_are_known(tmp_path: Path) -> None:
    """The options that its script puts together are those of the command."""
    script = next(one for one in scripts() if "SETTINGS" in one)
    stub = tmp_path / "orchestrate"
    stub.write_text('#!/bin/sh\nfor one in "$@"; do echo "$one"; done\nexit 1\n')
    stub.chmod(0o755)
    done = subprocess.run(
        ["bash", "-e", "-c", script],
        env={
            "PATH": f"{tmp_path}:/usr/bin:/bin",
            "RUNNER_TEMP": str(tmp_path),
            "ISSUES": "1,4-9; echo evil",
            "DRY_RUN": "true",
        },
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    assert done.returncode == 0, done.stderr
    words = done.stdout.splitlines()
    assert words[0] == "batch"
    assert "1,4-9; echo evil" in words
    batch = cli.get_command(click.Context(cli), "batch")
    assert batch is not None
    known = {name for one in batch.params for name in one.opts}
    assert {word for word in words if word.startswith("--")} <= known


def test_the_workflow_asks_for_no_more_than_it_needs() -> None:
    """Rights are named for the one job, actions are pinned to a version, one night runs at a time."""
    found = workflow()
    assert found["permissions"] == {}
    job = found["jobs"]["night"]
    assert "write-all" not in str(job["permissions"])
    assert job["concurrency"]
    assert job["timeout-minutes"] < 360
    for step in job["steps"]:
        assert "uses" not in step or re.fullmatch(r"actions/[\w-]+@v\d+", step["uses"])


def texts() -> list[str]:
    """Return every piece of settings in the examples and the page."""
    script = next(one for one in scripts() if "SETTINGS" in one)
    found = re.search(r"<<'SETTINGS'\n(.*?)\nSETTINGS", textwrap.dedent(script), re.DOTALL)
    assert found is not None
    cron = re.findall(r"^#   (\w+: \{.*\})$", CRON.read_text(encoding="utf-8"), re.MULTILINE)
    page = re.findall(r"```yaml\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    return [found[1], "\n".join(cron), *page]


@pytest.mark.parametrize("text", texts())
def test_settings_load(text: str, tmp_path: Path) -> None:
    """Settings of the examples are accepted as a user's."""
    path = tmp_path / "config.yaml"
    path.write_text(text, encoding="utf-8")
    found = load(user=path, repository=None).batch
    assert found.usd is not None
    assert found.parallel >= 1


def test_units_are_what_systemd_reads(tmp_path: Path) -> None:
    """systemd finds nothing wrong in the units."""
    if shutil.which("systemd-analyze") is None:
        pytest.skip("NO SYSTEMD: the units were not verified; install systemd for that")
    home = tmp_path / "home"
    program = home / ".local" / "bin" / "orchestrate"
    program.parent.mkdir(parents=True)
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    folder = tmp_path / "units"
    folder.mkdir()
    for path in (SERVICE, TIMER):
        text = path.read_text(encoding="utf-8").replace("%h", str(home))
        (folder / path.name).write_text(text, encoding="utf-8")
    (home / "project").mkdir()
    (home / "orchestrate.env").write_text("")
    done = subprocess.run(
        ["systemd-analyze", "verify", *(str(one) for one in sorted(folder.iterdir()))],
        env={"PATH": "/usr/bin:/bin", "HOME": str(home)},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    told = [line for line in done.stderr.splitlines() if "orchestrate" in line]
    assert told == []
    calendar = re.search(r"^OnCalendar=(.*)$", TIMER.read_text(encoding="utf-8"), re.MULTILINE)
    assert calendar is not None
    asked = ["systemd-analyze", "calendar", calendar[1]]
    assert subprocess.run(asked, capture_output=True, check=False, timeout=30).returncode == 0


def test_lines_of_cron_have_their_times() -> None:
    """Each line has five fields of time and a command that a shell can read."""
    lines = [
        line for line in CRON.read_text(encoding="utf-8").splitlines() if line and line[0] != "#"
    ]
    assert len(lines) == 3
    for line in lines:
        *times, command = line.split(maxsplit=5)
        assert all(re.fullmatch(r"[\d*/,-]+", one) for one in times)
        done = subprocess.run(["sh", "-n"], input=command, text=True, check=False, timeout=30)
        assert done.returncode == 0
        assert "%" not in command  # cron would end the line there
