"""``orchestrate gates``: a branch that a person wrote is judged as an agent's is, without a model."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from tests.runs.conftest import CommandLine, git

MENDED = "feature/1-boundary"


@pytest.fixture
def line(shop: Path, state: Path, tmp_path: Path) -> CommandLine:
    """The command line without any key, in a sample project with a branch that mends it."""
    git(shop, "checkout", "--quiet", "-b", MENDED)
    pricing = shop / "shop" / "pricing.py"
    text = pricing.read_text(encoding="utf-8").replace("amount > ", "amount >= ")
    pricing.write_text(text, encoding="utf-8")
    git(shop, "commit", "--quiet", "--all", "--message", "mended")
    git(shop, "checkout", "--quiet", "main")
    home = tmp_path / "home"
    home.mkdir(exist_ok=True)
    return CommandLine(shop, state, {"PATH": os.environ["PATH"], "HOME": str(home)})


def settings(line: CommandLine, text: str) -> None:
    """Write the user's settings."""
    place = Path(line.environment["HOME"]) / ".config" / "orchestrate"
    place.mkdir(parents=True, exist_ok=True)
    (place / "config.yaml").write_text(text, encoding="utf-8")


def judged(line: CommandLine, *arguments: str) -> tuple[int, dict[str, Any]]:
    """Judge a branch; return the exit code and what was printed."""
    done = line.run("gates", "run", "--json", *arguments)
    return done.returncode, json.loads(done.stdout)


def of(found: dict[str, Any], gate: str) -> dict[str, Any]:
    """Return the verdict of one gate."""
    (verdict,) = [one for one in found["verdicts"] if one["gate"] == gate]
    return dict(verdict)


def test_a_branch_that_passes(line: CommandLine) -> None:
    """A right branch ends with 0; the table names commit, base, and what each gate saw."""
    done = line.run("gates", "run", "--branch", MENDED)
    assert done.returncode == 0, done.stderr
    head = git(line.repo, "rev-parse", MENDED)
    base = git(line.repo, "rev-parse", "main")
    first, *rows = done.stdout.splitlines()
    assert first == f"{MENDED} at {head[:12]}, a change of {base[:12]}"
    told = [(*row.split()[:2],) for row in rows]
    assert told[0] == ("passed", "branch-name")
    assert {("passed", "secrets"), ("passed", "tests"), ("passed", "changed-tests")} <= set(told)
    assert [row for row in rows if "3 tests executed" in row] == [
        rows[told.index(("passed", "tests"))]
    ]


def test_a_branch_that_fails(line: CommandLine) -> None:
    """A wrong branch ends with 1, and the failed gate's output is shown."""
    git(line.repo, "branch", "feature/2-nothing", "main")
    done = line.run("gates", "run", "--branch", "feature/2-nothing", "--base", "main")
    assert done.returncode == 1
    assert "FAILED        tests" in done.stdout
    assert "    |     self.assertEqual(discounted(100_00), 90_00)" in done.stdout


def test_what_is_printed_for_programs(line: CommandLine) -> None:
    """The object holds branch, commit, base, tree, and verdicts as a run journals them."""
    code, found = judged(line, "--branch", MENDED)
    assert code == 0
    assert found["commit"] == git(line.repo, "rev-parse", MENDED)
    assert found["tree"] == git(line.repo, "rev-parse", f"{MENDED}^{{tree}}")
    assert found["base"] == git(line.repo, "rev-parse", "main")
    tests = of(found, "tests")
    assert (tests["gate"], tests["state"], tests["tests"]) == ("tests", "passed", 3)
    assert tests["argv"][-1] == "python3 -m unittest discover -s tests -t ."
    assert (tests["commit"], tests["tree"]) == (found["commit"], found["tree"])


def test_what_is_checked_out_is_judged(line: CommandLine) -> None:
    """Without a name it is the current branch, as committed: loose changes are told, not judged."""
    git(line.repo, "checkout", "--quiet", MENDED)
    (line.repo / "shop" / "pricing.py").write_text("broken(\n", encoding="utf-8")
    code, found = judged(line)
    assert (code, found["branch"]) == (0, MENDED)
    assert found["notes"] == ["your uncommitted changes are not judged"]


def test_the_base_is_where_the_branch_began(line: CommandLine) -> None:
    """What the default branch has got since is no part of the change."""
    before = git(line.repo, "rev-parse", "main")
    git(line.repo, "commit", "--quiet", "--allow-empty", "--message", "later")
    assert judged(line, "--branch", MENDED)[1]["base"] == before


def test_the_default_branch_of_a_remote(line: CommandLine) -> None:
    """Where a clone knows origin's default branch, that is what others are changes of."""
    git(line.repo, "update-ref", "refs/remotes/origin/trunk", "main")
    git(line.repo, "symbolic-ref", "refs/remotes/origin/HEAD", "refs/remotes/origin/trunk")
    git(line.repo, "checkout", "--quiet", MENDED)
    git(line.repo, "branch", "--quiet", "-D", "main")
    code, found = judged(line)
    assert (code, found["base"]) == (0, git(line.repo, "rev-parse", "origin/trunk"))


def test_a_branch_without_an_issue(line: CommandLine) -> None:
    """A branch whose name carries no issue fails the gate for names, which says how it should be."""
    git(line.repo, "branch", "mine", MENDED)
    code, found = judged(line, "--branch", "mine")
    assert code == 1
    failed = [one["gate"] for one in found["verdicts"] if one["state"] == "failed"]
    assert failed == ["branch-name"]
    assert "feature/NUMBER-" in found["verdicts"][0]["reason"]


def test_what_was_not_executed(line: CommandLine) -> None:
    """Tests that cannot be run fail nothing, unless --strict says so; they are never passed."""
    git(line.repo, "checkout", "--quiet", MENDED)
    git(line.repo, "rm", "-r", "--quiet", "tests")
    git(line.repo, "commit", "--quiet", "--message", "no tests")
    git(line.repo, "branch", "--force", "main", "HEAD~0")
    git(line.repo, "commit", "--quiet", "--allow-empty", "--message", "more")
    code, found = judged(line)
    assert (code, of(found, "tests")["state"]) == (0, "not_executed")
    assert judged(line, "--strict")[0] == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--branch", "nope"), "'nope' names no commit"),
        (("--branch", MENDED, "--base", "nope"), "'nope' names no commit"),
        (("--branch", "main"), "main has nothing that main has not"),
        (("--branch", "--upload-pack=x"), "names no commit"),
        (("--repo", "/"), "is not in a git repository"),
    ],
)
def test_wrong_usage(line: CommandLine, arguments: tuple[str, ...], said: str) -> None:
    """What cannot be judged ends with 2 and one line that says why."""
    done = line.run("gates", "run", *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr and len(done.stderr.splitlines()) == 1


def test_without_a_default_branch(line: CommandLine) -> None:
    """Where nothing tells the base it has to be named."""
    git(line.repo, "checkout", "--quiet", "-b", "trunk")
    git(line.repo, "branch", "--quiet", "-D", "main")
    done = line.run("gates", "run", "--branch", MENDED)
    assert done.returncode == 2 and "--base" in done.stderr
    assert judged(line, "--branch", MENDED, "--base", "trunk")[0] == 0


def test_settings_that_are_wrong(line: CommandLine) -> None:
    """Two gates of one name are refused before anything runs."""
    settings(line, "gates:\n  commands:\n    - {name: tests, run: 'true'}\n")
    done = line.run("gates", "run", "--branch", MENDED)
    assert done.returncode == 2
    assert "two gates are called 'tests'" in done.stderr


def test_walls_that_do_not_stand(line: CommandLine) -> None:
    """A machine without walls runs nothing, and ends with 5."""
    settings(line, "sandbox: {backend: container, image: no-such-image, engine: docker}\n")
    done = line.run("gates", "run", "--branch", MENDED)
    assert done.returncode == 5, done.stdout
    assert done.stdout == ""


def test_nothing_is_left(line: CommandLine) -> None:
    """Refs, checkout, state directory and journal are as they were: it was no run."""
    before = git(line.repo, "for-each-ref"), git(line.repo, "status", "--porcelain")
    assert line.run("gates", "run", "--branch", MENDED).returncode == 0
    assert (git(line.repo, "for-each-ref"), git(line.repo, "status", "--porcelain")) == before
    assert not list(line.state.glob("scratch-*"))
    assert not line.events()


def test_the_gates_are_listed_with_reasons(line: CommandLine) -> None:
    """Every gate is named with the setting that has it judge; tests with how they would be run."""
    settings(line, "gates:\n  commands:\n    - {name: lint, run: make lint}\n")
    done = line.run("gates", "list")
    assert done.returncode == 0, done.stderr
    rows = [row.split(None, 1) for row in done.stdout.splitlines()]
    names = [name for name, _ in rows]
    assert names == [
        *("branch-name", "secrets", "protected-paths", "size", "unfinished", "tests-kept"),
        *("migrations", "docs", "lint", "tests", "changed-tests"),
    ]
    why = dict(rows)
    assert "gates.commands: make lint" in why["lint"]
    assert "would run: python3 -m unittest discover -s tests -t ." in why["tests"]
    listed = json.loads(line.run("gates", "list", "--json").stdout)
    assert [one["gate"] for one in listed] == names


def test_no_gates(line: CommandLine) -> None:
    """Where no gate is configured both commands say that nothing is judged."""
    off = ["branch_name", "detect_tests", "secrets", "protected", "unfinished", "tests_kept"]
    off += ["migrations", "docs", "changed_tests", "detect_checks", "coverage"]
    values = ", ".join(f"{name}: false" for name in off)
    settings(line, f"gates: {{{values}, size: {{lines: 0, files: 0, binary_kb: 0}}}}\n")
    assert "nothing is judged" in line.run("gates", "list").stdout
    done = line.run("gates", "run", "--branch", MENDED)
    assert done.returncode == 0 and "nothing was judged" in done.stdout


def test_a_branch_cannot_switch_its_gates_off(line: CommandLine) -> None:
    """What judges a branch is what its base's settings say, even where the branch is checked out."""
    git(line.repo, "checkout", "--quiet", "-b", "feature/3-quiet")
    own = line.repo / ".orchestrate"
    own.mkdir()
    off = "gates: {protected: false, detect_tests: false, changed_tests: false}\n"
    (own / "config.yaml").write_text(off, encoding="utf-8")
    git(line.repo, "add", ".orchestrate")
    git(line.repo, "commit", "--quiet", "--message", "quiet")
    code, found = judged(line)
    assert code == 1
    assert of(found, "tests")["state"] == "failed"
    assert of(found, "protected-paths")["state"] == "failed"
    git(line.repo, "branch", "--force", "main", "feature/3-quiet")
    git(line.repo, "commit", "--quiet", "--allow-empty", "--message", "more")
    code, found = judged(line)
    assert code == 0, found
    assert not {"tests", "protected-paths"} & {one["gate"] for one in found["verdicts"]}
