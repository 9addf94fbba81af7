"""Issues in Jira, in the cloud or on a server.

Version 2 of its API is spoken to both: it is the one in which texts are texts.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from orchestrator.errors import (
    IssueNotFound,
    TrackerConflict,
    TrackerError,
    TrackerMissing,
    Unanswered,
)
from orchestrator.forge.client import Forge
from orchestrator.forge.fields import counted, number, required, rows, text, words
from orchestrator.forge.jira import API, PAGE, JiraProject, is_for_all, markers_of
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
    titled,
)
from orchestrator.pullrequests import Comment
from orchestrator.records import Issue, Outcome
from orchestrator.settings import MoveSettings

FIELDS = "summary,description,labels,status,priority,creator,assignee,issuelinks,comment"
COMMENTS = 500


class JiraTracker:
    """The issues of one project.

    Args:
        forge: the service.
        project: its key.
        reading: how states and priorities are read.
        write_back: whether a report is written as a comment.
        moves: the states that show how far work is.

    Raises:
        ConfigError: the project's key is none.
    """

    def __init__(
        self,
        forge: Forge,
        project: str,
        *,
        reading: Reading,
        write_back: bool = False,
        moves: MoveSettings = UNMOVED,
    ) -> None:
        self._forge = forge
        self._project = JiraProject(forge, project)
        self._name = project
        self._reading = reading
        self._write_back = write_back
        self._moves = moves
        self._cloud: bool | None = None
        self._elsewhere: dict[str, Issue] = {}

    def key_of(self, said: str) -> str:
        """Return an issue's one key for any way to write it.

        Raises:
            IssueNotFound: it is none of this project's.
        """
        return self._project.key_of(said)

    async def fetch(self, key: str) -> Issue:
        """Return an issue with its comments and what blocks it.

        Raises:
            IssueNotFound: there is none, or it was moved.
            TrackerError: Jira cannot be asked.
        """
        if key in self._elsewhere:
            return self._elsewhere[key]
        own = self.key_of(key)
        try:
            data = await self._forge.get(f"{API}/issue/{own}", {"fields": FIELDS})
        except TrackerMissing as error:
            raise IssueNotFound(f"no issue {own}: {error}", hint=error.hint) from None
        if required(data, "Jira", "key") != own:
            raise IssueNotFound(
                f"issue {own} was moved, and is {called(text(data, 'key'))} now",
                hint="work on it from its new project's own checkout",
            )
        self._project.look_anew()
        issue = self._issue(data)
        comments = await self._comments(own, number(data, "fields", "comment", "total"))
        return replace(issue, blocked_by=self._blockers(data), comments=comments)

    async def candidates(self, labels: Sequence[str], most: int) -> Sequence[Issue]:
        """Return open issues that carry all of the labels, oldest first."""
        wanted = "".join(f" AND labels = {_quoted(one)}" for one in labels)
        query = f"project = {_quoted(self._name)} AND statusCategory != Done{wanted}"
        return await self._found(f"{query} ORDER BY created ASC", most, _is_open)

    async def solved(self, most: int) -> Sequence[Issue]:
        """Return closed issues that had an assignee, newest first."""
        query = f"project = {_quoted(self._name)} AND statusCategory = Done"
        query += " AND assignee is not EMPTY ORDER BY created DESC"
        return await self._found(query, most, _has_assignee)

    async def report(self, issue: Issue, outcome: Outcome) -> None:
        """Write how a run ended under the issue, if that was asked for; once a run."""
        if not self._write_back:
            return
        key, marker = self.key_of(issue.key), f"report/{outcome.run}"
        await self._project.commented(key, marker, _plain(ending(outcome)), edit=False)

    async def move(self, issue: Issue, to: Stage) -> None:
        """Bring an issue to the state that the settings name, by a transition that Jira offers.

        Raises:
            TrackerError: Jira offers none, or does not take it.
        """
        wanted: str = getattr(self._moves, to)
        if not wanted:
            return
        key = self.key_of(issue.key)
        path = f"{API}/issue/{key}"
        for last in (False, True):
            fields = (await self._fields(path)).get("fields")
            if _same(text(fields, "status", "name"), wanted) or self._state(fields) == "closed":
                return
            step = {"transition": {"id": await self._way(path, key, wanted)}}
            try:
                await self._forge.send("POST", f"{path}/transitions", step)
            except Unanswered:
                if last:
                    raise
            else:
                return

    async def aclose(self) -> None:
        """Close the connections."""
        await self._forge.aclose()

    # -- how it is done --------------------------------------------------------------------

    async def _fields(self, path: str) -> dict[str, Any]:
        found = await self._forge.get(path, {"fields": "status"})
        if not isinstance(found, dict):
            raise Unanswered("Jira answered without an issue")
        return found

    async def _way(self, path: str, key: str, wanted: str) -> str:
        """Return the transition that leads to a state, by the state's name or by its own."""
        offered = rows(await self._forge.get(f"{path}/transitions"), "transitions")
        for where in (("to", "name"), ("name",)):
            for one in offered:
                if _same(text(one, *where), wanted):
                    return counted(one, "Jira", "id")
        named = ", ".join(text(one, "to", "name") for one in offered) or "none"
        raise TrackerConflict(
            f"Jira offers no way for {key} to {wanted}",
            hint=one_line(f"look at tracker.moves; from here it leads to: {named}"),
        )

    async def _found(self, query: str, most: int, fits: Callable[[Issue], bool]) -> list[Issue]:
        """Return what a query finds; the cloud pages by tokens, a server by numbers."""
        cloud = await self._is_cloud()
        path = f"{API}/search/jql" if cloud else f"{API}/search"
        params: dict[str, str | int] = {"jql": query, "fields": FIELDS, "maxResults": PAGE}
        issues: list[Issue] = []
        for _ in range(100):
            page = await self._forge.get(path, params)
            if not isinstance(page, dict) or not isinstance(page.get("issues"), list):
                raise Unanswered("Jira answered a search without a list")
            got = rows(page, "issues")
            read = [self._issue(one) for one in got if text(one, "fields", "summary")]
            issues += [one for one in read if fits(one)]
            following = text(page, "nextPageToken")
            start = number(page, "startAt") + len(got)
            more = bool(following) if cloud else start < number(page, "total") and bool(got)
            if not more or len(issues) >= most:
                return issues[:most]
            params |= {"nextPageToken": following} if cloud else {"startAt": start}
        raise TrackerError("Jira answers a search with pages that do not end")

    async def _is_cloud(self) -> bool:
        if self._cloud is None:
            told = await self._forge.get(f"{API}/serverInfo")
            self._cloud = text(told, "deploymentType") == "Cloud"
        return self._cloud

    def _issue(self, data: Any) -> Issue:
        fields = data.get("fields")
        labels = words(fields, "labels")
        level = text(fields, "priority", "name")
        assignee = _person(fields, "assignee")
        key = required(data, "Jira", "key")
        return Issue(
            key=key,
            title=titled(required(fields, "Jira", "summary")),
            body=bounded(text(fields, "description")),
            labels=labels,
            state=self._state(fields),
            priority=self._reading.priority_of([*labels, level]) or level,
            author=_person(fields, "creator"),
            assignees=(assignee,) if assignee else (),
            url=f"{self._forge.url}/browse/{key}",
            assigned_to_people=True,
        )

    def _state(self, fields: Any) -> str:
        done = text(fields, "status", "statusCategory", "key") == "done"
        return self._reading.state_of(text(fields, "status", "name"), "closed" if done else "open")

    def _blockers(self, data: Any) -> tuple[str, ...]:
        found: list[str] = []
        for link in rows(data, "fields", "issuelinks"):
            blocker = link.get("inwardIssue")
            if "blocked by" not in text(link, "type", "inward").lower() or not blocker:
                continue
            key = required(blocker, "Jira", "key")
            if key.rpartition("-")[0] != self._name:
                remember(self._elsewhere, replace(self._issue(blocker), body=""))
            found.append(key)
        return tuple(dict.fromkeys(found))

    async def _comments(self, key: str, total: int) -> tuple[Comment, ...]:
        if total <= 0:
            return ()
        said = await self._project.said(key, COMMENTS, start=max(total - COMMENTS, 0))
        open_ = [one for one in said if is_for_all(one) and not markers_of(one)]
        return tuple([await self._comment(key, one) for one in open_])

    async def _comment(self, key: str, data: dict[str, Any]) -> Comment:
        return said_by(
            _person(data, "author"),
            text(data, "body"),
            trusted=await self._project.is_known(key, data),
        )


def _person(data: Any, role: str) -> str:
    """Return how somebody is called: a login on servers, a name in the cloud."""
    return called(text(data, role, "name") or text(data, role, "displayName"))


def _is_open(issue: Issue) -> bool:
    return issue.state == "open"


def _has_assignee(issue: Issue) -> bool:
    return bool(issue.assignees)


def _same(name: str, other: str) -> bool:
    return name.strip().casefold() == other.strip().casefold()


def _quoted(value: str) -> str:
    """Return a text as JQL quotes it."""
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + "".join(char for char in escaped if char.isprintable()) + '"'


def _plain(body: str) -> str:
    """Return a text in which Jira's own marks mean nothing, and no picture is loaded."""
    return re.sub(r"([\[\]{}]|!(?=\S))", r"\\\1", body.replace("**", "*"))
