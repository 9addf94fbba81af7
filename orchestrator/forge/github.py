"""What trackers and code hosts share of GitHub: its keys, its people, its comments."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, urlsplit

from orchestrator.errors import (
    ConfigError,
    IssueNotFound,
    TrackerMissing,
    TrackerRefused,
    Unanswered,
)
from orchestrator.forge.client import Dialect, Forge
from orchestrator.forge.fields import counted, required, rows, text
from orchestrator.forge.marks import hidden, marked

API_VERSION = "2022-11-28"
DIALECT = Dialect(
    "GitHub",
    {"accept": "application/vnd.github+json", "x-github-api-version": API_VERSION},
    hint="the token is wrong, or has run out; set GITHUB_TOKEN anew",
)
API = "https://api.github.com"
PROJECT = re.compile(r"([A-Za-z0-9][A-Za-z0-9_-]{0,38})/([A-Za-z0-9._-]{1,100})")
LOGIN = re.compile(r"[A-Za-z0-9_-]{1,39}")
"""People's; those that a company manages hold an underline, an App's has brackets."""
KEY = re.compile(
    r"(?:(?P<project>[A-Za-z0-9_-]{1,39}/[A-Za-z0-9._-]{1,100})?#)?(?P<number>[1-9][0-9]{0,9})"
)
MAY_WRITE = {"admin", "maintain", "write"}
TIES = {"OWNER", "MEMBER", "COLLABORATOR", "CONTRIBUTOR"}
"""Who may be one that may write; an App sees some members as contributors only."""
MOST = 10_000
"""Comments under one issue: GitHub takes 2,500."""
PEOPLE = 50
"""How many commenters are looked up; the rest count as strangers."""


def project_of(text_: str) -> str:
    """Return ``owner/name`` as GitHub writes it.

    Raises:
        ConfigError: that is none.
    """
    if PROJECT.fullmatch(text_) and text_.rpartition("/")[2] not in {".", ".."}:
        return text_
    raise ConfigError(f"tracker.project: {text_!r} is not like owner/name")


def api_of(base_url: str) -> str:
    """Return where the API is, for GitHub itself or an Enterprise server's address."""
    if not base_url:
        return API
    parts = urlsplit(base_url)
    if parts.hostname in {"github.com", "www.github.com", "api.github.com"}:
        return API
    if parts.hostname and parts.hostname.endswith(".ghe.com"):
        name = parts.hostname.removeprefix("api.")
        return f"https://api.{name}"
    trimmed = base_url.rstrip("/").removesuffix("/v3").removesuffix("/api")
    return f"{trimmed}/api"


def rest_of(api: str) -> str:
    """Return what paths of REST begin with: an Enterprise server's are below ``/api/v3``."""
    return "/v3" if api.endswith("/api") else ""


def web_of(api: str) -> str:
    """Return the address that people and git use, for an API's."""
    parts = urlsplit(api)
    if parts.hostname and parts.hostname.startswith("api."):
        return f"{parts.scheme}://{parts.netloc.removeprefix('api.')}"
    return f"{parts.scheme}://{parts.netloc}{parts.path.removesuffix('/api')}"


class GitHubProject:
    """One repository on GitHub, as trackers and hosts ask for it.

    Args:
        forge: the service.
        project: ``owner/name``.
    """

    def __init__(self, forge: Forge, project: str) -> None:
        self.forge = forge
        self.name = project_of(project)
        self.top = rest_of(forge.url)
        self.path = f"{self.top}/repos/{self.name}"
        self.web = f"{web_of(forge.url)}/{self.name}"
        self._writers: dict[str, bool] = {}
        self._own = ""

    def number_of(self, said: str) -> str:
        """Return an issue's number from any way to write it.

        Raises:
            IssueNotFound: it is none, or another project's.
        """
        short = said.strip() if len(said) < 400 else ""
        for part in ("/issues/", "/pull/"):
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
        """Forget who may write: it may have changed, and each issue has its own fifty people."""
        self._writers.clear()

    async def may_write(self, login: str, association: str) -> bool:
        """Tell whether somebody may write to the repository; in doubt, no."""
        if association not in TIES or not LOGIN.fullmatch(login):
            return False
        if login not in self._writers:
            if len(self._writers) >= PEOPLE:
                return False
            self._writers[login] = await self._permitted(login)
        return self._writers[login]

    async def _permitted(self, login: str) -> bool:
        try:
            found = await self.forge.get(
                f"{self.path}/collaborators/{quote(login, safe='')}/permission"
            )
        except (TrackerMissing, TrackerRefused):
            return False
        return text(found, "permission") in MAY_WRITE

    async def own_login(self) -> str:
        """Return the login that this credential writes under; an App's ends in ``[bot]``."""
        if not self._own:
            found = await self.graphql("query { viewer { login } }", {})
            self._own = required(found, "GitHub", "viewer", "login")
        return self._own

    async def graphql(self, query: str, variables: Mapping[str, Any]) -> dict[str, Any]:
        """Ask in GraphQL, for what GitHub has in no other way, and what may be done twice."""
        sent = {"query": query, "variables": dict(variables)}
        answer = await self.forge.send("POST", "/graphql", sent, again=True)
        data = answer.get("data") if isinstance(answer, dict) else None
        if not isinstance(data, dict) or answer.get("errors"):
            # An error of GitHub's own, which passes, is of no type.
            passing = not any(text(one, "type") for one in rows(answer, "errors"))
            told = f"GitHub answered a GraphQL query: {self.forge.told(answer)}"
            raise Unanswered(told, retryable=passing)
        return data

    async def commented(self, number: str, marker: str, body: str) -> str:
        """Write a comment, or edit ours that has the marker; return its address."""
        path = f"{self.path}/issues/{number}/comments"
        whole = marked(marker, body)
        for last in (False, True):
            there = await self._marked(path, marker)
            if there is not None:
                if text(there, "body") == whole:
                    return text(there, "html_url")
                where = f"{self.path}/issues/comments/{counted(there, 'GitHub', 'id')}"
                try:
                    sent = await self.forge.send("PATCH", where, {"body": whole}, again=True)
                except TrackerMissing:
                    if last:
                        raise
                    continue  # somebody deleted it meanwhile
                return text(sent, "html_url")
            try:
                sent = await self.forge.send("POST", path, {"body": whole})
                return text(sent, "html_url")
            except Unanswered:
                if last:
                    raise
        raise AssertionError

    async def _marked(self, path: str, marker: str) -> dict[str, Any] | None:
        mark = hidden(marker)
        found = await self.forge.pages(path, {"per_page": 100}, most=MOST)
        with_mark = [one for one in rows(found) if text(one, "body").startswith(mark)]
        if not with_mark:
            return None
        own = await self.own_login()
        # Not whoever has the same name without the brackets of an App's.
        ours = [one for one in with_mark if text(one, "user", "login") == own]
        return ours[0] if ours else None


def is_pull_request(data: Any) -> bool:
    """Tell whether what GitHub calls an issue is a pull request."""
    return isinstance(data, dict) and isinstance(data.get("pull_request"), dict)
