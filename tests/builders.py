"""Small builders with defaults: a test names only what it is about."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from orchestrator.events import ModelReplied
from orchestrator.records import (
    AgentDefinition,
    Issue,
    Limits,
    ModelRequest,
    Outcome,
    Route,
    Run,
    Usage,
    Verdict,
)
from orchestrator.transcript import encode_head, encode_message, text_block
from orchestrator_tools.contract import Block

IDENTITY = {
    "GIT_AUTHOR_NAME": "Ada",
    "GIT_AUTHOR_EMAIL": "ada@example.org",
    "GIT_AUTHOR_DATE": "2026-01-02T03:04:05Z",
    "GIT_COMMITTER_NAME": "Ada",
    "GIT_COMMITTER_EMAIL": "ada@example.org",
    "GIT_COMMITTER_DATE": "2026-01-02T03:04:05Z",
}


def an_issue(**changes: Any) -> Issue:
    """Build an issue."""
    return replace(
        Issue(key="7", title="Totals are wrong", body="The sum is off by one."), **changes
    )


def a_definition(**changes: Any) -> AgentDefinition:
    """Build an agent definition."""
    agent = AgentDefinition(
        name="builder",
        description="Builds things",
        tools=None,
        model=None,
        prompt="You build things.",
        source="agents/builder.md",
    )
    return replace(agent, **changes)


def an_agent_file(*lines: str, body: str = "You build things.") -> bytes:
    """Build the bytes of an agent file from the lines of its header."""
    return "\n".join(["---", *lines, "---", body, ""]).encode()


def a_run(**changes: Any) -> Run:
    """Build a run."""
    run = Run(
        run_id="7-0a1b2c3d",
        repo="/repo/.git",
        issue=an_issue(),
        route=Route(agent="builder", reason="default", score=0.0),
        attempt=1,
        limits=Limits(usd=5.0, turns=200, wall_s=7200.0),
        base_commit="a" * 40,
        branch="feature/7-totals-are-wrong",
        model="claude-opus-5-5",
    )
    return replace(run, **changes)


def a_verdict(**changes: Any) -> Verdict:
    """Build a verdict."""
    verdict = Verdict(
        gate="tests", state="passed", reason="3 tests executed", commit="b" * 40, tree="c" * 40
    )
    return replace(verdict, **changes)


def an_outcome(**changes: Any) -> Outcome:
    """Build an outcome."""
    outcome = Outcome(
        status="done",
        run="7-0a1b2c3d",
        issue="7",
        agent="builder",
        model="claude-opus-5-5",
        summary="Mended the sum.",
        branch="feature/7-totals-are-wrong",
        commit="b" * 40,
    )
    return replace(outcome, **changes)


def a_text(text: str = "hello") -> Block:
    """Build a text block."""
    return text_block(text)


def a_reply_event(text: str = "hello", **changes: Any) -> ModelReplied:
    """Build the event of a reply that says something."""
    event = ModelReplied(
        session="author",
        turn=1,
        message=encode_message("assistant", [a_text(text)]),
        stop_reason="end_turn",
        usage=Usage(input_tokens=100, output_tokens=20),
        cost_usd=0.01,
    )
    return replace(event, **changes)


def a_request(*messages: bytes, **changes: Any) -> ModelRequest:
    """Build a request to a model."""
    request = ModelRequest(
        model="claude-opus-5-5",
        max_tokens=1000,
        head=encode_head("You build things.", []),
        messages=messages or (encode_message("user", [a_text()]),),
    )
    return replace(request, **changes)


def git(folder: Path, *arguments: str, stdin: bytes | None = None) -> str:
    """Run git in a folder and return what it printed."""
    return git_bytes(folder, *arguments, stdin=stdin).decode().strip()


def git_bytes(folder: Path, *arguments: str, stdin: bytes | None = None) -> bytes:
    """Run git in a folder and return the bytes that it printed."""
    done = subprocess.run(
        ["git", *arguments],
        cwd=folder,
        env={**os.environ, **IDENTITY},
        input=stdin if stdin is not None else b"",
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode(errors="replace")
    return done.stdout


def write_files(folder: Path, files: Mapping[str, str | bytes]) -> None:
    """Write files below a folder."""
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())


def a_repository(path: Path, files: Mapping[str, str | bytes] | None = None) -> Path:
    """Make a git repository with one commit on ``main``."""
    path.mkdir(parents=True)
    git(path, "init", "--quiet", "--initial-branch=main")
    a_commit(path, files or {"README.md": "# A project\n"}, "First commit")
    return path


def a_commit(path: Path, files: Mapping[str, str | bytes], message: str = "Change") -> str:
    """Commit files on what is checked out, and return the commit's id."""
    write_files(path, files)
    git(path, "add", "--all")
    git(path, "commit", "--quiet", "--allow-empty", f"--message={message}")
    return git(path, "rev-parse", "HEAD")


def a_clone(source: Path, path: Path) -> Path:
    """Clone a repository, so that work can be done that the source does not have."""
    git(source, "clone", "--quiet", "--no-hardlinks", str(source), str(path))
    return path


def a_pack(path: Path, head: str, *without: str) -> bytes:
    """Pack a commit and its history thinly, less what some commits hold, as a workspace does."""
    revisions = "".join([f"{head}\n", *(f"^{one}\n" for one in without)])
    arguments = ("pack-objects", "--revs", "--thin", "--stdout", "--quiet")
    return git_bytes(path, *arguments, stdin=revisions.encode())
