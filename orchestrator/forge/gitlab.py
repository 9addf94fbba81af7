"""What trackers and code hosts share of GitLab: its keys, its people, its notes."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import quote

from orchestrator.errors import (
    ConfigError,
    IssueNotFound,
    TrackerMissing,
    TrackerRefused,
    Unanswered,
)
from orchestrator.forge.client import Dialect, Forge
from orchestrator.forge.fields import counted, number, rows, text
from orchestrator.forge.marks import hidden, marked

DIALECT = Dialect(
    "GitLab", hint="the token is wrong, or has run out; set GITLAB_TOKEN anew (scope: api)"
)
WEB = "https://gitlab.com"
PROJECT = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*(?:/[A-Za-z0-9_][A-Za-z0-9_.-]*){1,20}")
KEY = re.compile(r"(?:(?P<project>[A-Za-z0-9_./-]{1,500})?#)?(?P<number>[1-9][0-9]{0,9})")
DEVELOPER = 30
"""The least access level that may push."""
PEOPLE = 50
MOST = 10_000
"""Notes under one issue that are looked through for ours; more are an error."""


def api_of(base_url: str) -> str:
    """Return where the API is, for GitLab itself or a server's address."""
    return f"{(base_url or WEB).rstrip('/').removesuffix('/api/v4')}/api/v4"


class GitLabProject:
    """One project on GitLab, as trackers and hosts ask for it.

    Args:
        forge: the service.
        project: ``group/name``.

    Raises:
        ConfigError: that is no project.
    """

    def __init__(self, forge: Forge, project: str) -> None:
        if not PROJECT.fullmatch(project):
            raise ConfigError(f"tracker.project: {project!r} is not like group/name")
        self.forge = forge
        self.name = project
        self.path = f"/projects/{quote(project, safe='')}"
        self.server = forge.url.removesuffix("/api/v4")
        self.web = f"{self.server}/{project}"
        self._writers: dict[str, bool] = {}
        self._own = ""

    def number_of(self, said: str) -> str:
        """Return an issue's number from any way to write it.

        Raises:
            IssueNotFound: it is none, or another project's.
        """
        short = said.strip() if len(said) < 1000 else ""
        for part in ("/-/issues/", "/issues/", "/-/work_items/"):
            if short.lower().startswith(f"{self.web}{part}".lower()):
                short = re.split(r"[/?#]", short[len(self.web) + len(part) :], maxsplit=1)[0]
                break
        found = KEY.fullmatch(short)
        if found is None:
            raise IssueNotFound(
                f"{said[:80]!r} is not an issue of {self.name}",
                hint=f"keys are like 123, #123, {self.name}#123 or the issue's address",
            )
        if (found["project"] or self.name).lower() != self.name.lower():
            raise IssueNotFound(
                f"issue {short} is in another project than {self.name}",
                hint="work on it from that project's own checkout",
            )
        return found["number"]

    def look_anew(self) -> None:
        """Forget who may push: it may have changed, and each issue has its own fifty people."""
        self._writers.clear()

    async def may_write(self, person: str) -> bool:
        """Tell whether somebody, by id, may push to the project; in doubt, no."""
        if not person.isascii() or not person.isdigit():
            return False
        if person not in self._writers:
            if len(self._writers) >= PEOPLE:
                return False
            self._writers[person] = await self._permitted(person)
        return self._writers[person]

    async def _permitted(self, person: str) -> bool:
        try:
            found = await self.forge.get(f"{self.path}/members/all/{person}")
        except (TrackerMissing, TrackerRefused):
            return False
        active = text(found, "state") in {"", "active"}
        return active and number(found, "access_level") >= DEVELOPER

    async def own_id(self) -> str:
        """Return the id of the account that this credential writes as."""
        if not self._own:
            self._own = counted(await self.forge.get("/user"), "GitLab", "id")
        return self._own

    async def noted(self, path: str, marker: str, body: str) -> str:
        """Write a note below a path, or edit ours that has the marker; return its id."""
        notes = f"{self.path}{path}/notes"
        whole = marked(marker, body)
        for last in (False, True):
            there = await self._marked(notes, marker)
            if there is not None:
                identity = counted(there, "GitLab", "id")
                if text(there, "body") != whole:
                    await self.forge.send("PUT", f"{notes}/{identity}", {"body": whole}, again=True)
                return identity
            try:
                return text(await self.forge.send("POST", notes, {"body": whole}), "id")
            except Unanswered:
                if last:
                    raise
        raise AssertionError

    async def _marked(self, notes: str, marker: str) -> dict[str, Any] | None:
        mark = hidden(marker)
        params: dict[str, str | int] = {"per_page": 100, "sort": "asc", "order_by": "created_at"}
        found = await self.forge.pages(notes, params, most=MOST)
        with_mark = [one for one in rows(found) if text(one, "body").startswith(mark)]
        if not with_mark:
            return None
        own = await self.own_id()
        return next((one for one in with_mark if text(one, "author", "id") == own), None)
