"""The gate on protected paths, on real commits."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.gates.protected import ProtectedPathsGate, leads_out
from orchestrator.judgesettings import GateWaiver
from tests.builders import a_repository, git
from tests.orchestrator.diffs import Files, Work, judged, places

GATE = ProtectedPathsGate()
BASE: Files = {
    "a.py": "x\n",
    "config.yaml": "orchestrate: 1\n",
    ".github/workflows/ci.yml": "on: push\n",
    "src/b.py": "y\n",
}


@pytest.mark.parametrize(
    "path",
    [
        "b.py",
        "agents/worker.py",
        "src/agents/a.md",
        ".github/ISSUE_TEMPLATE.md",
        "docs/.github/workflows/a.yml",
        "docs/config.yaml",
        "gitattributes",
    ],
)
def test_other_files_pass(tmp_path: Path, path: str) -> None:
    """Files that decide over nothing may be changed."""
    verdict = judged(tmp_path, GATE, BASE, {path: "orchestrate: 1\n"})
    assert verdict.state == "passed", verdict.details


@pytest.mark.parametrize(
    "path",
    [
        ".github/workflows/new.yml",
        ".github/workflows/deep/new.yml",
        ".GitHub/Workflows/new.yml",
        ".gitlab-ci.yml",
        "Jenkinsfile",
        ".circleci/config.yml",
        "azure-pipelines.yml",
        ".ci/run",
        "agents/new.md",
        "agents/team/new.md",
        ".claude/settings.json",
        ".claude/agents/a.md",
        ".orchestrate/config.yaml",
        "config.yaml",
        ".gitattributes",
        "src/.gitattributes",
        ".gitmodules",
        "CODEOWNERS",
        ".github/CODEOWNERS",
        ".husky/pre-commit",
        ".pre-commit-config.yaml",
        ".vscode/tasks.json",
        "AGENTS.md",
    ],
)
def test_protected_files_need_a_person(tmp_path: Path, path: str) -> None:
    """What decides over CI, agents, git or this program is a person's to agree to."""
    verdict = judged(tmp_path, GATE, BASE, {path: "x: 1\n"})
    assert (verdict.state, verdict.person, places(verdict)) == ("failed", True, [path])


def test_removing_is_changing(tmp_path: Path) -> None:
    """A protected file that is removed, or renamed away, needs a person too."""
    files: Files = {".github/workflows/ci.yml": None, "ci.yml": "on: push\n"}
    verdict = judged(tmp_path, GATE, BASE, files)
    assert places(verdict) == [".github/workflows/ci.yml"]


@pytest.mark.parametrize(
    ("before", "now", "state"),
    [
        ("a: 1\n", "a: 2\n", "passed"),
        ("a: 1\n", "orchestrate: 1\n", "failed"),
        ("orchestrate: 1\n", "a: 1\n", "failed"),
        ("a: 1\n", '"orchestrate": 1\n', "failed"),
    ],
)
def test_config_yaml_is_protected_where_it_is_ours(
    tmp_path: Path, before: str, now: str, state: str
) -> None:
    """A config.yaml is somebody else's, unless it is or becomes settings of this program."""
    assert judged(tmp_path, GATE, {"config.yaml": before}, {"config.yaml": now}).state == state


def test_further_paths_come_on_top(tmp_path: Path) -> None:
    """Settings add to what is protected, and take nothing away."""
    gate = ProtectedPathsGate(paths=["deploy/**", "*.lock"])
    files: Files = {"deploy/a": "1\n", "x/uv.lock": "1\n", ".ci/run": "1\n", "b.py": "1\n"}
    assert places(judged(tmp_path, gate, BASE, files)) == [".ci/run", "deploy/a", "x/uv.lock"]


def test_a_person_may_agree(tmp_path: Path) -> None:
    """A waiver for the issue lets the one file pass."""
    gate = ProtectedPathsGate(waivers=[GateWaiver("protected-paths", "asked", "7", (".ci/run",))])
    verdict = judged(tmp_path / "1", gate, BASE, {".ci/run": "1\n"})
    assert verdict.state == "passed"
    assert "waived" in verdict.reason
    assert judged(tmp_path / "2", gate, BASE, {".ci/other": "1\n"}).state == "failed"


@pytest.mark.parametrize(
    ("path", "target", "state"),
    [
        ("link", "a.py", "passed"),
        ("link", "./src", "passed"),
        ("src/link", "../a.py", "passed"),
        ("src/link", "..", "passed"),
        ("link", "/etc/passwd", "failed"),
        ("link", "..", "failed"),
        ("src/link", "../../x", "failed"),
        ("link", "src/../../x", "failed"),
        ("link", "src/../a.py", "failed"),
        ("link", ".git/config", "failed"),
        ("src/link", "../.GIT", "failed"),
        ("src/link", "//etc", "failed"),
        ("link", "a\n/../../x", "failed"),
    ],
)
def test_links(tmp_path: Path, path: str, target: str, state: str) -> None:
    """A symbolic link stays in the repository, as far as its text tells."""
    work = Work(tmp_path / "repo", BASE)
    (work.path / path).symlink_to(target)
    work.commit({})
    verdict = work.judged(GATE)
    assert (verdict.state, verdict.person) == (state, False), verdict.details


def test_a_file_that_becomes_a_link(tmp_path: Path) -> None:
    """A file that is replaced by a link out of the repository is found."""
    work = Work(tmp_path / "repo", BASE)
    (work.path / "a.py").unlink()
    (work.path / "a.py").symlink_to("/etc/passwd")
    work.commit({})
    assert places(work.judged(GATE)) == ["a.py"]


def test_a_submodule_needs_a_person(tmp_path: Path) -> None:
    """A submodule brings in what no gate looks at."""
    work = Work(tmp_path / "repo", BASE)
    other = a_repository(tmp_path / "other")
    git(
        work.path,
        "-c",
        "protocol.file.allow=always",
        "submodule",
        "--quiet",
        "add",
        str(other),
        "o",
    )
    work.commit({})
    verdict = work.judged(GATE)
    assert (verdict.person, sorted(places(verdict))) == (True, [".gitmodules", "o"])


@given(
    st.lists(st.sampled_from(["a", "..", ".", "", "b"]), max_size=6).map("/".join),
    st.integers(0, 3),
)
def test_a_link_that_stays_stays(target: str, depth: int) -> None:
    """What is let through never leads above the top, however it is written."""
    path = "/".join([*(["d"] * depth), "link"])
    if not leads_out(path, target) and target:
        here = Path("/top") / "/".join(["d"] * depth)
        where = os.path.normpath(here / target)
        assert where == "/top" or where.startswith("/top/")
