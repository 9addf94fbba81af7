"""The examples of gates of one's own: commands in the settings, and objects of a program."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.runs.conftest import BRANCH, PROJECT, CommandLine, git

EXAMPLES = PROJECT / "examples"


@pytest.fixture
def environment(tmp_path: Path, state: Path) -> dict[str, str]:
    """The environment of a program that embeds the runtime."""
    (state.parent / "xdg").mkdir()
    state.rename(state.parent / "xdg" / "orchestrate")
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "XDG_STATE_HOME": str(state.parent / "xdg"),
    }


def run_example(shop: Path, environment: dict[str, str]) -> list[str]:
    """Run the program with the demo's replies, and return the lines that it prints."""
    replies = f"replay:{EXAMPLES / 'replies.jsonl'}"
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / "own_gate.py"), str(shop), "1", replies],
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_objects_of_a_program(shop: Path, environment: dict[str, str]) -> None:
    """A program's own gates judge after those of the settings, and their verdicts are told."""
    first, *lines = run_example(shop, environment)
    assert first == "branch-name: passed: feature/1-a-cart-of-exactly-100-gets-no-discount"
    assert "tests: passed: 6 tests executed" in lines
    assert lines[-3:] == [
        "small-enough: passed: 4 files",
        "no-prints: passed: no print is left",
        f"done {BRANCH}",
    ]


def test_an_object_that_refuses(shop: Path, environment: dict[str, str]) -> None:
    """What such a gate refuses is not delivered, and its verdict is told."""
    settings = Path(environment["HOME"]) / ".config" / "orchestrate" / "config.yaml"
    settings.parent.mkdir(parents=True)
    settings.write_text("gates: {rounds: 0}\n", encoding="utf-8")
    pricing = shop / "shop" / "__init__.py"
    pricing.write_text('print("loaded")\n', encoding="utf-8")
    git(shop, "commit", "--quiet", "--all", "--message", "a print")
    *_, last, end = run_example(shop, environment)
    assert (last, end.strip()) == ("no-prints: failed: prints are left", "gate_failed")
    assert git(shop, "branch", "--list", "feature/*") == ""


def test_commands_of_the_settings(orchestrate: CommandLine) -> None:
    """The example's commands judge a branch: each passes, and its tests are counted."""
    shop = orchestrate.repo
    git(shop, "checkout", "--quiet", "-b", "feature/1-boundary")
    pricing = shop / "shop" / "pricing.py"
    text = pricing.read_text(encoding="utf-8").replace("amount > ", "amount >= ")
    pricing.write_text(text, encoding="utf-8")
    git(shop, "commit", "--quiet", "--all", "--message", "mended")
    arguments = ("gates", "run", "--json", "--config", str(EXAMPLES / "own-gates.yaml"))
    done = orchestrate.run(*arguments)
    assert done.returncode == 0, done.stdout
    found = {
        one["gate"]: (one["state"], one["tests"]) for one in json.loads(done.stdout)["verdicts"]
    }
    own = {"unit-tests": ("passed", 3), "no-prints": ("passed", None), "compiles": ("passed", None)}
    assert own.items() <= found.items()
    assert "tests" not in found
    pricing.write_text(f"{text}\nprint(DISCOUNT_FROM)\n", encoding="utf-8")
    git(shop, "commit", "--quiet", "--all", "--message", "a print")
    done = orchestrate.run(*arguments)
    assert done.returncode == 1
    verdicts = {one["gate"]: one for one in json.loads(done.stdout)["verdicts"]}
    assert verdicts["no-prints"]["state"] == "failed"
    assert "pricing.py" in verdicts["no-prints"]["details"]
