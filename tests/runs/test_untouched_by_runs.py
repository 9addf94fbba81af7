"""A whole run changes nothing of the user's repository but what it says it changes."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.builders import git as told
from tests.runs.conftest import BRANCH, git
from tests.runs.stage import NOTE, Stage, mended
from tests.walls.outside import Photograph, differences, photograph

pytestmark = pytest.mark.asyncio

OURS = (
    ".git/refs/orchestrate",
    ".git/logs/refs/orchestrate",
    f".git/refs/heads/{BRANCH}",
    f".git/logs/refs/heads/{BRANCH}",
)
FOLDERS = {".git/refs/heads/feature", ".git/logs/refs", ".git/logs/refs/heads/feature"}


@pytest.fixture
def stage(shop: Path, state: Path, tmp_path: Path) -> Stage:
    """The sample project in use: open changes, a stash, hooks that leave traces, a conflict."""
    trace = tmp_path / "ran"
    (shop / "README.md").write_text("stashed\n", encoding="utf-8")
    git(shop, "stash")
    git(shop, "branch", "topic")
    git(shop, "tag", "v1")
    for name in ("post-commit", "post-checkout", "reference-transaction", "post-index-change"):
        hook = shop / ".git" / "hooks" / name
        hook.write_text(f"#!/bin/sh\ntouch {trace}\n", encoding="utf-8")
        hook.chmod(0o755)
    git(shop, "config", "core.fsmonitor", f"touch {trace}; false")
    (shop / "shop" / "pricing.py").write_text("my open change\n", encoding="utf-8")
    (shop / "mine").write_text("untracked\n", encoding="utf-8")
    told(shop, "-c", "core.fsmonitor=false", "-c", "core.hooksPath=/dev/null", "add", "shop")
    (shop / "shop" / "pricing.py").write_text("and more\n", encoding="utf-8")
    trace.unlink(missing_ok=True)
    return Stage(shop, state)


def changed(before: Photograph, after: Photograph) -> list[str]:
    """Return what is different, less new objects and the folders that the refs need."""
    names = differences(before, after)
    return [
        name
        for name in names
        if name not in FOLDERS and not (name.startswith(".git/objects/") and name not in before)
    ]


@pytest.mark.parametrize("ends", ["done", "gate_failed", "needs_human"])
async def test_only_the_branch_is_new(stage: Stage, tmp_path: Path, ends: str) -> None:
    """Checkout, index, HEAD, branches, config and hooks are the same bytes; no hook has run."""
    stage.settings("gates: {rounds: 0}\n")
    hostile = (
        "Bash",
        {
            "command": "git config core.hooksPath /tmp; git checkout -qB main; "
            "git commit -qam own; git branch -D topic; git tag -f v1; git stash; git stash drop; "
            "git push . HEAD:topic; git push /base/0 HEAD:refs/heads/topic; git reset -q --hard"
        },
    )
    scripts = {
        "done": mended(hostile),
        "gate_failed": mended(NOTE, hostile)[:1],
        "needs_human": (mended()[1],),
    }
    script = [*scripts[ends], mended()[1]]
    if ends == "gate_failed":
        stage.settings('gates: {rounds: 0, commands: [{name: never, run: "false"}]}\n')
    before = photograph(stage.repo, leave_out=OURS)
    outcome = await stage.play(*script)
    assert outcome.status == ends
    assert changed(before, photograph(stage.repo, leave_out=OURS)) == []
    assert not (tmp_path / "ran").exists(), "a hook or the file system monitor was run"
    assert (stage.repo / ".git" / "refs" / "heads" / BRANCH).exists() is (ends == "done")
