"""Issues on GitLab, in the cloud or on a server."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from orchestrator.errors import IssueNotFound, TrackerError, TrackerMissing, TrackerRefused
from orchestrator.forge.fields import counted, flag, number, required, rows, text, words
from orchestrator.forge.gitlab import GitLabProject
from orchestrator.forge.marks import markers, numbers_blocking
from orchestrator.forge.refusals import one_line
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


class GitLabTracker:
    """The issues of one project.

    Args:
        project: the project.
        reading: how labels become priorities.
        moves: the labels that show how far work is.
        write_back: whether a report is written as a note.
    """

    def __init__(
        self,
        project: GitLabProject,
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
        """Return an issue with its notes and what blocks it.

        Raises:
            IssueNotFound: there is none, or it was moved.
            TrackerError: GitLab cannot be asked.
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
        if number(data, "iid") != int(own):
            raise TrackerError(f"GitLab answered with another issue than {own}")
        if number(data, "moved_to_id"):
            raise IssueNotFound(
                f"issue {own} of {self._project.name} was moved to another project",
                hint=f"open {one_line(text(data, 'web_url'))} to see where",
            )
        self._project.look_anew()
        issue = self._issue(data)
        blockers = await self._blockers(data, path)
        return replace(issue, blocked_by=blockers, comments=await self._comments(data, path))

    async def candidates(self, labels: Sequence[str], most: int) -> Sequence[Issue]:
        """Return open issues that carry all of the labels, oldest first."""
        params: dict[str, str | int] = {"state": "opened", "sort": "asc"}
        if labels:
            params["labels"] = ",".join(labels)
        return await self._listed(params, most)

    async def solved(self, most: int) -> Sequence[Issue]:
        """Return closed issues that had an assignee, newest first."""
        params: dict[str, str | int] = {"state": "closed", "sort": "desc", "assignee_id": "Any"}
        return [one for one in await self._listed(params, most) if one.assignees]

    async def report(self, issue: Issue, outcome: Outcome) -> None:
        """Write how a run ended under the issue, if that was asked for; once a run."""
        if self._write_back:
            where = f"/issues/{self.key_of(issue.key)}"
            await self._project.noted(where, f"report/{outcome.run}", ending(outcome))

    async def move(self, issue: Issue, to: Stage) -> None:
        """Show how far work is by a label; those of other stages go with the same change.

        Raises:
            TrackerError: GitLab does not take it.
        """
        wanted, others = stage_labels(self._moves, to)
        if not wanted and not others:
            return
        path = f"{self._project.path}/issues/{self.key_of(issue.key)}"
        data = await self._project.forge.get(path)
        there = words(data, "labels")
        changed: dict[str, str] = {}
        if wanted and wanted not in there and text(data, "state") == "opened":
            changed["add_labels"] = wanted
        if gone := [one for one in others if one in there]:
            changed["remove_labels"] = ",".join(gone)
        if changed:
            await self._project.forge.send("PUT", path, changed, again=True)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._project.forge.aclose()

    async def _listed(self, params: dict[str, str | int], most: int) -> list[Issue]:
        found = await self._project.forge.pages(
            f"{self._project.path}/issues",
            {**params, "order_by": "created_at", "per_page": 100},
            most=most,
        )
        return [
            self._issue(one) for one in rows(found) if number(one, "iid") and text(one, "title")
        ]

    def _issue(self, data: Any) -> Issue:
        labels = words(data, "labels")
        state = text(data, "state")
        return Issue(
            key=counted(data, "GitLab", "iid"),
            title=titled(required(data, "GitLab", "title")),
            body=bounded(text(data, "description")),
            labels=labels,
            state="open" if state == "opened" else state or "open",
            priority=self._reading.priority_of(labels),
            author=called(text(data, "author", "username")),
            assignees=tuple(
                name for one in rows(data, "assignees") if (name := text(one, "username"))
            ),
            url=text(data, "web_url"),
            assigned_to_people=True,
        )

    async def _comments(self, data: Any, path: str) -> tuple[Comment, ...]:
        if not number(data, "user_notes_count"):
            return ()
        params: dict[str, str | int] = {"per_page": 100, "sort": "desc", "order_by": "created_at"}
        found = await self._project.forge.pages(f"{path}/notes", params, most=COMMENTS)
        found.reverse()
        return tuple([await self._comment(one) for one in rows(found) if _is_said(one)])

    async def _comment(self, data: Any) -> Comment:
        return said_by(
            text(data, "author", "username"),
            text(data, "body"),
            trusted=await self._project.may_write(text(data, "author", "id")),
        )

    async def _blockers(self, data: Any, path: str) -> tuple[str, ...]:
        """Return what blocks an issue: its links, and lines of its text."""
        own = counted(data, "GitLab", "iid")
        named = [one for one in numbers_blocking(text(data, "description")) if one != own]
        told = [one for one in named if await self._is_there(one)]
        try:
            found = await self._project.forge.pages(f"{path}/links", {"per_page": 100}, most=100)
        except (TrackerMissing, TrackerRefused):
            found = []  # links are no part of this edition
        linked = [
            self._linked(one, text(data, "project_id"))
            for one in rows(found)
            if text(one, "link_type") == "is_blocked_by" and number(one, "iid")
        ]
        return tuple(dict.fromkeys([*linked, *told]))

    async def _is_there(self, key: str) -> bool:
        """Tell whether there is an issue that a line of text names."""
        try:
            await self._project.forge.get(f"{self._project.path}/issues/{key}")
        except TrackerMissing:
            return False
        return True

    def _linked(self, data: Any, project: str) -> str:
        key = text(data, "iid")
        if text(data, "project_id") == project:
            return key
        full = text(data, "references", "full") or f"{text(data, 'project_id')}#{key}"
        return remember(self._elsewhere, replace(self._issue(data), key=full, body=""))


def _is_said(note: Any) -> bool:
    """Tell whether a note is something that somebody said to all: no system's, ours or internal."""
    apart = ("system", "internal", "confidential")
    return not any(flag(note, one) for one in apart) and not markers(text(note, "body"))
