"""Issues in Linear."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from orchestrator.errors import IssueNotFound, TrackerConflict, TrackerError, Unanswered
from orchestrator.forge.client import Forge
from orchestrator.forge.fields import flag, required, rows, text
from orchestrator.forge.linear import LinearTeam, has_our_id, may_write
from orchestrator.forge.refusals import one_line
from orchestrator.forge.tales import (
    UNMOVED,
    Reading,
    Stage,
    bounded,
    called,
    ending,
    said_by,
    titled,
)
from orchestrator.pullrequests import Comment
from orchestrator.records import Issue, Outcome
from orchestrator.settings import MoveSettings

CLOSED_TYPES = ("completed", "canceled", "duplicate")
PAGES = 40
COMMENT_PAGES = 10
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
FOUND = f"""\
query($filter: IssueFilter!, $after: String) {{
  issues(filter: $filter, first: 50, after: $after, orderBy: createdAt) {{
    pageInfo {{ hasNextPage endCursor }}
    nodes {{ {FIELDS} }}
  }}
}}"""
STATES = """\
query($id: String!) {
  issue(id: $id) {
    id identifier state { name type } team { states(first: 100) { nodes { id name } } }
  }
}"""
MOVE = """\
mutation($id: String!, $input: IssueUpdateInput!) {
  issueUpdate(id: $id, input: $input) { success }
}"""


class LinearTracker:
    """The issues of one team.

    Args:
        forge: the service.
        team: its key.
        reading: how states and priorities are read.
        write_back: whether a report is written as a comment.
        moves: the states that show how far work is.

    Raises:
        ConfigError: the team's key is none.
    """

    def __init__(
        self,
        forge: Forge,
        team: str,
        *,
        reading: Reading,
        write_back: bool = False,
        moves: MoveSettings = UNMOVED,
    ) -> None:
        self._its = LinearTeam(forge, team)
        self._team = team
        self._reading = reading
        self._write_back = write_back
        self._moves = moves

    def key_of(self, said: str) -> str:
        """Return an issue's one key for any way to write it.

        Raises:
            IssueNotFound: it is none of this team's.
        """
        return self._its.key_of(said)

    async def fetch(self, key: str) -> Issue:
        """Return an issue with its comments and what blocks it.

        Raises:
            IssueNotFound: there is none, or it was moved.
            TrackerError: Linear cannot be asked.
        """
        own = key if re.fullmatch(r"[A-Z][A-Z0-9]{0,10}-[1-9][0-9]{0,9}", key) else self.key_of(key)
        data = (await self._its.asked(ISSUE, {"id": own}, own)).get("issue")
        if not isinstance(data, dict):
            raise IssueNotFound(f"no issue {own} in Linear")
        if text(data, "identifier") != own:
            raise IssueNotFound(
                f"issue {own} was moved, and is {called(text(data, 'identifier'))} now"
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
        if self._write_back:
            key, marker = self.key_of(issue.key), f"report/{outcome.run}"
            await self._its.commented(key, marker, ending(outcome), edit=False)

    async def move(self, issue: Issue, to: Stage) -> None:
        """Bring an issue to the state of its team's that the settings name.

        Raises:
            TrackerError: there is no such state, or Linear does not take it.
        """
        wanted: str = getattr(self._moves, to)
        if not wanted:
            return
        key = self.key_of(issue.key)
        data = (await self._its.asked(STATES, {"id": key}, key)).get("issue")
        if required(data, "Linear", "identifier") != key:
            raise IssueNotFound(f"issue {key} was moved to another team")
        name = text(data, "state", "name")
        if _same(name, wanted) or self._state(data) == "closed":
            return
        there = rows(data, "team", "states", "nodes")
        found = next((one for one in there if _same(text(one, "name"), wanted)), None)
        if found is None:
            known = ", ".join(text(one, "name") for one in there) or "none"
            raise TrackerConflict(
                f"team {self._team} has no state {wanted}",
                hint=one_line(f"look at tracker.moves; its states are: {known}"),
            )
        sent = {"id": required(data, "Linear", "id")}
        state = {"stateId": required(found, "Linear", "id")}
        await self._its.asked(MOVE, {**sent, "input": state}, key)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._its.forge.aclose()

    # -- how it is done --------------------------------------------------------------------

    async def _found(self, more: Mapping[str, Any], most: int | None = None) -> list[Any]:
        """Return issues, oldest first; Linear lists the newest first."""
        wanted = {"team": {"key": {"eq": self._team}}, **more}
        found: list[Any] = []
        after: str | None = None
        for _ in range(PAGES):
            data = await self._its.asked(FOUND, {"filter": wanted, "after": after}, "issues")
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
        assignee = called(text(data, "assignee", "displayName"))
        own = "" if level == "No priority" else level
        return Issue(
            key=required(data, "Linear", "identifier"),
            title=titled(required(data, "Linear", "title")),
            body=bounded(text(data, "description")),
            labels=labels,
            state=self._state(data),
            priority=self._reading.priority_of([*labels, level]) or own,
            author=called(text(data, "creator", "displayName")),
            assignees=(assignee,) if assignee else (),
            blocked_by=blockers,
            url=text(data, "url"),
            assigned_to_people=True,
            comments=comments,
        )

    def _state(self, data: Any) -> str:
        closed = text(data, "state", "type") in CLOSED_TYPES
        return self._reading.state_of(text(data, "state", "name"), "closed" if closed else "open")

    async def _comments(self, key: str) -> tuple[Comment, ...]:
        """Return what was said; members of the workspace may write, guests and bots not."""
        return tuple(
            said_by(
                text(one, "user", "displayName"),
                text(one, "body"),
                trusted=may_write(one),
                url=text(one, "url"),
            )
            for one in await self._its.said(key, pages=COMMENT_PAGES)
            if not has_our_id(text(one, "id"))
        )


def _same(name: str, other: str) -> bool:
    return name.strip().casefold() == other.strip().casefold()
