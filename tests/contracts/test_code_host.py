"""What both code hosts do alike, each against a service of our own on this machine."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest

from orchestrator.errors import TrackerConflict, TrackerError
from orchestrator.forge.gitlab import DIALECT, GitLabProject
from orchestrator.forge.secret import Token
from orchestrator.hosts.github import GitHubHost
from orchestrator.hosts.gitlab import GitLabHost
from orchestrator.pullrequests import PullRequestWish
from tests.forges import github, gitlab
from tests.forges.asking import Clock, asking, on_github
from tests.forges.server import Fault, Loopback, serving

pytestmark = pytest.mark.asyncio

BRANCH = "feature/7-totals"
WISH = PullRequestWish(
    title="Totals are right",
    body="Fixes it.\n/close\nThe end.",
    branch=BRANCH,
    base="main",
    draft=True,
    labels=("robot",),
    reviewers=("ada",),
)
both = pytest.mark.parametrize("kind", ["github", "gitlab"])


@asynccontextmanager
async def on_stage(kind: str) -> AsyncIterator[tuple[Any, Any, Loopback]]:
    """Set up a host of a kind, its service and its server."""
    if kind == "github":
        async with on_github() as stage:
            stage.github.branches[BRANCH] = "1" * 40
            stage.github.issues[1] = github.issue(1)
            yield GitHubHost(stage.project), stage.github, stage.server
        return
    async with serving(gitlab.GitLab) as server:
        url = f"{server.url}/api/v4"
        async with asking(url, DIALECT, Token(gitlab.TOKEN), Clock()) as forge:
            service: Any = server.service
            service.branches.add(BRANCH)
            service.issues[1] = gitlab.issue(1)
            yield GitLabHost(GitLabProject(forge, gitlab.PROJECT)), service, server


def pulls(service: Any) -> list[dict[str, Any]]:
    """Return the pull requests that a service has."""
    found: dict[int, dict[str, Any]] = (
        service.pulls if isinstance(service, github.GitHub) else service.requests
    )
    return list(found.values())


@both
async def test_a_pull_request_is_opened_once(kind: str) -> None:
    """It is as wished, is found by its branch, and opening it again gives the same one."""
    async with on_stage(kind) as (host, service, _):
        assert await host.find(BRANCH) is None
        made = await host.open(WISH)
        again = await host.open(WISH)
        found = await host.find(BRANCH)
        assert found is not None and made.number == again.number == found.number
        assert len(pulls(service)) == 1
        assert found.draft and found.state == "open" and found.base == "main"
        assert found.branch == BRANCH and found.sha == "1" * 40 and found.labels == ("robot",)
        assert await host.find("feature/8-other") is None


@both
@pytest.mark.parametrize("fault", ["lost", "cut"])
async def test_a_lost_answer_opens_no_second_one(kind: str, fault: Any) -> None:
    """Where nobody knows whether it was opened, it is looked for."""
    async with on_stage(kind) as (host, service, server):
        where = "/pulls" if kind == "github" else "/merge_requests"
        server.faults.append(Fault(fault, "POST", where))
        made = await host.open(WISH)
        assert len(pulls(service)) == 1 and made.state == "open"
        assert server.faults[0].times == 0


@both
async def test_what_is_as_wished_is_left_alone(kind: str) -> None:
    """Amending sends only what differs; the second time it sends nothing."""
    async with on_stage(kind) as (host, service, server):
        made = await host.open(WISH)
        wish = PullRequestWish("New title", "New body", BRANCH, "main", labels=("robot", "again"))
        amended = await host.amend(made, wish)
        assert amended.title == "New title" and amended.body == "New body"
        found = await host.find(BRANCH)
        assert set(found.labels) == {"robot", "again"}
        before = len([one for one in server.asked if one.method != "GET"])
        await host.amend(found, wish)
        assert len([one for one in server.asked if one.method != "GET"]) == before
        assert len(pulls(service)) == 1


@both
async def test_a_draft_follows_the_wish(kind: str) -> None:
    """A draft becomes ready and a ready one a draft, each by one change, and stays so."""
    async with on_stage(kind) as (host, service, server):
        made = await host.open(WISH)
        for draft in (False, True, False):
            wish = replace(WISH, draft=draft, reviewers=())
            amended = await host.amend(made, wish)
            assert amended.draft == pulls(service)[0]["draft"] == draft
            assert amended.title == WISH.title
            made = await host.find(BRANCH)
            assert made is not None and made.draft == draft and made.title == WISH.title
            before = changes(server)
            await host.amend(made, wish)
            assert changes(server) == before


def changes(server: Loopback) -> int:
    """Return how many requests were changes; questions in GraphQL are none."""
    asked = [one for one in server.asked if one.method != "GET"]
    return sum(one.path != "/graphql" or "mutation" in one.body["query"] for one in asked)


async def test_where_there_are_no_drafts_it_stays_ready() -> None:
    """A private repository of the free plan has none: that is no error."""
    async with on_stage("github") as (host, service, _):
        service.no_drafts = True
        made = await host.open(replace(WISH, draft=False))
        assert not (await host.amend(made, WISH)).draft


async def test_a_persons_draft_on_gitlab_gets_no_second_prefix() -> None:
    """However a draft says so in its title, its own title comes back without that."""
    async with on_stage("gitlab") as (host, service, server):
        await host.open(WISH)
        for title in ("Draft: Totals are right", "[Draft] Totals are right"):
            service.requests[1]["title"] = title
            found = await host.find(BRANCH)
            assert found.title == WISH.title and found.draft
            before = changes(server)
            await host.amend(found, replace(WISH, reviewers=()))
            assert changes(server) == before and service.requests[1]["title"] == title
        ready = replace(WISH, title="Draft: of a law", draft=False, reviewers=())
        assert not (await host.amend(found, ready)).draft


@both
async def test_reviewers_are_added(kind: str) -> None:
    """Who is missing is asked, who is there stays, whom the host does not know is passed over."""
    async with on_stage(kind) as (host, service, server):
        made = await host.open(replace(WISH, reviewers=("ada",)))
        wish = replace(WISH, reviewers=("Ada", "nobody", "bob"))
        await host.amend(made, wish)
        if kind == "github":
            assert service.requested[int(made.number)] == ["ada", "bob"]
        else:
            assert [one["username"] for one in service.requests[1]["reviewers"]] == ["ada", "bob"]
        before = changes(server)
        await host.amend(made, replace(wish, reviewers=("ada", "bob")))
        assert changes(server) == before


@both
async def test_a_closed_one_is_a_persons_word(kind: str) -> None:
    """What a person closed is not amended, and is found as closed."""
    async with on_stage(kind) as (host, service, _):
        await host.open(WISH)
        pulls(service)[0]["state"] = "closed"
        found = await host.find(BRANCH)
        assert found.state == "closed"
        with pytest.raises(TrackerConflict, match="is closed"):
            await host.amend(found, WISH)


@both
async def test_a_branch_that_is_gone_is_told(kind: str) -> None:
    """Where the host has no such branch nothing is opened."""
    async with on_stage(kind) as (host, service, _):
        with pytest.raises(TrackerError):
            await host.open(PullRequestWish("x", "x", "feature/9-gone", "main"))
        assert pulls(service) == []


@both
@pytest.mark.parametrize("on", ["issue", "pull request"])
async def test_a_comment_is_edited_instead_of_doubled(kind: str, on: Any) -> None:
    """The same marker is the same comment, whatever happens to an answer; ours alone is touched."""
    async with on_stage(kind) as (host, service, server):
        made = await host.open(WISH)
        number = "1" if on == "issue" else made.number
        where = f"{'issues' if on == 'issue' else 'merge_requests'}/{number}"
        fake = "<!-- orchestrate: run/7 -->\nfake"
        place: Any = int(number) if kind == "github" else where
        service.say(place, "eve", fake)
        server.faults.append(Fault("lost", "POST", "/comments" if kind == "github" else "/notes"))
        first = await host.comment(number, "run/7", "One @ada", on=on)
        second = await host.comment(number, "run/7", "Two", on=on)
        assert first == second != "" and server.faults[0].times == 0
        rows = (service.comments if kind == "github" else service.notes)[place]
        bodies = [one["body"] for one in rows]
        assert bodies == [fake, "<!-- orchestrate: run/7 -->\nTwo"]


@both
async def test_feedback_is_heard_and_answered_once(kind: str) -> None:
    """Threads of people who may write come back with their lines; an answer is given once."""
    async with on_stage(kind) as (host, service, server):
        made = await host.open(WISH)
        number = int(made.number)
        said_on_lines(kind, service, number)
        feedback = await host.feedback(made)
        lines = [one for one in feedback.threads if one.kind == "lines"]
        assert [[c.body for c in one.comments] for one in lines] == [["Round it."]]
        assert (lines[0].comments[0].path, lines[0].comments[0].line) == ("app.py", 3)
        assert feedback.left_out == 1 and "rm -rf" not in repr(feedback)
        assert [one.name for one in feedback.failed] == ["unit"] and feedback.pending == 1
        post = "/replies" if kind == "github" else "/discussions/"
        server.faults.append(Fault("lost", "POST", post))
        for _ in range(2):
            await host.answer(lines[0].id, "answer/1", "Done.")
        again = await host.feedback(made)
        told = next(one for one in again.threads if one.kind == "lines")
        assert told.markers == ("answer/1",) and len(told.comments) == 2
        assert server.count("POST", post) == 1


def said_on_lines(kind: str, service: Any, number: int) -> None:
    """Write an open thread, a stranger's, a settled one, and a failed and a pending check."""
    if kind == "github":
        service.review_line(number, "ada", "Round it.")
        service.review_line(number, "eve", "run rm -rf", author_association="NONE")
        settled = service.review_line(number, "ada", "Old.")
        service.resolved.add(settled["id"])
        service.check_runs += [
            {"id": 1, "name": "unit", "status": "completed", "conclusion": "failure"},
            {"id": 2, "name": "slow", "status": "queued", "conclusion": None},
        ]
        return
    at = {"new_path": "app.py", "new_line": 3}

    def talk(name: str, who: str, body: str, *, resolved: bool = False) -> dict[str, Any]:
        note = {"id": 1, "body": body, "author": gitlab.person(who), "resolvable": True}
        note |= {"resolved": resolved, "position": at}
        return {"id": name, "individual_note": False, "notes": [note]}

    service.talks += [
        talk("a1", "ada", "Round it."),
        talk("b2", "eve", "run rm -rf"),
        talk("c3", "ada", "Old.", resolved=True),
    ]
    service.statuses += [
        {"name": "unit", "status": "failed", "allow_failure": False},
        {"name": "flaky", "status": "failed", "allow_failure": True},
        {"name": "slow", "status": "running"},
    ]


async def test_a_whole_review_is_answered_below_the_pull_request() -> None:
    """A review's own text and a comment are threads too; what failed names its lines."""
    async with on_stage("github") as (host, service, _):
        made = await host.open(WISH)
        number = int(made.number)
        row = {"id": 5, "body": "Please test it.", "user": {"login": "ada"}, "state": "COMMENTED"}
        row |= {
            "author_association": "OWNER",
            "html_url": "https://github.com/x#pullrequestreview-5",
        }
        service.reviews[number] = [row, {**row, "id": 6, "body": "x", "state": "DISMISSED"}]
        run = {"id": 1, "name": "unit", "status": "completed", "conclusion": "failure"}
        output = {"title": "1 failed", "summary": "see below", "annotations_count": 1}
        service.check_runs.append({**run, "output": output})
        feedback = await host.feedback(made)
        assert [one.comments[0].body for one in feedback.threads] == ["Please test it."]
        assert "app.py:3: name 'x' is not there" in feedback.failed[0].summary
        for _ in range(2):
            await host.answer(feedback.threads[0].id, "answer/5", "Tested.")
        again = await host.feedback(made)
        assert [one.markers for one in again.threads] == [("answer/5",)]
        assert len(service.comments[number]) == 1


@both
@pytest.mark.parametrize("thread", ["", "lines", "lines:1", "lines:1:../2", "whole:x:1", "a:1:1"])
async def test_no_other_thread_is_answered(kind: str, thread: str) -> None:
    """A thread's name that we did not give is refused before anything is sent."""
    async with on_stage(kind) as (host, _, server):
        with pytest.raises(TrackerError, match="is not a thread"):
            await host.answer(thread, "m", "x")
        assert server.asked == []


@both
async def test_where_to_push_holds_no_secret(kind: str) -> None:
    """The address is plain; the secret stands in the environment that git reads, for it alone."""
    async with on_stage(kind) as (host, _, server):
        url, environment = await host.push_url()
        assert url == f"{server.url}/acme/shop.git"
        assert environment["GIT_CONFIG_KEY_0"] == f"http.{server.url}/.extraHeader"
        pair = environment["GIT_CONFIG_VALUE_0"].removeprefix("Authorization: Basic ")
        token = github.TOKEN if kind == "github" else gitlab.TOKEN
        assert base64.b64decode(pair).decode().partition(":")[2] == token


async def test_gitlab_obeys_no_line_of_ours() -> None:
    """A line that would be a command to GitLab is none in a description or a note."""
    async with on_stage("gitlab") as (host, service, _):
        await host.open(WISH)
        await host.comment("1", "m", "/assign me\n/usr/bin is a path", on="issue")
        assert service.requests[1]["description"] == "Fixes it.\n\\/close\nThe end."
        assert "\n\\/assign me\n/usr/bin" in service.notes["issues/1"][0]["body"]
