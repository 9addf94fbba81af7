"""What the client does when a service waits, breaks off, lies or leads away."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from orchestrator.errors import (
    ConfigError,
    TrackerBusy,
    TrackerConflict,
    TrackerError,
    TrackerMissing,
    TrackerRefused,
    Unanswered,
)
from orchestrator.forge.client import Dialect, Forge, address
from orchestrator.forge.secret import Token
from tests.forges.asking import Clock, asking, on_github
from tests.forges.github import TOKEN, GitHub, issue
from tests.forges.server import Fault, Reply, serving

pytestmark = pytest.mark.asyncio

LIMIT = {"message": "API rate limit exceeded for user ID 1."}
SECOND = {"message": "You have exceeded a secondary rate limit. Please wait."}


def said(status: int, data: Any = None, **headers: str) -> Reply:
    """Build an answer; ``_`` in a header's name stands for ``-``."""
    named = tuple((name.replace("_", "-"), value) for name, value in headers.items())
    return Reply(status, data, named)


@pytest.mark.parametrize(
    ("reply", "waits"),
    [
        (said(429, LIMIT, retry_after="7"), 7.0),
        (said(403, SECOND, retry_after="31"), 31.0),
        (said(403, SECOND), 60.0),
        (said(403, LIMIT, x_ratelimit_remaining="0", x_ratelimit_reset="1780000042"), 43.0),
        (
            said(
                403,
                LIMIT,
                x_ratelimit_remaining="0",
                x_ratelimit_reset="1780000042",
                date="Thu, 28 May 2026 20:26:50 GMT",
            ),
            33.0,
        ),
        (said(429, LIMIT, retry_after="Thu, 28 May 2026 20:26:55 GMT"), 15.0),
        (said(503, {"message": "down"}, retry_after="5"), 5.0),
        (said(502, {"message": "bad gateway"}), 1.0),
    ],
)
async def test_a_read_waits_as_asked_and_goes_on(reply: Reply, waits: float) -> None:
    """A limit is waited out by the service's own words, and the read is repeated."""
    async with on_github() as stage:
        stage.github.issues[1] = issue(1)
        stage.server.faults.append(Fault("reply", reply=reply))
        found = await stage.project.forge.get("/repos/acme/shop/issues/1")
        assert found["number"] == 1
        assert stage.clock.slept == [pytest.approx(waits)]


@pytest.mark.parametrize("kind", ["lost", "cut"])
async def test_a_read_that_breaks_off_is_repeated(kind: Any) -> None:
    """A dropped connection or half an answer is no answer: it is asked for again."""
    async with on_github() as stage:
        stage.github.issues[1] = issue(1)
        stage.server.faults.append(Fault(kind, times=2))
        found = await stage.project.forge.get("/repos/acme/shop/issues/1")
        assert found["number"] == 1 and stage.clock.slept == [1.0, 2.0]


async def test_patience_ends() -> None:
    """After the last further attempt the error is told, and the tries are counted."""
    async with on_github() as stage:
        stage.server.faults.append(Fault("reply", reply=said(500, {"message": "oops"}), times=99))
        with pytest.raises(Unanswered, match="500 to GET /repos/acme/shop/issues/1: oops") as told:
            await stage.project.forge.get("/repos/acme/shop/issues/1")
        assert told.value.retryable and told.value.exit_code == 5
        assert stage.server.count("GET") == 5 and stage.clock.slept == [1.0, 2.0, 4.0, 8.0]


async def test_a_limit_beyond_patience_is_told() -> None:
    """A wait of an hour is not sat out: the error says how long it would be."""
    async with on_github() as stage:
        far = said(403, LIMIT, x_ratelimit_remaining="0", x_ratelimit_reset="1780003600")
        stage.server.faults.append(Fault("reply", reply=far))
        with pytest.raises(TrackerBusy) as told:
            await stage.project.forge.get("/repos/acme/shop/issues/1")
        assert told.value.wait_s == pytest.approx(3601.0) and stage.clock.slept == []
        assert "60 minutes" in told.value.hint


async def test_silence_is_bounded() -> None:
    """A service that never answers costs the time of its attempts and no more."""
    async with on_github(attempt_s=0.2, retries=1) as stage:
        stage.server.faults.append(Fault("silent", times=9))
        with pytest.raises(Unanswered, match="did not answer GET /x in time"):
            await stage.project.forge.get("/x")
        assert stage.clock.slept == [1.0]
        # On a busy machine an attempt may be over before the server has read its request.
        assert stage.server.count("GET") <= 2


@pytest.mark.parametrize("kind", ["lost", "cut"])
async def test_a_change_whose_answer_is_lost_is_not_repeated(kind: Any) -> None:
    """Nobody knows whether it happened: the caller has to look first."""
    async with on_github() as stage:
        stage.github.issues[1] = issue(1)
        stage.server.faults.append(Fault(kind, "POST"))
        with pytest.raises(Unanswered):
            await stage.project.forge.send(
                "POST", "/repos/acme/shop/issues/1/comments", {"body": "x"}
            )
        assert stage.server.count("POST") == 1 and len(stage.github.comments[1]) == 1


async def test_a_change_that_was_limited_is_repeated() -> None:
    """A refusal for a limit means that nothing was done: it is sent again after the wait."""
    async with on_github() as stage:
        stage.github.issues[1] = issue(1)
        stage.server.faults.append(Fault("reply", "POST", reply=said(429, LIMIT, retry_after="3")))
        path = "/repos/acme/shop/issues/1/comments"
        assert (await stage.project.forge.send("POST", path, {"body": "x"}))["body"] == "x"
        assert len(stage.github.comments[1]) == 1 and stage.clock.slept == [3.0]


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, TrackerError),
        (401, TrackerRefused),
        (403, TrackerRefused),
        (404, TrackerMissing),
        (409, TrackerConflict),
        (410, TrackerMissing),
        (422, TrackerConflict),
        (301, TrackerMissing),
    ],
)
async def test_each_refusal_has_its_kind(status: int, kind: type[TrackerError]) -> None:
    """What no repetition mends is told at once, in one line, with what the service said."""
    async with on_github() as stage:
        reply = said(status, {"message": "no\n\x1b[31mway"}, location="http://127.0.0.1:1/x")
        stage.server.faults.append(Fault("reply", reply=reply))
        with pytest.raises(TrackerError) as told:
            await stage.project.forge.get("/x")
        assert type(told.value) is kind and "\n" not in str(told.value)
        assert "\x1b" not in str(told.value) and stage.server.count("GET") == 1


async def test_no_connection_is_told() -> None:
    """Where nobody listens the error names service and address."""
    clock = Clock()
    async with asking("http://127.0.0.1:9", Dialect("GitHub"), Token("t"), clock) as forge:
        with pytest.raises(Unanswered, match=r"no connection to GitHub at http://127\.0\.0\.1:9"):
            await forge.send("POST", "/x", {})
    assert len(clock.slept) == 4, "what was never sent may be sent again"


async def test_what_is_known_is_not_sent_again(tmp_path: Path) -> None:
    """An unchanged answer comes from disk, private; a changed one from the service."""
    folder = tmp_path / "answers"
    async with on_github(folder) as stage:
        stage.github.issues[1] = issue(1)
        first = await stage.project.forge.get("/repos/acme/shop/issues/1")
        assert await stage.project.forge.get("/repos/acme/shop/issues/1") == first
        assert "if-none-match" in stage.server.asked[-1].headers
        stage.github.issues[1]["title"] = "Other"
        assert (await stage.project.forge.get("/repos/acme/shop/issues/1"))["title"] == "Other"
    assert folder.stat().st_mode & 0o777 == 0o700
    for file in folder.iterdir():
        assert file.stat().st_mode & 0o777 == 0o600 and TOKEN not in file.read_text()


async def test_another_credential_sees_nothing_of_the_first(tmp_path: Path) -> None:
    """Answers are kept for each credential apart."""
    async with on_github(tmp_path) as stage:
        stage.github.issues[1] = issue(1)
        await stage.project.forge.get("/repos/acme/shop/issues/1")
        other = Forge(
            stage.server.url, Dialect("GitHub"), Token("other"), kept=stage.project.forge._kept
        )
        with pytest.raises(TrackerRefused):
            await other.get("/repos/acme/shop/issues/1")
        await other.aclose()
        assert "if-none-match" not in stage.server.asked[-1].headers


async def test_pages_are_followed_to_the_end(tmp_path: Path) -> None:
    """A list is whole, also where each page is known already."""
    async with on_github(tmp_path) as stage:
        stage.github.page = 2
        stage.github.issues |= {n: issue(n) for n in range(1, 8)}
        for _ in range(2):
            found = await stage.project.forge.pages("/repos/acme/shop/issues", most=99)
            assert [one["number"] for one in found] == [1, 2, 3, 4, 5, 6, 7]


async def test_a_broken_page_is_no_shorter_list() -> None:
    """Where a later page cannot be had there is an error, never a part."""
    async with on_github(retries=0) as stage:
        stage.github.page = 2
        stage.github.issues |= {n: issue(n) for n in range(1, 6)}
        await stage.project.forge.get("/repos/acme/shop/issues")
        stage.server.faults.append(Fault("cut", query="page=2"))
        with pytest.raises(Unanswered):
            await stage.project.forge.pages("/repos/acme/shop/issues", most=99)
        assert stage.server.asked[-1].query["page"] == "2"


@pytest.mark.parametrize(
    ("link", "told"),
    [
        ('<http://127.0.0.1:9/steal>; rel="next"', "another address"),
        ('<https://evil.example/x>; rel="next"', "another address"),
        ('<{url}/x>; rel="next"', "do not end"),
    ],
)
async def test_pages_lead_nowhere_else(link: str, told: str) -> None:
    """The credential follows no link to another place, and no circle."""
    async with on_github() as stage:
        reply = said(200, [{}], link=link.format(url=stage.server.url))
        stage.server.faults.append(Fault("reply", reply=reply, times=9))
        with pytest.raises(TrackerError, match=told):
            await stage.project.forge.pages("/x", most=99)
        assert stage.server.count("GET") == 1


@pytest.mark.parametrize("repeats", [True, False])
async def test_a_secret_is_in_no_error_and_no_name(repeats: bool) -> None:
    """Even a service that repeats our secret cannot bring it into an error."""
    async with on_github() as stage:
        echo = f"bad: Bearer {TOKEN} {TOKEN}" if repeats else "bad"
        stage.server.faults.append(Fault("reply", reply=said(401, {"message": echo})))
        with pytest.raises(TrackerRefused) as told:
            await stage.project.forge.get("/x")
        shown = f"{told.value!r} {told.value} {told.value.hint} {stage.project.forge!r}"
        assert TOKEN not in shown and TOKEN not in repr(stage.project.forge.credential)
        assert TOKEN not in stage.server.asked[-1].path


@pytest.mark.parametrize("before", [0, 280, 295, 320])
@pytest.mark.parametrize("form", ["json", "text"])
async def test_half_a_secret_is_in_no_error(before: int, form: str) -> None:
    """What is cut off cannot cut a secret in two, and what is no JSON is treated alike."""
    async with on_github() as stage:
        echo = "x" * before + f" {TOKEN}"
        data = {"message": echo} if form == "json" else echo
        stage.server.faults.append(Fault("reply", reply=said(401, data)))
        with pytest.raises(TrackerRefused) as told:
            await stage.project.forge.get("/x")
        assert TOKEN[:3] not in str(told.value)


async def test_a_secret_behind_a_name_is_hidden_too() -> None:
    """A service may repeat what stands inside of Basic."""
    clock = Clock()
    async with (
        serving(GitHub) as server,
        asking(server.url, Dialect("Jira"), Token("jira-canary", "basic", "ada"), clock) as forge,
    ):
        server.faults.append(Fault("reply", reply=said(401, {"message": "no: jira-canary"})))
        with pytest.raises(TrackerRefused, match=r"no: \*\*\*"):
            await forge.get("/x")


async def test_a_success_that_is_none_hides_secrets_too() -> None:
    """GraphQL refuses with the status of a success."""
    async with on_github() as stage:
        reply = said(200, {"errors": [{"message": f"no: {TOKEN}"}]})
        stage.server.faults.append(Fault("reply", reply=reply))
        with pytest.raises(Unanswered) as told:
            await stage.project.graphql("query { viewer { login } }", {})
        assert "no: ***" in str(told.value)


@pytest.mark.parametrize(("kind", "passes"), [("", True), ("NOT_FOUND", False)])
async def test_an_error_of_graphql_says_whether_it_passes(kind: str, passes: bool) -> None:
    """Where GitHub itself stumbled the same may succeed later; a refusal stays one."""
    async with on_github() as stage:
        error = {"message": "Something went wrong"} | ({"type": kind} if kind else {})
        stage.server.faults.append(Fault("reply", reply=said(200, {"errors": [error]})))
        with pytest.raises(Unanswered) as told:
            await stage.project.graphql("query { viewer { login } }", {})
        assert told.value.retryable == passes


async def test_a_comment_that_was_deleted_meanwhile_is_written_anew() -> None:
    """Between looking and editing somebody may take it away."""
    async with on_github() as stage:
        stage.github.issues[1] = issue(1)
        await stage.project.commented("1", "run/7", "one")
        stage.server.faults.append(Fault("reply", "PATCH", reply=said(404, {"message": "gone"})))
        await stage.project.commented("1", "run/7", "two")
        assert [one["body"].endswith("two") for one in stage.github.comments[1]] == [True]


async def test_a_limit_in_graphql_is_waited_out() -> None:
    """It comes with the status of a success, and with the same headers as any other."""
    async with on_github() as stage:
        limit = {"errors": [{"type": "RATE_LIMITED", "message": "API rate limit exceeded"}]}
        reset = {"x_ratelimit_remaining": "0", "x_ratelimit_reset": "1780000042"}
        stage.server.faults.append(Fault("reply", reply=said(200, limit, **reset)))
        assert await stage.project.own_login() == "robot"
        assert stage.clock.slept == [43.0]


@pytest.mark.parametrize(
    "path",
    [
        "/evil",
        "/api/v3/../../evil",
        "/api%2fx",
        "/apis",
        "/api/%2e%2E/evil",
        "/api/..\\evil",
        "/api/x%2f..%2fevil",
    ],
)
async def test_pages_lead_to_nothing_beside_the_service(path: str) -> None:
    """What shares a host with the service does not get its credential."""
    async with on_github(top="/api/v3") as stage:
        reply = said(200, [{}], link=f'<{stage.server.url}{path}?page=2>; rel="next"')
        stage.server.faults.append(Fault("reply", reply=reply))
        with pytest.raises(TrackerError, match="another address"):
            await stage.project.forge.pages("/v3/repos/acme/shop/issues", most=99)
        assert stage.server.count("GET") == 1


async def test_closing_closes_the_credential_too() -> None:
    """An App's own connections end with those that it lets in; closing twice does no harm."""
    closed: list[str] = []

    class Noted(Token):
        async def aclose(self) -> None:
            closed.append("credential")

    forge = Forge("http://127.0.0.1:9", Dialect("GitHub"), Noted("t"))
    await forge.aclose()
    await forge.aclose()
    assert closed and forge._client.is_closed
    with pytest.raises(TrackerError, match="after the end"):
        await forge.get("/x")


async def test_a_wait_without_measure_is_told_in_one_line() -> None:
    """Who asks to wait for ages is told so, not written out."""
    async with on_github() as stage:
        stage.server.faults.append(Fault("reply", reply=said(429, LIMIT, retry_after="1e300")))
        with pytest.raises(TrackerBusy, match="or longer") as told:
            await stage.project.forge.get("/x")
        assert len(str(told.value)) < 300


@pytest.mark.parametrize("path", ["/api/v3/repositories/1/a..b", "/api/v3/.github/x", "/api/..x"])
async def test_dots_in_names_lead_nowhere(path: str) -> None:
    """Names may hold dots; only what leads upwards is refused."""
    async with on_github(top="/api/v3") as stage:
        reply = said(200, [{}], link=f'<{stage.server.url}{path}?page=2>; rel="next"')
        stage.server.faults.append(Fault("reply", reply=reply))
        with pytest.raises(TrackerMissing):
            await stage.project.forge.pages("/v3/repos/acme/shop/issues", most=99)
        assert stage.server.count("GET") == 2


@pytest.mark.parametrize(
    "url",
    [
        "http://example.org",
        "ftp://x",
        "github.com",
        "https://",
        "https://u:canary@h",
        "https://h/?a",
    ],
)
async def test_secrets_go_to_https_alone(url: str) -> None:
    """An address that is no plain https one is refused, and what it holds is not repeated."""
    with pytest.raises(ConfigError) as told:
        address(url)
    assert "canary" not in str(told.value)
