"""Issues in Jira, in the cloud or on a server.

Version 2 of its API is spoken to both: it is the one in which texts are texts.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from orchestrator.errors import (
    ConfigError,
    IssueNotFound,
    TrackerError,
    TrackerMissing,
    TrackerRefused,
    Unanswered,
)
from orchestrator.forge.client import Dialect, Forge
from orchestrator.forge.fields import number, required, rows, text
from orchestrator.forge.marks import shortened
from orchestrator.forge.tales import Reading, bounded, ending, said_by
from orchestrator.pullrequests import Comment
from orchestrator.records import Issue, Outcome

DIALECT = Dialect(
    "Jira",
    {"x-atlassian-token": "no-check"},
    hint="set JIRA_TOKEN anew, and JIRA_EMAIL for Jira Cloud",
)
PROJECT = re.compile(r"[A-Z][A-Z0-9_]{0,30}")
API = "/rest/api/2"
FIELDS = "summary,description,labels,status,priority,creator,assignee,issuelinks,comment"
PROPERTY = "orchestrate"
COMMENTS = 500
PAGE = 100
PEOPLE = 50


class JiraTracker:
    """The issues of one project.

    Args:
        forge: the service.
        project: its key.
        reading: how states and priorities are read.
        write_back: whether a report is written as a comment.

    Raises:
        ConfigError: the project's key is none.
    """

    def __init__(
        self, forge: Forge, project: str, *, reading: Reading, write_back: bool = False
    ) -> None:
        if not PROJECT.fullmatch(project):
            raise ConfigError(f"tracker.project: {project!r} is not a Jira project's key, like ABC")
        self._forge = forge
        self._name = project
        self._reading = reading
        self._write_back = write_back
        self._cloud: bool | None = None
        self._known: dict[str, bool] = {}
        self._elsewhere: dict[str, Issue] = {}

    def key_of(self, said: str) -> str:
        """Return an issue's one key for any way to write it.

        Raises:
            IssueNotFound: it is none of this project's.
        """
        short = said.strip() if len(said) < 1000 else ""
        address = f"{self._forge.url}/browse/"
        if short.startswith(address):
            short = re.split(r"[/?#]", short.removeprefix(address), maxsplit=1)[0]
        found = re.fullmatch(rf"(?:{self._name}-)?([1-9][0-9]{{0,9}})", short, re.IGNORECASE)
        if found is None or not found[0].isascii():
            raise IssueNotFound(
                f"{said[:80]!r} is not an issue of {self._name}",
                hint=f"keys are like {self._name}-7, 7 or the issue's address",
            )
        return f"{self._name}-{found[1]}"

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
                f"issue {own} was moved, and is {text(data, 'key')[:40]} now",
                hint="work on it from its new project's own checkout",
            )
        issue = self._issue(data)
        comments = await self._comments(own) if number(data, "fields", "comment", "total") else ()
        return replace(issue, blocked_by=self._blockers(data), comments=comments)

    async def candidates(self, labels: Sequence[str], most: int) -> Sequence[Issue]:
        """Return open issues that carry all of the labels, oldest first."""
        wanted = "".join(f" AND labels = {_quoted(one)}" for one in labels)
        query = f"project = {_quoted(self._name)} AND statusCategory != Done{wanted}"
        found = await self._found(f"{query} ORDER BY created ASC", most)
        return [one for one in found if one.state == "open"]

    async def solved(self, most: int) -> Sequence[Issue]:
        """Return closed issues that had an assignee, newest first."""
        query = f"project = {_quoted(self._name)} AND statusCategory = Done"
        query += " AND assignee is not EMPTY ORDER BY created DESC"
        return [one for one in await self._found(query, most) if one.assignees]

    async def report(self, issue: Issue, outcome: Outcome) -> None:
        """Write how a run ended under the issue, if that was asked for; once a run."""
        if not self._write_back:
            return
        path = f"{API}/issue/{self.key_of(issue.key)}/comment"
        marker = f"report/{outcome.run}"
        body = {
            "body": _plain(ending(outcome)),
            "properties": [{"key": PROPERTY, "value": {"marker": marker}}],
        }
        for last in (False, True):
            said = await self._said(path, {"expand": "properties"})
            if any(marker in _markers(one) for one in said):
                return
            try:
                await self._forge.send("POST", path, body)
            except Unanswered:
                if last:
                    raise
            else:
                return

    # -- how it is done --------------------------------------------------------------------

    async def _found(self, query: str, most: int) -> list[Issue]:
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
            issues += [self._issue(one) for one in got if text(one, "fields", "summary")]
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
        listed = fields.get("labels") if isinstance(fields, dict) else None
        labels = tuple(one for one in listed or () if isinstance(one, str))
        level = text(fields, "priority", "name")
        assignee = _person(fields, "assignee")
        key = required(data, "Jira", "key")
        return Issue(
            key=key,
            title=" ".join(required(fields, "Jira", "summary").split())[:300],
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
                self._elsewhere[key] = replace(self._issue(blocker), body="")
            found.append(key)
        return tuple(dict.fromkeys(found))

    async def _comments(self, key: str) -> tuple[Comment, ...]:
        said = await self._said(f"{API}/issue/{key}/comment", {"expand": "properties"})
        open_ = [one for one in said if not one.get("visibility") and not _markers(one)]
        return tuple([await self._comment(key, one) for one in open_])

    async def _said(self, path: str, more: Mapping[str, str]) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        while True:
            params: dict[str, str | int] = {
                **more,
                "startAt": len(found),
                "maxResults": PAGE,
                "orderBy": "created",
            }
            page = await self._forge.get(path, params)
            if not isinstance(page, dict) or not isinstance(page.get("comments"), list):
                raise Unanswered("Jira answered without a list of comments")
            got = rows(page, "comments")
            found += got
            if not got or len(found) >= min(number(page, "total"), COMMENTS):
                return found

    async def _comment(self, key: str, data: dict[str, Any]) -> Comment:
        return said_by(
            _person(data, "author"),
            text(data, "body"),
            trusted=await self._is_known(key, data),
        )

    async def _is_known(self, key: str, data: dict[str, Any]) -> bool:
        """Tell whether a commenter works in the project: issues can be given to them."""
        cloud = text(data, "author", "accountId")
        if cloud and text(data, "author", "accountType") != "atlassian":
            return False  # customers of a service desk, and apps
        who = cloud or text(data, "author", "name")
        if not who or (who not in self._known and len(self._known) >= PEOPLE):
            return False
        if who not in self._known:
            asked = {"issueKey": key, "accountId" if cloud else "username": who}
            try:
                found = rows(await self._forge.get(f"{API}/user/assignable/search", asked))
            except (TrackerMissing, TrackerRefused):
                found = []
            names = {text(one, "accountId" if cloud else "name") for one in found}
            self._known[who] = who in names
        return self._known[who]


def _person(data: Any, role: str) -> str:
    """Return how somebody is called: a login on servers, a name in the cloud."""
    return text(data, role, "name") or text(data, role, "displayName")


def _markers(comment: dict[str, Any]) -> list[str]:
    return [
        text(one, "value", "marker")
        for one in rows(comment, "properties")
        if text(one, "key") == PROPERTY
    ]


def _quoted(value: str) -> str:
    """Return a text as JQL quotes it."""
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + "".join(char for char in escaped if char.isprintable()) + '"'


def _plain(body: str) -> str:
    """Return a text in which Jira's own marks mean nothing."""
    return shortened(re.sub(r"([\[\]{}])", r"\\\1", body.replace("**", "*")))
