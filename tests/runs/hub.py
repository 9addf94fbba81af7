"""A GitHub with its git under one address: what is pushed to the one is known to the other."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from tests.builders import git
from tests.forges import gitlab
from tests.forges.github import NAME, OWNER, TOKEN, GitHub, issue
from tests.forges.server import Asked, Reply
from tests.git_server import GitServer, Said, git_server, make_repository

PROJECT = f"{OWNER}/{NAME}"
TITLE = "A cart of exactly 100 gets no discount"


@dataclass
class Hub:
    """The two of them.

    Attributes:
        github: issues, pull requests and comments.
        server: the git behind it.
    """

    github: GitHub
    server: GitServer

    @property
    def url(self) -> str:
        """Return the address of both."""
        return self.server.url

    def head(self, branch: str) -> str:
        """Return what a branch is at; empty where there is none."""
        return self.server.head(branch, PROJECT)

    def updates(self, branch: str) -> list[str]:
        """Return every update of a branch, as the server saw it."""
        log = self.server.log(PROJECT)
        return [one for one in log if one.endswith(f"refs/heads/{branch}")]

    def said(self, number: int) -> list[str]:
        """Return the texts of all comments of ours under an issue or pull request."""
        rows = self.github.comments.get(number, [])
        return [one["body"] for one in rows if one["user"]["login"] == self.github.own]

    def know_branches(self) -> None:
        """Have GitHub see what git has."""
        listed = git(
            self.server.repository(PROJECT), "for-each-ref", "--format=%(refname) %(objectname)"
        )
        pairs = [row.split(" ") for row in listed.splitlines()]
        self.github.branches = {
            name.removeprefix("refs/heads/"): sha
            for name, sha in pairs
            if name.startswith("refs/heads/")
        }
        for pull in self.github.pulls.values():
            pull["head"]["sha"] = self.github.branches.get(pull["head"]["ref"], "")


@contextmanager
def hub_of(folder: Path, source: Path) -> Iterator[Hub]:
    """Serve a repository, with issue 7 open, and tell the repository where it came from."""
    with git_server(folder) as server:
        hub = Hub(GitHub(server.url, top="/api/v3"), server)
        hub.github.issues[7] = issue(7, title=TITLE, body="Ten percent from 100 upwards.")

        def answer(asked: Asked) -> Reply:
            hub.know_branches()
            return hub.github.answer(asked)

        serve_both(server, source, TOKEN, answer)
        yield hub


@contextmanager
def lab_of(folder: Path, source: Path) -> Iterator[tuple[gitlab.GitLab, GitServer]]:
    """Do the same with a GitLab."""
    with git_server(folder) as server:
        lab = gitlab.GitLab(server.url)
        lab.issues[7] = gitlab.issue(7, title=TITLE, description="Ten percent from 100 upwards.")

        def answer(asked: Asked) -> Reply:
            names = git(server.repository(PROJECT), "for-each-ref", "--format=%(refname:short)")
            lab.branches = set(names.split())
            for one in lab.requests.values():
                one["sha"] = server.head(one["source_branch"], PROJECT)
            return lab.answer(asked)

        serve_both(server, source, gitlab.TOKEN, answer)
        yield lab, server


def serve_both(
    server: GitServer, source: Path, token: str, answer: Callable[[Asked], Reply]
) -> None:
    """Serve a copy of a repository with what answers for it, and make it the origin."""
    turn = threading.Lock()
    server.tokens = {token}
    server.repository(PROJECT).parent.mkdir(parents=True)
    make_repository(server, source, PROJECT)

    def api(method: str, target: str, headers: dict[str, str], body: bytes) -> Said:
        parts = urlsplit(target)
        query = {name: values[-1] for name, values in parse_qs(parts.query).items()}
        asked = Asked(method, parts.path, query, headers, json.loads(body) if body else None)
        with turn:
            reply = answer(asked)
        said = b"" if reply.data is None else json.dumps(reply.data).encode()
        return reply.status, [*reply.headers, ("Content-Type", "application/json")], said

    server.api = api
    git(source, "remote", "add", "origin", f"{server.url}/{PROJECT}.git")
