"""Whole runs behind each kind of walls: the same branch comes out, and gaps stand in the header."""

from __future__ import annotations

import os
import pwd
from pathlib import Path

import pytest

from orchestrator.sandboxes import confine, landlock
from tests.contracts.stand_in import a_stand_in
from tests.runs.conftest import BRANCH, PROJECT, CommandLine, git
from tests.walls.conftest import bwrap  # noqa: F401 - the fixture

REPLAY = f"replay:{PROJECT / 'examples' / 'replies.jsonl'}"


def whole_run(orchestrate: CommandLine, *more: str) -> str:
    """Play the demo to its end; return what was shown meanwhile."""
    done = orchestrate.run("issue", "1", "--model", REPLAY, *more)
    assert done.returncode == 0, done.stderr
    return done.stderr


def settle(orchestrate: CommandLine, text: str) -> None:
    """Write the user's own settings."""
    folder = Path(orchestrate.environment["HOME"], ".config", "orchestrate")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.yaml").write_text(text, encoding="utf-8")


@pytest.fixture
def tree(orchestrate: CommandLine) -> str:
    """Return the tree that the demo gives behind the default walls, and take it back."""
    shown = whole_run(orchestrate)
    assert "sandbox" not in shown
    tree = git(orchestrate.repo, "rev-parse", f"{BRANCH}^{{tree}}")
    git(orchestrate.repo, "branch", "-D", BRANCH)
    return tree


@pytest.mark.parametrize("backend", ["landlock", "external", "none"])
def test_other_walls_give_the_same_branch_and_tell_their_gaps(
    backend: str, tree: str, orchestrate: CommandLine
) -> None:
    """What is chosen by the flag works to the end; its gaps are the first thing that is shown."""
    if backend == "landlock" and confine.landlock_abi() < confine.ABI:
        pytest.skip(f"NOT TESTED: the kernel offers Landlock {confine.landlock_abi()}")
    shown = whole_run(orchestrate, "--sandbox", backend, "--new").splitlines()
    assert git(orchestrate.repo, "rev-parse", f"{BRANCH}^{{tree}}") == tree
    first_turn = next(number for number, line in enumerate(shown) if line.startswith("turn 1"))
    told = [line for line in shown[:first_turn] if line.startswith(f"sandbox {backend}: ")]
    assert told
    if backend == "landlock":
        assert told == [f"sandbox landlock: {gap}" for gap in landlock.GAPS]


def owners(orchestrate: CommandLine) -> set[int]:
    """Return whom the files of the parked run's work tree belong to."""
    works = orchestrate.state.glob("runs/*/place-*/work")
    return {path.lstat().st_uid for work in works for path in (work, *work.rglob("*"))}


def test_a_run_of_one_user_goes_on_as_another(tree: str, orchestrate: CommandLine) -> None:
    """With ``sandbox.run_as`` the workspace is that user's, whoever worked in it before."""
    if os.geteuid() != 0:
        pytest.skip("NOT TESTED: only root can run things as another user")
    for turns, settings, owner in (
        ("2", "{}", 0),
        ("3", "{run_as: 61340}", 61340),
        ("4", "{run_as: nobody}", pwd.getpwnam("nobody").pw_uid),
        ("5", "{}", 0),
    ):
        settle(orchestrate, f"sandbox: {settings}\n")
        more = ("--new",) if turns == "2" else ()
        parked = orchestrate.run("issue", "1", "--model", REPLAY, "--limit-turns", turns, *more)
        assert parked.returncode == 4, parked.stderr
        assert owners(orchestrate) == {owner}
        assert "sandbox" not in parked.stderr
    settle(orchestrate, "sandbox: {run_as: 61340}\n")
    whole_run(orchestrate, "--limit-turns", "50")
    assert git(orchestrate.repo, "rev-parse", f"{BRANCH}^{{tree}}") == tree


def test_a_container_gives_the_same_branch(
    tree: str,
    orchestrate: CommandLine,
    tmp_path: Path,
    request: pytest.FixtureRequest,
) -> None:
    """By a stand-in for an engine: the whole run, gates too, works in containers."""
    folder = a_stand_in(tmp_path / "engine", request.getfixturevalue("bwrap"))
    orchestrate.environment["PATH"] = f"{folder}{os.pathsep}{orchestrate.environment['PATH']}"
    settle(orchestrate, "sandbox: {backend: container, engine: docker, image: 'tools:1'}\n")
    shown = whole_run(orchestrate, "--new")
    assert "sandbox container: " in shown
    assert git(orchestrate.repo, "rev-parse", f"{BRANCH}^{{tree}}") == tree
