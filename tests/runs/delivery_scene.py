"""A project that came from a server, with a code host beside it."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from orchestrator.records import Outcome
from orchestrator.testing import MemoryHost
from tests.git_server import TOKEN, GitServer, git_server, make_repository
from tests.runs.conftest import git
from tests.runs.stage import Stage, mended

SETTINGS = "delivery: {push: true, pull_request: draft, labels: [agent], reviewers: [ada]}\n"


def header(token: str = TOKEN) -> Mapping[str, str]:
    """Return git's environment for a token, as a code host gives it."""
    coded = base64.b64encode(f"x-access-token:{token}".encode()).decode()
    return {
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": "http.extraHeader",
        "GIT_CONFIG_VALUE_0": f"Authorization: Basic {coded}",
    }


def served(stage: Stage, server: GitServer) -> MemoryHost:
    """Have a stage's repository come from a server; return the code host beside it."""
    make_repository(server, stage.repo)
    git(stage.repo, "remote", "add", "origin", server.address())
    return MemoryHost(server.address(), header())


class Scene:
    """A stage whose repository came from a server, with a code host beside it."""

    def __init__(self, stage: Stage, server: GitServer) -> None:
        self.stage = stage
        self.server = server
        self.host = served(stage, server)
        stage.host = self.host
        stage.settings(SETTINGS)

    async def done(self) -> Outcome:
        """Play a run that ends well."""
        outcome = await self.stage.play(*mended())
        assert (outcome.status, outcome.error) == ("done", "")
        return outcome

    def quiet(self) -> tuple[int, int]:
        """Return how often something was pushed, and changed at the host."""
        return len(self.server.log()), len(self.host.acts)


@pytest.fixture
def scene(stage: Stage, tmp_path: Path) -> Iterator[Scene]:
    """A project on a server that wants a token."""
    with git_server(tmp_path / "served") as server:
        yield Scene(stage, server)
