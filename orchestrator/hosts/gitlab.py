"""Merge requests on GitLab, in the cloud or on a server."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from orchestrator.errors import TrackerConflict, TrackerError, Unanswered
from orchestrator.forge.client import address
from orchestrator.forge.fields import counted, flag, number, required, rows, text, words
from orchestrator.forge.gitlab import GitLabProject
from orchestrator.forge.marks import hidden, marked, markers, shortened
from orchestrator.forge.tales import COMMENT_LIMIT, bounded, quiet, without_commands
from orchestrator.pullrequests import (
    Comment,
    FailedCheck,
    Feedback,
    PullRequest,
    PullRequestState,
    PullRequestWish,
    Thread,
)

THREAD = re.compile(r"(?P<kind>lines|whole):(?P<number>[1-9][0-9]*):(?P<id>[A-Za-z0-9]{1,80})")
STATES: dict[str, PullRequestState] = {"opened": "open", "locked": "open", "merged": "merged"}
DRAFT = "Draft: "
DRAFTED = re.compile(r"\A\s*(?:\[draft\]|\(draft\)|draft:|\[wip\]|wip:)\s*", re.IGNORECASE)
PENDING = {"created", "pending", "running", "waiting_for_resource", "preparing", "scheduled"}


class GitLabHost:
    """The merge requests of one project.

    Args:
        project: the project.
    """

    def __init__(self, project: GitLabProject) -> None:
        self._project = project
        self._forge = project.forge
        self._path = f"{project.path}/merge_requests"

    async def find(self, branch: str) -> PullRequest | None:
        """Return the merge request of a branch: an open one first, else the newest."""
        params: dict[str, str | int] = {
            "source_branch": branch,
            "state": "all",
            "order_by": "created_at",
            "sort": "desc",
            "per_page": 100,
        }
        found = await self._forge.pages(self._path, params, most=1000)
        own = [
            self._request(one)
            for one in rows(found)
            if text(one, "source_branch") == branch
            and text(one, "source_project_id") == text(one, "target_project_id") != ""
        ]
        return next((one for one in own if one.state == "open"), own[0] if own else None)

    async def open(self, wish: PullRequestWish) -> PullRequest:
        """Open a merge request; one that is open already for the branch is returned as it is."""
        there = await self._open_one(wish.branch)
        if there is not None:
            return there
        body: dict[str, Any] = {
            "source_branch": wish.branch,
            "target_branch": wish.base,
            "title": _titled(wish),
            "description": _described(wish),
        }
        if wish.labels:
            body["labels"] = ",".join(wish.labels)
        for name, people in (("assignee_ids", wish.assignees), ("reviewer_ids", wish.reviewers)):
            if people:
                body[name] = await self._ids(people)
        try:
            return self._request(await self._forge.send("POST", self._path, body))
        except (TrackerConflict, Unanswered):
            # It was made by a request whose answer got lost, or by somebody else meanwhile.
            there = await self._open_one(wish.branch)
            if there is None:
                raise
            return there

    async def amend(self, found: PullRequest, wish: PullRequestWish) -> PullRequest:
        """Make an open merge request what is wished; nothing is sent where it is that already."""
        if found.state != "open":
            raise TrackerConflict(
                f"merge request {found.number} is {found.state}",
                hint="reopen it, or start anew with --new",
            )
        changed: dict[str, Any] = {
            name: value
            for name, value, before in (
                ("title", _titled(wish), f"{DRAFT if found.draft else ''}{found.title}"),
                ("description", _described(wish), found.body),
                ("target_branch", wish.base, found.base),
            )
            if value != before
        }
        missing = [one for one in wish.labels if one not in found.labels]
        if missing:
            changed["add_labels"] = ",".join(missing)
        if wish.assignees or wish.reviewers:
            changed |= await self._joined(found.number, wish)
        if not changed:
            return found
        path = f"{self._path}/{_number(found.number)}"
        return self._request(await self._forge.send("PUT", path, changed, again=True))

    async def comment(
        self, number: str, marker: str, body: str, *, on: Literal["issue", "pull request"]
    ) -> str:
        """Write a note, or edit the one of ours that has the marker; returns its address."""
        kind = "issues" if on == "issue" else "merge_requests"
        own = _number(number)
        identity = await self._project.noted(f"/{kind}/{own}", marker, quiet(body))
        return f"{self._project.web}/-/{kind}/{own}#note_{identity}"

    async def feedback(self, found: PullRequest) -> Feedback:
        """Return what waits for an answer: threads of people who may push, and failed jobs."""
        own = _number(found.number)
        fresh = self._request(await self._forge.get(f"{self._path}/{own}"))
        self._project.look_anew()
        talks = await self._forge.pages(
            f"{self._path}/{own}/discussions", {"per_page": 100}, most=1000
        )
        threads: list[Thread] = []
        answers: list[str] = []
        left_out = 0
        for talk in rows(talks):
            thread, strangers, marks = await self._thread(own, talk)
            left_out += strangers
            answers += marks
            if thread is not None:
                threads.append(thread)
        told = tuple(
            one if one.kind == "lines" else Thread(one.id, one.comments, tuple(answers), "whole")
            for one in threads
        )
        failed, pending = await self._checks(fresh.sha)
        return Feedback(told, failed, fresh.sha, pending, left_out)

    async def answer(self, thread: str, marker: str, body: str) -> None:
        """Answer a thread, once for a marker."""
        named = THREAD.fullmatch(thread)
        if named is None:
            raise TrackerError(f"{thread!r} is not a thread of a merge request")
        where = f"/merge_requests/{named['number']}"
        if named["kind"] == "whole":
            await self._project.noted(where, marker, quiet(body))
            return
        path = f"{self._project.path}{where}/discussions/{named['id']}"
        mark, whole = hidden(marker), marked(marker, quiet(body))
        for last in (False, True):
            talk = await self._forge.get(path)
            own = await self._project.own_id()
            if any(
                text(one, "body").startswith(mark) and text(one, "author", "id") == own
                for one in rows(talk, "notes")
            ):
                return
            try:
                await self._forge.send("POST", f"{path}/notes", {"body": whole})
            except Unanswered:
                if last:
                    raise
            else:
                return

    async def push_url(self) -> tuple[str, Mapping[str, str]]:
        """Return the https address to push to, and git's environment that holds the secret."""
        secret = await self._forge.credential.secret()
        pair = base64.b64encode(f"oauth2:{secret}".encode()).decode()
        return f"{self._project.web}.git", {
            "GIT_CONFIG_COUNT": "1",
            "GIT_CONFIG_KEY_0": f"http.{address(self._project.server)}/.extraHeader",
            "GIT_CONFIG_VALUE_0": f"Authorization: Basic {pair}",
        }

    async def aclose(self) -> None:
        """Close the connections."""
        await self._forge.aclose()

    # -- how it is done --------------------------------------------------------------------

    async def _open_one(self, branch: str) -> PullRequest | None:
        found = await self.find(branch)
        return found if found is not None and found.state == "open" else None

    async def _joined(self, request: str, wish: PullRequestWish) -> dict[str, list[int]]:
        """Return whom to set, where somebody is missing: GitLab replaces all that it is told."""
        fresh = await self._forge.get(f"{self._path}/{_number(request)}")
        changed: dict[str, list[int]] = {}
        for name, people in (("assignee", wish.assignees), ("reviewer", wish.reviewers)):
            there = [number(one, "id") for one in rows(fresh, f"{name}s")]
            missing = [one for one in await self._ids(people) if one not in there]
            if missing:
                changed[f"{name}_ids"] = [*there, *missing]
        return changed

    async def _ids(self, people: Sequence[str]) -> list[int]:
        """Return the ids of accounts; a name that nobody has is passed over."""
        found: list[int] = []
        for name in people:
            there = await self._forge.get("/users", {"username": name})
            # An id of 0 would set nobody.
            found += [
                number(one, "id")
                for one in rows(there)
                if text(one, "username").lower() == name.lower() and number(one, "id") > 0
            ]
        return found

    async def _thread(self, own: str, talk: dict[str, Any]) -> tuple[Thread | None, int, list[str]]:
        """Return an unresolved discussion, how many were left out of it, and our markers in it."""
        notes = [one for one in rows(talk, "notes") if not flag(one, "system")]
        me = await self._project.own_id()
        comments: list[Comment] = []
        marks: list[str] = []
        strangers = 0
        for note in notes:
            author = text(note, "author", "id")
            ours = markers(text(note, "body")) if author == me else []
            marks += ours
            if ours or await self._project.may_write(author):
                comments.append(_comment(note))
            else:
                strangers += 1
        spoken = [one for one in comments if not markers(one.body)]
        open_ = [one for one in notes if flag(one, "resolvable") and not flag(one, "resolved")]
        settled = any(flag(one, "resolvable") for one in notes) and not open_
        if not spoken or settled:
            return None, strangers if not settled else 0, marks
        kind: Literal["lines", "whole"] = "whole" if flag(talk, "individual_note") else "lines"
        identity = f"{kind}:{own}:{required(talk, 'GitLab', 'id')}"
        return Thread(identity, tuple(comments), tuple(marks), kind), strangers, marks

    async def _checks(self, sha: str) -> tuple[tuple[FailedCheck, ...], int]:
        if not sha:
            return (), 0
        path = f"{self._project.path}/repository/commits/{sha}/statuses"
        found = rows(await self._forge.pages(path, {"per_page": 100}, most=500))
        failed = tuple(
            FailedCheck(
                text(one, "name"),
                "failed",
                bounded(text(one, "description"), COMMENT_LIMIT),
                text(one, "target_url"),
            )
            for one in found
            if text(one, "status") == "failed" and not flag(one, "allow_failure")
        )
        return failed, sum(text(one, "status") in PENDING for one in found)

    def _request(self, data: Any) -> PullRequest:
        draft = flag(data, "draft")
        return PullRequest(
            number=counted(data, "GitLab", "iid"),
            url=text(data, "web_url"),
            state=STATES.get(text(data, "state"), "closed"),
            branch=text(data, "source_branch"),
            base=text(data, "target_branch"),
            title=DRAFTED.sub("", text(data, "title")) if draft else text(data, "title"),
            body=text(data, "description"),
            draft=draft,
            sha=text(data, "sha"),
            author=text(data, "author", "username"),
            labels=words(data, "labels"),
        )


def _titled(wish: PullRequestWish) -> str:
    """Return a title that says draft where it is wished, and does not where it is not."""
    return f"{DRAFT if wish.draft else ''}{DRAFTED.sub('', wish.title)}"[:255]


def _described(wish: PullRequestWish) -> str:
    """Return a description in which no line is a command to GitLab."""
    return shortened(without_commands(wish.body))


def _comment(note: dict[str, Any]) -> Comment:
    return Comment(
        author=text(note, "author", "username"),
        body=bounded(text(note, "body"), COMMENT_LIMIT),
        trusted=True,
        path=text(note, "position", "new_path"),
        line=number(note, "position", "new_line"),
    )


def _number(number: str) -> str:
    if not re.fullmatch(r"[1-9][0-9]{0,9}", number):
        raise TrackerError(f"{number!r} is not a number of an issue or merge request")
    return number
