"""The examples of delivery: what can be checked of them without their services."""

from __future__ import annotations

import re
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
WORKFLOW = PROJECT / "examples" / "github-actions.yml"
CRON = PROJECT / "examples" / "orchestrate.cron"


def steps() -> list[dict[str, Any]]:
    """Return all steps of the workflow."""
    jobs = yaml.safe_load(WORKFLOW.read_text(encoding="utf-8"))["jobs"]
    return [step for job in jobs.values() for step in job["steps"]]


def commands() -> list[str]:
    """Return every call of the command line in the examples."""
    text = "".join(step.get("run", "") for step in steps()) + CRON.read_text(encoding="utf-8")
    return re.findall(r"\borchestrate (?=issue|watch|gates)[^\n>&]*", text)


def test_scripts_of_the_workflow_are_shell() -> None:
    """Each script parses, and nothing that people write is put into one."""
    scripts = [step["run"] for step in steps() if "run" in step]
    assert len(scripts) == 4
    for script in scripts:
        done = subprocess.run(["bash", "-n"], input=script, text=True, check=False, timeout=30)
        assert done.returncode == 0
        assert "${{" not in script


@pytest.mark.parametrize("command", commands())
def test_commands_are_known(command: str) -> None:
    """Every option that an example uses is there."""
    words = command.split()[1:]
    context = click.Context(cli)
    found = cli.get_command(context, words[0])
    if isinstance(found, click.Group):
        found = found.get_command(context, words[1])
    assert found is not None
    known = {name for one in found.params for name in one.opts}
    assert {word for word in words if word.startswith("--")} <= known


def test_settings_of_the_examples_load(tmp_path: Path) -> None:
    """The settings that the examples write are accepted as a user's."""
    (script,) = [one["run"] for one in steps() if "SETTINGS" in one.get("run", "")]
    found = re.search(r"<<'SETTINGS'\n(.*?)\nSETTINGS", textwrap.dedent(script), re.DOTALL)
    assert found is not None
    cron = re.findall(r"^#   (\w+: \{.*\})$", CRON.read_text(encoding="utf-8"), re.MULTILINE)
    for text in (found[1], "\n".join(cron)):
        path = tmp_path / "config.yaml"
        path.write_text(textwrap.dedent(text), encoding="utf-8")
        config = load(user=path, repository=None)
        assert config.delivery.push and config.delivery.pull_request == "draft"
        assert config.tracker.kind == "github"
