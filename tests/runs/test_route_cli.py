"""``orchestrate route`` through the real command line."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.builders import a_repository, an_agent_file
from tests.runs.conftest import ORCHESTRATE

KEYS = ["id", "agent", "reason", "score", "ranked"]
ISSUES = """
- {id: a, title: Button is cut off, body: The CSS of the page overflows., labels: [bug]}
- {id: b, title: Add an index, body: The query plan shows a sequential scan in PostgreSQL.}
- {id: c, title: Anything, labels: [Area/Docs]}
- {id: d, title: Anything, assignee: pages}
- {id: e, title: Anything, assignee: pagers}
- {id: f, title: Look at db/001.sql}
- {id: g, title: Who buys the cake for the farewell party?}
"""
ROUTES = "labels: {area/docs: manuals}\npaths: {'*.sql': tables}\n"


class Place:
    """A folder outside any repository, with a roster, and the command."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environment = {"PATH": os.environ["PATH"], "HOME": str(folder)}
        agents = folder / "roster"
        agents.mkdir()
        for name, about in (
            ("pages", "Builds web pages: HTML, CSS, React"),
            ("tables", "Looks after PostgreSQL: queries, indexes, migrations"),
            ("manuals", "Writes documentation"),
        ):
            header = (f"name: {name}", f"description: '{about}'")
            (agents / f"{name}.md").write_bytes(an_agent_file(*header))
        (folder / "issues.yaml").write_text(ISSUES, encoding="utf-8")
        (folder / "routes.yaml").write_text(ROUTES, encoding="utf-8")

    def run(
        self, *arguments: str, more: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run it to its end."""
        return subprocess.run(
            [str(ORCHESTRATE), "route", *arguments],
            cwd=self.folder,
            env={**self.environment, **(more or {})},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            stdin=subprocess.DEVNULL,
        )

    def rows(self, *arguments: str, code: int = 0) -> list[dict[str, Any]]:
        """Return what is told for programs."""
        done = self.run("--json", *arguments)
        assert (done.returncode, done.stderr) == (code, "")
        rows: list[dict[str, Any]] = json.loads(done.stdout)
        assert all(list(row)[:5] == KEYS for row in rows)
        return rows


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def test_a_list_is_answered_in_its_order(place: Place) -> None:
    """Every issue has an answer or an error of its own, in the order they were given."""
    rows = place.rows("--agents", "roster", "--routes", "routes.yaml", "issues.yaml", code=1)
    assert [(row["id"], row["agent"], row["reason"]) for row in rows] == [
        ("a", "pages", "description"),
        ("b", "tables", "description"),
        ("c", "manuals", "label"),
        ("d", "pages", "assignee"),
        ("e", None, "none"),
        ("f", "tables", "path"),
        ("g", None, "none"),
    ]
    wrong = rows[4]["error"]
    assert "no agent 'pagers'" in wrong and "did you mean pages" in wrong
    assert [row["id"] for row in rows if "error" in row] == ["e"]
    first = rows[0]["ranked"]
    assert first[0] == {"agent": "pages", "score": rows[0]["score"]}
    assert [one["score"] for one in first] == sorted((s["score"] for s in first), reverse=True)
    assert all(0 <= row["score"] <= 1 for row in rows)


def test_ids_come_back_as_they_were_given(place: Place) -> None:
    """Numbers stay numbers, texts stay texts, and an issue without an id has its place."""
    text = "- {id: 7, title: A}\n- {id: '7', title: A}\n- {title: A}\n- {number: 3, title: A}\n"
    (place.folder / "ids.yaml").write_text(text, encoding="utf-8")
    rows = place.rows("--agents", "roster", "ids.yaml")
    assert [row["id"] for row in rows] == [7, "7", "3", 3]


def test_the_roster_is_the_folder_alone(place: Place) -> None:
    """With ``--agents`` no other agent is chosen, not even a bundled one that fits better."""
    issue = "- {title: Kubernetes deployment fails, body: The Dockerfile of the CI pipeline.}"
    (place.folder / "one.yaml").write_text(issue, encoding="utf-8")
    (alone,) = place.rows("--agents", "roster", "one.yaml")
    assert {one["agent"] for one in alone["ranked"]} == {"pages", "tables", "manuals"}
    (usual,) = place.rows("one.yaml")
    assert usual["agent"] == "devops-engineer"


def test_the_same_answer_every_time(place: Place) -> None:
    """The same issues give the same bytes, whatever the order of hashes and of files."""
    arguments = ("--agents", "roster", "--explain", "--json", "issues.yaml")
    first = place.run(*arguments, more={"PYTHONHASHSEED": "1"})
    second = place.run(*arguments, more={"PYTHONHASHSEED": "2"})
    assert first.stdout == second.stdout != ""


def test_a_person_reads_which_words_decided(place: Place) -> None:
    """The explanation names the rules and the words, and nothing of it reaches the terminal raw."""
    (place.folder / "issues.yaml").write_text(
        '- {id: "\\e[31mx", title: "The CSS of the page \\e]0;evil\\a overflows"}', encoding="utf-8"
    )
    done = place.run("--agents", "roster", "--explain", "issues.yaml")
    assert done.returncode == 0
    assert "asks for frontend" in done.stdout and "css" in done.stdout
    assert "nobody" in done.stdout
    assert "\x1b" not in done.stdout and "\x07" not in done.stdout


def test_an_issue_of_the_repository(place: Place, tmp_path: Path) -> None:
    """A key is looked up in the repository's tracker, a markdown file is one issue."""
    repo = a_repository(
        tmp_path / "repo",
        {
            "agents/pages.md": an_agent_file("name: pages", "description: Web pages in CSS"),
            "issues/7-css.md": "---\ntitle: CSS of the page overflows\n---\nIt is cut off.\n",
            "issues/3-old.md": "---\ntitle: Zorblat\nstate: closed\nassignee: pages\n---\nZorblat!\n",
            "issues/8-like.md": "---\ntitle: The zorblat\n---\nA zorblat again.\n",
            ".orchestrate/config.yaml": "routing: {labels: {x: docs-writer}}\n",
        },
    )
    (row,) = place.rows("--repo", str(repo), "7")
    assert (row["id"], row["agent"]) == ("7", "pages")
    (row,) = place.rows("--repo", str(repo), str(repo / "issues" / "7-css.md"))
    assert (row["id"], row["agent"]) == ("7", "pages")
    (row,) = place.rows("--repo", str(repo), "8")
    assert row["agent"] == "pages"
    done = place.run("--repo", str(repo), "9")
    assert done.returncode == 2 and "no issue 9" in done.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="NOT TESTED: only root can give a folder away")
def test_a_repository_that_git_does_not_trust(place: Place, tmp_path: Path) -> None:
    """A key in a repository of another user is answered with what to do about it."""
    repo = a_repository(tmp_path / "repo", {"issues/7-css.md": "CSS\n"})
    for path in (repo, repo / ".git"):
        os.chown(path, 61_339, 61_339)
    done = place.run("--repo", str(repo), "7")
    assert done.returncode == 2
    assert f"git does not trust {repo}" in done.stderr and "safe.directory" in done.stderr
    below = place.run("--repo", str(repo / "issues"), "7")
    assert f"--add safe.directory {repo})" in below.stderr, "the folder that git looks at"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["missing.yaml"], "missing.yaml cannot be read"),
        (["7"], "is no file"),
        (["7" * 300], "is no file"),
        (["--agents", "nowhere", "issues.yaml"], "no folder nowhere"),
        (["--routes", "nowhere.yaml", "issues.yaml"], "no such file"),
        (["--routes", "issues.yaml", "issues.yaml"], "expected a mapping"),
        (["roster/pages.txt"], "is no file"),
    ],
)
def test_wrong_usage(place: Place, arguments: list[str], said: str) -> None:
    """What cannot be read ends with 2 and one line that says what."""
    done = place.run(*arguments)
    assert done.returncode == 2
    assert said in done.stderr and "Traceback" not in done.stderr
    assert done.stdout == ""


def test_rules_with_unknown_keys_are_refused(place: Place) -> None:
    """A misspelt rule is no rule that is silently ignored."""
    (place.folder / "routes.yaml").write_text("label: {x: pages}\n", encoding="utf-8")
    done = place.run("--routes", "routes.yaml", "issues.yaml")
    assert done.returncode == 2
    assert "routes.yaml:1:1" in done.stderr and "labels" in done.stderr


def test_no_network_and_no_key_is_needed(place: Place) -> None:
    """Even with a model configured, the words answer where it cannot be asked, and that is told."""
    (place.folder / "routes.yaml").write_text("model: haiku\nmargin: 1\n", encoding="utf-8")
    (place.folder / "one.yaml").write_text("- {title: CSS and an index}", encoding="utf-8")
    (row,) = place.rows("--agents", "roster", "--routes", "routes.yaml", "one.yaml")
    assert row["agent"] in {"pages", "tables"} and row["reason"] == "description"
    assert row["model"]["answer"] is None and "no key" in row["model"]["why"]
