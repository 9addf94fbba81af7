"""The project's own tests, told from its files, where their runner exists inside the sandbox."""

from __future__ import annotations

import dataclasses
import json
import re
import tomllib
from collections.abc import Mapping, Sequence

from orchestrator.gates.command import judge_tests
from orchestrator.gates.suites import Suite, Suites, TestCommand, reporter_of
from orchestrator.ports import Change
from orchestrator.records import Verdict
from orchestrator.values import frozen

PYTHON_TEST = re.compile(r"(?:^|/)(?:test_[^/]*|[^/]*_test)\.py$")
CHOOSES = re.compile(r"(?:^|/)conftest\.py$|^vendor/")
"""Files whose mere presence decides which runner is taken, or whether it can run."""
MISSING = re.compile(r"(?:ModuleNotFoundError|ImportError): No module named '([\w.]+)'")


@frozen
class Candidate:
    """A way to run a project's tests.

    Attributes:
        probe: a command that succeeds inside where the runner exists, with what it needs.
        missing: what is said where the probe fails; empty names the command.
    """

    command: str
    probe: str
    missing: str = ""


class DetectedTestsGate:
    """Runs the tests that a repository has, without being told how.

    What cannot be run here is ``not_executed``, and says why; it is never ``passed``.

    Args:
        timeout_s: seconds after which the tests are ended, and have failed.
        against_base: whether they are run on the base too, to see which are lost.
        suites: the test runs of this judging.
    """

    name = "tests"

    def __init__(
        self,
        *,
        timeout_s: float = 900.0,
        against_base: bool = True,
        suites: Suites | None = None,
    ) -> None:
        self._timeout_s = timeout_s
        self._against_base = against_base
        self._suites = suites or Suites()

    async def judge(self, change: Change) -> Verdict:
        """Find the tests, run them and judge their end."""
        found = await tests_of(change, self._timeout_s)
        if isinstance(found, str):
            verdict = not_executed(self.name, change, found)
            return dataclasses.replace(verdict, state="failed") if found == GONE else verdict
        now = await self._suites.now(change, found)
        if now.done.exit_status:
            what = await missing_inside(change, found, now, self._suites)
            if what:
                reason = f"dependencies are not installed inside: {what}"
                return not_executed(self.name, change, reason)
        return await judge_tests(
            self.name, change, found, self._suites, against_base=self._against_base
        )


NONE = "no tests that could be told from the files"
GONE = "the tests that the project had are gone"


def not_executed(gate: str, change: Change, reason: str) -> Verdict:
    """Return the verdict of a gate that could not look."""
    return Verdict(
        gate=gate, state="not_executed", reason=reason, commit=change.commit, tree=change.tree
    )


async def tests_of(change: Change, timeout_s: float) -> TestCommand | str:
    """Tell how the tests of a change are run; a text says why they cannot be run here."""
    names, before, files = await change.names(), await change.base_names(), await change.files()
    candidate = candidate_of(names, files, before)
    if candidate is None:
        return NONE if candidate_of(before, files) is None else GONE
    if not await change.available(candidate.probe):
        return candidate.missing or f"{candidate.command!r} cannot be run inside"
    return TestCommand(candidate.command, timeout_s, reporter_of(candidate.command))


async def missing_inside(change: Change, tests: TestCommand, now: Suite, suites: Suites) -> str:
    """Name the modules that neither the commit nor the base finds; empty where there are none.

    What fails for another reason than on the base is no matter of what is installed.
    """
    names = await change.names()
    lacking = _lacking(now.done.output, names)
    if not lacking:
        return ""
    before = await suites.before(change, tests)
    if _failures(now) - _failures(before) or not lacking & _lacking(before.done.output, names):
        return ""
    return ", ".join(sorted(lacking))


def _failures(suite: Suite) -> set[tuple[str, str, str]]:
    cases = suite.report.cases if suite.report is not None else ()
    return {(one.file, one.owner, one.name) for one in cases if one.ended == "failed"}


def candidate_of(
    names: Sequence[str], files: Mapping[str, bytes], before: Sequence[str] = ()
) -> Candidate | None:
    """Tell how a project's tests are run.

    Args:
        names: all paths of the commit.
        files: contents of the settings files at the top of the base commit.
        before: all paths of the base: a runner that has tests there is not changed for another.
    """
    finders = (_python, _node, _go, _cargo)
    for find in finders if before else ():
        if find(before, files) is not None:
            return find(_set_up_as(before, names), files)
    found = (find(names, files) for find in finders)
    return next((one for one in found if one is not None), None)


def _set_up_as(before: Sequence[str], names: Sequence[str]) -> list[str]:
    """Return the paths of a commit, with the base's when it comes to what chooses a runner."""
    chosen = [name for name in before if CHOOSES.search(name)]
    return [*(name for name in names if not CHOOSES.search(name)), *chosen]


def _python(names: Sequence[str], files: Mapping[str, bytes]) -> Candidate | None:
    tests = [name for name in names if PYTHON_TEST.search(name)]
    if not tests:
        return None
    configured = any(name.endswith("conftest.py") for name in names) or _has_pytest_settings(files)
    pytest = Candidate("python3 -m pytest -q", "python3 -c 'import pytest'")
    if configured:
        return pytest
    folders = dict.fromkeys(name.split("/", maxsplit=1)[0] if "/" in name else "" for name in tests)
    pattern = "" if all("/test" in f"/{name}" for name in tests) else " -p '*test*.py'"
    command = " && ".join(_discover(folder, names) + pattern for folder in folders)
    return Candidate(command, "python3 -c 'import unittest'")


def _discover(folder: str, names: Sequence[str]) -> str:
    start = f" -s {folder}" if re.fullmatch(r"[\w.]+", folder) else ""
    top = " -t ." if start and f"{folder}/__init__.py" in names else ""
    return f"python3 -m unittest discover{start}{top}"


def _has_pytest_settings(files: Mapping[str, bytes]) -> bool:
    if "pytest.ini" in files:
        return True
    try:
        project = tomllib.loads(files.get("pyproject.toml", b"").decode("utf-8", "replace"))
    except (tomllib.TOMLDecodeError, RecursionError):
        project = {}
    tool = project.get("tool")
    if isinstance(tool, dict) and "pytest" in tool:
        return True
    return b"[tool:pytest]" in files.get("setup.cfg", b"") or b"[pytest]" in files.get(
        "tox.ini", b""
    )


def _node(_: Sequence[str], files: Mapping[str, bytes]) -> Candidate | None:
    try:
        package = json.loads(files.get("package.json", b""))
        script = str(package["scripts"]["test"])
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    if "no test specified" in script:
        return None
    if script.split()[:1] != ["node"]:
        missing = f"{script!r} needs packages that are not installed inside"
        return Candidate("npm test", "test -d node_modules && command -v npm", missing=missing)
    return Candidate(script, "command -v node")


def _go(names: Sequence[str], files: Mapping[str, bytes]) -> Candidate | None:
    if "go.mod" not in files or not any(name.endswith("_test.go") for name in names):
        return None
    needs = b"require" in files["go.mod"] and not any(name.startswith("vendor/") for name in names)
    if not needs:
        return Candidate("go test ./...", "command -v go")
    missing = "its modules are not vendored, and there is no network inside"
    return Candidate("go test ./...", "test -d vendor && command -v go", missing=missing)


def _cargo(names: Sequence[str], files: Mapping[str, bytes]) -> Candidate | None:
    if "Cargo.toml" not in files:
        return None
    try:
        needs = bool(
            tomllib.loads(files["Cargo.toml"].decode("utf-8", "replace")).get("dependencies")
        )
    except (tomllib.TOMLDecodeError, RecursionError):
        needs = False
    needs = needs and not any(name.startswith("vendor/") for name in names)
    if not needs:
        return Candidate("cargo test --offline", "command -v cargo")
    missing = "its crates are not vendored, and there is no network inside"
    return Candidate("cargo test --offline", "test -d vendor && command -v cargo", missing=missing)


def _lacking(output: str, names: Sequence[str]) -> set[str]:
    """Return the modules that an output says are missing, and that are not the project's own."""
    own = {name.split("/", maxsplit=1)[0].removesuffix(".py") for name in names}
    own |= {name.split("/")[1].removesuffix(".py") for name in names if name.startswith("src/")}
    return {one.split(".")[0] for one in MISSING.findall(output)} - own
