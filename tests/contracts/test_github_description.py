"""Every request that we make of GitHub's REST fits the description that GitHub publishes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from orchestrator.errors import TrackerError
from orchestrator.forge.client import Answer, Forge
from orchestrator.forge.github import DIALECT, GitHubProject
from orchestrator.forge.secret import Token
from orchestrator.forge.tales import Reading, Stage
from orchestrator.hosts.github import GitHubHost
from orchestrator.hosts.githubchecks import failed_checks
from orchestrator.hosts.githubnotes import GitHubNotes
from orchestrator.pullrequests import PullRequestWish
from orchestrator.settings import MoveSettings
from orchestrator.trackers.github import GitHubTracker
from tests.builders import an_outcome
from tests.forges.asking import Clock
from tests.forges.github import TOKEN, GitHub, issue
from tests.forges.prism import installed, proxying
from tests.forges.server import serving

MOVES = MoveSettings(working="in progress", delivered="to/review?", released="x")
STAGES: tuple[Stage, ...] = ("working", "delivered", "failed", "released")
BRANCH = "feature/7-totals"
WISH = PullRequestWish("Title", "Body", BRANCH, "main", labels=("a",), reviewers=("ada", "acme/x"))


class Watched(Forge):
    """Keeps what Prism objects to in our requests."""

    objections: list[Any]

    async def _once(self, method: str, url: str, body: Any, headers: Any) -> Answer:
        answer = await super()._once(method, url, body, headers)
        # It may be cut in the middle; what it says of requests stands in front.
        found = answer.headers.get("sl-violations", "")
        # GraphQL has a description, and a test, of its own.
        if '"location":["request"' in found and not url.endswith("/graphql"):
            self.objections.append((method, url, found[:600]))
        return answer


@pytest.mark.asyncio
async def test_our_requests_fit_the_description(tmp_path: Path) -> None:
    """A whole flow, from reading an issue to answering a review, without one objection."""
    folder = installed()
    if folder is None:
        pytest.skip("NOT TESTED: Prism and GitHub's description are not installed (make prism)")
    async with serving(GitHub) as server:
        github = server.service
        assert isinstance(github, GitHub)
        github.branches[BRANCH] = "1" * 40
        summary = {"total_blocked_by": 1, "blocked_by": 1}
        github.issues[7] = issue(7, issue_dependencies_summary=summary)
        github.say(7, "ada", "Mind the cents.", "MEMBER")
        with proxying(folder, server.url, tmp_path / "prism.log") as url:
            forge = Watched(url, DIALECT, Token(TOKEN), patience=Clock().patience())
            forge.objections = []
            try:
                await whole_flow(forge, github)
                assert forge.objections == []
                await an_objection_is_seen(forge)
            finally:
                await forge.aclose()


async def whole_flow(forge: Forge, github: GitHub) -> None:
    """Do all that trackers and hosts do."""
    project = GitHubProject(forge, "acme/shop")
    project._own = "robot"  # GraphQL is not described
    tracker = GitHubTracker(project, reading=Reading(), write_back=True)
    found = await tracker.fetch("7")
    assert [one.trusted for one in found.comments] == [True]
    await tracker.candidates(["a", "b c"], 5)
    await tracker.solved(5)
    for summary in ("One", "Two"):
        await tracker.report(found, an_outcome(summary=summary))
    tracker = GitHubTracker(project, reading=Reading(), moves=MOVES)
    for to in STAGES:
        await tracker.move(found, to)
    notes = GitHubNotes(project)
    for told in ("one", "two"):
        await notes.note("7", "claim/7-aaaa", told)
    assert [one for one, _ in await notes.notes("7") if "claim/" in one] == ["claim/7-aaaa"]
    host = GitHubHost(project)
    assert await host.find(BRANCH) is None
    made = await host.open(WISH)
    await host.amend(made, replace(WISH, title="Other", labels=("a", "b"), assignees=("ada",)))
    assert (await host.amend(made, replace(WISH, draft=True))).draft
    line = github.review_line(int(made.number), "ada", "Round it.")
    await host.answer(f"lines:{made.number}:{line['id']}", "m", "Done.")
    run = {"id": 1, "name": "unit", "status": "completed", "conclusion": "failure"}
    github.check_runs.append({**run, "output": {"annotations_count": 1}})
    failed, _ = await failed_checks(project, "1" * 40)
    assert [one.name for one in failed] == ["unit"]


async def an_objection_is_seen(forge: Watched) -> None:
    """Prove that Prism would object: a pull request without a base is against the description."""
    with pytest.raises((TrackerError, KeyError)):
        await forge.send("POST", "/repos/acme/shop/pulls", {"head": 5})
    assert forge.objections
