"""What may be published, with which secret, and in which words."""

from __future__ import annotations

import base64
import html
import re
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from orchestrator.announcing import (
    BEGIN,
    END,
    answer_of,
    body_of,
    comment_of,
    is_ours,
    merged_body,
    round_of,
    title_of,
    told,
    waits,
    with_round,
)
from orchestrator.assembly.delivering import login_of
from orchestrator.calm import loud
from orchestrator.errors import TrackerError
from orchestrator.forge.tales import quiet
from orchestrator.hosts.plain_git import PlainGit
from orchestrator.prompts import commit_message
from orchestrator.publishing import may_leave
from orchestrator.pullrequests import (
    Comment,
    Continued,
    Feedback,
    PullRequest,
    PullRequestWish,
    Thread,
)
from orchestrator.records import SECRETS_GATE
from orchestrator.remoteurls import Login, may_carry_secrets, remote_url
from orchestrator.stages import Evidence
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


# What hosts look for, as they document it: GitHub's keywords and references, GitLab's default
# pattern for closing (with issues of Jira), mentions, lines that are commands.
CLOSES = re.compile(
    r"(?i)\b(?:clos(?:e[sd]?|ing)|fix(?:e[sd]|ing)?|resolv(?:e[sd]?|ing)|implement(?:s|ed|ing)?)"
    r":?\s+(?:issues?\s+)?(?:[\w./-]*#\d+|https?://\S+|GH-\d+|[A-Z][A-Z0-9_]+-\d+)"
)
REFERS = re.compile(r"(?i)#\d|\bGH-\d|(?<![\w`])@\w|<!--|^/[a-z]", re.MULTILINE)
WORDS = st.lists(
    st.sampled_from(
        [
            *("Fixes", "closing", "Implements", "resolved:", "Close", "issue", "issues"),
            *("#7", "acme/shop#7", "GH-7", "gh-7", "SHOP-7", "https://host.example/a/issues/7"),
            *(
                "@ada",
                "@_x",
                "@acme/team",
                "<!-- x -->",
                "-->",
                "/close",
                "\n",
                "\n/merge",
                "*",
                "&",
            ),
            *("&#35;7", "`", "**#7**", "(#7)", "word", "#", "7", "\u200b", "\r"),
        ]
    ),
    max_size=12,
)


@given(WORDS, st.sampled_from([" ", "", "\t"]))
@example(["Fixes", "#7"], " ")
@example(["Implements", "https://host.example/a/issues/7"], " ")
@example(["&#64;ada"], "")
def test_words_do_nothing(words: list[str], between: str) -> None:
    """Whatever is put together, what is shown mentions nobody, links and closes nothing."""
    shown = html.unescape(told(between.join(words)))
    assert CLOSES.search(shown) is None
    # Lines are quoted where they are published; what looks hidden here is shown there.
    assert REFERS.search(shown.replace("\n/", "\n ").lstrip("/").replace("<!--", "")) is None
    assert "<!--" not in told(between.join(words))


@given(WORDS)
def test_all_that_is_published_is_quiet(words: list[str]) -> None:
    """Pull request, answer, comment and title hold nothing that the hosts' own adapters remove."""
    text = " ".join(words)
    outcome = an_outcome(
        status="needs_human",
        summary=text,
        error=text,
        notes=(text,),
        evidence=(Evidence("plan", seen=True, required=False, what=text),),
        verdicts=(a_verdict(reason=text),),
    )
    run = a_run(issue=an_issue(key="7", title=text))
    title = title_of(run.issue, here=True)
    assert CLOSES.search(title.removesuffix("(#7)")) is None
    assert REFERS.search(title.removesuffix("(#7)").lstrip("/").replace("<!--", "")) is None
    for shown in (
        body_of(run, outcome, closes=False),
        answer_of(run, outcome),
        comment_of(run, outcome),
    ):
        bare = re.sub(r"<!-- orchestrate:.*?-->", "", shown)
        assert quiet(bare) == bare
        assert CLOSES.search(html.unescape(bare)) is None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("Fixes #99.", ["Fixes #99"]),
        ("fixes #7, and closes #7!", []),
        ("Closes acme/shop#7", ["Closes acme/shop#7"]),
        ("closing: https://h.example/a/issues/7\n", ["closing: https://h.example/a/issues/7"]),
        ("Implements SHOP-7", ["Implements SHOP-7"]),
        ("For @ada and @ada, not a@b.example", ["@ada"]),
        ("Fix the sum of carts (#7)", []),
    ],
)
def test_what_does_something_is_found(text: str, said: list[str]) -> None:
    """Words that close other issues or mention people are named; the run's own issue may close."""
    assert loud(text, "7") == said


@given(WORDS)
def test_a_commit_of_ours_does_nothing(words: list[str]) -> None:
    """The message that the runtime itself makes of an issue's title closes and mentions nothing."""
    message = commit_message(an_issue(key="7", title=" ".join(words)))
    assert loud(message, "7") == [] and CLOSES.search(message) is None


def test_a_long_text_keeps_its_end() -> None:
    """However much there is to tell, our part stays whole, so that a later one can replace it."""
    many = tuple(a_verdict(gate=f"gate-{number}", reason="r" * 5000) for number in range(200))
    notes = tuple("n" * 5000 for _ in range(200))
    outcome = an_outcome(summary="s" * 50_000, verdicts=many, notes=notes)
    body = body_of(a_run(), outcome, closes=True)
    assert len(body) < 32_000
    assert body.startswith(BEGIN) and body.endswith(END)
    assert "How it goes on" in body
    assert merged_body(f"a{body}b", body) == f"a{body}b"


def test_a_round_is_written_into_a_text() -> None:
    """The number is found again, also where a person has written around it, and is there once."""
    run = a_run(continues=Continued("1", "u", "feature/7-x", 2, Feedback()))
    for body in (body_of(run, an_outcome(), closes=True), "mine", f"mine {BEGIN} x {END}"):
        later = with_round(with_round(body, 3), 4)
        assert round_of(later) == 4
        assert later.count("orchestrate: round") == 1


def test_a_comment_names_no_file_of_the_machine() -> None:
    """Paths in an error stay here; addresses do not look like one."""
    error = "No space left on device: '/home/ada/.local/state/x' at https://h.example/a/b"
    text = comment_of(a_run(), an_outcome(status="failed", error=error))
    assert "/home" not in text and "https://h.example/a/b" in text


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
