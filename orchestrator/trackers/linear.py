"""Issues in Linear."""

from __future__ import annotations

import hashlib
import re
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

from orchestrator.errors import ConfigError, IssueNotFound, TrackerError, Unanswered
from orchestrator.forge.client import Dialect, Forge
from orchestrator.forge.fields import flag, required, rows, text
from orchestrator.forge.marks import shortened
from orchestrator.forge.refusals import message_of
from orchestrator.forge.tales import Reading, bounded, ending, said_by
from orchestrator.pullrequests import Comment
from orchestrator.records import Issue, Outcome

API = "https://api.linear.app"
DIALECT = Dialect("Linear", hint="the key is wrong, or was taken back; set LINEAR_API_KEY anew")
TEAM = re.compile(r"[A-Z][A-Z0-9]{0,10}")
CLOSED_TYPES = ("completed", "canceled", "duplicate")
PAGES = 40
FIELDS = """\
id identifier title description url priority priorityLabel createdAt
state { name type } labels(first: 50) { nodes { name } }
assignee { displayName } creator { displayName } team { key }"""
ISSUE = f"""\
query($id: String!) {{
  issue(id: $id) {{
    {FIELDS}
    inverseRelations(first: 50) {{ nodes {{ type issue {{ identifier }} }} }}
  }}
}}"""
COMMENTS = """\
query($id: String!, $after: String) {
  issue(id: $id) {
    comments(first: 100, after: $after) {
      pageInfo { hasNextPage endCursor }
      nodes { id body url createdAt user { displayName guest active } }
    }
  }
}"""
FOUND = f"""\
query($filter: IssueFilter!, $after: String) {{
  issues(filter: $filter, first: 50, after: $after, orderBy: createdAt) {{
    pageInfo {{ hasNextPage endCursor }}
    nodes {{ {FIELDS} }}
  }}
}}"""
WRITE = """\
mutation($input: CommentCreateInput!) { commentCreate(input: $input) { success } }"""


class LinearTracker:
    """The issues of one team.

    Args:
        forge: the service.
        team: its key.
        reading: how states and priorities are read.
        write_back: whether a report is written as a comment.

    Raises:
        ConfigError: the team's key is none.
    """

    def __init__(
        self, forge: Forge, team: str, *, reading: Reading, write_back: bool = False
    ) -> None:
        if not TEAM.fullmatch(team):
            raise ConfigError(f"tracker.project: {team!r} is not a Linear team's key, like ABC")
        self._forge = forge
        self._team = team
        self._reading = reading
        self._write_back = write_back

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
        own = re.fullmatch(rf"(?:{self._team}-)?([1-9][0-9]{{0,9}})", short, re.IGNORECASE)
        if own is None or not own[0].isascii():
            raise IssueNotFound(
                f"{said[:80]!r} is not an issue of {self._team}",
                hint=f"keys are like {self._team}-7, 7 or the issue's address",
            )
        return f"{self._team}-{own[1]}"

    async def fetch(self, key: str) -> Issue:
        """Return an issue with its comments and what blocks it.

        Raises:
            IssueNotFound: there is none, or it was moved.
            TrackerError: Linear cannot be asked.
        """
        own = key if re.fullmatch(r"[A-Z][A-Z0-9]{0,10}-[1-9][0-9]{0,9}", key) else self.key_of(key)
        data = (await self._asked(ISSUE, {"id": own}, own)).get("issue")
        if not isinstance(data, dict):
            raise IssueNotFound(f"no issue {own} in Linear")
        if text(data, "identifier") != own:
            raise IssueNotFound(
                f"issue {own} was moved, and is {text(data, 'identifier')[:40]} now"
            )
        if text(data, "team", "key") != self._team:
            # Only asked for as what blocks another one: its text is not this team's.
            return self._issue({**data, "description": ""})
        blockers = tuple(
            required(one, "Linear", "issue", "identifier")
            for one in rows(data, "inverseRelations", "nodes")
            if text(one, "type") == "blocks"
        )
        return self._issue(data, blockers, await self._comments(own))

    async def candidates(self, labels: Sequence[str], most: int) -> Sequence[Issue]:
        """Return open issues that carry all of the labels, oldest first."""
        carried = [{"labels": {"some": {"name": {"eq": one}}}} for one in labels]
        state = {"state": {"type": {"nin": list(CLOSED_TYPES)}}}
        found = await self._found({"and": [state, *carried]})
        issues = [self._issue(one) for one in found]
        return [one for one in issues if one.state == "open"][:most]

    async def solved(self, most: int) -> Sequence[Issue]:
        """Return closed issues that had an assignee, newest first."""
        state = {"state": {"type": {"eq": "completed"}}, "assignee": {"null": False}}
        found = await self._found(state, most)
        return [one for one in map(self._issue, found[::-1]) if one.assignees][:most]

    async def report(self, issue: Issue, outcome: Outcome) -> None:
        """Write how a run ended under the issue, if that was asked for; once a run."""
        if not self._write_back:
            return
        key = self.key_of(issue.key)
        data = (await self._asked(ISSUE, {"id": key}, key)).get("issue")
        # A comment's id may be chosen: the same one is not made twice.
        chosen = _chosen(hashlib.sha256(f"{key}/{outcome.run}".encode()).digest()[:6])
        there = {text(one, "id") for one in await self._said(key)}
        if chosen in there:
            return
        sent = {
            "id": chosen,
            "issueId": required(data, "Linear", "id"),
            "body": shortened(ending(outcome)),
        }
        try:
            await self._asked(WRITE, {"input": sent}, key, again=False)
        except Unanswered:
            if chosen not in {text(one, "id") for one in await self._said(key)}:
                raise

    # -- how it is done --------------------------------------------------------------------

    async def _found(self, more: Mapping[str, Any], most: int | None = None) -> list[Any]:
        """Return issues, oldest first; Linear lists the newest first."""
        wanted = {"team": {"key": {"eq": self._team}}, **more}
        found: list[Any] = []
        after: str | None = None
        for _ in range(PAGES):
            data = await self._asked(FOUND, {"filter": wanted, "after": after}, "issues")
            if not isinstance(data.get("issues"), dict):
                raise Unanswered("Linear answered without a list of issues")
            found += [one for one in rows(data, "issues", "nodes") if text(one, "title")]
            enough = most is not None and len(found) >= most
            if enough or not flag(data, "issues", "pageInfo", "hasNextPage"):
                return sorted(found, key=lambda one: text(one, "createdAt"))
            after = required(data, "Linear", "issues", "pageInfo", "endCursor")
        raise TrackerError(
            f"Linear has more than {PAGES * 50} such issues", hint="ask for one label more"
        )

    def _issue(
        self, data: Any, blockers: tuple[str, ...] = (), comments: tuple[Comment, ...] = ()
    ) -> Issue:
        labels = tuple(name for one in rows(data, "labels", "nodes") if (name := text(one, "name")))
        level = text(data, "priorityLabel")
        closed = text(data, "state", "type") in CLOSED_TYPES
        assignee = text(data, "assignee", "displayName")
        own = "" if level == "No priority" else level
        return Issue(
            key=required(data, "Linear", "identifier"),
            title=" ".join(required(data, "Linear", "title").split())[:300],
            body=bounded(text(data, "description")),
            labels=labels,
            state=self._reading.state_of(
                text(data, "state", "name"), "closed" if closed else "open"
            ),
            priority=self._reading.priority_of([*labels, level]) or own,
            author=text(data, "creator", "displayName"),
            assignees=(assignee,) if assignee else (),
            blocked_by=blockers,
            url=text(data, "url"),
            assigned_to_people=True,
            comments=comments,
        )

    async def _comments(self, key: str) -> tuple[Comment, ...]:
        """Return what was said; members of the workspace may write, guests and bots not."""
        return tuple(
            said_by(
                text(one, "user", "displayName"),
                text(one, "body"),
                trusted=isinstance(one.get("user"), dict)
                and one["user"].get("guest") is False
                and one["user"].get("active") is True,
                url=text(one, "url"),
            )
            for one in await self._said(key)
            if not _is_ours(text(one, "id"))
        )

    async def _said(self, key: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        after: str | None = None
        where = ("issue", "comments")
        for _ in range(10):
            data = await self._asked(COMMENTS, {"id": key, "after": after}, key)
            found += rows(data, *where, "nodes")
            if not flag(data, *where, "pageInfo", "hasNextPage"):
                break
            after = required(data, "Linear", *where, "pageInfo", "endCursor")
        return sorted(found, key=lambda one: text(one, "createdAt"))

    async def _asked(
        self, query: str, variables: Mapping[str, Any], key: str, *, again: bool = True
    ) -> dict[str, Any]:
        sent = {"query": query, "variables": dict(variables)}
        answer = await self._forge.send("POST", "/graphql", sent, again=again)
        said = message_of(answer)
        if isinstance(answer, dict) and answer.get("errors"):
            if "not found" in said.lower():
                raise IssueNotFound(f"no issue {key} in Linear: {said}")
            raise Unanswered(f"Linear answered: {said}")
        data = answer.get("data") if isinstance(answer, dict) else None
        if not isinstance(data, dict):
            raise Unanswered("Linear answered with what is no data")
        return data


def _chosen(seed: bytes) -> str:
    """Return a comment's id in which the first half tells the second: so ours are known again."""
    rest = hashlib.sha256(b"orchestrate" + seed).digest()[:10]
    return str(uuid.UUID(bytes=seed + rest, version=4))


def _is_ours(identity: str) -> bool:
    try:
        return _chosen(uuid.UUID(identity).bytes[:6]) == identity
    except ValueError:
        return False
