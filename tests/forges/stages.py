"""Every tracker on a stage of its own, spoken of in the same words."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from orchestrator.forge.gitlab import DIALECT, GitLabProject
from orchestrator.forge.jira import DIALECT as JIRA
from orchestrator.forge.linear import DIALECT as LINEAR
from orchestrator.forge.secret import Token
from orchestrator.forge.tales import Reading
from orchestrator.settings import MoveSettings
from orchestrator.trackers.github import GitHubTracker
from orchestrator.trackers.gitlab import GitLabTracker
from orchestrator.trackers.jira import JiraTracker
from orchestrator.trackers.linear import LinearTracker
from orchestrator.trackers.markdown import MarkdownTracker
from tests.forges import github, gitlab, jira, linear
from tests.forges.asking import Clock, asking, on_github
from tests.forges.server import Loopback, serving

KINDS = ["markdown", "github", "enterprise", "gitlab", "jira", "jira-cloud", "linear"]
REMOTE = [one for one in KINDS if one != "markdown"]
READING = Reading({"urgent": "P0"})
MOVES = MoveSettings(working="In Progress", delivered="In Review", released="To Do")


@dataclass
class Stage:
    """A tracker, and ways to change what it tracks behind its back.

    Attributes:
        put: writes an issue: number, and by name labels, closed, assignee, body, blockers.
        say: writes a comment: number, login (``ada`` may write, ``eve`` may not), text.
        talk: returns the texts of an issue's comments, or what its file holds.
        key: returns how the tracker calls an issue's number.
    """

    tracker: Any
    put: Callable[..., None]
    say: Callable[[int, str, str], None]
    talk: Callable[[int], Sequence[str]]
    key: Callable[[int], str] = str
    server: Loopback | None = None
    clock: Clock | None = None


@asynccontextmanager
async def on_stage(kind: str, folder: Path, **more: Any) -> AsyncIterator[Stage]:
    """Set up a tracker of a kind; ``more`` is its patience."""
    match kind:
        case "markdown":
            yield _markdown(folder)
        case "github" | "enterprise":
            top = "/api/v3" if kind == "enterprise" else ""
            async with on_github(folder / "answers", top=top, **more) as found:
                tracker = GitHubTracker(
                    found.project, reading=READING, write_back=True, moves=MOVES
                )
                stage = _github(found.github, tracker)
                stage.server, stage.clock = found.server, found.clock
                yield stage
        case "gitlab":
            async with serving(gitlab.GitLab) as server:
                url = f"{server.url}/api/v4"
                async with asking(url, DIALECT, Token(gitlab.TOKEN), Clock(), **more) as forge:
                    project = GitLabProject(forge, gitlab.PROJECT)
                    lab = GitLabTracker(project, reading=READING, write_back=True, moves=MOVES)
                    stage = _gitlab(server.service, lab)
                    stage.server = server
                    yield stage
        case "jira" | "jira-cloud":
            async with (
                serving(lambda url: jira.Jira(url, cloud=kind != "jira")) as server,
                asking(server.url, JIRA, Token(jira.TOKEN), Clock(), **more) as forge,
            ):
                its = JiraTracker(forge, "ABC", reading=READING, write_back=True, moves=MOVES)
                stage = _jira(server.service, its)
                stage.server = server
                yield stage
        case _:
            async with serving(linear.Linear) as server:
                key = Token(linear.TOKEN, "plain")
                async with asking(server.url, LINEAR, key, Clock(), **more) as forge:
                    line = LinearTracker(
                        forge, "ABC", reading=READING, write_back=True, moves=MOVES
                    )
                    stage = _linear(server.service, line)
                    stage.server = server
                    yield stage


def _markdown(folder: Path) -> Stage:
    issues = folder / "issues"
    issues.mkdir()

    def put(number: int, **given: Any) -> None:
        rows = ["---", f"title: Issue {number}", "author: ada"]
        if given.get("labels"):
            rows.append(f"labels: [{', '.join(given['labels'])}]")
        if given.get("closed"):
            rows.append("state: closed")
        if given.get("assignee"):
            rows.append(f"assignee: {given['assignee']}")
        if given.get("blockers"):
            rows.append(f"blocked_by: [{', '.join(map(str, given['blockers']))}]")
        if "urgent" in given.get("labels", ()):
            rows.append("priority: P0")
        text = "\n".join([*rows, "---", given.get("body", "Do it."), ""])
        (issues / f"{number}-issue.md").write_text(text, encoding="utf-8")

    return Stage(
        MarkdownTracker(issues, write_back=True),
        put,
        _unsaid,
        lambda number: [(issues / f"{number}-issue.md").read_text(encoding="utf-8")],
    )


def _github(service: github.GitHub, tracker: GitHubTracker) -> Stage:
    def put(number: int, **given: Any) -> None:
        blockers = given.get("blockers", ())
        service.issues[number] = github.issue(
            number,
            body=given.get("body", "Do it."),
            labels=[{"name": one} for one in given.get("labels", ())],
            state="closed" if given.get("closed") else "open",
            assignees=[{"login": given["assignee"]}] if given.get("assignee") else [],
            issue_dependencies_summary={
                "blocked_by": len(blockers),
                "total_blocked_by": len(blockers),
            },
        )
        service.blocked[number] = [github.issue(one) for one in blockers]
        for one in service.blocked[number]:
            one["repository_url"] = "https://api.github.com/repos/acme/shop"

    return Stage(
        tracker,
        put,
        lambda number, login, text: _ignored(
            service.say(number, login, text, "MEMBER" if login == "ada" else "NONE")
        ),
        lambda number: [one["body"] for one in service.comments.get(number, [])],
    )


def _gitlab(service: Any, tracker: GitLabTracker) -> Stage:
    def put(number: int, **given: Any) -> None:
        service.issues[number] = gitlab.issue(
            number,
            description=given.get("body", "Do it."),
            labels=list(given.get("labels", ())),
            state="closed" if given.get("closed") else "opened",
            assignees=[gitlab.person(given["assignee"])] if given.get("assignee") else [],
        )
        service.links[number] = [
            {**gitlab.issue(one), "link_type": "is_blocked_by"} for one in given.get("blockers", ())
        ]

    return Stage(
        tracker,
        put,
        lambda number, login, text: _ignored(service.say(f"issues/{number}", login, text)),
        lambda number: [one["body"] for one in service.notes.get(f"issues/{number}", [])],
    )


def _jira(service: Any, tracker: JiraTracker) -> Stage:
    def put(number: int, **given: Any) -> None:
        status = {"name": "Done", "statusCategory": {"key": "done"}}
        changes: dict[str, Any] = {"status": status} if given.get("closed") else {}
        service.issues[f"ABC-{number}"] = jira.issue(
            number,
            description=given.get("body", "Do it."),
            labels=list(given.get("labels", ())),
            assignee={"name": given["assignee"]} if given.get("assignee") else None,
            issuelinks=[
                {"type": {"inward": "is blocked by"}, "inwardIssue": jira.issue(one)}
                for one in given.get("blockers", ())
            ],
            **changes,
        )

    return Stage(
        tracker,
        put,
        lambda number, login, text: _ignored(service.say(f"ABC-{number}", login, text)),
        lambda number: [one["body"] for one in service.comments.get(f"ABC-{number}", [])],
        lambda number: f"ABC-{number}",
    )


def _linear(service: Any, tracker: LinearTracker) -> Stage:
    def put(number: int, **given: Any) -> None:
        done = {"name": "Done", "type": "completed"}
        changes: dict[str, Any] = {"state": done} if given.get("closed") else {}
        service.issues[f"ABC-{number}"] = linear.issue(
            number,
            description=given.get("body", "Do it."),
            labels={"nodes": [{"name": one} for one in given.get("labels", ())]},
            assignee={"displayName": given["assignee"]} if given.get("assignee") else None,
            inverseRelations={
                "nodes": [
                    {"type": "blocks", "issue": {"identifier": f"ABC-{one}"}}
                    for one in given.get("blockers", ())
                ]
            },
            **changes,
        )

    def say(number: int, login: str, text: str) -> None:
        user = {"displayName": login, "guest": login != "ada", "active": True}
        service.say(f"ABC-{number}", login, text, user=user)

    return Stage(
        tracker,
        put,
        say,
        lambda number: [one["body"] for one in service.comments.get(f"ABC-{number}", [])],
        lambda number: f"ABC-{number}",
    )


def _ignored(_: object) -> None:
    """Drop what a call returns."""


def _unsaid(*_: object) -> None:
    """Say nothing: there are no comments here."""
