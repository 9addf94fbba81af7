"""Where a repository's issues and pull requests are."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict

from orchestrator.config import state_folder
from orchestrator.errors import ConfigError
from orchestrator.hostgit import run_git
from orchestrator.ports import Board, Closing, CodeHost, IssueTracker
from orchestrator.repository import Repository
from orchestrator.settings import Config, MoveSettings, TrackerSettings

if TYPE_CHECKING:
    from orchestrator.forge.client import Dialect, Forge
    from orchestrator.forge.github import GitHubProject
    from orchestrator.forge.gitlab import GitLabProject
    from orchestrator.forge.secret import Credential, Style
    from orchestrator.forge.tales import Reading


class Manner(TypedDict):
    """How a tracker reads and writes."""

    reading: Reading
    write_back: bool
    moves: MoveSettings


REMOTE = re.compile(
    r"(?:https?://(?:[^/@]*@)?|ssh://(?:[^/@]*@)?|(?:[^/@:]+@)?)"
    r"(?P<host>[A-Za-z0-9.-]+)(?::\d+(?=/))?[:/]/?(?P<path>[^?#]+?)(?:\.git)?/?"
)
VARIABLES = {
    "github": ("GITHUB_TOKEN", "GH_TOKEN"),
    "gitlab": ("GITLAB_TOKEN",),
    "jira": ("JIRA_TOKEN",),
    "linear": ("LINEAR_API_KEY",),
}
CLOUD = {"github": "github.com", "gitlab": "gitlab.com"}


def tracker_of(
    repository: Repository, config: Config, environment: Mapping[str, str] | None = None
) -> IssueTracker:
    """Return the tracker of a repository, as its settings say.

    Args:
        repository: whose issues are wanted.
        config: its settings.
        environment: holds the credential; None is this process's own.

    Raises:
        ConfigError: a setting or the credential is missing, or does not fit.
    """
    settings = config.tracker
    given = os.environ if environment is None else environment
    match settings.kind:
        case "markdown":
            return _markdown(repository, settings)
        case "github":
            from orchestrator.trackers.github import GitHubTracker

            project = _github(repository, settings, given)
            return GitHubTracker(project, **_manner(settings))
        case "gitlab":
            from orchestrator.trackers.gitlab import GitLabTracker

            lab = _gitlab(repository, settings, given)
            return GitLabTracker(lab, **_manner(settings))
        case "jira":
            from orchestrator.trackers.jira import JiraTracker

            forge = _jira(settings, given)
            return JiraTracker(forge, settings.project, **_manner(settings))
        case "linear":
            from orchestrator.trackers.linear import LinearTracker

            forge = _linear(settings, given)
            return LinearTracker(forge, settings.project, **_manner(settings))


def host_of(
    repository: Repository, config: Config, environment: Mapping[str, str] | None = None
) -> CodeHost | None:
    """Return where a repository's pull requests are; None where its tracker's service has none.

    Raises:
        ConfigError: a setting or the credential is missing, or does not fit.
    """
    settings = config.tracker
    given = os.environ if environment is None else environment
    if settings.kind == "github":
        from orchestrator.hosts.github import GitHubHost

        return GitHubHost(_github(repository, settings, given))
    if settings.kind == "gitlab":
        from orchestrator.hosts.gitlab import GitLabHost

        return GitLabHost(_gitlab(repository, settings, given))
    return None


def notes_of(
    repository: Repository, config: Config, environment: Mapping[str, str] | None = None
) -> Board | None:
    """Return where orchestrators leave notes for each other; None where the tracker has no place.

    Raises:
        ConfigError: a setting or the credential is missing, or does not fit.
    """
    settings = config.tracker
    given = os.environ if environment is None else environment
    match settings.kind:
        case "markdown":
            return None
        case "github":
            from orchestrator.hosts.githubnotes import GitHubNotes

            return GitHubNotes(_github(repository, settings, given))
        case "gitlab":
            from orchestrator.hosts.gitlabnotes import GitLabNotes

            return GitLabNotes(_gitlab(repository, settings, given))
        case "jira":
            from orchestrator.forge.jira import JiraProject
            from orchestrator.hosts.jiranotes import JiraNotes

            return JiraNotes(JiraProject(_jira(settings, given), settings.project))
        case "linear":
            from orchestrator.forge.linear import LinearTeam
            from orchestrator.hosts.linearnotes import LinearNotes

            return LinearNotes(LinearTeam(_linear(settings, given), settings.project))


async def close_all(*them: object) -> None:
    """Close trackers, hosts and boards: each that can be closed, whatever happens to another."""
    for one in dict.fromkeys(them):
        if isinstance(one, Closing):
            with suppress(Exception):
                await one.aclose()


def _markdown(repository: Repository, settings: TrackerSettings) -> IssueTracker:
    from orchestrator.trackers.markdown import MarkdownTracker

    if repository.top is None:
        raise ConfigError("a bare repository has no folder of issues", hint="run it in a checkout")
    folder = (repository.top / settings.folder).resolve()
    if not folder.is_relative_to(repository.top.resolve()):
        raise ConfigError(
            f"tracker.folder: {settings.folder} lies outside the repository",
            hint="name a folder inside it",
        )
    return MarkdownTracker(repository.top / settings.folder, write_back=settings.write_back)


def _github(
    repository: Repository, settings: TrackerSettings, environment: Mapping[str, str]
) -> GitHubProject:
    from orchestrator.forge.github import DIALECT, GitHubProject, api_of, project_of, rest_of

    project = project_of(_project(repository, settings))
    url = api_of(settings.base_url)
    if not settings.app_id:
        return GitHubProject(_forge(url, DIALECT, settings, environment), project)
    from orchestrator.forge.app import AppToken
    from orchestrator.forge.client import Forge
    from orchestrator.forge.secret import Token, private_text

    if not settings.app_key_file:
        raise ConfigError("tracker.app_key_file: an App needs its private key")
    key = private_text(Path(settings.app_key_file).expanduser(), "tracker.app_key_file")
    asking = Forge(url, DIALECT, Token("-"))
    app = AppToken(settings.app_id, key, repository=project, exchange=asking, top=rest_of(url))
    return GitHubProject(_forge(url, DIALECT, settings, environment, app), project)


def _gitlab(
    repository: Repository, settings: TrackerSettings, environment: Mapping[str, str]
) -> GitLabProject:
    from orchestrator.forge.gitlab import DIALECT, GitLabProject, api_of

    project = _project(repository, settings)
    forge = _forge(api_of(settings.base_url), DIALECT, settings, environment)
    return GitLabProject(forge, project)


def _jira(settings: TrackerSettings, environment: Mapping[str, str]) -> Forge:
    from orchestrator.forge.client import address
    from orchestrator.forge.jira import DIALECT

    if not settings.base_url:
        raise ConfigError(
            "tracker.base_url: Jira needs its address",
            hint="like https://acme.atlassian.net, in your own config.yaml",
        )
    _require_allowed(settings)
    address(settings.base_url)
    mail = environment.get("JIRA_EMAIL", "").strip()
    style: Style = "basic" if mail else "bearer"
    credential = _token(settings, environment, "Jira", style, mail)
    return _forge(settings.base_url, DIALECT, settings, environment, credential)


def _linear(settings: TrackerSettings, environment: Mapping[str, str]) -> Forge:
    from orchestrator.forge.client import address
    from orchestrator.forge.linear import API, DIALECT

    _require_allowed(settings)
    url = address(settings.base_url or API)
    credential = _token(settings, environment, "Linear", "plain")
    return _forge(url, DIALECT, settings, environment, credential)


def _forge(
    url: str,
    dialect: Dialect,
    settings: TrackerSettings,
    environment: Mapping[str, str],
    credential: Credential | None = None,
) -> Forge:
    from orchestrator.forge.client import Forge, address
    from orchestrator.forge.kept import KeptAnswers

    address(url)  # before a secret is even looked for
    if credential is None:
        credential = _token(settings, environment, dialect.service)
    kept = KeptAnswers(state_folder(environment) / "answers")
    return Forge(url, dialect, credential, kept=kept)


def _token(
    settings: TrackerSettings,
    environment: Mapping[str, str],
    service: str,
    style: Style = "bearer",
    name: str = "",
) -> Credential:
    """Return a service's token; from a command or a file it may be another one later."""
    from orchestrator.forge.secret import RenewedToken, Token

    def look() -> str:
        return _secret(settings, environment, service)

    if settings.token_command or settings.token_file:
        return RenewedToken(look, style, name)
    return Token(look(), style, name)


def _secret(settings: TrackerSettings, environment: Mapping[str, str], service: str) -> str:
    from orchestrator.forge.secret import Places, found

    own = settings.kind == "github" and _host(settings.base_url) not in {"", "github.com"}
    names = ("GH_ENTERPRISE_TOKEN", "GITHUB_ENTERPRISE_TOKEN") if own else VARIABLES[settings.kind]
    places = Places(names, settings.token_command, settings.token_file)
    return found(places, environment, service=service)


def _manner(settings: TrackerSettings) -> Manner:
    """Return how a tracker of a service reads and writes.

    Raises:
        ConfigError: a label that shows how far work is would take issues out of the queue.
    """
    from orchestrator.forge.tales import Reading

    moves = settings.moves
    if settings.kind in CLOUD:
        waiting = {one.lower() for one in settings.labels}
        for name in (moves.working, moves.delivered, moves.failed, moves.released):
            if name.lower() in waiting:
                raise ConfigError(
                    f"tracker.moves: {name} is a label that issues carry which wait for work",
                    hint="choose another one: this one is taken away while work goes on",
                )
    reading = Reading(settings.priorities, settings.states)
    return {"reading": reading, "write_back": settings.write_back, "moves": moves}


def _project(repository: Repository, settings: TrackerSettings) -> str:
    """Return the project of GitHub or GitLab: the one that ``origin`` names, or an allowed one."""
    named = _origin_project(repository, _host(settings.base_url) or CLOUD[settings.kind])
    wanted = settings.project or named
    if not wanted:
        raise ConfigError(
            "tracker.project: origin names no project of this service",
            hint="set tracker.project, and tracker.allow_projects in your own config.yaml",
        )
    if wanted.lower() != named.lower():
        _require_allowed(settings)
    return wanted


def _require_allowed(settings: TrackerSettings) -> None:
    """Refuse a project that only the repository's own settings name: the credential is yours."""
    if not settings.project:
        raise ConfigError("tracker.project: it must be given")
    allowed = {one.lower() for one in settings.allow_projects}
    if settings.project.lower() not in allowed:
        raise ConfigError(
            f"tracker.project: {settings.project} is not what origin names, and not allowed",
            hint=f"to allow it: tracker.allow_projects: [{settings.project}] "
            "in your own config.yaml",
        )


def _origin_project(repository: Repository, host: str) -> str:
    """Return the project that the remote ``origin`` names, where it is on a host."""
    folder = repository.top or repository.common
    done = run_git(["config", "--get", "remote.origin.url"], cwd=folder, check=False)
    found = REMOTE.fullmatch(done.stdout.decode("utf-8", "replace").strip())
    if found is None or found["host"].lower().removeprefix("ssh.") != host.lower():
        return ""
    return found["path"].strip("/")


def _host(url: str) -> str:
    from urllib.parse import urlsplit

    name = urlsplit(url).hostname or ""
    return name.removeprefix("api.").removeprefix("www.")
