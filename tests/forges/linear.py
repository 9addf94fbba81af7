"""A Linear of our own: issues and comments of one team."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from tests.forges.server import Asked, Reply

TOKEN = "lin_api_canary0123456789"


STATES = [("Todo", "unstarted"), ("In Progress", "started"), ("In Review", "started")]
STATES += [("To Do", "unstarted"), ("Done", "completed")]


def issue(number: int, team: str = "ABC", **changes: Any) -> dict[str, Any]:
    """Build an issue as Linear has it."""
    return {
        "id": f"uuid-{number}",
        "identifier": f"{team}-{number}",
        "title": f"Issue {number}",
        "description": "Do it.",
        "url": f"https://linear.app/acme/issue/{team}-{number}",
        "priorityLabel": "High",
        "createdAt": f"2026-01-{number:02}",
        "state": {"name": "Todo", "type": "unstarted"},
        "labels": {"nodes": []},
        "assignee": None,
        "creator": {"displayName": "ada"},
        "team": {"key": team},
        "inverseRelations": {"nodes": []},
        **changes,
    }


@dataclass
class Linear:
    """The service's state."""

    url: str
    issues: dict[str, dict[str, Any]] = field(default_factory=dict)
    comments: dict[str, list[dict[str, Any]]] = field(default_factory=dict)

    def say(self, key: str, name: str, body: str, **more: Any) -> dict[str, Any]:
        """Write a comment as somebody."""
        rows = self.comments.setdefault(key, [])
        user = {"id": f"u-{name}", "displayName": name, "guest": False, "active": True}
        row = {"id": f"c{len(rows)}", "body": body, "createdAt": f"{len(rows):04}", "user": user}
        rows.append({**row, **more})
        return rows[-1]

    def answer(self, asked: Asked) -> Reply:  # noqa: PLR0911 - one way out for each kind
        """Answer a request as Linear does."""
        if asked.headers.get("authorization") != TOKEN:
            return Reply(401, {"errors": [{"message": "Authentication required"}]})
        query, given = asked.body["query"], asked.body["variables"]
        if "viewer" in query:
            return Reply(200, {"data": {"viewer": {"id": "u-robot"}}})
        if "commentCreate" in query:
            return self._write(given["input"])
        if "commentUpdate" in query:
            return self._edit(given)
        if "issueUpdate" in query:
            return self._move(given)
        if "issues(" in query:
            return self._found(given)
        if given["id"] not in self.issues:
            said = {"message": "Entity not found: Issue", "extensions": {"code": "INPUT_ERROR"}}
            return Reply(200, {"data": None, "errors": [said]})
        if "comments(" in query:
            page = _page(self.comments.get(given["id"], [])[::-1], given["after"])
            return Reply(200, {"data": {"issue": {"comments": page}}})
        row = self.issues[given["id"]]
        if "states(" in query:
            nodes = [{"id": f"s-{name}", "name": name} for name, _ in STATES]
            row = {**row, "team": {**row["team"], "states": {"nodes": nodes}}}
        return Reply(200, {"data": {"issue": row}})

    def _move(self, given: dict[str, Any]) -> Reply:
        row = next(one for one in self.issues.values() if one["id"] == given["id"])
        name = given["input"]["stateId"].removeprefix("s-")
        row["state"] = {"name": name, "type": dict(STATES)[name]}
        return Reply(200, {"data": {"issueUpdate": {"success": True}}})

    def _edit(self, given: dict[str, Any]) -> Reply:
        rows = [one for every in self.comments.values() for one in every]
        row = next(one for one in rows if one["id"] == given["id"])
        if row["user"]["id"] != "u-robot":
            return Reply(200, {"errors": [{"message": "You may not edit this"}]})
        row["body"] = given["input"]["body"]
        return Reply(200, {"data": {"commentUpdate": {"success": True}}})

    def _write(self, sent: dict[str, Any]) -> Reply:
        key = next(
            one["identifier"] for one in self.issues.values() if one["id"] == sent["issueId"]
        )
        if any(one["id"] == sent["id"] for one in self.comments.get(key, [])):
            return Reply(200, {"errors": [{"message": "Entity already exists"}]})
        self.say(key, "robot", sent["body"], id=sent["id"])
        return Reply(200, {"data": {"commentCreate": {"success": True}}})

    def _found(self, given: dict[str, Any]) -> Reply:
        wanted = given["filter"]
        labels = {
            one["labels"]["some"]["name"]["eq"] for one in wanted.get("and", []) if "labels" in one
        }
        completed = wanted.get("state", {}).get("type", {}).get("eq") == "completed"
        rows = [
            one
            for one in self.issues.values()
            if one["team"]["key"] == wanted["team"]["key"]["eq"]
            and labels <= {label["name"] for label in one["labels"]["nodes"]}
            and (one["state"]["type"] in {"completed", "canceled"}) == completed
            and (not completed or one["assignee"])
        ]
        rows.sort(key=lambda one: one["createdAt"], reverse=True)
        return Reply(200, {"data": {"issues": _page(rows, given["after"])}})


def _page(rows: list[Any], after: str | None) -> dict[str, Any]:
    start = int(after or 0)
    info = {"hasNextPage": start + 2 < len(rows), "endCursor": str(start + 2)}
    return {"pageInfo": info, "nodes": rows[start : start + 2]}
