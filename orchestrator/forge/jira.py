"""What trackers and boards share of Jira: its keys, its people, its comments."""

from __future__ import annotations

import re
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
from orchestrator.forge.fields import counted, number, required, rows, text
from orchestrator.forge.lines import last_line, lined

DIALECT = Dialect(
    "Jira",
    {"x-atlassian-token": "no-check"},
    hint="set JIRA_TOKEN anew, and JIRA_EMAIL for Jira Cloud",
)
PROJECT = re.compile(r"[A-Z][A-Z0-9_]{0,30}")
API = "/rest/api/2"
PROPERTY = "orchestrate"
INTERNAL = {"key": "sd.public.comment", "value": {"internal": True}}
"""Keeps a comment from the customers of a service desk; elsewhere it means nothing."""
PAGE = 100
PEOPLE = 50
MOST = 5000
"""Comments under one issue that are looked through for ours; more are an error."""


class JiraProject:
    """One project in Jira, as trackers and boards ask for it.

    Args:
        forge: the service.
        project: its key.

    Raises:
        ConfigError: the project's key is none.
    """

    def __init__(self, forge: Forge, project: str) -> None:
        if not PROJECT.fullmatch(project):
            raise ConfigError(f"tracker.project: {project!r} is not a Jira project's key, like ABC")
        self.forge = forge
        self.name = project
        self._known: dict[str, bool] = {}
        self._own = ""

    def key_of(self, said: str) -> str:
        """Return an issue's one key for any way to write it.

        Raises:
            IssueNotFound: it is none of this project's.
        """
        short = said.strip() if len(said) < 1000 else ""
        address = f"{self.forge.url}/browse/"
        if short.startswith(address):
            short = re.split(r"[/?#]", short.removeprefix(address), maxsplit=1)[0]
        found = re.fullmatch(rf"(?:{self.name}-)?([1-9][0-9]{{0,9}})", short, re.IGNORECASE)
        if found is None or not found[0].isascii():
            raise IssueNotFound(
                f"{said[:80]!r} is not an issue of {self.name}",
                hint=f"keys are like {self.name}-7, 7 or the issue's address",
            )
        return f"{self.name}-{found[1]}"

    def look_anew(self) -> None:
        """Forget who works in the project: it may have changed, and fifty people are looked up."""
        self._known.clear()

    async def said(self, key: str, most: int, *, start: int = 0) -> list[dict[str, Any]]:
        """Return ``most`` comments of an issue, the oldest first, or all that follow a start."""
        found: list[dict[str, Any]] = []
        while True:
            params: dict[str, str | int] = {
                "expand": "properties",
                "startAt": start + len(found),
                "maxResults": PAGE,
                "orderBy": "created",
            }
            page = await self.forge.get(f"{API}/issue/{key}/comment", params)
            if not isinstance(page, dict) or not isinstance(page.get("comments"), list):
                raise Unanswered("Jira answered without a list of comments")
            got = rows(page, "comments")
            found += got
            if not got or len(found) >= min(number(page, "total") - start, most):
                return found[:most]

    async def all_said(self, key: str) -> list[dict[str, Any]]:
        """Return all comments of an issue.

        Raises:
            TrackerError: there are too many to be looked through.
        """
        found = await self.said(key, MOST + 1)
        if len(found) > MOST:
            raise TrackerError(f"issue {key} has more than {MOST} comments")
        return found

    async def is_known(self, key: str, comment: dict[str, Any]) -> bool:
        """Tell whether a commenter works in the project: issues can be given to them."""
        cloud = text(comment, "author", "accountId")
        if cloud and text(comment, "author", "accountType") != "atlassian":
            return False  # customers of a service desk, and apps
        who = cloud or text(comment, "author", "name")
        if not who or (who not in self._known and len(self._known) >= PEOPLE):
            return False
        if who not in self._known:
            asked = {"issueKey": key, "accountId" if cloud else "username": who}
            try:
                found = rows(await self.forge.get(f"{API}/user/assignable/search", asked))
            except (TrackerMissing, TrackerRefused):
                found = []
            names = {text(one, "accountId" if cloud else "name") for one in found}
            self._known[who] = who in names
        return self._known[who]

    async def is_ours(self, comment: dict[str, Any]) -> bool:
        """Tell whether this account wrote a comment."""
        if not self._own:
            told = await self.forge.get(f"{API}/myself")
            self._own = text(told, "accountId") or required(told, "Jira", "name")
        author = comment.get("author")
        return self._own in {text(author, "accountId"), text(author, "name")}

    async def commented(self, key: str, marker: str, body: str, *, edit: bool) -> None:
        """Write a comment with a marker once, or edit ours that has it.

        Raises:
            TrackerError: it cannot be written.
        """
        path = f"{API}/issue/{key}/comment"
        whole = lined(marker, body)
        for last in (False, True):
            there = [one for one in await self.all_said(key) if marker in markers_of(one)]
            ours = [one for one in there if await self.is_ours(one)]
            if ours:
                if edit and text(ours[0], "body").strip() != whole.strip():
                    where = f"{path}/{counted(ours[0], 'Jira', 'id')}"
                    await self.forge.send("PUT", where, {"body": whole}, again=True)
                return
            properties = [{"key": PROPERTY, "value": {"marker": marker}}, INTERNAL]
            try:
                await self.forge.send("POST", path, {"body": whole, "properties": properties})
            except Unanswered:
                if last:
                    raise
            else:
                return


def is_for_all(comment: dict[str, Any]) -> bool:
    """Tell whether a comment is for all who see the issue: neither restricted, nor internal."""
    return not comment.get("visibility") and comment.get("jsdPublic") is not False


def markers_of(comment: dict[str, Any]) -> list[str]:
    """Return the markers of a comment: of its last line, and of a property where Jira tells."""
    told = [
        text(one, "value", "marker")
        for one in rows(comment, "properties")
        if text(one, "key") == PROPERTY
    ]
    return [one for one in dict.fromkeys([last_line(text(comment, "body")), *told]) if one]
