"""A GitLab of our own: issues, notes and merge requests of one project."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

from tests.forges.server import Asked, Reply, paged

TOKEN = "glpat-canary0123456789"
PROJECT = "acme/shop"
MISSING = Reply(404, {"message": "404 Not found"})
PEOPLE = {"ada": 1, "robot": 2, "eve": 3, "bob": 4}


def person(name: str) -> dict[str, Any]:
    """Build an account."""
    return {"id": PEOPLE[name], "username": name}


def is_draft(title: str) -> bool:
    """Tell whether a title makes a draft."""
    return title.lower().startswith(("draft:", "[draft]", "(draft)"))


def set_people(row: dict[str, Any]) -> None:
    """Set those whose ids were sent; the list replaces the one before."""
    names = {identity: name for name, identity in PEOPLE.items()}
    for role in ("assignee", "reviewer"):
        if f"{role}_ids" in row:
            row[f"{role}s"] = [person(names[one]) for one in row.pop(f"{role}_ids")]


def issue(number: int, **changes: Any) -> dict[str, Any]:
    """Build an issue as GitLab has it."""
    return {
        "iid": number,
        "id": 9000 + number,
        "project_id": 77,
        "title": f"Issue {number}",
        "description": "Do it.",
        "state": "opened",
        "labels": [],
        "assignees": [],
        "author": person("ada"),
        "user_notes_count": 0,
        "moved_to_id": None,
        "web_url": f"https://gitlab.com/{PROJECT}/-/issues/{number}",
        **changes,
    }


@dataclass
class GitLab:
    """The service's state."""

    url: str
    own: str = "robot"
    page: int = 100
    issues: dict[int, dict[str, Any]] = field(default_factory=dict)
    requests: dict[int, dict[str, Any]] = field(default_factory=dict)
    notes: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    links: dict[int, list[dict[str, Any]]] = field(default_factory=dict)
    talks: list[dict[str, Any]] = field(default_factory=list)
    statuses: list[dict[str, Any]] = field(default_factory=list)
    members: dict[int, int] = field(default_factory=lambda: {1: 40, 2: 30, 4: 20})
    branches: set[str] = field(default_factory=lambda: {"main"})
    next: int = 700

    def say(self, where: str, name: str, body: str, **more: Any) -> dict[str, Any]:
        """Write a note as somebody, below ``issues/1`` or ``merge_requests/1``."""
        self.next += 1
        row = {"id": self.next, "body": body, "author": person(name), "system": False, **more}
        self.notes.setdefault(where, []).append(row)
        kind, _, number = where.partition("/")
        if kind == "issues" and int(number) in self.issues:
            self.issues[int(number)]["user_notes_count"] += 1
        return row

    def answer(self, asked: Asked) -> Reply:
        """Answer a request as GitLab does."""
        if asked.headers.get("authorization") != f"Bearer {TOKEN}":
            return Reply(401, {"message": "401 Unauthorized"})
        path = unquote(asked.path)
        if path == "/api/v4/user":
            return Reply(200, person(self.own))
        if path == "/api/v4/users":
            name = asked.query["username"]
            return Reply(200, [person(name)] if name in PEOPLE else [])
        found = re.fullmatch(rf"/api/v4/projects/{PROJECT}(/.*)", path)
        for pattern, act in ROUTES if found else ():
            method, _, shape = pattern.partition(" ")
            fits = re.fullmatch(shape, found[1]) if found else None
            if fits and method == asked.method:
                reply: Reply = act(self, asked, *fits.groups())
                return reply
        return MISSING

    def _one(self, asked: Asked, number: str) -> Reply:
        row = self.issues.get(int(number))
        return Reply(200, row) if row else MISSING

    def _list(self, asked: Asked) -> Reply:
        wanted = set(filter(None, asked.query.get("labels", "").split(",")))
        found = [
            one
            for one in self.issues.values()
            if one["state"] == asked.query["state"] and wanted <= set(one["labels"])
            if asked.query.get("assignee_id") != "Any" or one["assignees"]
        ]
        found.sort(key=lambda one: one["iid"], reverse=asked.query["sort"] == "desc")
        return paged(asked, found, self.url, most=self.page)

    def _notes(self, asked: Asked, where: str) -> Reply:
        rows = self.notes.get(where, [])
        rows = rows[::-1] if asked.query.get("sort", "desc") == "desc" else rows
        return paged(asked, rows, self.url, most=self.page)

    def _say(self, asked: Asked, where: str) -> Reply:
        kind, _, number = where.partition("/")
        known = self.issues if kind == "issues" else self.requests
        if int(number) not in known:
            return MISSING
        return Reply(201, self.say(where, self.own, asked.body["body"]))

    def _edit(self, asked: Asked, where: str, identity: str) -> Reply:
        row = next(one for one in self.notes[where] if one["id"] == int(identity))
        if row["author"]["username"] != self.own:
            return Reply(403, {"message": "403 Forbidden"})
        row["body"] = asked.body["body"]
        return Reply(200, row)

    def _member(self, asked: Asked, identity: str) -> Reply:
        level = self.members.get(int(identity))
        return Reply(200, {"access_level": level, "state": "active"}) if level else MISSING

    def _links(self, asked: Asked, number: str) -> Reply:
        return Reply(200, self.links.get(int(number), []))

    def _requests(self, asked: Asked) -> Reply:
        branch = asked.query.get("source_branch")
        found = [one for one in self.requests.values() if one["source_branch"] == branch]
        return paged(asked, found[::-1], self.url)

    def _open(self, asked: Asked) -> Reply:
        body = asked.body
        if body["source_branch"] not in self.branches:
            return Reply(400, {"message": {"source_branch": ["does not exist"]}})
        if any(
            one["source_branch"] == body["source_branch"] and one["state"] == "opened"
            for one in self.requests.values()
        ):
            return Reply(409, {"message": ["Another open merge request already exists"]})
        number = len(self.requests) + 1
        self.requests[number] = {
            "iid": number,
            "state": "opened",
            "sha": "1" * 40,
            "draft": is_draft(body["title"]),
            "assignees": [],
            "reviewers": [],
            "source_project_id": 77,
            "target_project_id": 77,
            "author": person(self.own),
            "web_url": f"https://gitlab.com/{PROJECT}/-/merge_requests/{number}",
            **body,
            "labels": body.get("labels", "").split(",") if body.get("labels") else [],
        }
        set_people(self.requests[number])
        return Reply(201, self.requests[number])

    def _request(self, asked: Asked, number: str) -> Reply:
        row = self.requests.get(int(number))
        return Reply(200, row) if row else MISSING

    def _amend(self, asked: Asked, number: str) -> Reply:
        row, body = self.requests[int(number)], dict(asked.body)
        row["labels"] += list(filter(None, body.pop("add_labels", "").split(",")))
        row.update(body)
        row["draft"] = is_draft(row["title"])
        set_people(row)
        return Reply(200, row)

    def _set(self, asked: Asked, number: str) -> Reply:
        row = self.issues[int(number)]
        away = asked.body.get("remove_labels", "").split(",")
        more = filter(None, asked.body.get("add_labels", "").split(","))
        row["labels"] = list(dict.fromkeys([*(o for o in row["labels"] if o not in away), *more]))
        return Reply(200, row)

    def _talks(self, asked: Asked, number: str) -> Reply:
        return paged(asked, self.talks, self.url)

    def _talk(self, asked: Asked, number: str, identity: str) -> Reply:
        return Reply(200, next(one for one in self.talks if one["id"] == identity))

    def _reply(self, asked: Asked, number: str, identity: str) -> Reply:
        self.next += 1
        note = {"id": self.next, "body": asked.body["body"], "author": person(self.own)}
        next(one for one in self.talks if one["id"] == identity)["notes"].append(note)
        return Reply(201, note)

    def _statuses(self, asked: Asked, sha: str) -> Reply:
        return Reply(200, self.statuses)


THING = r"((?:issues|merge_requests)/\d+)"
ROUTES: tuple[tuple[str, Any], ...] = (
    (r"GET /issues", GitLab._list),
    (r"GET /issues/(\d+)", GitLab._one),
    (r"PUT /issues/(\d+)", GitLab._set),
    (r"GET /issues/(\d+)/links", GitLab._links),
    (rf"GET /{THING}/notes", GitLab._notes),
    (rf"POST /{THING}/notes", GitLab._say),
    (rf"PUT /{THING}/notes/(\d+)", GitLab._edit),
    (r"GET /members/all/(\d+)", GitLab._member),
    (r"GET /merge_requests", GitLab._requests),
    (r"POST /merge_requests", GitLab._open),
    (r"GET /merge_requests/(\d+)", GitLab._request),
    (r"PUT /merge_requests/(\d+)", GitLab._amend),
    (r"GET /merge_requests/(\d+)/discussions", GitLab._talks),
    (r"GET /merge_requests/(\d+)/discussions/(\w+)", GitLab._talk),
    (r"POST /merge_requests/(\d+)/discussions/(\w+)/notes", GitLab._reply),
    (r"GET /repository/commits/(\w+)/statuses", GitLab._statuses),
)
