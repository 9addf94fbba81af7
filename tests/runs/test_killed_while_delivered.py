"""A real process is killed between any two steps of delivery, and goes on: nothing is doubled."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestrator.testing import MemoryHost
from tests.git_server import GitServer, git_server, make_repository
from tests.runs.conftest import BRANCH, git
from tests.runs.delivery_scene import SETTINGS, header
from tests.runs.kept_host import keep, load

PROJECT = Path(__file__).parents[2]
DEADLINE_S = 60


class Killed:
    """A project, a server, a host's file; and processes that work there and are killed."""

    def __init__(self, folder: Path, shop: Path, proved: Path, server: GitServer) -> None:
        self.server = server
        self.repo = folder / "copy"
        git(shop, "clone", "--quiet", "--no-hardlinks", ".", str(self.repo))
        if not server.repository().exists():
            make_repository(server, shop)
        git(self.repo, "remote", "set-url", "origin", server.address())
        self.state = folder / "its-state"
        self.state.mkdir()
        shutil.copytree(proved / "sandbox", self.state / "sandbox")
        self.config = folder / "user.yaml"
        self.config.write_text(SETTINGS, encoding="utf-8")
        self.file = folder / "host"
        keep(self.file, MemoryHost(server.address(), header()))

    @property
    def host(self) -> MemoryHost:
        """Return the host as it is now."""
        return load(self.file)

    def start(self, script: str, die: str = "-") -> subprocess.Popen[str]:
        """Start a process that works on the issue."""
        program = PROJECT / "tests" / "runs" / "kept_host.py"
        places = (self.repo, self.state, self.config, self.file)
        return subprocess.Popen(
            [sys.executable, str(program), *map(str, places), script, die],
            cwd=PROJECT,
            env={**os.environ, "PYTHONPATH": str(PROJECT)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def run(self, script: str, die: str = "-") -> str:
        """Run one to its end, and return what it said; a killed one says nothing."""
        process = self.start(script, die)
        said, errors = process.communicate(timeout=DEADLINE_S)
        if die == "-":
            assert process.returncode == 0, (said, errors)
        else:
            assert process.returncode == -signal.SIGKILL, (said, errors)
        return said

    def run_until(self, script: str, kind: str) -> None:
        """Run one, and kill it when an event of a kind is journaled."""
        process = self.start(script)
        deadline = time.monotonic() + DEADLINE_S
        while process.poll() is None and time.monotonic() < deadline:
            if kind in self.kinds():
                process.send_signal(signal.SIGKILL)
                break
        process.communicate(timeout=DEADLINE_S)
        assert kind in self.kinds()

    def kinds(self) -> list[str]:
        """Return the kinds of all events in the journal."""
        path = self.state / "journal.db"
        if not path.exists():
            return []
        database = sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=10)
        try:
            rows = database.execute("select kind from events order by run, seq").fetchall()
        except sqlite3.OperationalError:
            return []
        finally:
            database.close()
        return [str(kind) for (kind,) in rows]

    def require_once(self) -> None:
        """Check that one push, one pull request and the right commit are all there is."""
        updates = [one for one in self.server.log() if one.endswith(f"refs/heads/{BRANCH}")]
        assert len(updates) == 1
        assert [name for name, _ in self.host.acts] == ["open"]
        assert self.server.head(BRANCH) == git(self.repo, "rev-parse", BRANCH)
        for kind in ("PushIntended", "BranchPushed", "PullRequestIntended", "PullRequestSet"):
            assert self.kinds().count(kind) == 1, kind


@pytest.fixture
def killed(tmp_path: Path, shop: Path, proved: Path) -> Iterator[Killed]:
    """A project whose processes are killed."""
    with git_server(tmp_path / "served") as server:
        yield Killed(tmp_path, shop, proved, server)


@pytest.mark.parametrize("step", ["open:before", "open:after"])
def test_killed_around_the_pull_request(killed: Killed, step: str) -> None:
    """Before and after the host has acted: one push, one pull request."""
    killed.run("mend", step)
    said = killed.run("none")
    assert said.startswith("done ")
    killed.require_once()


@pytest.mark.parametrize(
    "kind",
    [
        *("BranchIntended", "BranchSet", "PushIntended", "BranchPushed"),
        *("PullRequestIntended", "PullRequestSet", "RunFinished"),
    ],
)
def test_killed_at_every_event_of_delivery(killed: Killed, kind: str) -> None:
    """Whatever was journaled last: one push, one pull request."""
    killed.run_until("mend", kind)
    said = killed.run("none")
    assert said.startswith("done ")
    killed.require_once()


@pytest.mark.parametrize("when", ["before", "after"])
def test_killed_around_the_push(killed: Killed, when: str) -> None:
    """Killed when the server has the pack, before or after it moves the branch: it moves once."""
    process: list[subprocess.Popen[str]] = []
    script = "cat >> received; touch arrived; while [ ! -e killed ]; do :; done; rm -f killed"
    if when == "before":
        script = "touch arrived; while [ ! -e killed ]; do :; done; rm -f killed arrived; exit 0"
    bare = killed.server.repository()
    killed.server.hook("pre-receive" if when == "before" else "post-receive", script)
    process.append(killed.start("mend"))
    deadline = time.monotonic() + DEADLINE_S
    while not (bare / "arrived").exists():
        assert time.monotonic() < deadline and process[0].poll() is None
    process[0].kill()
    process[0].communicate(timeout=DEADLINE_S)
    (bare / "killed").touch()
    while (bare / "killed").exists():
        assert time.monotonic() < deadline
    if when == "before":
        (bare / "hooks" / "pre-receive").unlink()
    killed.server.hook("post-receive", "cat >> received")
    assert killed.run("none").startswith("done ")
    killed.require_once()


TENDED = """\
tracker: {kind: github, moves: {working: Doing, delivered: Review, failed: Stuck}}
delivery: {push: true, pull_request: draft}
"""
STEPS = ("move-working", "open", "comment", "move-delivered")


@pytest.mark.parametrize("step", [f"{at}:{when}" for at in STEPS for when in ("before", "after")])
def test_killed_around_what_the_issue_is_told(killed: Killed, step: str) -> None:
    """Wherever it is killed: one push, one pull request, one comment, each move once."""
    killed.config.write_text(TENDED, encoding="utf-8")
    killed.run("mend", step)
    said = killed.run("mend" if step.startswith("move-working") else "none")
    assert said.startswith("done ")
    acts = killed.host.acts
    assert sorted(acts) == sorted(
        [("move", "working"), ("open", "1"), ("comment", "1"), ("move", "delivered")]
    )
    assert len(killed.host.comments) == 1
    updates = [one for one in killed.server.log() if one.endswith(f"refs/heads/{BRANCH}")]
    assert len(updates) == 1
    for kind in ("IssueMoved", "IssueCommented", "PullRequestSet", "RunFinished"):
        assert killed.kinds().count(kind) == (2 if kind == "IssueMoved" else 1), kind
    before = len(acts)
    assert killed.run("none").startswith("done ")
    assert len(killed.host.acts) == before


@pytest.mark.parametrize("step", ["comment:before", "move-failed:after"])
def test_an_end_that_was_not_told_is_told_later(killed: Killed, step: str) -> None:
    """A run that is not done, killed after its end: the next command tells it, then begins anew."""
    killed.config.write_text(TENDED, encoding="utf-8")
    killed.run("ask", step)
    (first,) = (killed.state / "runs").iterdir()
    assert "RunFinished" in killed.kinds() and not (first / "report.md").exists()
    assert killed.run("mend").startswith("done ")
    assert "**needs_human**" in (first / "report.md").read_text(encoding="utf-8")
    moves = [about for name, about in killed.host.acts if name == "move"]
    assert moves == ["working", "failed", "working", "delivered"]
    (comment,) = killed.host.comments.values()
    assert "**done**" in comment
    assert [name for name, _ in killed.host.acts].count("comment") == 2


@pytest.mark.parametrize(
    "step",
    [
        *("amend:before", "amend:after", "amend:before*2", "amend:after*2"),
        *("answer:before", "answer:after"),
    ],
)
def test_killed_around_an_answer(killed: Killed, step: str) -> None:
    """In a round on feedback: one push more, one pull request, one answer."""
    killed.run("mend")
    host = killed.host
    thread = host.says("1", "A note, please.")
    keep(killed.file, host)
    killed.run("note", step)
    assert killed.run("note" if step in {"amend:before", "amend:after"} else "none").startswith(
        "done "
    )
    host = killed.host
    assert len(host.answers(thread)) == 1
    # The first amendment counts the round, before anything is paid for.
    assert [name for name, _ in host.acts] == ["open", "amend", "amend", "answer"]
    updates = [one for one in killed.server.log() if one.endswith(f"refs/heads/{BRANCH}")]
    assert len(updates) == 2
    assert killed.server.head(BRANCH) == git(killed.repo, "rev-parse", BRANCH)
