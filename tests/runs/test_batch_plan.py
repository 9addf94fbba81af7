"""``orchestrate batch --dry-run``: the plan of a night, read from trackers and past runs."""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import textwrap
from pathlib import Path

import pytest

from tests.runs.conftest import ORCHESTRATE, PROJECT, CommandLine, git
from tests.runs.model_server import ModelServer

TEXT = "The business rule of the discount on a cart is wrong in the backend."


def an_issue(repo: Path, key: str, text: str = TEXT, **header: object) -> None:
    """Write an issue into the repository's folder."""
    lines = [f"{name}: {value}" for name, value in ({"title": "A wish"} | header).items()]
    body = "\n".join(["---", *lines, "---", text, ""])
    (repo / "issues" / f"{key}-a-wish.md").write_text(body, encoding="utf-8")


def below(folder: Path) -> dict[str, bytes]:
    """Return every file below a folder."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_nothing_is_changed_and_no_model_is_asked(
    orchestrate: CommandLine, server: ModelServer, shop: Path
) -> None:
    """A plan reads; repository, state directory and model are left alone, also with a routing model."""
    an_issue(shop, "2", labels="[ready]")
    user = Path(orchestrate.environment["HOME"]) / ".config" / "orchestrate" / "config.yaml"
    user.parent.mkdir(parents=True)
    user.write_text("routing: {model: haiku, margin: 1}\n", encoding="utf-8")
    before = below(shop), below(orchestrate.state)
    done = orchestrate.run("batch", "--issues", "1-3", "--dry-run", "--limit-usd", "10")
    assert done.returncode == 0, done.stderr
    assert "2 of 2 issues, 4 at once" in done.stdout
    assert "3              not planned: no issue 3" in done.stdout
    assert "fits the ceiling of $10.00" in done.stdout
    assert (below(shop), below(orchestrate.state)) == before
    assert server.played == []


def test_labels_order_blockers_and_files(orchestrate: CommandLine, shop: Path) -> None:
    """A label's issues are planned: the urgent first, blockers before them, files apart."""
    an_issue(shop, "2", TEXT + " `shop/pricing.py`", labels="[ready]")
    an_issue(shop, "3", labels="[ready]", priority="P0", blocked_by="[4]")
    an_issue(shop, "4", TEXT + " See shop/pricing.py", labels="[ready]", priority="low")
    an_issue(shop, "5", labels="[other]")
    an_issue(shop, "6", labels="[ready]", state="closed")
    an_issue(shop, "7", labels="[ready]", blocked_by="[5]")
    done = orchestrate.run("batch", "--label", "ready", "--dry-run", "--json")
    found = json.loads(done.stdout)
    rows = {row["issue"]: row for row in found["issues"]}
    assert list(rows) == ["4", "3", "2", "7"]
    assert rows["3"]["blocked_by"] == ["4"]
    assert rows["4"]["apart_from"] == ["2"]
    assert rows["7"]["hindered"] == "it waits for 5, which is not done"
    assert found["expected"]["usd_low"] < found["expected"]["usd"] < found["expected"]["usd_high"]


def test_the_forecast_learns_from_runs_and_the_ceiling_leaves_out(
    orchestrate: CommandLine, shop: Path
) -> None:
    """After a run of the same kind the forecast names it; a low ceiling leaves issues out."""
    assert orchestrate.run("issue", "1").returncode == 0
    for key in ("2", "3"):
        an_issue(shop, key, "A cart of exactly 100 gets no discount in the business rule.")
    done = orchestrate.run("batch", "--issues", "1-3", "--dry-run", "--limit-usd", "0.4")
    assert "1              not planned: it is done already: run 1-" in done.stdout
    assert "learnt from 1 run\n" in done.stdout
    assert "left out: the ceiling is not expected to reach for it" in done.stdout
    assert "not expected to be begun: 1 for the ceiling" in done.stdout
    assert "does not fit the ceiling of $0.40: all that can be begun take $0." in done.stdout
    late = orchestrate.run("batch", "--issues", "2", "--dry-run", "--until", "+1m").stdout
    assert "not expected to be begun: 1 for the end" in late
    assert "left out: it is not expected to end before the night does" in late


def test_an_interrupted_run_teaches_nothing(orchestrate: CommandLine) -> None:
    """What a parked run has cost so far is no forecast; once it is done, it is."""
    plan = ("batch", "--issues", "1", "--dry-run")
    before = orchestrate.run(*plan).stdout
    assert orchestrate.run("issue", "1", "--limit-turns", "1").returncode == 4
    assert orchestrate.run(*plan).stdout == before
    assert "no run of the past is known" in before


def test_issues_that_are_not_there_are_no_success(orchestrate: CommandLine) -> None:
    """Where none of those that were named exists, the key was wrong; that is told with a 2."""
    for more in ((), ("--dry-run",)):
        done = orchestrate.run("batch", "--issues", "98-99", *more)
        assert done.returncode == 2
        assert "98             not planned: no issue 98" in done.stdout
    assert orchestrate.run("batch", "--label", "nobody-has-it").returncode == 0


def test_a_broken_issue_is_told_and_stops_no_other(orchestrate: CommandLine, shop: Path) -> None:
    """What cannot be read or names nobody is not planned, with the reason; the others are."""
    an_issue(shop, "2", labels="[ready]")
    an_issue(shop, "3", labels="[ready]", assignee="backend-enginer")
    (shop / "issues" / "4-broken.md").write_text("---\nlabels: [ready\n---\nText.\n")
    (shop / "issues" / "5-latin.md").write_bytes(
        b"---\ntitle: caf\xe9\nlabels: [ready]\n---\nText.\n"
    )
    for meant in (("--label", "ready"), ("--issues", "2-5")):
        done = orchestrate.run("batch", *meant, "--dry-run")
        assert done.returncode == 0, done.stderr
        assert "1 of 1 issue" in done.stdout
        told = [one for one in done.stdout.splitlines() if "not planned: " in one]
        assert [one.partition(" ")[0] for one in sorted(told)] == ["3", "4", "5"]
        assert "there is no agent 'backend-enginer'" in done.stdout
        assert "4-broken.md" in done.stdout and "5-latin.md" in done.stdout
    nobody = orchestrate.run("batch", "--issues", "3-5", "--dry-run")
    assert nobody.returncode == 2
    assert "3              not planned: there is no agent" in nobody.stdout


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ((), "no label and no issue is named"),
        (("--issues", "9-4"), "runs backwards"),
        (("--issues", "1", "--agent", "bakend-engineer"), "backend-engineer"),
        (("--issues", "1", "--until", "25:00"), "no time of day"),
        (("--issues", "1", "--until", ""), "'--until': it is empty"),
        (("--issues", ""), "'--issues': it is empty"),
        (("--label", "ready", "--label", ""), "'--label': it is empty"),
        (("--issues", "1", "--agents", ""), "'--agents': it is empty"),
        (("--issues", "1", "--lane", "fast"), "fast"),
        (("--issues", "1", "--parallel", "0"), "parallel"),
        (("--issues", "1", "--model", "nobody"), "unknown model"),
    ],
)
def test_what_makes_no_sense_is_refused(
    orchestrate: CommandLine, arguments: tuple[str, ...], told: str
) -> None:
    """Wrong usage ends with 2 and one line."""
    done = orchestrate.run("batch", *arguments, "--dry-run")
    assert done.returncode == 2
    assert told in done.stderr
    assert "Traceback" not in done.stderr


def test_settings_are_the_users_and_a_repository_may_tighten(
    orchestrate: CommandLine, shop: Path
) -> None:
    """Ceiling, end and lane come from settings; a repository says neither more money nor who is told."""
    user = Path(orchestrate.environment["HOME"]) / ".config" / "orchestrate" / "config.yaml"
    user.parent.mkdir(parents=True)
    user.write_text("batch: {usd: 2, parallel: 7}\n", encoding="utf-8")
    found = json.loads(orchestrate.run("batch", "--issues", "1", "--dry-run", "--json").stdout)
    assert (found["ceiling_usd"], found["parallel"]) == (2, 7)
    own = shop / ".orchestrate" / "config.yaml"
    own.parent.mkdir()
    for text, told in (
        ("batch: {usd: 3}\n", "batch.usd: a repository may lower a limit"),
        ("batch: {on_end: {webhook: 'https://evil'}}\n", "batch.on_end: a repository may not"),
    ):
        own.write_text(text, encoding="utf-8")
        done = orchestrate.run("batch", "--issues", "1", "--dry-run")
        assert done.returncode == 2
        assert told in done.stderr


def test_several_repositories_take_turns(
    orchestrate: CommandLine, shop: Path, tmp_path: Path
) -> None:
    """Issues of two repositories are planned together, one of each in turn."""
    other = tmp_path / "other"
    git(shop, "clone", "--quiet", str(shop), str(other))
    for repo in (shop, other):
        for key in ("2", "3"):
            an_issue(repo, key, labels="[ready]")
    done = orchestrate.run(
        *("batch", "--label", "ready", "--dry-run", "--json"),
        *("--repo", str(shop), "--repo", str(other)),
    )
    found = json.loads(done.stdout)
    assert len(found["sites"]) == 2
    repos = [row["repo"] for row in found["issues"]]
    assert repos[0] != repos[1]
    assert sorted(repos[:2]) == sorted(repos[2:])


def test_titles_do_nothing_to_the_terminal(orchestrate: CommandLine, shop: Path) -> None:
    """Escapes in a title are not printed."""
    an_issue(shop, "2", title='"\\e[31mred\\u202e"')
    done = orchestrate.run("batch", "--issues", "2", "--dry-run")
    assert done.returncode == 0
    assert "\x1b" not in done.stdout
    assert "\u202e" not in done.stdout
    assert "\u202e" not in orchestrate.run("batch", "--issues", "2", "--dry-run", "--json").stdout


def test_help_names_the_commands(tmp_path: Path) -> None:
    """Help of the group lists its options and what it can do beside."""
    done = subprocess.run(
        [str(ORCHESTRATE), "batch", "--help"],
        env={"PATH": os.environ["PATH"], "HOME": str(tmp_path)},
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=True,
    )
    for word in ("--dry-run", "--issues", "--until", "resume", "report", "list"):
        assert word in done.stdout


def test_the_page_shows_what_is_printed(orchestrate: CommandLine, shop: Path) -> None:
    """The plan in the docs is the real one of the sample project."""
    text = (PROJECT / "docs" / "batch.md").read_text(encoding="utf-8")
    found = re.search(r"\$ (orchestrate batch [^\n]*--dry-run)\n(issue  .*?)```", text, re.DOTALL)
    assert found is not None
    done = orchestrate.run(*found[1].split()[1:])
    assert done.stdout == found[2].replace("/home/ada/shop", str(shop))


def test_the_pages_python_uses_public_names() -> None:
    """The Python of the page compiles, and imports what is there."""
    import orchestrator

    text = (PROJECT / "docs" / "batch.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    assert blocks
    for block in blocks:
        tree = ast.parse("async def example():\n" + textwrap.indent(block, "    "))
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom):
                assert node.module == "orchestrator"
                assert {one.name for one in node.names} <= set(orchestrator.__all__)
