"""Clients of the services that tests play, with a clock of their own."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from orchestrator.forge.client import Dialect, Forge
from orchestrator.forge.github import DIALECT, GitHubProject
from orchestrator.forge.kept import KeptAnswers
from orchestrator.forge.secret import Credential, Token
from orchestrator.forge.waiting import Patience
from tests.forges.github import TOKEN, GitHub
from tests.forges.server import Loopback, serving

NOW = 1_780_000_000.0


@dataclass
class Clock:
    """A clock that moves only when somebody sleeps."""

    now: float = NOW
    slept: list[float] = field(default_factory=list)

    async def sleep(self, seconds: float) -> None:
        """Move on."""
        self.slept.append(seconds)
        self.now += seconds

    def patience(self, **changes: Any) -> Patience:
        """Return patience by this clock."""
        values = {"wall": lambda: self.now, "sleep": self.sleep, "spread": lambda: 1.0} | changes
        return Patience(**values)


@dataclass
class GitHubStage:
    """A GitHub of our own and what asks it."""

    server: Loopback
    github: GitHub
    project: GitHubProject
    clock: Clock


@asynccontextmanager
async def asking(
    url: str, dialect: Dialect, credential: Credential, clock: Clock, **more: Any
) -> AsyncIterator[Forge]:
    """Open a client, and close it afterwards."""
    kept = more.pop("kept", None)
    patience = clock.patience(**more)
    forge = Forge(url, dialect, credential, patience=patience, kept=kept)
    try:
        yield forge
    finally:
        await forge.aclose()


@asynccontextmanager
async def on_github(
    folder: Path | None = None, *, top: str = "", **more: Any
) -> AsyncIterator[GitHubStage]:
    """Play GitHub, or an Enterprise server where paths begin with ``top``."""
    clock = Clock()
    kept = KeptAnswers(folder) if folder else None
    async with (
        serving(lambda url: GitHub(url, top=top)) as server,
        asking(
            f"{server.url}{'/api' if top else ''}",
            DIALECT,
            more.pop("credential", Token(TOKEN)),
            clock,
            kept=kept,
            **more,
        ) as forge,
    ):
        service = server.service
        assert isinstance(service, GitHub)
        yield GitHubStage(server, service, GitHubProject(forge, "acme/shop"), clock)
