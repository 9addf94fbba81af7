"""Where agent files come from, nearest first."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from orchestrator import config as configuration
from orchestrator.assembly.machine import bundled
from orchestrator.definitions.folder import REPOSITORY_FOLDERS, Roster, Source, files_below, roster
from orchestrator.errors import ConfigError, RepositoryRefused
from orchestrator.repository import Repository, locate


def sources(
    repository: Mapping[str, bytes], environment: Mapping[str, str], folder: Path | None
) -> list[Source]:
    """Return the places that have agent files.

    Args:
        repository: the files of the repository's own folders, by path.
        environment: tells where the user's own are.
        folder: one that was named on the command line.

    Raises:
        ConfigError: that folder is not there, or a file of the user's cannot be read.
    """
    found = []
    if folder is not None:
        if not folder.is_dir():
            raise ConfigError(f"--agents: there is no folder {folder}")
        found.append(Source("command line", files_below(folder)))
    found.append(Source("repository", repository))
    user = configuration.user_file(environment).parent / "agents"
    found.append(Source("user", files_below(user)))
    home = configuration.home_folder(environment) or Path("/nonexistent")
    # Written for another program: what does not fit here is told, and stops nothing.
    unread: list[str] = []
    others = files_below(home / ".claude" / "agents", unread)
    found.append(Source("user, ~/.claude", others, strict=False, notices=tuple(unread)))
    return [*found, Source("bundled", files_below(bundled("agents")))]


def committed(repository: Repository, commit: str) -> dict[str, bytes]:
    """Return the agent files of a commit, by path."""
    entries = repository.entries(commit, *REPOSITORY_FOLDERS)
    wanted = {
        name: sha
        for name, (mode, sha) in entries.items()
        if mode.startswith("100") and name.endswith(".md")
    }
    return dict(zip(wanted, repository.blobs(list(wanted.values())), strict=True))


def agents_here(repo: Path, environment: Mapping[str, str], folder: Path | None) -> Roster:
    """Return the agents that an issue of a repository could go to; anywhere else, the user's own.

    Raises:
        ConfigError: a folder is not there, or a file of an agent is broken.
    """
    try:
        repository = locate(repo.absolute())
        own = committed(repository, repository.located.head)
    except RepositoryRefused:
        own = {}
    return roster(sources(own, environment, folder))
