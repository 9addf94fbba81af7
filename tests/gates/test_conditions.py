"""What a gate's command finds beside its checkout, and what is read of what it leaves."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from orchestrator.assembly.machine import make_sandbox
from orchestrator.commands import REPORT_LIMIT, left_behind
from orchestrator.events import GateJudged, decode, encode
from orchestrator.gates.configured import settings_of_base
from orchestrator.gates.detect import DetectedTestsGate
from orchestrator.gates.reports import ReportBrokenError, read_report
from orchestrator.gates.suites import Suites, TestCommand, reporter_of
from orchestrator.records import Conditions, Counts
from tests.builders import a_verdict, git
from tests.gates.project import Project, ground, project, proved

__all__ = ["ground", "project", "proved"]


@pytest.mark.asyncio
async def test_files_are_taken_from_the_other_side(project: Project) -> None:
    """Changed, added and removed files are as in the other commit, whatever stands in their way."""
    project.commit(
        {"changed": "old", "gone": "old", "was/file": "old", "link": "old", "same": "same"}
    )
    (project.top / "link").unlink()
    (project.top / "link").symlink_to("/etc/passwd")
    (project.top / "was/file").unlink()
    (project.top / "was").rmdir()
    project.commit({"changed": "new", "added": "new", "was": "new", "[a]*": "new"}, "gone")
    await project.sandbox.check()
    change = project.change()
    taking = tuple(one.path for one in await change.changes())
    look = (
        "git status --porcelain; for f in *; do test -f $f && echo $f $(cat $f); done; cat was/file"
    )
    done = await change.run(look, 20, Conditions(taking=taking))
    assert [one for one in done.output.splitlines() if one[:3] not in {"M  ", "A  ", "D  ", "T  "}] == [
        "changed old", "gone old", "link old", "same same", "old",
    ], done.output  # fmt: skip
    done = await change.run_on_base(
        "cat changed added; ls", 20, Conditions(taking=("changed", "added"))
    )
    assert done.output.splitlines() == ["newnewadded", "changed", "gone", "link", "same", "was"]


@pytest.mark.asyncio
async def test_reports_environment_and_output(project: Project) -> None:
    """A report is read after the end; variables may name the temporary folder."""
    project.commit({"a": "a"})
    await project.sandbox.check()
    conditions = Conditions(environment=(("OUT", "{tmp}/one"),), reports=("one", "two"), output=10)
    done = await project.change().run("echo hi >$OUT; seq 100", 20, conditions)
    assert done.reports == {"one": b"hi\n"}
    assert "bytes left out" in done.output
    assert (await project.change().run("echo 1", 20)).reports == {}


def test_only_plain_files_are_read(tmp_path: Path) -> None:
    """A link, a pipe, a folder or a file that is too large is as if it were not there."""
    secret = tmp_path / "secret"
    secret.write_text("secret")
    left = tmp_path / "left"
    left.mkdir()
    (left / "link").symlink_to(secret)
    os.mkfifo(left / "pipe")
    (left / "folder").mkdir()
    with (left / "large").open("wb") as file:
        file.truncate(REPORT_LIMIT + 1)
    (left / "plain").write_text("plain")
    names = ("link", "pipe", "folder", "large", "none", "plain")
    assert left_behind(left, names) == {"plain": b"plain"}


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "cannot be read"),
        (b"5 passed", "cannot be read"),
        (b"<html/>", "begins with 'html'"),
        (b'<!DOCTYPE x [<!ENTITY a "aaaa">]><testsuite>&a;</testsuite>', "declares"),
        (b"<testsuite><testcase></testsuite>", "cannot be read"),
    ],
)
def test_what_is_no_report(data: bytes, why: str) -> None:
    """What a runner would not write is not taken for a report."""
    with pytest.raises(ReportBrokenError, match=why):
        read_report(data)


def test_a_verdict_with_counts_is_kept() -> None:
    """Counts come back from the journal, and verdicts of older journals have none."""
    event = GateJudged(1, a_verdict(counts=Counts(3, 1, 2, 4)))
    assert decode("GateJudged", encode(event)) == event
    old = encode(GateJudged(1, a_verdict())).replace(b',"counts":null', b"")
    assert b"counts" not in old
    assert decode("GateJudged", old) == GateJudged(1, a_verdict())


TOOLS = "[tool.pytest]\nx = 1\n"


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("path", "before", "after", "taken"),
    [
        ("pyproject.toml", TOOLS + "[project]\nversion = '1'\n", TOOLS + "[project]\nversion = '2'\n", False),
        ("pyproject.toml", TOOLS + "[tool.hatch]\nx = 1\n", TOOLS, False),
        ("pyproject.toml", TOOLS, "[tool.pytest]\nx = 2\n", True),
        ("pyproject.toml", TOOLS, TOOLS + "[tool.anything]\nx = 1\n", True),
        ("pyproject.toml", TOOLS, "[broken", True),
        ("sub/pyproject.toml", "", TOOLS, True),
        ("setup.cfg", "[metadata]\nname = a\n", "[metadata]\nname = b\n[options]\nx = 1\n", False),
        ("setup.cfg", "[metadata]\nname = a\n", "[metadata]\nname = a\n[mypy]\nignore_errors = 1\n", True),
        ("package.json", '{"version": "1"}', '{"version": "2", "dependencies": {}}', False),
        ("package.json", '{"scripts": {"test": "jest"}}', '{"scripts": {"test": "true"}}', True),
        ("package.json", "{}", "[" * 100_000, True),
        ("Cargo.toml", "[package]\n", "[package]\n[dependencies]\n", False),
        ("Cargo.toml", "[package]\n", "[package]\n[lints.clippy]\nall = 'allow'\n", True),
        ("web/eslint.config.mjs", "a", "b", True),
        ("tests/conftest.py", "a = 1", "a = 2", False),
        ("Makefile", "a:", "b:", True),
        ("ci/run.sh", "a", "b", True),
        ("ci/other.sh", "a", "b", False),
        ("tests/test_a.py", "a = 1", "a = 2", False),
    ],
)  # fmt: skip
async def test_which_settings_are_the_base_s(
    project: Project, path: str, before: str, after: str, taken: bool
) -> None:
    """What sets tools up is taken from the base; what builds the project is not."""
    project.commit({path: before})
    project.commit({path: after})
    command = "make test && ./ci/run.sh tests/test_a.py"
    assert (path in await settings_of_base(project.change(), command)) == taken


@pytest.mark.parametrize(
    ("command", "reporter", "run"),
    [
        ("python3 -m pytest -q", "pytest", ""),
        ("IS_TEST=True uv run pytest", "pytest", ""),
        (".venv/bin/pytest tests", "pytest", ""),
        ("pytest --junitxml=out.xml", "", ""),
        ("pip install pytest-cov", "", ""),
        ("make test", "", ""),
        ("python3 -m unittest discover -s tests", "unittest", 'python3 -c "$ORCHESTRATE_REPORTER" discover -s tests'),
        ("cd a && python -W error -m unittest", "unittest", ""),
        ("coverage run -m unittest", "", "coverage run -m unittest"),
    ],
)  # fmt: skip
def test_what_a_command_promises(command: str, reporter: str, run: str) -> None:
    """A command that names its runner has to leave that runner's report."""
    assert reporter_of(command) == reporter
    assert not run or TestCommand(command, 9, reporter_of(command)).executed == run


@pytest.mark.asyncio
async def test_a_suite_is_run_once(project: Project) -> None:
    """Gates that ask for the same run share it; the base's own and an overlaid one are two."""
    project.commit({"tests/test_a.py": "import time\nprint(time.time_ns())\n"})
    project.commit({"tests/test_a.py": "import time\nprint(time.time_ns())\nx = 1\n"})
    await project.sandbox.check()
    suites, change = Suites(), project.change()
    tests = TestCommand("python3 tests/test_a.py", 20)
    assert await suites.now(change, tests) is await suites.now(change, tests)
    before = await suites.before(change, tests)
    assert await suites.before(change, tests) is before
    assert (
        await suites.before(change, tests, ("tests/test_a.py",))
    ).done.output != before.done.output


@pytest.mark.asyncio
async def test_without_walls(project: Project, ground: Path) -> None:
    """Where paths inside are those of the host, reports and settings work as well."""
    test = "import unittest\n\n\nclass T(unittest.TestCase):\n    def test_a(self):\n        pass\n"
    project.commit({"tests/__init__.py": "", "tests/test_a.py": test})
    project.sandbox = make_sandbox("none", ground, {"PATH": "/usr/bin:/bin"})
    verdict = await project.judged(DetectedTestsGate(timeout_s=60), {"tests/test_b.py": test})
    assert (verdict.state, verdict.reason) == ("passed", "2 tests executed"), verdict.details
    assert git(project.top, "status", "--porcelain") == ""


LAUGH = (
    '<!DOCTYPE a [<!ENTITY b "ha">]><testsuites><testcase classname="&b;" name="x"/></testsuites>'
)


@pytest.mark.parametrize(
    "data",
    [
        LAUGH.encode("utf-16"),
        LAUGH.encode("utf-16-be"),
        b"<?xml version='1.0' encoding='cp037'?>" + LAUGH.encode("cp037"),
        b"<?xml version='1.0' encoding='latin-1'?>" + LAUGH.encode(),
    ],
    ids=["utf-16", "without a mark", "an encoding of its own", "another"],
)
def test_no_encoding_hides_a_declaration(data: bytes) -> None:
    """However a report is encoded, and whatever it says of that, nothing is declared in it."""
    with pytest.raises(ReportBrokenError):
        read_report(data)
