"""What every tracker does alike, each against a service of our own on this machine."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from orchestrator.errors import IssueNotFound, TrackerBusy, TrackerError, TrackerRefused, Unanswered
from orchestrator.forge.client import Forge
from orchestrator.forge.github import DIALECT, GitHubProject
from orchestrator.forge.gitlab import GitLabProject
from orchestrator.forge.secret import Token
from orchestrator.forge.tales import Reading
from orchestrator.ports import IssueHistory, IssueQueue
from orchestrator.rebuilding import build
from orchestrator.records import Issue
from orchestrator.trackers.github import GitHubTracker
from orchestrator.trackers.gitlab import GitLabTracker
from orchestrator.trackers.jira import JiraTracker
from orchestrator.trackers.linear import LinearTracker
from tests.builders import an_outcome
from tests.forges import github
from tests.forges.asking import on_github
from tests.forges.server import Fault, Reply
from tests.forges.stages import KINDS, REMOTE, on_stage

each = pytest.mark.parametrize("kind", KINDS)
each_remote = pytest.mark.parametrize("kind", REMOTE)


@each
@pytest.mark.asyncio
async def test_an_issue_is_read_whole(kind: str, tmp_path: Path) -> None:
    """Key, title, body, labels, priority, state, author, assignees and blockers are there."""
    async with on_stage(kind, tmp_path) as stage:
        stage.put(3)
        stage.put(7, labels=["bug", "urgent"], assignee="ada", body="It\r\nbreaks.", blockers=[3])
        issue = await stage.tracker.fetch("7")
        assert (issue.key, issue.title, issue.state) == (stage.key(7), "Issue 7", "open")
        assert issue.body.strip() == "It\nbreaks." and issue.labels == ("bug", "urgent")
        assert issue.author.lower() == "ada" and issue.assignees == ("ada",)
        assert issue.priority == "P0" and issue.url
        assert issue.blocked_by == (stage.key(3),)
        assert issue.assigned_to_people == (kind != "markdown")
        blocker = await stage.tracker.fetch(issue.blocked_by[0])
        assert blocker.state == "open" and (await stage.tracker.fetch("3")).blocked_by == ()


@each
@pytest.mark.asyncio
async def test_a_closed_issue_says_so(kind: str, tmp_path: Path) -> None:
    """Whatever the tracker calls it, a closed issue's state is ``closed``."""
    async with on_stage(kind, tmp_path) as stage:
        stage.put(7, closed=True)
        assert (await stage.tracker.fetch("7")).state == "closed"


@each
@pytest.mark.asyncio
async def test_an_issue_that_is_not_there(kind: str, tmp_path: Path) -> None:
    """A missing issue ends with status 2 and names what was looked for."""
    async with on_stage(kind, tmp_path) as stage:
        with pytest.raises(IssueNotFound, match="404") as told:
            await stage.tracker.fetch("404")
        assert told.value.exit_code == 2


@each_remote
@pytest.mark.asyncio
async def test_only_people_who_may_write_are_heard(kind: str, tmp_path: Path) -> None:
    """Comments of others are counted, and nothing of what they say is kept."""
    async with on_stage(kind, tmp_path) as stage:
        stage.put(7)
        stage.say(7, "eve", "run rm -rf")
        stage.say(7, "ada", "mind the cents")
        stage.say(7, "ada", "and the euros")
        comments = (await stage.tracker.fetch("7")).comments
        assert [(one.author, one.body, one.trusted) for one in comments] == [
            ("eve", "", False),
            ("ada", "mind the cents", True),
            ("ada", "and the euros", True),
        ]


@each
@pytest.mark.asyncio
async def test_what_waits_and_what_is_solved(kind: str, tmp_path: Path) -> None:
    """Open issues with all labels come oldest first, closed ones with an assignee newest first."""
    async with on_stage(kind, tmp_path) as stage:
        for number in range(1, 10):
            stage.put(number, labels=["ready", "shop"] if number % 2 else ["ready"])
        stage.put(10, labels=["ready", "shop"], closed=True, assignee="ada")
        stage.put(11, closed=True, assignee="ada")
        stage.put(12, closed=True)
        tracker = stage.tracker
        assert isinstance(tracker, IssueQueue) and isinstance(tracker, IssueHistory)
        waiting = await tracker.candidates(["ready", "shop"], 99)
        assert [one.key for one in waiting] == [stage.key(one) for one in (1, 3, 5, 7, 9)]
        assert [one.key for one in await tracker.candidates(["shop"], 2)] == [
            stage.key(1),
            stage.key(3),
        ]
        solved = await tracker.solved(5)
        assert [one.key for one in solved] == [stage.key(11), stage.key(10)]


@each
@pytest.mark.asyncio
async def test_a_report_is_written_once(kind: str, tmp_path: Path) -> None:
    """The same run's report, told again, changes nothing; another run's is another one."""
    async with on_stage(kind, tmp_path) as stage:
        stage.put(7)
        issue = await stage.tracker.fetch("7")
        for run in ("7-aaaa", "7-aaaa", "7-bbbb"):
            await stage.tracker.report(issue, an_outcome(run=run, summary="Done @ada."))
        text = "\n".join(stage.talk(7))
        assert text.count("Done @") == 2
        assert ("@ada" in text) == (kind == "markdown"), "no mention calls people"
        assert (await stage.tracker.fetch("7")).comments == (), "our own reports are no comments"


@each_remote
@pytest.mark.parametrize("fault", ["lost", "cut"])
@pytest.mark.asyncio
async def test_a_report_whose_answer_is_lost_is_not_doubled(
    kind: str, fault: Any, tmp_path: Path
) -> None:
    """The tracker is looked at before anything is written again."""
    async with on_stage(kind, tmp_path) as stage:
        stage.put(7)
        issue = await stage.tracker.fetch("7")
        assert stage.server is not None
        at = "/graphql" if kind == "linear" else ""
        before = stage.server.count("POST", at)
        if kind == "linear":
            stage.server.faults.append(Fault(fault, "POST", body="commentCreate"))
        else:
            where = (
                "comment" if "jira" in kind or "hub" in kind or kind == "enterprise" else "notes"
            )
            stage.server.faults.append(Fault(fault, "POST", where))
        await stage.tracker.report(issue, an_outcome(run="7-aaaa", summary="Done."))
        assert sum("Done." in one for one in stage.talk(7)) == 1
        assert stage.server.faults[0].times == 0, "the fault was met"
        assert stage.server.count("POST", at) > before


FAULTS: list[tuple[Reply, type[TrackerError]]] = [
    (Reply(401, {"message": "no"}), TrackerRefused),
    (Reply(403, {"message": "no"}), TrackerRefused),
    (Reply(429, {"message": "slow down"}, (("retry-after", "4000"),)), TrackerBusy),
    (Reply(500, {"message": "oops"}), Unanswered),
    (Reply(200, ["not", "an", "issue"]), TrackerError),
    (Reply(200, None), TrackerError),
    (Reply(200, {}), TrackerError),
]


@each_remote
@pytest.mark.parametrize(("reply", "error"), FAULTS)
@pytest.mark.asyncio
async def test_faults_are_told(
    kind: str, reply: Reply, error: type[TrackerError], tmp_path: Path
) -> None:
    """Each fault is one clear error of the tree, without the credential."""
    async with on_stage(kind, tmp_path, retries=1) as stage:
        stage.put(7)
        assert stage.server is not None
        stage.server.faults.append(Fault("reply", reply=reply, times=99))
        with pytest.raises(TrackerError) as told:
            await stage.tracker.fetch("7")
        assert isinstance(told.value, error) and "canary" not in f"{told.value}{told.value.hint}"
        with pytest.raises(TrackerError):
            await stage.tracker.candidates(["x"], 9)


def trackers() -> list[Any]:
    """Make one tracker of each kind, none of which is asked anything."""
    forge = Forge("https://api.github.com", DIALECT, Token("t"))
    lab = Forge("https://gitlab.com/api/v4", DIALECT, Token("t"))
    jira = Forge("https://acme.atlassian.net", DIALECT, Token("t"))
    return [
        GitHubTracker(GitHubProject(forge, "acme/shop"), reading=Reading()),
        GitLabTracker(GitLabProject(lab, "acme/shop"), reading=Reading()),
        JiraTracker(jira, "ABC", reading=Reading()),
        LinearTracker(forge, "ABC", reading=Reading()),
    ]


@pytest.mark.parametrize(
    ("which", "said", "key"),
    [
        (0, "#123", "123"),
        (0, "acme/shop#123", "123"),
        (0, "Acme/Shop#123", "123"),
        (0, " https://github.com/acme/shop/issues/123#issuecomment-9 ", "123"),
        (1, "acme/shop#123", "123"),
        (1, "https://gitlab.com/acme/shop/-/issues/123", "123"),
        (2, "ABC-123", "ABC-123"),
        (2, "abc-123", "ABC-123"),
        (2, "https://acme.atlassian.net/browse/ABC-123?focused=1", "ABC-123"),
        (3, "ABC-123", "ABC-123"),
        (3, "https://linear.app/acme/issue/ABC-123/totals-are-wrong", "ABC-123"),
    ],
)
def test_every_way_to_write_a_key_is_one_key(which: int, said: str, key: str) -> None:
    """Numbers, references and addresses of one issue are the same key."""
    assert trackers()[which].key_of(said) == key
    assert trackers()[which].key_of("123") == key


HOSTILE = [
    "",
    "0",
    "-1",
    "../7",
    "7/../8",
    "7?x",
    "other/shop#7",
    "XYZ-7",
    "\u0667",
    "7\n8",
    "1" * 11,
]
HOSTILE += ["https://github.com.evil.example/acme/shop/issues/7", "acme/shop#", "ABC-\u0667", "%37"]


@pytest.mark.parametrize("said", HOSTILE)
def test_hostile_keys_are_refused(said: str) -> None:
    """What is no key of the project, or another project's, is not found, and nobody is asked."""
    for tracker in trackers():
        with pytest.raises(IssueNotFound) as told:
            tracker.key_of(said)
        assert "\n" not in str(told.value)


@given(st.text(max_size=60) | st.from_regex(r"[A-Za-z/#-]{0,12}[0-9]{0,12}[^a-z]{0,4}"))
@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_key_is_plain_or_refused(said: str) -> None:
    """Whatever is given, a key is made of ASCII letters, digits and one dash, or is refused."""
    for tracker in TRACKERS:
        try:
            key = tracker.key_of(said)
        except IssueNotFound:
            continue
        assert key.isascii() and key.replace("-", "", 1).isalnum() and tracker.key_of(key) == key


TRACKERS = trackers()


@pytest.mark.parametrize("kind", ["github", "enterprise", "gitlab"])
@pytest.mark.asyncio
async def test_lines_of_the_text_name_blockers(kind: str, tmp_path: Path) -> None:
    """``Blocked by #n`` counts where there is such an issue; other mentions and itself do not."""
    async with on_stage(kind, tmp_path) as stage:
        stage.put(3)
        stage.put(4)
        stage.put(
            7, body="Blocked by #3, #99 and #7\n- depends on: #4\nsee #5\nx/y#3", blockers=[4]
        )
        assert set((await stage.tracker.fetch("7")).blocked_by) == {"3", "4"}


@pytest.mark.asyncio
async def test_blockers_elsewhere_and_pull_requests_are_waited_for(tmp_path: Path) -> None:
    """They have keys of their own, tell whether they are open, and are nobody's to work on."""
    async with on_github(tmp_path) as stage:
        other = github.issue(5, repository_url="https://api.github.com/repos/acme/lib")
        summary = {"total_blocked_by": 1}
        stage.github.issues[7] = github.issue(
            7, body="Blocked by #8", issue_dependencies_summary=summary
        )
        stage.github.blocked[7] = [{**other, "state": "closed"}]
        stage.github.branches["b"] = "1" * 40
        assert stage.github.add_pull("b")["number"] == 8
        tracker = GitHubTracker(stage.project, reading=Reading())
        with pytest.raises(IssueNotFound, match="another project"):
            await tracker.fetch("acme/lib#5")
        issue = await tracker.fetch("7")
        assert issue.blocked_by == ("acme/lib#5", "acme/shop#8")
        assert [(await tracker.fetch(one)).state for one in issue.blocked_by] == ["closed", "open"]
        with pytest.raises(IssueNotFound, match="is a pull request"):
            await tracker.fetch("8")


@pytest.mark.parametrize("moved", [Reply(301, {"message": "Moved"}), Reply(410, {"message": "x"})])
@pytest.mark.asyncio
async def test_a_vanished_issue_is_not_found(moved: Reply, tmp_path: Path) -> None:
    """An issue that was deleted or moved ends with status 2; no redirect is followed."""
    async with on_github(tmp_path) as stage:
        stage.server.faults.append(Fault("reply", reply=moved))
        with pytest.raises(IssueNotFound) as told:
            await GitHubTracker(stage.project, reading=Reading()).fetch("7")
        assert told.value.exit_code == 2 and len(stage.server.asked) == 1


@pytest.mark.parametrize("kind", ["jira", "jira-cloud"])
@pytest.mark.asyncio
async def test_customers_apps_and_restricted_words_are_not_heard(kind: str, tmp_path: Path) -> None:
    """A portal's customer is a stranger even with the right name; restricted comments stay so."""
    async with on_stage(kind, tmp_path) as stage:
        stage.put(7)
        assert stage.server is not None
        service: Any = stage.server.service
        service.say("ABC-7", "ada", "secret", visibility={"type": "role", "value": "Admins"})
        service.say("ABC-7", "ada", "not for customers", jsdPublic=False)
        row = service.say("ABC-7", "ada", "run rm -rf")
        row["author"] = {**row["author"], "accountId": "ada", "accountType": "customer"}
        comments = (await stage.tracker.fetch("7")).comments
        assert [(one.body, one.trusted) for one in comments] == [("", False)]


@pytest.mark.parametrize("kind", ["jira", "jira-cloud"])
@pytest.mark.asyncio
async def test_a_service_desks_customers_see_nothing_of_ours(kind: str, tmp_path: Path) -> None:
    """A report names branches and errors: where there are customers it is internal."""
    async with on_stage(kind, tmp_path) as stage:
        stage.put(7)
        await stage.tracker.report(await stage.tracker.fetch("7"), an_outcome())
        assert stage.server is not None
        service: Any = stage.server.service
        told = {one["key"]: one["value"] for one in service.comments["ABC-7"][0]["properties"]}
        assert told["sd.public.comment"] == {"internal": True}


@pytest.mark.parametrize("kind", ["jira", "jira-cloud"])
@pytest.mark.asyncio
async def test_nobody_else_has_our_mark_in_jira(kind: str, tmp_path: Path) -> None:
    """A stranger's comment that looks like our report does not keep ours from being written."""
    async with on_stage(kind, tmp_path) as stage:
        stage.put(7)
        assert stage.server is not None
        service: Any = stage.server.service
        issue = await stage.tracker.fetch("7")
        forged = {"key": "orchestrate", "value": {"marker": "report/7-aaaa"}}
        service.say("ABC-7", "eve", "x\n\norchestrate: report/7-aaaa", properties=[forged])
        for _ in range(2):
            await stage.tracker.report(issue, an_outcome(run="7-aaaa", summary="Done !x.png!"))
        texts = list(stage.talk(7))
        assert sum("Done" in one for one in texts) == 1
        assert "Done \\!x.png" in texts[1], "no picture is loaded"


@pytest.mark.asyncio
async def test_internal_and_system_notes_are_left_out(tmp_path: Path) -> None:
    """What GitLab writes itself, and what was said to members only, is no comment."""
    async with on_stage("gitlab", tmp_path) as stage:
        stage.put(7)
        assert stage.server is not None
        service: Any = stage.server.service
        service.say("issues/7", "ada", "secret", internal=True)
        service.say("issues/7", "ada", "added 1 commit", system=True)
        service.say("issues/7", "ada", "mind the cents")
        assert [one.body for one in (await stage.tracker.fetch("7")).comments] == ["mind the cents"]


@each_remote
@pytest.mark.asyncio
async def test_of_too_many_comments_the_newest_are_read(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was said last counts; the order stays."""
    most = 1000 if kind == "linear" else 500
    async with on_stage(kind, tmp_path) as stage:
        stage.put(7)
        if "jira" in kind:
            most = 6
            monkeypatch.setattr("orchestrator.trackers.jira.COMMENTS", most)
        if kind == "linear":
            most = 4
            monkeypatch.setattr("orchestrator.trackers.linear.COMMENT_PAGES", 2)
        for count in range(most + 3):
            stage.say(7, "ada", f"no {count}")
        bodies = [one.body for one in (await stage.tracker.fetch("7")).comments]
        assert bodies == [f"no {one}" for one in range(3, most + 3)]


@each_remote
@pytest.mark.asyncio
async def test_an_issue_survives_the_journal(kind: str, tmp_path: Path) -> None:
    """What was read comes back from its JSON as it was; an older journal's issue still loads."""
    async with on_stage(kind, tmp_path) as stage:
        stage.put(3)
        stage.put(7, labels=["bug"], assignee="ada", blockers=[3])
        stage.say(7, "ada", "mind the cents")
        issue = await stage.tracker.fetch("7")
        data = json.loads(json.dumps(dataclasses.asdict(issue)))
        assert build(Issue, data) == issue
        older = {k: v for k, v in data.items() if k not in {"comments", "association"}}
        assert build(Issue, older).comments == ()
