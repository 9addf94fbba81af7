"""Whole runs: a sample repository, a state directory with proved walls, the real command line."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import anyio
import pytest

from orchestrator.assembly.machine import make_private, make_sandbox
from orchestrator.errors import SandboxUnavailable
from tests.runs.model_server import ModelServer, serve
from tests.runs.stage import Stage

PROJECT = Path(__file__).parents[2]
ORCHESTRATE = Path(sys.executable).parent / "orchestrate"
BRANCH = "feature/1-a-cart-of-exactly-100-gets-no-discount"


def git(repo: Path, *arguments: str) -> str:
    """Run git in a repository and return what it says."""
    settings = ("-c", "user.name=t", "-c", "user.email=t@t", "-c", "commit.gpgsign=false")
    done = subprocess.run(
        ["git", "-C", str(repo), *settings, *arguments], check=True, capture_output=True, text=True
    )
    return done.stdout.strip()


def demo_messages() -> list[dict[str, Any]]:
    """Return the assistant messages of the demo."""
    lines = (PROJECT / "examples" / "replies.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(json.loads(line)["data"]["message"]) for line in lines]


@pytest.fixture(scope="session")
def proved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A state directory whose walls have been proved; runs copy what was proved."""
    state = tmp_path_factory.mktemp("proved")
    make_private(state)
    try:
        anyio.run(make_sandbox("auto", state).check)
    except SandboxUnavailable as error:
        pytest.skip(f"no sandbox on this machine: {error}")
    return state


@pytest.fixture
def state(tmp_path: Path, proved: Path) -> Path:
    """A fresh state directory on a machine that has been proved."""
    place = tmp_path / "state"
    shutil.copytree(proved / "sandbox", place / "sandbox")
    return place


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """The sample project as a repository of its own."""
    repo = tmp_path / "shop"
    shutil.copytree(PROJECT / "examples" / "shop", repo)
    git(repo, "init", "--quiet", "--initial-branch=main")
    git(repo, "add", "--all")
    git(repo, "commit", "--quiet", "--message", "base")
    return repo


@pytest.fixture
def stage(shop: Path, state: Path) -> Stage:
    """The sample project, ready to be worked on."""
    return Stage(shop, state)


@pytest.fixture
def server() -> Iterator[ModelServer]:
    """The demo's replies behind a real HTTP server."""
    with serve(demo_messages()) as running:
        yield running


class CommandLine:
    """The real command line in processes of its own."""

    def __init__(self, repo: Path, state: Path, environment: dict[str, str]) -> None:
        self.repo = repo
        self.state = state
        self.environment = environment

    def argv(self, *arguments: str) -> list[str]:
        """Return the command."""
        return [str(ORCHESTRATE), *arguments, "--state", str(self.state)]

    def run(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run it to its end."""
        return subprocess.run(
            self.argv(*arguments),
            cwd=self.repo,
            env=self.environment | environment,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
            stdin=subprocess.DEVNULL,
        )

    def start(self, *arguments: str) -> subprocess.Popen[bytes]:
        """Start it in a process group of its own, and go on."""
        return subprocess.Popen(
            self.argv(*arguments),
            cwd=self.repo,
            env=self.environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )

    def events(self) -> list[tuple[str, str]]:
        """Return kind and key of everything in the journal, in order."""
        path = self.state / "journal.db"
        if not path.exists():
            return []
        with sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=10) as database:
            try:
                rows = database.execute("select kind, key from events order by run, seq").fetchall()
            except sqlite3.OperationalError:
                return []
        database.close()
        return [(str(kind), str(key)) for kind, key in rows]


@pytest.fixture
def orchestrate(shop: Path, state: Path, server: ModelServer, tmp_path: Path) -> CommandLine:
    """The command line, pointed at the sample project and the scripted server."""
    home = tmp_path / "home"
    home.mkdir(exist_ok=True)
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "ANTHROPIC_API_KEY": "sk-test-canary",
        "ANTHROPIC_BASE_URL": server.url,
    }
    return CommandLine(shop, state, environment)


@pytest.fixture
def tree_of(shop: Path) -> Callable[[str], str]:
    """Tell the tree that a revision of the sample project has."""

    def tree(revision: str) -> str:
        return git(shop, "rev-parse", f"{revision}^{{tree}}")

    return tree
