"""Where a repository's issues are."""

from __future__ import annotations

from orchestrator.errors import ConfigError
from orchestrator.ports import IssueTracker
from orchestrator.repository import Repository
from orchestrator.settings import Config


def tracker_of(repository: Repository, config: Config) -> IssueTracker:
    """Return the tracker of a repository, as its settings say.

    Raises:
        ConfigError: the repository has no checkout, or the folder lies outside it.
    """
    from orchestrator.trackers.markdown import MarkdownTracker

    if repository.top is None:
        raise ConfigError("a bare repository has no folder of issues", hint="run it in a checkout")
    settings = config.tracker
    folder = (repository.top / settings.folder).resolve()
    if not folder.is_relative_to(repository.top.resolve()):
        raise ConfigError(
            f"tracker.folder: {settings.folder} lies outside the repository",
            hint="name a folder inside it",
        )
    return MarkdownTracker(repository.top / settings.folder, write_back=settings.write_back)
