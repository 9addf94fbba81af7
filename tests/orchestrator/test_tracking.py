"""Which tracker and code host a repository gets by its settings, and whose credentials go where."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from orchestrator.assembly.tracking import close_all, host_of, notes_of, tracker_of
from orchestrator.config import load
from orchestrator.errors import ConfigError
from orchestrator.ports import Closing, IssueStates
from orchestrator.repository import Repository, locate
from orchestrator.settings import Config, MoveSettings, TrackerSettings

TOKENS = {
    "GITHUB_TOKEN": "canary-1",
    "GH_ENTERPRISE_TOKEN": "canary-2",
    "GITLAB_TOKEN": "canary-3",
    "JIRA_TOKEN": "canary-4",
    "LINEAR_API_KEY": "canary-5",
    "XDG_STATE_HOME": "/nonexistent",
}


def a_repository(folder: Path, origin: str = "") -> Repository:
    """Make a repository whose origin is somewhere."""
    subprocess.run(["git", "init", "-q", str(folder)], check=True)
    if origin:
        subprocess.run(["git", "-C", str(folder), "remote", "add", "origin", origin], check=True)
    (folder / "a").write_text("a", encoding="utf-8")
    subprocess.run(["git", "-C", str(folder), "add", "a"], check=True)
    who = ["-c", "user.name=A", "-c", "user.email=a@example.org"]
    subprocess.run(["git", "-C", str(folder), *who, "commit", "-qm", "a"], check=True)
    found = locate(folder)
    assert found is not None
    return found


def settings(kind: str, **changes: Any) -> Config:
    """Build settings of a tracker."""
    tracker = replace(TrackerSettings(), **changes)
    return replace(Config(), tracker=replace(tracker, kind=kind))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "origin",
    [
        "https://github.com/acme/shop.git",
        "https://github.com/acme/shop",
        "https://ada:secret@github.com/acme/shop.git",
        "git@github.com:acme/shop.git",
        "ssh://git@github.com/acme/shop.git",
        "ssh://git@ssh.github.com:443/acme/shop.git",
    ],
)
def test_origin_names_the_project(origin: str, tmp_path: Path) -> None:
    """However origin is written, its project is the tracker's and the host's."""
    repository = a_repository(tmp_path, origin)
    tracker = tracker_of(repository, settings("github"), TOKENS)
    key_of = getattr(tracker, "key_of")  # noqa: B009 - not part of the port
    assert key_of("acme/shop#7") == "7"
    assert host_of(repository, settings("github"), TOKENS) is not None


@pytest.mark.parametrize("folder", ["..", "/etc", "a/../..", "away", "away/deep"])
def test_a_folder_of_issues_lies_in_the_repository(folder: str, tmp_path: Path) -> None:
    """Neither a path nor a link leads to files of the user's."""
    repository = a_repository(tmp_path / "shop")
    (tmp_path / "shop" / "away").symlink_to(tmp_path)
    with pytest.raises(ConfigError, match="lies outside the repository"):
        tracker_of(repository, settings("markdown", folder=folder), TOKENS)
    (tmp_path / "shop" / "issues").mkdir()
    assert tracker_of(repository, settings("markdown", folder="issues"), TOKENS) is not None


@pytest.mark.parametrize("kind", ["github", "gitlab"])
def test_a_repository_cannot_name_somebody_elses_project(kind: str, tmp_path: Path) -> None:
    """The credential is the user's: another project than origin's needs the user's word."""
    repository = a_repository(tmp_path, f"https://{kind}.com/eve/trap.git")
    config = settings(kind, project="acme/secret")
    with pytest.raises(ConfigError, match="not what origin names") as told:
        tracker_of(repository, config, TOKENS)
    assert "tracker.allow_projects: [acme/secret]" in told.value.hint
    allowed = settings(kind, project="acme/secret", allow_projects=("Acme/Secret",))
    assert tracker_of(repository, allowed, TOKENS) is not None


@pytest.mark.parametrize("origin", ["", "/srv/shop.git", "https://github.com.evil.example/a/b"])
def test_an_origin_elsewhere_names_nothing(origin: str, tmp_path: Path) -> None:
    """Without a project the settings say what to do."""
    with pytest.raises(ConfigError, match="origin names no project"):
        tracker_of(a_repository(tmp_path, origin), settings("github"), TOKENS)


@pytest.mark.parametrize(("kind", "project"), [("jira", "ABC"), ("linear", "ABC")])
def test_teams_and_jira_projects_are_the_users_to_allow(
    kind: str, project: str, tmp_path: Path
) -> None:
    """No remote tells which they are, so the user does."""
    repository = a_repository(tmp_path)
    more = {"base_url": "https://acme.atlassian.net"} if kind == "jira" else {}
    with pytest.raises(ConfigError, match="not allowed"):
        tracker_of(repository, settings(kind, project=project, **more), TOKENS)
    config = settings(kind, project=project, allow_projects=(project,), **more)
    assert tracker_of(repository, config, TOKENS) is not None
    assert host_of(repository, config, TOKENS) is None


def test_an_enterprise_server_gets_its_own_token_alone(tmp_path: Path) -> None:
    """The token of github.com is not sent to another server."""
    repository = a_repository(tmp_path, "https://git.acme.example/acme/shop.git")
    config = settings("github", base_url="https://git.acme.example")
    with pytest.raises(ConfigError, match="no credential for GitHub"):
        tracker_of(repository, config, {"GITHUB_TOKEN": "canary", "XDG_STATE_HOME": "/x"})
    assert tracker_of(repository, config, TOKENS) is not None


@pytest.mark.parametrize(
    "line",
    [
        "base_url: https://evil.example",
        "token_command: cat /etc/passwd",
        "token_file: /etc/passwd",
        "app_id: '1'",
        "app_key_file: /etc/passwd",
        "allow_projects: [acme/secret]",
    ],
)
def test_a_repository_may_not_say_where_credentials_go(line: str, tmp_path: Path) -> None:
    """Addresses and credentials are refused in a repository's settings, at their line."""
    (tmp_path / ".orchestrate").mkdir()
    file = tmp_path / ".orchestrate" / "config.yaml"
    file.write_text(f"tracker:\n  kind: github\n  {line}\n", encoding="utf-8")
    with pytest.raises(ConfigError, match="a repository may not set this"):
        load(user=None, repository=tmp_path)
    assert load(user=file, repository=None).tracker.kind == "github"


@pytest.mark.asyncio
@pytest.mark.parametrize("kind", ["github", "gitlab", "jira", "linear"])
async def test_all_that_has_connections_can_be_closed(kind: str, tmp_path: Path) -> None:
    """Trackers, hosts and boards close in one place, twice too, whatever one of them does."""
    repository = a_repository(tmp_path, f"https://{kind}.com/acme/shop.git")
    more: dict[str, Any] = {} if kind in {"github", "gitlab"} else {"project": "ABC"}
    if kind == "jira":
        more["base_url"] = "https://acme.atlassian.net"
    config = settings(kind, allow_projects=("ABC",), **more)
    opened = [make(repository, config, TOKENS) for make in (tracker_of, host_of, notes_of)]
    assert isinstance(opened[0], IssueStates) and opened[2] is not None
    assert all(isinstance(one, Closing) for one in opened if one is not None)

    class Broken:
        async def aclose(self) -> None:
            raise OSError

    await close_all(Broken(), None, object(), *opened)
    await close_all(*opened)
    for one in opened:
        own: Any = one
        project = getattr(own, "_project", None) or getattr(own, "_team", None)
        project = project if hasattr(project, "forge") else getattr(own, "_its", None)
        assert one is None or project.forge._client.is_closed


def test_markdown_has_no_board(tmp_path: Path) -> None:
    """Files of issues are nobody's place for notes; nothing is to be closed."""
    assert notes_of(a_repository(tmp_path), settings("markdown"), TOKENS) is None


@pytest.mark.parametrize("stage", ["working", "delivered", "failed", "released"])
def test_a_stage_is_not_the_label_of_what_waits(stage: str, tmp_path: Path) -> None:
    """A label that is put and taken while work goes on cannot be what the queue goes by."""
    repository = a_repository(tmp_path, "https://github.com/acme/shop.git")
    moves = MoveSettings(**{stage: "Ready"})
    with pytest.raises(ConfigError, match=r"tracker\.moves: Ready is a label"):
        tracker_of(repository, settings("github", labels=("ready",), moves=moves), TOKENS)
    other = settings("github", labels=("todo",), moves=moves)
    assert isinstance(tracker_of(repository, other, TOKENS), IssueStates)


def test_stages_are_read_from_settings(tmp_path: Path) -> None:
    """Each stage has its word; one that there is not is an error at its line."""
    file = tmp_path / "config.yaml"
    file.write_text("tracker:\n  moves: {working: Doing, delivered: In Review}\n", "utf-8")
    found = load(user=file, repository=None).tracker.moves
    assert found == MoveSettings(working="Doing", delivered="In Review")
    file.write_text("tracker:\n  moves: {done: Done}\n", "utf-8")
    with pytest.raises(ConfigError, match=r"tracker\.moves\.done: unknown key"):
        load(user=file, repository=None)


def test_a_plain_address_is_refused_before_a_secret_is_read(tmp_path: Path) -> None:
    """No secret is looked for where it could not be sent safely."""
    marker = tmp_path / "ran"
    config = settings(
        "jira",
        project="ABC",
        allow_projects=("ABC",),
        base_url="http://jira.example",
        token_command=f"touch {marker}",
    )
    (tmp_path / "r").mkdir()
    with pytest.raises(ConfigError, match="no https address"):
        tracker_of(a_repository(tmp_path / "r"), config, TOKENS)
    assert not marker.exists()
