"""Pull requests on GitHub, or on an Enterprise server."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any, Literal

from orchestrator.errors import (
    TrackerConflict,
    TrackerError,
    Unanswered,
)
from orchestrator.forge.fields import counted, flag, required, rows, text
from orchestrator.forge.github import MOST, GitHubProject, web_of
from orchestrator.forge.marks import hidden, marked, shortened
from orchestrator.forge.tales import quiet
from orchestrator.hosts.githubchecks import failed_checks
from orchestrator.hosts.githubthreads import threads_of
from orchestrator.pullrequests import Feedback, PullRequest, PullRequestState, PullRequestWish

THREAD = re.compile(r"(?P<kind>lines|whole):(?P<number>[1-9][0-9]*):(?P<first>[A-Za-z0-9_-]{1,80})")

CHANGE = """\
mutation($id: ID!) { %s(input: { pullRequestId: $id }) { pullRequest { isDraft } } }"""
TO_DRAFT = CHANGE % "convertPullRequestToDraft"
TO_READY = CHANGE % "markPullRequestReadyForReview"


class GitHubHost:
    """The pull requests of one repository.

    Args:
        project: the repository.
    """

    def __init__(self, project: GitHubProject) -> None:
        self._project = project
        self._forge = project.forge

    async def find(self, branch: str) -> PullRequest | None:
        """Return the pull request of a branch: an open one first, else the newest."""
        owner = self._project.name.partition("/")[0]
        for state in ("open", "all"):
            params: dict[str, str | int] = {
                "head": f"{owner}:{branch}",
                "state": state,
                "sort": "created",
                "direction": "desc",
                "per_page": 100,
            }
            # A server that does not know the head answers with everything: looked through here.
            found = await self._forge.pages(f"{self._project.path}/pulls", params, most=1000)
            own = [self._pull(one) for one in rows(found) if self._is_own(one, branch)]
            if own:
                return own[0]
        return None

    async def open(self, wish: PullRequestWish) -> PullRequest:
        """Open a pull request; one that is open already for the branch is returned as it is."""
        there = await self._open_one(wish.branch)
        if there is not None:
            return there
        body: dict[str, Any] = {
            "title": wish.title[:256],
            "body": shortened(wish.body),
            "head": wish.branch,
            "base": wish.base,
            "draft": wish.draft,
        }
        try:
            made = await self._forge.send("POST", f"{self._project.path}/pulls", body)
        except (TrackerConflict, Unanswered) as error:
            # It was made by a request whose answer got lost, or by somebody else meanwhile.
            there = await self._open_one(wish.branch)
            if there is None and wish.draft and _no_drafts(error):
                made = await self._forge.send(
                    "POST", f"{self._project.path}/pulls", {**body, "draft": False}
                )
                there = self._pull(made)
            if there is None:
                raise
            opened = there
        else:
            opened = self._pull(made)
        return await self._decorate(opened, wish)

    async def amend(self, found: PullRequest, wish: PullRequestWish) -> PullRequest:
        """Make an open pull request what is wished; nothing is sent where it is that already."""
        if found.state != "open":
            raise TrackerConflict(
                f"pull request {found.number} is {found.state}",
                hint="reopen it, or start anew with --new",
            )
        body = shortened(wish.body)
        changed = {
            name: value
            for name, value, before in (
                ("title", wish.title[:256], found.title),
                ("body", body, found.body.replace("\r\n", "\n")),
                ("base", wish.base, found.base),
            )
            if value != before
        }
        if changed:
            path = f"{self._project.path}/pulls/{found.number}"
            found = self._pull(await self._forge.send("PATCH", path, changed, again=True))
        if found.draft != wish.draft:
            found = await self._drafted(found, draft=wish.draft)
        return await self._decorate(found, wish)

    async def comment(
        self, number: str, marker: str, body: str, *, on: Literal["issue", "pull request"]
    ) -> str:
        """Write a comment, or edit the one of ours that has the marker; returns its address."""
        del on  # GitHub counts both together
        return await self._project.commented(_number(number), marker, quiet(body))

    async def feedback(self, found: PullRequest) -> Feedback:
        """Return what waits for an answer: threads of people who may write, and failed checks."""
        path = f"{self._project.path}/pulls/{_number(found.number)}"
        fresh = self._pull(await self._forge.get(path))
        threads, left_out = await threads_of(self._project, fresh.number)
        failed, pending = await failed_checks(self._project, fresh.sha) if fresh.sha else ((), 0)
        return Feedback(threads, failed, fresh.sha, pending, left_out)

    async def answer(self, thread: str, marker: str, body: str) -> None:
        """Answer a thread, once for a marker."""
        named = THREAD.fullmatch(thread)
        if named is None or (named["kind"] == "lines" and not named["first"].isdigit()):
            raise TrackerError(f"{thread!r} is not a thread of a pull request")
        if named["kind"] == "whole":
            await self._project.commented(named["number"], marker, quiet(body))
            return
        path = f"{self._project.path}/pulls/{named['number']}/comments"
        for last in (False, True):
            if await self._is_answered(path, named["first"], marker):
                return
            try:
                reply = f"{path}/{named['first']}/replies"
                await self._forge.send("POST", reply, {"body": marked(marker, quiet(body))})
            except Unanswered:
                if last:
                    raise
            else:
                return

    async def push_url(self) -> tuple[str, Mapping[str, str]]:
        """Return the https address to push to, and git's environment that holds the secret."""
        web = web_of(self._forge.url)
        secret = await self._forge.credential.secret()
        pair = base64.b64encode(f"x-access-token:{secret}".encode()).decode()
        return f"{web}/{self._project.name}.git", {
            "GIT_CONFIG_COUNT": "1",
            "GIT_CONFIG_KEY_0": f"http.{web}/.extraHeader",
            "GIT_CONFIG_VALUE_0": f"Authorization: Basic {pair}",
        }

    async def aclose(self) -> None:
        """Close the connections."""
        await self._forge.aclose()

    # -- how it is done --------------------------------------------------------------------

    async def _open_one(self, branch: str) -> PullRequest | None:
        found = await self.find(branch)
        return found if found is not None and found.state == "open" else None

    def _is_own(self, data: Any, branch: str) -> bool:
        """Tell whether a pull request comes from a branch of the repository itself."""
        whose = text(data, "head", "repo", "full_name").lower()
        return text(data, "head", "ref") == branch and whose == self._project.name.lower()

    async def _is_answered(self, path: str, first: str, marker: str) -> bool:
        mark, own = hidden(marker), await self._project.own_login()
        found = await self._forge.pages(path, {"per_page": 100}, most=MOST)
        return any(
            text(one, "in_reply_to_id") == first
            and text(one, "body").startswith(mark)
            and text(one, "user", "login") == own
            for one in rows(found)
        )

    async def _drafted(self, found: PullRequest, *, draft: bool) -> PullRequest:
        """Make a pull request a draft, or ready; REST cannot, and where there are none it stays."""
        path = f"{self._project.path}/pulls/{_number(found.number)}"
        fresh = await self._forge.get(path)
        if flag(fresh, "draft") == draft:
            return self._pull(fresh)
        identity = required(fresh, "GitHub", "node_id")
        try:
            await self._project.graphql(TO_DRAFT if draft else TO_READY, {"id": identity})
        except Unanswered as error:
            if not (draft and _no_drafts(error)):
                raise
            return self._pull(fresh)
        return replace(self._pull(fresh), draft=draft)

    async def _decorate(self, opened: PullRequest, wish: PullRequestWish) -> PullRequest:
        """Add labels, assignees and reviewers; people whom GitHub does not take are passed over."""
        issue = f"{self._project.path}/issues/{opened.number}"
        pull = f"{self._project.path}/pulls/{opened.number}"
        wanted = [one for one in wish.labels if one not in opened.labels]
        if wanted:
            await self._forge.send("POST", f"{issue}/labels", {"labels": wanted}, again=True)
        if wish.assignees:
            sent = {"assignees": list(wish.assignees)[:10]}
            await self._forge.send("POST", f"{issue}/assignees", sent, again=True)
        author = opened.author.lower()
        await self._ask(pull, [one for one in wish.reviewers if one.lower() != author])
        return replace(opened, labels=(*opened.labels, *wanted))

    async def _ask(self, pull: str, reviewers: Sequence[str]) -> None:
        if not reviewers:
            return
        there = await self._forge.get(f"{pull}/requested_reviewers")
        people = {text(one, "login").lower() for one in rows(there, "users")}
        teams = {text(one, "slug").lower() for one in rows(there, "teams")}
        reviews = await self._forge.pages(f"{pull}/reviews", {"per_page": 100}, most=1000)
        # Whoever has reviewed it is not asked again by a repetition.
        people |= {text(one, "user", "login").lower() for one in rows(reviews)}
        missing = [
            one
            for one in reviewers
            if (one.lower() not in people if "/" not in one else _slug(one).lower() not in teams)
        ]
        if not missing:
            return
        try:
            await self._request(pull, missing)
        except TrackerConflict:
            # One that GitHub does not take, and nobody was asked: each alone, as far as it goes.
            for one in missing if len(missing) > 1 else ():
                with suppress(TrackerConflict):
                    await self._request(pull, [one])

    async def _request(self, pull: str, reviewers: Sequence[str]) -> None:
        sent = {
            "reviewers": [one for one in reviewers if "/" not in one],
            "team_reviewers": [_slug(one) for one in reviewers if "/" in one],
        }
        await self._forge.send("POST", f"{pull}/requested_reviewers", sent, again=True)

    def _pull(self, data: Any) -> PullRequest:
        state: PullRequestState = "open" if text(data, "state") == "open" else "closed"
        if text(data, "merged_at") or flag(data, "merged"):
            state = "merged"
        return PullRequest(
            number=counted(data, "GitHub", "number"),
            url=text(data, "html_url"),
            state=state,
            branch=text(data, "head", "ref"),
            base=text(data, "base", "ref"),
            title=text(data, "title"),
            body=text(data, "body"),
            draft=flag(data, "draft"),
            sha=text(data, "head", "sha"),
            author=text(data, "user", "login"),
            labels=tuple(name for one in rows(data, "labels") if (name := text(one, "name"))),
        )


def _slug(team: str) -> str:
    return team.rpartition("/")[2]


def _no_drafts(error: TrackerError) -> bool:
    """Tell whether a repository has no drafts, as private ones of the free plan have none."""
    said = str(error).lower()
    return "draft" in said and "not supported" in said


def _number(number: str) -> str:
    if not re.fullmatch(r"[1-9][0-9]{0,9}", number):
        raise TrackerError(f"{number!r} is not a number of an issue or pull request")
    return number
