"""A Jira of our own, as the cloud or a server pages: issues and comments of one project."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

from tests.forges.server import Asked, Reply

TOKEN = "jira-canary0123456789"
MISSING = Reply(404, {"errorMessages": ["Issue does not exist"], "errors": {}})


def issue(number: int, project: str = "ABC", **fields: Any) -> dict[str, Any]:
    """Build an issue as Jira has it."""
    return {
        "key": f"{project}-{number}",
        "fields": {
            "summary": f"Issue {number}",
            "description": "Do it.",
            "labels": [],
            "status": {"name": "To Do", "statusCategory": {"key": "new"}},
            "priority": {"name": "High"},
            "creator": {"name": "ada", "displayName": "Ada"},
            "assignee": None,
            "issuelinks": [],
            **fields,
        },
    }


@dataclass
class Jira:
    """The service's state."""

    url: str
    cloud: bool = False
    issues: dict[str, dict[str, Any]] = field(default_factory=dict)
    comments: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    assignable: set[str] = field(default_factory=lambda: {"ada", "robot"})

    def say(self, key: str, name: str, body: str, **more: Any) -> dict[str, Any]:
        """Write a comment as somebody."""
        rows = self.comments.setdefault(key, [])
        rows.append({"id": str(len(rows) + 1), "body": body, "author": self._author(name), **more})
        return rows[-1]

    def answer(self, asked: Asked) -> Reply:  # noqa: PLR0911 - one way out for each kind
        """Answer a request as Jira does."""
        if TOKEN not in asked.headers.get("authorization", ""):
            return Reply(401, {"errorMessages": ["Client must be authenticated"], "errors": {}})
        path = asked.path.removeprefix("/rest/api/2")
        if path == "/serverInfo":
            return Reply(200, {"deploymentType": "Cloud" if self.cloud else "Server"})
        if path == ("/search/jql" if self.cloud else "/search"):
            return self._search(asked)
        if path == "/user/assignable/search":
            kind = "accountId" if self.cloud else "username"
            who = asked.query[kind]
            named = {"accountId" if self.cloud else "name": who}
            return Reply(200, [named] if who in self.assignable else [])
        if path == "/myself":
            return Reply(200, self._author("robot"))
        found = re.fullmatch(r"/issue/([A-Z]+-\d+)(/.*)?", path)
        if found is None or found[1] not in self.issues:
            return MISSING
        if (found[2] or "").startswith("/comment"):
            return self._comments(asked, found[1], found[2].removeprefix("/comment").strip("/"))
        row = self.issues[found[1]]
        if found[2] == "/transitions":
            return self._move(asked, row)
        count = len(self.comments.get(found[1], []))
        return Reply(200, {**row, "fields": {**row["fields"], "comment": {"total": count}}})

    def _author(self, name: str) -> dict[str, Any]:
        who = {"accountId": name, "accountType": "atlassian", "displayName": name}
        return who if self.cloud else {"name": name, "displayName": name}

    def _comments(self, asked: Asked, key: str, identity: str) -> Reply:
        rows = self.comments.setdefault(key, [])
        if asked.method == "POST":
            self.say(key, "robot", asked.body["body"], properties=asked.body["properties"])
            return Reply(201, self._told(rows[-1]))
        if asked.method == "PUT":
            row = next(one for one in rows if one["id"] == identity)
            if row["author"] != self._author("robot"):
                return Reply(403, {"errorMessages": ["You may not edit this"], "errors": {}})
            row["body"] = asked.body["body"]
            return Reply(200, self._told(row))
        start = int(asked.query["startAt"])
        page = [self._told(one) for one in rows[start : start + 2]]
        return Reply(200, {"comments": page, "total": len(rows), "startAt": start})

    def _told(self, row: dict[str, Any]) -> dict[str, Any]:
        """Return a comment as it is told: the cloud keeps its properties to itself."""
        return {k: v for k, v in row.items() if k != "properties" or not self.cloud}

    def _move(self, asked: Asked, row: dict[str, Any]) -> Reply:
        names = ("To Do", "In Progress", "In Review", "Done")
        steps = [
            {"id": str(number), "name": f"Go to {name}", "to": {"name": name}}
            for number, name in enumerate(names)
        ]
        if asked.method == "GET":
            return Reply(200, {"transitions": steps})
        name = names[int(asked.body["transition"]["id"])]
        kind = {"To Do": "new", "Done": "done"}.get(name, "indeterminate")
        row["fields"]["status"] = {"name": name, "statusCategory": {"key": kind}}
        return Reply(204)

    def _search(self, asked: Asked) -> Reply:
        query = asked.query["jql"]
        labels = set(re.findall(r'labels = "([^"]*)"', query))
        done = "statusCategory = Done" in query
        rows = [
            one
            for one in self.issues.values()
            if labels <= set(one["fields"]["labels"])
            and (one["fields"]["status"]["statusCategory"]["key"] == "done") == done
            and (not done or one["fields"]["assignee"])
            and one["key"].startswith("ABC-")
        ]
        rows.sort(key=lambda one: int(one["key"][4:]), reverse="DESC" in query)
        start = int(asked.query.get("nextPageToken" if self.cloud else "startAt", "0"))
        page = rows[start : start + 2]
        if not self.cloud:
            return Reply(200, {"issues": page, "startAt": start, "total": len(rows)})
        more = {"nextPageToken": str(start + 2)} if start + 2 < len(rows) else {}
        return Reply(200, {"issues": page, **more})
