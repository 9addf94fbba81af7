"""A GitHub of our own: issues, comments, pull requests, threads and checks of one repository."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

from tests.forges.server import Asked, Reply, paged

TOKEN = "ghs_canary0123456789"
OWNER, NAME = "acme", "shop"
MISSING = Reply(404, {"message": "Not Found", "documentation_url": "https://docs"})


def issue(number: int, **changes: Any) -> dict[str, Any]:
    """Build an issue as GitHub has it."""
    return {
        "number": number,
        "id": 1000 + number,
        "title": f"Issue {number}",
        "body": "Do it.",
        "state": "open",
        "state_reason": None,
        "locked": False,
        "labels": [],
        "assignees": [],
        "user": {"login": "ada"},
        "author_association": "MEMBER",
        "comments": 0,
        "created_at": f"2026-01-{number % 28 + 1:02}T00:00:00Z",
        "repository_url": f"https://api.github.com/repos/{OWNER}/{NAME}",
        "html_url": f"https://github.com/{OWNER}/{NAME}/issues/{number}",
        **changes,
    }


@dataclass
class GitHub:
    """The service's state."""

    url: str
    own: str = "robot"
    top: str = ""
    page: int = 100
    issues: dict[int, dict[str, Any]] = field(default_factory=dict)
    pulls: dict[int, dict[str, Any]] = field(default_factory=dict)
    comments: dict[int, list[dict[str, Any]]] = field(default_factory=dict)
    blocked: dict[int, list[dict[str, Any]]] = field(default_factory=dict)
    reviews: dict[int, list[dict[str, Any]]] = field(default_factory=dict)
    lines: dict[int, list[dict[str, Any]]] = field(default_factory=dict)
    resolved: set[int] = field(default_factory=set)
    requested: dict[int, list[str]] = field(default_factory=dict)
    check_runs: list[dict[str, Any]] = field(default_factory=list)
    statuses: list[dict[str, Any]] = field(default_factory=list)
    writers: dict[str, str] = field(default_factory=lambda: {"ada": "admin", "robot": "write"})
    branches: dict[str, str] = field(default_factory=lambda: {"main": "0" * 40})
    tokens: list[str] = field(default_factory=lambda: [TOKEN])
    next: int = 500
    no_drafts: bool = False

    def say(self, number: int, login: str, body: str, tie: str = "NONE") -> dict[str, Any]:
        """Write a comment as somebody."""
        self.next += 1
        row = {
            "id": self.next,
            "body": body,
            "user": {"login": login},
            "author_association": tie,
            "html_url": f"https://github.com/{OWNER}/{NAME}/issues/{number}#issuecomment-{self.next}",
        }
        self.comments.setdefault(number, []).append(row)
        if number in self.issues:
            self.issues[number]["comments"] += 1
        return row

    def review_line(self, number: int, login: str, body: str, **more: Any) -> dict[str, Any]:
        """Write a comment on a line of a pull request as somebody."""
        self.next += 1
        row = {
            "id": self.next,
            "body": body,
            "path": "app.py",
            "line": 3,
            "user": {"login": login},
            "author_association": "MEMBER",
            "in_reply_to_id": None,
            "html_url": f"https://github.com/x#discussion_r{self.next}",
            **more,
        }
        self.lines.setdefault(number, []).append(row)
        return row

    def answer(self, asked: Asked) -> Reply:
        """Answer a request as GitHub does."""
        if asked.headers.get("authorization") not in {f"Bearer {one}" for one in self.tokens}:
            return Reply(401, {"message": "Bad credentials"})
        if asked.path == f"{'/api' if self.top else ''}/graphql":
            return self._graphql(asked)
        path = unquote(asked.path)
        found = re.fullmatch(rf"{self.top}/repos/{OWNER}/{NAME}(/.*)", path)
        if found is None:
            return MISSING
        for pattern, act in ROUTES:
            method, _, shape = pattern.partition(" ")
            fits = re.fullmatch(shape, found[1])
            if fits and method == asked.method:
                reply: Reply = act(self, asked, *fits.groups())
                return reply
        return MISSING

    def _one(self, asked: Asked, number: str) -> Reply:
        row = self.issues.get(int(number))
        if row is None and int(number) in self.pulls:
            row = {**issue(int(number)), "pull_request": {"url": "x"}}
        return MISSING if row is None else Reply(200, row)

    def _list(self, asked: Asked) -> Reply:
        state = asked.query.get("state", "open")
        wanted = set(filter(None, asked.query.get("labels", "").split(",")))
        found = [
            one
            for one in self.issues.values()
            if state in {"all", one["state"]}
            and wanted <= {label["name"] for label in one["labels"]}
            and (asked.query.get("assignee") != "*" or one["assignees"])
        ]
        found.sort(key=lambda one: one["number"], reverse=asked.query.get("direction") == "desc")
        return paged(asked, found, self.url, most=self.page)

    def _talk(self, asked: Asked, number: str) -> Reply:
        return paged(asked, self.comments.get(int(number), []), self.url, most=self.page)

    def _say(self, asked: Asked, number: str) -> Reply:
        if int(number) not in self.issues and int(number) not in self.pulls:
            return MISSING
        return Reply(201, self.say(int(number), self.own, asked.body["body"], "COLLABORATOR"))

    def _edit(self, asked: Asked, identity: str) -> Reply:
        for row in (row for rows in self.comments.values() for row in rows):
            if row["id"] == int(identity):
                if row["user"]["login"] != self.own:
                    return Reply(403, {"message": "Must have admin rights"})
                row["body"] = asked.body["body"]
                return Reply(200, row)
        return MISSING

    def _permission(self, asked: Asked, login: str) -> Reply:
        return Reply(200, {"permission": self.writers.get(login, "read")})

    def _blocked(self, asked: Asked, number: str) -> Reply:
        return paged(asked, self.blocked.get(int(number), []), self.url, most=self.page)

    def _pulls(self, asked: Asked) -> Reply:
        state, head = asked.query.get("state", "open"), asked.query.get("head", "")
        found = [
            one
            for one in self.pulls.values()
            if state in {"all", one["state"]} and head in {"", one["head"]["label"]}
        ]
        found.sort(key=lambda one: one["number"], reverse=True)
        return paged(asked, found, self.url, most=self.page)

    def _open(self, asked: Asked) -> Reply:
        body = asked.body
        head = f"{OWNER}:{body['head']}"
        if body["head"] not in self.branches or body["base"] not in self.branches:
            return Reply(422, {"message": "Validation Failed", "errors": [{"field": "head"}]})
        if any(p["head"]["label"] == head and p["state"] == "open" for p in self.pulls.values()):
            said = f"A pull request already exists for {head}."
            return Reply(422, {"message": "Validation Failed", "errors": [{"message": said}]})
        return Reply(201, self.add_pull(body["head"], **body))

    def add_pull(self, branch: str, **body: Any) -> dict[str, Any]:
        """Open a pull request of a branch."""
        number = max([*self.issues, *self.pulls, 0]) + 1
        self.pulls[number] = {
            "number": number,
            "node_id": f"PR_{number}",
            "state": "open",
            "title": body.get("title", "A change"),
            "body": body.get("body", ""),
            "draft": body.get("draft", False),
            "merged_at": None,
            "user": {"login": self.own},
            "labels": [],
            "head": {
                "ref": branch,
                "label": f"{OWNER}:{branch}",
                "sha": self.branches.get(branch, "1" * 40),
                "repo": {"full_name": f"{OWNER}/{NAME}"},
            },
            "base": {"ref": body.get("base", "main")},
            "html_url": f"https://github.com/{OWNER}/{NAME}/pull/{number}",
        }
        return self.pulls[number]

    def _pull(self, asked: Asked, number: str) -> Reply:
        found = self.pulls.get(int(number))
        return Reply(200, found) if found else MISSING

    def _amend(self, asked: Asked, number: str) -> Reply:
        found = self.pulls[int(number)]
        body = dict(asked.body)
        if "base" in body:
            found["base"] = {"ref": body.pop("base")}
        found.update(body)
        return Reply(200, found)

    def _label(self, asked: Asked, number: str) -> Reply:
        row = self.pulls.get(int(number)) or self.issues[int(number)]
        names = [one["name"] for one in row["labels"]]
        row["labels"] += [{"name": one} for one in asked.body["labels"] if one not in names]
        return Reply(200, row["labels"])

    def _assign(self, asked: Asked, number: str) -> Reply:
        row = self.pulls.get(int(number)) or self.issues[int(number)]
        row["assignees"] = [{"login": one} for one in asked.body["assignees"]]
        return Reply(201, row)

    def _requested(self, asked: Asked, number: str) -> Reply:
        users = [{"login": one} for one in self.requested.get(int(number), [])]
        return Reply(200, {"users": users, "teams": []})

    def _request(self, asked: Asked, number: str) -> Reply:
        if "nobody" in asked.body["reviewers"]:
            said = "Reviews may only be requested from collaborators."
            return Reply(422, {"message": said})
        self.requested.setdefault(int(number), []).extend(asked.body["reviewers"])
        return Reply(201, self.pulls[int(number)])

    def _reviews(self, asked: Asked, number: str) -> Reply:
        return paged(asked, self.reviews.get(int(number), []), self.url)

    def _lines(self, asked: Asked, number: str) -> Reply:
        return paged(asked, self.lines.get(int(number), []), self.url)

    def _reply(self, asked: Asked, number: str, first: str) -> Reply:
        row = self.review_line(int(number), self.own, asked.body["body"], in_reply_to_id=int(first))
        return Reply(201, row)

    def _runs(self, asked: Asked, sha: str) -> Reply:
        page = paged(asked, self.check_runs, self.url)
        return Reply(200, {"total_count": 1, "check_runs": page.data}, page.headers)

    def _notes(self, asked: Asked, identity: str) -> Reply:
        return Reply(200, [{"path": "app.py", "start_line": 3, "message": "name 'x' is not there"}])

    def _status(self, asked: Asked, sha: str) -> Reply:
        return Reply(200, {"state": "failure", "statuses": self.statuses})

    def _unlabel(self, asked: Asked, number: str, name: str) -> Reply:
        row = self.issues[int(number)]
        if not any(one["name"] == name for one in row["labels"]):
            return Reply(404, {"message": "Label does not exist"})
        row["labels"] = [one for one in row["labels"] if one["name"] != name]
        return Reply(200, row["labels"])

    def _drafted(self, query: str, identity: str) -> Reply:
        found = next((one for one in self.pulls.values() if one["node_id"] == identity), None)
        if found is None:
            said = {"type": "NOT_FOUND", "message": "Could not resolve to a node"}
            return Reply(200, {"data": None, "errors": [said]})
        draft = "convertPullRequestToDraft" in query
        if draft and self.no_drafts:
            said = {"message": "Draft pull requests are not supported in this repository."}
            return Reply(200, {"data": None, "errors": [said]})
        found["draft"] = draft
        return Reply(200, {"data": {"done": {"pullRequest": {"isDraft": draft}}}})

    def _graphql(self, asked: Asked) -> Reply:
        if "viewer" in asked.body["query"]:
            return Reply(200, {"data": {"viewer": {"login": self.own}}})
        if "mutation" in asked.body["query"]:
            return self._drafted(asked.body["query"], asked.body["variables"]["id"])
        number = asked.body["variables"]["number"]
        rows = self.lines.get(number, [])
        nodes = [
            {
                "isResolved": one["id"] in self.resolved,
                "opening": {"nodes": [{"databaseId": one["id"]}]},
                "comments": {
                    "nodes": [
                        {
                            "databaseId": each["id"],
                            "body": each["body"],
                            "path": each["path"],
                            "line": each["line"],
                            "url": each["html_url"],
                            "authorAssociation": each["author_association"],
                            "author": each["user"],
                        }
                        for each in rows
                        if one["id"] in {each["id"], each["in_reply_to_id"]}
                    ]
                },
            }
            for one in rows
            if one["in_reply_to_id"] is None
        ]
        threads = {"pageInfo": {"hasNextPage": False, "endCursor": None}, "nodes": nodes}
        pull = {"pullRequest": {"reviewThreads": threads}}
        return Reply(200, {"data": {"repository": pull}})


ROUTES: tuple[tuple[str, Any], ...] = (
    (r"GET /issues", GitHub._list),
    (r"GET /issues/(\d+)", GitHub._one),
    (r"GET /issues/(\d+)/comments", GitHub._talk),
    (r"POST /issues/(\d+)/comments", GitHub._say),
    (r"PATCH /issues/comments/(\d+)", GitHub._edit),
    (r"GET /issues/(\d+)/dependencies/blocked_by", GitHub._blocked),
    (r"POST /issues/(\d+)/labels", GitHub._label),
    (r"DELETE /issues/(\d+)/labels/([^/]+)", GitHub._unlabel),
    (r"POST /issues/(\d+)/assignees", GitHub._assign),
    (r"GET /collaborators/([\w-]+)/permission", GitHub._permission),
    (r"GET /pulls", GitHub._pulls),
    (r"POST /pulls", GitHub._open),
    (r"GET /pulls/(\d+)", GitHub._pull),
    (r"PATCH /pulls/(\d+)", GitHub._amend),
    (r"GET /pulls/(\d+)/requested_reviewers", GitHub._requested),
    (r"POST /pulls/(\d+)/requested_reviewers", GitHub._request),
    (r"GET /pulls/(\d+)/reviews", GitHub._reviews),
    (r"GET /pulls/(\d+)/comments", GitHub._lines),
    (r"POST /pulls/(\d+)/comments/(\d+)/replies", GitHub._reply),
    (r"GET /commits/(\w+)/check-runs", GitHub._runs),
    (r"GET /check-runs/(\d+)/annotations", GitHub._notes),
    (r"GET /commits/(\w+)/status", GitHub._status),
)
