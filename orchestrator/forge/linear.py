"""What trackers and boards share of Linear: its keys, its people, its comments."""

from __future__ import annotations

import hashlib
import re
import uuid
from collections.abc import Mapping
from typing import Any

from orchestrator.errors import ConfigError, IssueNotFound, TrackerError, Unanswered
from orchestrator.forge.client import Dialect, Forge
from orchestrator.forge.fields import flag, required, rows, text
from orchestrator.forge.lines import last_line, lined

API = "https://api.linear.app"
DIALECT = Dialect("Linear", hint="the key is wrong, or was taken back; set LINEAR_API_KEY anew")
TEAM = re.compile(r"[A-Z][A-Z0-9]{0,10}")
PAGES = 50
WHO = "query { viewer { id } }"
NAMED = "query($id: String!) { issue(id: $id) { id identifier } }"
COMMENTS = """\
query($id: String!, $after: String) {
  issue(id: $id) {
    comments(first: 100, after: $after) {
      pageInfo { hasNextPage endCursor }
      nodes { id body url createdAt user { id displayName guest active } }
    }
  }
}"""
WRITE = """\
mutation($input: CommentCreateInput!) { commentCreate(input: $input) { success } }"""
EDIT = """\
mutation($id: String!, $input: CommentUpdateInput!) {
  commentUpdate(id: $id, input: $input) { success }
}"""


class LinearTeam:
    """One team in Linear, as trackers and boards ask for it.

    Args:
        forge: the service.
        team: its key.

    Raises:
        ConfigError: the team's key is none.
    """

    def __init__(self, forge: Forge, team: str) -> None:
        if not TEAM.fullmatch(team):
            raise ConfigError(f"tracker.project: {team!r} is not a Linear team's key, like ABC")
        self.forge = forge
        self.name = team
        self._own = ""

    def key_of(self, said: str) -> str:
        """Return an issue's one key for any way to write it.

        Raises:
            IssueNotFound: it is none of this team's.
        """
        short = said.strip() if len(said) < 1000 else ""
        found = re.match(
            r"https://linear\.app/[\w-]{1,80}/issue/([A-Za-z0-9-]{1,30})(?:[/?#]|$)", short
        )
        short = found[1] if found else short
        own = re.fullmatch(rf"(?:{self.name}-)?([1-9][0-9]{{0,9}})", short, re.IGNORECASE)
        if own is None or not own[0].isascii():
            raise IssueNotFound(
                f"{said[:80]!r} is not an issue of {self.name}",
                hint=f"keys are like {self.name}-7, 7 or the issue's address",
            )
        return f"{self.name}-{own[1]}"

    async def asked(
        self, query: str, variables: Mapping[str, Any], key: str, *, again: bool = True
    ) -> dict[str, Any]:
        """Ask in GraphQL; ``again`` tells whether asking twice does no harm.

        Raises:
            IssueNotFound: Linear says that what the query names is not there.
            TrackerError: no answer that counts came.
        """
        sent = {"query": query, "variables": dict(variables)}
        answer = await self.forge.send("POST", "/graphql", sent, again=again)
        if isinstance(answer, dict) and answer.get("errors"):
            said = self.forge.told(answer)
            if "not found" in said.lower():
                raise IssueNotFound(f"no issue {key} in Linear: {said}")
            raise Unanswered(f"Linear answered: {said}")
        data = answer.get("data") if isinstance(answer, dict) else None
        if not isinstance(data, dict):
            raise Unanswered("Linear answered with what is no data")
        return data

    async def said(self, key: str, *, pages: int = PAGES) -> list[dict[str, Any]]:
        """Return comments of an issue, the oldest first; the newest of so many pages.

        Raises:
            TrackerError: they cannot be had.
        """
        found: list[dict[str, Any]] = []
        after: str | None = None
        where = ("issue", "comments")
        for _ in range(pages):
            data = await self.asked(COMMENTS, {"id": key, "after": after}, key)
            if not isinstance(data.get("issue"), dict):
                raise Unanswered("Linear answered without a list of comments")
            found += rows(data, *where, "nodes")
            if not flag(data, *where, "pageInfo", "hasNextPage"):
                break
            after = required(data, "Linear", *where, "pageInfo", "endCursor")
        else:
            if pages >= PAGES:
                raise TrackerError(f"issue {key} has more than {pages * 100} comments")
        return sorted(found, key=lambda one: (text(one, "createdAt"), text(one, "id")))

    async def is_ours(self, comment: dict[str, Any]) -> bool:
        """Tell whether this account wrote a comment."""
        if not self._own:
            self._own = required(await self.asked(WHO, {}, "viewer"), "Linear", "viewer", "id")
        return text(comment, "user", "id") == self._own

    async def commented(self, key: str, marker: str, body: str, *, edit: bool) -> None:
        """Write a comment with a marker once, or edit ours that has it.

        A comment's id may be chosen: the same one is not made twice, whatever happens to answers.

        Raises:
            TrackerError: it cannot be written.
        """
        whole = lined(marker, body)
        chosen = _chosen(hashlib.sha256(f"{key}/{marker}".encode()).digest()[:6])
        for last in (False, True):
            there = next((one for one in await self.said(key) if text(one, "id") == chosen), None)
            if there is not None:
                if edit and text(there, "body").strip() != whole.strip():
                    await self.asked(EDIT, {"id": chosen, "input": {"body": whole}}, key)
                return
            issue = (await self.asked(NAMED, {"id": key}, key)).get("issue")
            sent = {"id": chosen, "issueId": required(issue, "Linear", "id"), "body": whole}
            try:
                await self.asked(WRITE, {"input": sent}, key, again=False)
            except Unanswered:
                if last:
                    raise
            else:
                return


def may_write(comment: dict[str, Any]) -> bool:
    """Tell whether a member of the workspace wrote a comment: no guest, no bot, nobody who left."""
    return flag(comment, "user", "active") and comment["user"].get("guest") is False


def marker_of(comment: dict[str, Any]) -> str:
    """Return the marker of a comment of ours; its id tells that it is one, whoever copied it."""
    return last_line(text(comment, "body")) if has_our_id(text(comment, "id")) else ""


def _chosen(seed: bytes) -> str:
    """Return a comment's id in which the first half tells the second: so ours are known again."""
    rest = hashlib.sha256(b"orchestrate" + seed).digest()[:10]
    return str(uuid.UUID(bytes=seed + rest, version=4))


def has_our_id(identity: str) -> bool:
    """Tell whether a comment's id is one that this program chooses."""
    try:
        return _chosen(uuid.UUID(identity).bytes[:6]) == identity
    except ValueError:
        return False
