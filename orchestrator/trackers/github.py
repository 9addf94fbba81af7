"""Issues on GitHub, or on an Enterprise server."""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any
from urllib.parse import quote

from orchestrator.errors import IssueNotFound, TrackerError, TrackerMissing
from orchestrator.forge.fields import counted, number, required, rows, text
from orchestrator.forge.github import GitHubProject, is_pull_request
from orchestrator.forge.marks import markers, numbers_blocking
from orchestrator.forge.tales import (
    UNMOVED,
    Reading,
    Stage,
    bounded,
    called,
    ending,
    remember,
    said_by,
    stage_labels,
    titled,
)
from orchestrator.pullrequests import Comment
from orchestrator.records import Issue, Outcome
from orchestrator.settings import MoveSettings

COMMENTS = 500


class GitHubTracker:
    """The issues of one repository.

    Args:
        project: the repository.
        reading: how labels become priorities.
        moves: the labels that show how far work is.
        write_back: whether a report is written as a comment.
    """

    def __init__(
        self,
        project: GitHubProject,
        *,
        reading: Reading,
        write_back: bool = False,
        moves: MoveSettings = UNMOVED,
    ) -> None:
        self._moves = moves
        self._project = project
        self._reading = reading
        self._write_back = write_back
        self._elsewhere: dict[str, Issue] = {}

    def key_of(self, said: str) -> str:
        """Return an issue's one key for any way to write it.

        Raises:
            IssueNotFound: it is none of this project's.
        """
        return self._project.number_of(said)

    async def fetch(self, key: str) -> Issue:
        """Return an issue with its comments and what blocks it.

        Raises:
            IssueNotFound: there is none, it was moved, or it is a pull request.
            TrackerError: GitHub cannot be asked.
        """
        if key in self._elsewhere:
            return self._elsewhere[key]
        own = self.key_of(key)
        path = f"{self._project.path}/issues/{own}"
        try:
            data = await self._project.forge.get(path)
        except TrackerMissing as error:
            raise IssueNotFound(
                f"no issue {own} in {self._project.name}: {error}", hint=error.hint
            ) from None
        if is_pull_request(data):
            raise IssueNotFound(
                f"{own} is a pull request of {self._project.name}, not an issue",
                hint="name the issue that it resolves",
            )
        if number(data, "number") != int(own):
            raise TrackerError(f"GitHub answered with another issue than {own}")
        self._project.look_anew()
        issue = self._issue(data)
        blockers = await self._blockers(data, path)
        return replace(issue, blocked_by=blockers, comments=await self._comments(data, path))

    async def candidates(self, labels: Sequence[str], most: int) -> Sequence[Issue]:
        """Return open issues that carry all of the labels, oldest first."""
        params: dict[str, str | int] = {
            "state": "open",
            "sort": "created",
            "direction": "asc",
            "per_page": 100,
        }
        if labels:
            params["labels"] = ",".join(labels)
        return await self._listed(params, most, with_assignee=False, looked_at=5000)

    async def solved(self, most: int) -> Sequence[Issue]:
        """Return closed issues that had an assignee, newest first."""
        params: dict[str, str | int] = {
            "state": "closed",
            "assignee": "*",
            "sort": "updated",
            "direction": "desc",
            "per_page": 100,
        }
        return await self._listed(params, most, with_assignee=True)

    async def report(self, issue: Issue, outcome: Outcome) -> None:
        """Write how a run ended under the issue, if that was asked for; once a run."""
        if self._write_back:
            marker = f"report/{outcome.run}"
            await self._project.commented(self.key_of(issue.key), marker, ending(outcome))

    async def move(self, issue: Issue, to: Stage) -> None:
        """Show how far work is by a label; first put, then those of other stages taken away.

        Raises:
            TrackerError: GitHub does not take it.
        """
        wanted, others = stage_labels(self._moves, to)
        if not wanted and not others:
            return
        path = f"{self._project.path}/issues/{self.key_of(issue.key)}"
        data = await self._project.forge.get(path)
        there = {text(one, "name").lower() for one in rows(data, "labels")}
        if wanted and wanted.lower() not in there and text(data, "state") == "open":
            await self._project.forge.send(
                "POST", f"{path}/labels", {"labels": [wanted]}, again=True
            )
        for one in others:
            if one.lower() in there and one.lower() != wanted.lower():
                with suppress(TrackerMissing):  # somebody was faster
                    named = quote(one, safe="")
                    await self._project.forge.send("DELETE", f"{path}/labels/{named}", again=True)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._project.forge.aclose()

    async def _listed(
        self,
        params: dict[str, str | int],
        most: int,
        *,
        with_assignee: bool,
        looked_at: int = 400,
    ) -> list[Issue]:
        path = f"{self._project.path}/issues"
        # Pull requests come in the same list and are passed over, so more is asked for.
        found = await self._project.forge.pages(path, params, most=max(most * 4, looked_at))
        issues = [
            self._issue(one)
            for one in rows(found)
            if not is_pull_request(one) and number(one, "number") and text(one, "title")
        ]
        return [one for one in issues if one.assignees or not with_assignee][:most]

    def _issue(self, data: Any) -> Issue:
        labels = tuple(text(one, "name") or "" for one in rows(data, "labels"))
        return Issue(
            key=counted(data, "GitHub", "number"),
            title=titled(required(data, "GitHub", "title")),
            body=bounded(text(data, "body")),
            labels=tuple(one for one in labels if one),
            state=text(data, "state") or "open",
            priority=self._reading.priority_of(labels),
            author=called(text(data, "user", "login")),
            assignees=tuple(
                login for one in rows(data, "assignees") if (login := text(one, "login"))
            ),
            url=text(data, "html_url"),
            assigned_to_people=True,
            association=text(data, "author_association"),
        )

    async def _comments(self, data: Any, path: str) -> tuple[Comment, ...]:
        total = number(data, "comments")
        if total <= 0:
            return ()
        # They come oldest first: of too many the last pages.
        first = max(total - COMMENTS, 0) // 100 + 1
        found = await self._project.forge.pages(
            f"{path}/comments", {"per_page": 100, "page": first}, most=COMMENTS + 100
        )
        found = found[-COMMENTS:]
        return tuple([await self._comment(one) for one in rows(found) if not _is_ours(one)])

    async def _comment(self, data: Any) -> Comment:
        login = text(data, "user", "login")
        association = text(data, "author_association")
        return said_by(
            login,
            text(data, "body"),
            trusted=await self._project.may_write(login, association),
            tie=association,
            url=text(data, "html_url"),
        )

    async def _blockers(self, data: Any, path: str) -> tuple[str, ...]:
        """Return what blocks an issue: its links, and lines of its text where there are none."""
        summary = data.get("issue_dependencies_summary")
        own = counted(data, "GitHub", "number")
        named = [one for one in numbers_blocking(text(data, "body")) if one != own]
        told = [key for one in named if (key := await self._named(one))]
        if not number(summary, "total_blocked_by"):
            return tuple(told)
        found = await self._project.forge.pages(
            f"{path}/dependencies/blocked_by", {"per_page": 100}, most=100
        )
        linked = [self._linked(one) for one in rows(found) if number(one, "number")]
        return tuple(dict.fromkeys([*linked, *told]))

    async def _named(self, key: str) -> str:
        """Return the key of what a line of text names; empty where there is no such thing."""
        try:
            data = await self._project.forge.get(f"{self._project.path}/issues/{key}")
        except TrackerMissing:
            return ""
        if not is_pull_request(data):
            return key
        full = f"{self._project.name}#{key}"  # an issue may wait for it; nobody works on it
        return remember(self._elsewhere, replace(self._issue(data), key=full, body=""))

    def _linked(self, data: Any) -> str:
        """Return the key of an issue that another one waits for, in whatever project it is."""
        project = re.sub(r"^.*/repos/", "", text(data, "repository_url")) or self._project.name
        key = text(data, "number")
        if project.lower() == self._project.name.lower():
            return key
        full = f"{project}#{key}"
        return remember(self._elsewhere, replace(self._issue(data), key=full, body=""))


def _is_ours(data: Any) -> bool:
    """Tell whether a comment is a report of ours; anybody may write one that looks so: no loss."""
    return bool(markers(text(data, "body")))
