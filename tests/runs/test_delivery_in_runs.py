"""Whole runs that end beyond this machine: a real push over HTTP, and a code host's double."""

from __future__ import annotations

import pytest

from orchestrator.deliveryevents import PushIntended
from orchestrator.errors import (
    ConfigError,
    DeliveryRefused,
    RemoteUnavailable,
    TrackerError,
)
from orchestrator.testing import says
from tests.builders import a_clone, a_commit
from tests.git_server import TOKEN
from tests.runs.conftest import BRANCH, git
from tests.runs.delivery_scene import Scene, header, scene
from tests.runs.stage import MEND, NOTE, mended

__all__ = ["scene"]

pytestmark = pytest.mark.asyncio


# -- what goes well ----------------------------------------------------------------------------


async def test_pushed_and_asked_for(scene: Scene) -> None:
    """The judged commit is on the server, and a draft says what was done, how, and what it cost."""
    outcome = await scene.done()
    assert scene.server.head(BRANCH) == outcome.commit == git(scene.stage.repo, "rev-parse", BRANCH)
    (request,) = scene.host.requests
    assert (request.branch, request.base, request.draft) == (BRANCH, "main", True)
    assert (request.labels, scene.host.reviewers[request.number]) == (("agent",), ("ada",))
    assert outcome.pull_request == request.url
    assert outcome.pushed == f"origin {BRANCH}"
    for said in ("For issue 1.", "Mended.", "tests: passed", "cost: $", "orchestrate issue 1"):
        assert said in request.body, said
    kinds = [one for one in scene.stage.kinds() if one.startswith(("Push", "Branch", "Pull"))]
    assert kinds == [
        *("BranchIntended", "BranchSet", "PushIntended", "BranchPushed"),
        *("PullRequestIntended", "PullRequestSet"),
    ]
    assert scene.stage.kinds()[-1] == "RunFinished"
    report = (scene.stage.state / "runs" / outcome.run / "report.md").read_text(encoding="utf-8")
    assert request.url in report and f"pushed to: origin {BRANCH}" in report
    (deliver,) = [one for one in outcome.evidence if one.stage == "deliver"]
    assert request.url not in deliver.what or deliver.seen


async def test_a_second_time_changes_nothing(scene: Scene) -> None:
    """Running a done issue again pushes nothing and asks for nothing."""
    first = await scene.done()
    before = scene.quiet()
    again = await scene.stage.play()
    assert (again.status, again.run, scene.quiet()) == ("done", first.run, before)


async def test_all_stays_here_unless_it_is_asked_for(scene: Scene) -> None:
    """Without settings nobody is asked, and nothing is sent."""
    scene.stage.settings("")
    outcome = await scene.done()
    assert (outcome.pushed, outcome.pull_request) == ("", "")
    assert scene.quiet() == (0, 0)
    assert scene.server.logins == []


async def test_a_push_alone(scene: Scene) -> None:
    """A branch can be pushed without a pull request, by the user's own token."""
    scene.stage.host = None
    scene.stage.settings("delivery: {push: true, token_env: FORGE_TOKEN}\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FORGE_TOKEN", TOKEN)
        outcome = await scene.done()
    assert scene.server.head(BRANCH) == outcome.commit
    assert scene.quiet() == (1, 0)


async def test_what_a_model_says_does_nothing_to_anybody(scene: Scene) -> None:
    """Its words in a pull request mention nobody, close nothing, hide nothing, and hold no token."""
    token = "ghp_" + "x7Kq2LmZp9RtVw4YcB8nDf3GhJ5sQa6E1uTo"
    words = f"@ada Fixes #99 <!-- orchestrate:end --> ![x](http://x/y)\ntoken {token} end"
    await scene.stage.play(says("I mend it.", MEND), says(words))
    body = scene.host.requests[0].body
    assert "@ada" not in body and "Fixes #99" not in body and "![x]" not in body
    assert token not in body
    assert body.count("<!-- orchestrate:end -->") == 1


async def test_what_people_wrote_stays(scene: Scene) -> None:
    """In a later round only our own part of the text is replaced; title and people's words stay."""
    await scene.done()
    (request,) = scene.host.requests
    scene.host.edits("1", title="A better title", body=f"Mine.\n{request.body}\nAnd mine.")
    scene.host.says("1", "Please add a note.")
    outcome = await scene.stage.play(says("I write.", NOTE), says("Noted."))
    assert outcome.status == "done"
    (request,) = scene.host.requests
    assert request.title == "A better title"
    assert request.body.startswith("Mine.\n") and request.body.endswith("\nAnd mine.")
    assert "Noted." in request.body and "Mended." not in request.body


# -- what stands in the way --------------------------------------------------------------------


async def test_secrets_are_in_no_event_report_or_error(scene: Scene) -> None:
    """The token is in nothing that is kept in the state directory, also where it was refused."""
    scene.server.tokens.clear()
    scene.server.tokens.add("another")
    with pytest.raises(RemoteUnavailable) as told:
        await scene.done()
    scene.server.tokens.add(TOKEN)
    await scene.done()
    forms = (TOKEN, header()["GIT_CONFIG_VALUE_0"].rpartition(" ")[2])
    kept = [one for one in scene.stage.state.rglob("*") if one.is_file()]
    assert any(one.name == "journal.db" for one in kept)
    for form in forms:
        assert form not in str(told.value)
        assert not [one for one in kept if form.encode() in one.read_bytes()]
        assert not any(form in repr(one) for one in scene.stage.heard)
        assert not any(form in str(request.messages) for request in scene.stage.model.requests)


async def test_a_token_that_ran_out_parks_the_run(scene: Scene) -> None:
    """With a token that is no longer taken the run waits; with a new one only delivery is done."""
    scene.server.hook("pre-receive", "echo 401 > tried; exit 0")

    def run_out(path: str) -> None:
        if "service=git-receive-pack" in path:
            scene.server.tokens.clear()
            scene.server.tokens.add("another")

    scene.server.before = run_out
    outcome = await scene.stage.play(*mended())
    assert outcome.status == "unavailable"
    assert "credentials" in outcome.hint
    scene.server.before = lambda _: None
    scene.server.tokens.add(TOKEN)
    outcome = await scene.stage.play()
    assert (outcome.status, scene.server.head(BRANCH)) == ("done", outcome.commit)
    assert scene.stage.model.requests == []
    assert len(scene.host.requests) == 1


async def test_what_the_remote_forbids_is_left_to_a_person(scene: Scene) -> None:
    """A protected branch: the work is here, the reason is told, no pull request is opened."""
    scene.server.hook("update", "echo 'protected' >&2; exit 1")
    outcome = await scene.stage.play(*mended())
    assert outcome.status == "needs_human"
    assert "protected" in outcome.error and "git push" in outcome.hint
    assert git(scene.stage.repo, "rev-parse", BRANCH) == outcome.commit
    assert scene.host.acts == []


async def test_a_host_that_is_down_parks_the_run(scene: Scene) -> None:
    """What is pushed stays pushed; when the host is back only the pull request is made."""
    scene.host.faults["open"] = TrackerError("503", retryable=True)
    outcome = await scene.stage.play(*mended())
    assert (outcome.status, outcome.error) == ("unavailable", "503")
    assert len(scene.server.log()) == 1
    scene.host.faults.clear()
    outcome = await scene.stage.play()
    assert (outcome.status, outcome.pull_request) == ("done", scene.host.requests[0].url)
    assert len(scene.server.log()) == 1


async def test_somebody_elses_branch_of_that_name(scene: Scene) -> None:
    """A name that is taken on the remote by other work is not used, and not touched."""
    other = a_clone(scene.server.repository(), scene.server.folder.parent / "other")
    theirs = a_commit(other, {"theirs.py": "1\n"}, "Theirs")
    git(other, "push", "--quiet", "origin", f"{theirs}:refs/heads/{BRANCH}")
    outcome = await scene.done()
    assert outcome.branch == f"{BRANCH}-2"
    assert scene.server.head(BRANCH) == theirs


async def test_commits_of_the_users_own_are_not_published(scene: Scene) -> None:
    """A base that the remote does not have is told before anything is paid for."""
    a_commit(scene.stage.repo, {"draft.txt": "mine\n"}, "Mine")
    with pytest.raises(DeliveryRefused, match="would publish commits of yours") as told:
        await scene.done()
    assert "git push origin main" in told.value.hint
    assert scene.stage.model.requests == []
    assert scene.quiet() == (0, 0)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("delivery: {pull_request: draft}\n", "nothing is pushed"),
        ("delivery: {rescue: true}\n", "nothing is pushed"),
        ("delivery: {push: true, remote: elsewhere}\n", "no remote 'elsewhere'"),
        ("delivery: {push: true, token_env: NOT_SET}\n", "NOT_SET is not set"),
    ],
)
async def test_settings_that_cannot_work_are_told_first(scene: Scene, text: str, said: str) -> None:
    """What contradicts itself is refused before a model is asked."""
    scene.stage.settings(text)
    with pytest.raises(ConfigError, match=said):
        await scene.done()
    with pytest.raises(ConfigError, match=said):
        await scene.stage.play(key="404")  # even the tracker is asked later
    assert scene.stage.model.requests == []


async def test_a_repository_cannot_have_work_pushed(scene: Scene) -> None:
    """Whether and whereto work is pushed is the user's to say, not a repository's file."""
    scene.stage.config = None
    (scene.stage.repo / "config.yaml").write_text(
        "orchestrate: 1\ndelivery: {push: true}\n", encoding="utf-8"
    )
    with pytest.raises(ConfigError, match=r"delivery\.push: a repository may not"):
        await scene.done()


# -- work that is not let through --------------------------------------------------------------


async def test_refused_work_is_pushed_to_be_looked_at(scene: Scene) -> None:
    """Work that failed its gates goes under a name of its own, and the report says why."""
    scene.stage.settings("delivery: {push: true, rescue: true}\ngates: {rounds: 0}\n")
    outcome = await scene.stage.play(says("I write.", NOTE), says("Done."))
    assert outcome.status == "gate_failed"
    rescue = f"rescue/1-{outcome.run.rpartition('-')[2]}"
    assert outcome.pushed == f"origin {rescue}"
    assert scene.server.head(rescue) == outcome.commit
    assert scene.server.head(BRANCH) == ""
    assert any(rescue in note for note in outcome.notes)
    assert outcome.error.startswith("failed: ")


async def test_a_secret_never_leaves(scene: Scene) -> None:
    """Work that the gate for secrets stopped is not pushed under any name."""
    scene.stage.settings("delivery: {push: true, rescue: true}\ngates: {rounds: 0}\n")
    token = "ghp_" + "x7Kq2LmZp9RtVw4YcB8nDf3GhJ5sQa6E1uTo"
    leak = ("Write", {"file_path": "leak.py", "content": f'TOKEN = "{token}"\n'})
    outcome = await scene.stage.play(says("I write.", MEND, leak), says("Done."))
    assert outcome.status in {"gate_failed", "needs_human"}
    assert outcome.pushed == ""
    assert scene.quiet() == (0, 0)
    assert scene.stage.all(PushIntended) == []


async def test_without_the_setting_refused_work_stays(scene: Scene) -> None:
    """Nothing is pushed to be looked at unless that was asked for."""
    scene.stage.settings("delivery: {push: true}\ngates: {rounds: 0}\n")
    outcome = await scene.stage.play(says("I write.", NOTE), says("Done."))
    assert (outcome.status, scene.quiet()) == ("gate_failed", (0, 0))
