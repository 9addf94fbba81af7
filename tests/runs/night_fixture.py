"""A small repository with a service behind it, ready for nights."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.batch_server import serve_batches
from tests.runs.conftest import git
from tests.runs.night_stage import SETTINGS, NightStage, Script


@pytest.fixture
def nights(tmp_path: Path, state: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[NightStage]:
    """A small repository, and a service whose batches end when they are looked at twice."""
    repo = tmp_path / "wishes"
    repo.mkdir()
    (repo / "README.md").write_text("# Wishes\n", encoding="utf-8")
    git(repo, "init", "--quiet", "--initial-branch=main")
    git(repo, "add", "--all")
    git(repo, "commit", "--quiet", "--message", "base")
    config = tmp_path / "night.yaml"
    config.write_text(SETTINGS, encoding="utf-8")
    script = Script()
    with serve_batches(answer=script, ends_at=2) as service:
        for name in [one for one in os.environ if one.startswith("ANTHROPIC_")]:
            monkeypatch.delenv(name)
        monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-test-canary")
        monkeypatch.setenv("ANTHROPIC_BASE_URL", service.url)
        yield NightStage(repo, state, service, script, config)
