"""The project's own tests, told from its files."""

from __future__ import annotations

import json

import pytest

from orchestrator.gates.detect import Candidate, candidate_of

PYTEST = "python3 -m pytest -q"
DISCOVER = "python3 -m unittest discover"


def found(*names: str, **files: str) -> Candidate:
    """Return how the tests of a project are run that has these files."""
    candidate = detected(*names, **files)
    assert candidate is not None
    return candidate


def detected(*names: str, **files: str) -> Candidate | None:
    """Look for tests; ``pyproject_toml`` stands for ``pyproject.toml``, and so on."""
    settings = {name.replace("_", ".", 1): text.encode() for name, text in files.items()}
    return candidate_of([*names, *settings], settings)


@pytest.mark.parametrize(
    ("names", "files"),
    [
        (("tests/test_a.py", "tests/conftest.py"), {}),
        (("tests/test_a.py",), {"pytest_ini": ""}),
        (("a_test.py",), {"pyproject_toml": "[tool.pytest.ini_options]\n"}),
        (("tests/test_a.py",), {"setup_cfg": "[tool:pytest]\n"}),
        (("tests/test_a.py",), {"tox_ini": "[pytest]\n"}),
    ],
)
def test_a_project_that_is_set_up_for_pytest_uses_it(
    names: tuple[str, ...], files: dict[str, str]
) -> None:
    """Pytest's own settings or a conftest say that pytest runs the tests."""
    assert found(*names, **files) == Candidate(PYTEST, "python3 -c 'import pytest'")


@pytest.mark.parametrize(
    ("names", "command"),
    [
        (("test_a.py",), DISCOVER),
        (("tests/test_a.py",), f"{DISCOVER} -s tests"),
        (("tests/test_a.py", "tests/__init__.py"), f"{DISCOVER} -s tests -t ."),
        (("shop/a_test.py",), f"{DISCOVER} -s shop -p '*test*.py'"),
        (("my tests/test_a.py",), DISCOVER),
        (("$(id)/test_a.py",), DISCOVER),
        (("-p/test_a.py",), DISCOVER),
    ],
)
def test_other_python_projects_use_the_standard_library(
    names: tuple[str, ...], command: str
) -> None:
    """Without pytest's settings unittest looks in the tests' folder, if its name is harmless."""
    assert found(*names) == Candidate(command, "python3 -c 'import unittest'")


@pytest.mark.parametrize(
    "names", [("README.md",), ("src/contest.py",), ("tests/helper.py",), ("testing/test.txt",)]
)
def test_no_tests_no_candidate(names: tuple[str, ...]) -> None:
    """Files that only sound like tests are none."""
    assert detected(*names) is None
    assert detected(*names, pyproject_toml="[tool.pytest]\n") is None


def test_a_node_script_is_run_as_it_is() -> None:
    """A test script that needs node only is run, where there is node."""
    package = json.dumps({"scripts": {"test": "node --test"}})
    assert found(package_json=package) == Candidate("node --test", "command -v node")


@pytest.mark.parametrize("script", ["jest", "npm run build && node --test", "tsc"])
def test_a_script_that_needs_packages_cannot_be_run(script: str) -> None:
    """A test script that needs installed packages says so, and is not passed over."""
    assert "not installed" in found(package_json=json.dumps({"scripts": {"test": script}})).missing


@pytest.mark.parametrize(
    "package",
    [
        "",
        "{",
        "[]",
        "7",
        "null",
        "{}",
        '{"scripts": null}',
        '{"scripts": []}',
        '{"scripts": {"test": "echo \\"Error: no test specified\\" && exit 1"}}',
        pytest.param("[" * 100_000, id="deep"),
    ],
)
def test_a_package_file_without_tests_gives_no_candidate(package: str) -> None:
    """A package file that is broken, or whose test script is the empty one, says nothing."""
    assert detected(package_json=package) is None


def test_go_and_cargo_need_what_they_import() -> None:
    """Without vendored dependencies, Go's and Cargo's tests are said to be out of reach."""
    require, depends = "module a\nrequire b v1\n", "[dependencies]\nserde = '1'\n"
    assert found("a_test.go", go_mod="module a\n") == Candidate("go test ./...", "command -v go")
    assert "not vendored" in found("a_test.go", go_mod=require).missing
    assert found("a_test.go", "vendor/modules.txt", go_mod=require).missing == ""
    assert detected("a.go", go_mod="module a\n") is None
    assert found(Cargo_toml="[package]\n").command == "cargo test --offline"
    assert "not vendored" in found(Cargo_toml=depends).missing
    assert found("vendor/serde/lib.rs", Cargo_toml=depends).missing == ""
    assert found(Cargo_toml="[broken").missing == ""


@pytest.mark.parametrize(
    "text", ["[broken", "tool = 1\n", "tool = []\n", "[tool]\npytest = 1\n", "\x00"]
)
def test_odd_python_settings_do_no_harm(text: str) -> None:
    """Settings that are broken or of an odd shape do not keep the tests from being found."""
    assert found("tests/test_a.py", pyproject_toml=text).command.startswith("python3 -m ")


def test_python_comes_before_other_languages() -> None:
    """Of several kinds of tests Python's are run."""
    package = json.dumps({"scripts": {"test": "node --test"}})
    assert found("tests/test_a.py", package_json=package).command == f"{DISCOVER} -s tests"


def test_the_base_chooses_the_runner() -> None:
    """Files that a commit adds do not change one runner for another, nor hide the tests."""
    node = {"package.json": json.dumps({"scripts": {"test": "node --test"}}).encode()}
    base = ["package.json", "a.test.js"]
    chosen = candidate_of([*base, "test_easy.py"], node, base)
    assert chosen is not None and chosen.command == "node --test"
    base = ["tests/test_a.py"]
    chosen = candidate_of([*base, "conftest.py", "more/test_b.py"], {}, base)
    assert chosen is not None
    assert chosen.command == f"{DISCOVER} -s tests && {DISCOVER} -s more"
    assert candidate_of(["a.py"], {}, base) is None
    assert candidate_of(["test_a.py", "conftest.py"], {}, ["a.py"]) == Candidate(
        PYTEST, "python3 -c 'import pytest'"
    )
