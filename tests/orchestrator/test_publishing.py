"""What may be published, with which secret, and in which words."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest

from orchestrator.announcing import BEGIN, END, body_of, is_ours, merged_body, told, waits
from orchestrator.assembly.delivering import login_of
from orchestrator.errors import TrackerError
from orchestrator.hosts.plain_git import PlainGit
from orchestrator.publishing import may_leave
from orchestrator.pullrequests import Comment, PullRequest, PullRequestWish, Thread
from orchestrator.records import SECRETS_GATE
from orchestrator.remoteurls import Login, may_carry_secrets, remote_url
from tests.builders import a_run, a_verdict, an_issue, an_outcome

COMMIT = "b" * 40
PASSED = a_verdict(gate=SECRETS_GATE, commit=COMMIT)


@pytest.mark.parametrize(
    ("verdicts", "gates", "may"),
    [
        ([PASSED], [SECRETS_GATE], True),
        ([a_verdict(), PASSED], ["tests", SECRETS_GATE], True),
        ([a_verdict(gate=SECRETS_GATE, state="failed", commit=COMMIT)], [SECRETS_GATE], False),
        ([a_verdict(gate=SECRETS_GATE, state="not_executed", commit=COMMIT)], [], False),
        ([a_verdict(gate=SECRETS_GATE, commit="c" * 40)], [SECRETS_GATE], False),
        ([a_verdict()], ["tests", SECRETS_GATE], False),
        ([], [SECRETS_GATE], False),
        ([a_verdict()], ["tests"], True),
    ],
)
def test_what_may_leave(verdicts: list[object], gates: list[str], may: bool) -> None:
    """Only a commit that the gate for secrets has passed, where there is that gate."""
    assert may_leave(verdicts, COMMIT, gates) is may  # type: ignore[arg-type]


def test_a_header_gives_a_login() -> None:
    """What a code host gives for git's environment is name and secret; anything else is none."""

    def of(value: str) -> Login | None:
        return login_of({"GIT_CONFIG_COUNT": "1", "GIT_CONFIG_VALUE_0": value})

    coded = base64.b64encode(b"x:canary:7").decode()
    assert of(f"Authorization: Basic {coded}") == Login("x", "canary:7")
    assert of("AUTHORIZATION: bearer canary") == Login("x-access-token", "canary")
    assert of("Authorization: Basic %%%") is None
    assert of("X-Other: Basic eDp5") is None
    assert "canary" not in repr(of(f"Authorization: Basic {coded}"))


@pytest.mark.parametrize(
    ("address", "may"),
    [
        ("https://example.org/a", True),
        ("http://127.0.0.1:1/a", True),
        ("http://localhost/a", True),
        ("http://example.org/a", False),
        ("http://127.0.0.1.example.org/a", False),
        ("git@example.org:a", False),
    ],
)
def test_where_secrets_may_go(tmp_path: Path, address: str, may: bool) -> None:
    """Over TLS, or not beyond this machine."""
    assert may_carry_secrets(remote_url(address, folder=tmp_path)) is may


@pytest.mark.parametrize(
    "text", ["Fixes #7", "closes: #7", "Resolved https://x/1", "fix acme/shop#7", "@ada", "<!-- x"]
)
def test_words_do_nothing(text: str) -> None:
    """Mentions, closing words, references and hidden text are plain text in what is published."""
    shown = told(text)
    assert text not in shown
    assert "@a" not in shown and "<!--" not in shown


def test_our_part_of_a_text() -> None:
    """Our part names the issue and is replaced alone; a text without it gets it behind."""
    first = body_of(
        a_run(), an_outcome(summary=f"{END} {BEGIN} <!-- orchestrate: issue 9 -->"), closes=True
    )
    assert is_ours(first, "7") and not is_ours(first, "9") and not is_ours(first, "77")
    second = body_of(a_run(), an_outcome(summary="Other."), closes=True)
    assert merged_body(f"a\n{first}\nb", second) == f"a\n{second}\nb"
    assert merged_body("mine", second) == f"mine\n\n{second}"
    assert merged_body("", second) == second


@pytest.mark.parametrize(
    ("key", "closes", "said"),
    [
        ("7", True, "Resolves #7."),
        ("7", False, "For issue 7."),
        ("ABC-7", True, "For issue ABC-7."),
    ],
)
def test_what_merging_closes(key: str, closes: bool, said: str) -> None:
    """Only an issue of the host itself is closed by merging, and only where that is wanted."""
    run = a_run(issue=an_issue(key=key))
    assert said in body_of(run, an_outcome(issue=key), closes=closes)


def test_an_empty_thread_waits_for_nothing() -> None:
    """Where nobody who may write has spoken there is nothing to answer."""
    assert not waits(Thread("1/1", ()))
    assert waits(Thread("1/1", (Comment("ada", "Why?", trusted=True),)))


@pytest.mark.asyncio
async def test_plain_git_has_no_pull_requests(tmp_path: Path) -> None:
    """It finds none, says nothing, and refuses what it cannot do with what to do instead."""
    host = PlainGit(remote_url("https://example.org/a.git", folder=tmp_path))
    wish = PullRequestWish("t", "b", "feature/7-x", "main")
    request = PullRequest("1", "u", "open", "feature/7-x", "main")
    assert await host.find("feature/7-x") is None
    assert (await host.feedback(request)).threads == ()
    assert await host.push_url() == ("https://example.org/a.git", {})
    for call in (
        host.open(wish),
        host.amend(request, wish),
        host.comment("1", "m", "b", on="issue"),
        host.answer("1/1", "m", "b"),
    ):
        with pytest.raises(TrackerError) as caught:
            await call
        assert "pull_request: none" in caught.value.hint
