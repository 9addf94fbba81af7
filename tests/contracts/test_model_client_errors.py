"""The contract of ModelClient, where no reply comes: the same error, whichever client sees it."""

from __future__ import annotations

import asyncio
import json
import socket
from typing import Any

import pytest

from orchestrator.errors import MalformedReply, ModelError, ModelOverloaded, ModelRefused, TooLong
from tests.builders import a_request
from tests.model_clients import CLIENTS, KEY, a_client, answered
from tests.sse_server import Play, event, refusal, serving, start, stop, text

pytestmark = [pytest.mark.asyncio, pytest.mark.parametrize("kind", sorted(CLIENTS))]

HALF = start() + text(0, "hel")


async def failed(kind: str, play: Play, *, silence_s: float = 60.0) -> ModelError:
    """Return the error of an attempt that must fail."""
    error = await answered(kind, play, silence_s=silence_s)
    assert isinstance(error, ModelError), error
    return error


def facts(error: ModelError) -> dict[str, Any]:
    """Return what the agent acts on."""
    return {
        "retryable": error.retryable,
        "started": error.started,
        "retry_after": error.retry_after,
        "mendable": error.mendable,
    }


PASSING = {"retryable": True, "started": False, "retry_after": None, "mendable": False}
BROKEN_OFF = {**PASSING, "started": True}
FINAL = {**PASSING, "retryable": False}
MENDABLE = {**FINAL, "mendable": True}


@pytest.mark.parametrize(
    ("play", "cls", "expected"),
    [
        (refusal(429, "rate_limit_error"), ModelOverloaded, PASSING),
        (
            refusal(429, "rate_limit_error", retry_after="7"),
            ModelOverloaded,
            {**PASSING, "retry_after": 7.0},
        ),
        (
            refusal(429, "rate_limit_error", retry_after="900", retry_after_ms="250"),
            ModelOverloaded,
            {**PASSING, "retry_after": 0.25},
        ),
        (
            refusal(429, "rate_limit_error", retry_after="Wed, 21 Oct 2026 07:28:00 GMT"),
            ModelOverloaded,
            PASSING,
        ),
        (refusal(429, "rate_limit_error", retry_after="-1"), ModelOverloaded, PASSING),
        (refusal(429, "rate_limit_error", retry_after="inf"), ModelOverloaded, PASSING),
        (
            refusal(429, "rate_limit_error", x_should_retry="false"),
            ModelOverloaded,
            FINAL,
        ),
        (refusal(529, "overloaded_error"), ModelOverloaded, PASSING),
        (refusal(503, "overloaded_error"), ModelOverloaded, PASSING),
        (refusal(500, "api_error"), ModelError, PASSING),
        (refusal(502, "api_error", retry_after="3"), ModelError, {**PASSING, "retry_after": 3.0}),
        (refusal(504, "timeout_error"), ModelError, PASSING),
        (refusal(408, "timeout_error"), ModelError, PASSING),
        (refusal(409, "conflict_error"), ModelError, PASSING),
        (refusal(500, "api_error", x_should_retry="false"), ModelRefused, FINAL),
        (refusal(400, "invalid_request_error"), ModelRefused, FINAL),
        (refusal(400, "invalid_request_error", x_should_retry="true"), ModelError, PASSING),
        (refusal(401, "authentication_error"), ModelRefused, MENDABLE),
        (refusal(402, "billing_error"), ModelRefused, MENDABLE),
        (refusal(403, "permission_error"), ModelRefused, MENDABLE),
        (refusal(404, "not_found_error"), ModelRefused, MENDABLE),
        (refusal(413, "request_too_large"), TooLong, FINAL),
        (refusal(422, "invalid_request_error"), ModelRefused, FINAL),
    ],
    ids=lambda one: str(one.status) if isinstance(one, Play) else None,
)
async def test_a_status_says_whether_to_try_again(
    kind: str, play: Play, cls: type[ModelError], expected: dict[str, Any]
) -> None:
    """Each status is an error of its class that says whether, and when, the same request may succeed."""
    error = await failed(kind, play)
    assert type(error) is cls
    assert facts(error) == expected
    assert f"answered {play.status}" in str(error)


@pytest.mark.parametrize(
    ("status", "hint"), [(401, "ANTHROPIC_API_KEY"), (404, "model's name"), (402, "billing")]
)
async def test_what_a_person_can_mend_has_a_hint(kind: str, status: int, hint: str) -> None:
    """The hint says what to look at."""
    assert hint in (await failed(kind, refusal(status, "x_error"))).hint


async def test_what_the_service_said_is_passed_on(kind: str) -> None:
    """Kind and message of an error are told, at bounded length."""
    error = await failed(kind, refusal(400, "invalid_request_error", "prompt is too long"))
    assert str(error).endswith("invalid_request_error: prompt is too long")
    long = await failed(kind, refusal(400, "invalid_request_error", "x" * 100_000))
    assert len(str(long)) < 1000


ECHO = {
    "refusal": refusal(401, "authentication_error", f"no such key: {KEY}"),
    "at the cut": refusal(401, "authentication_error", f"{'x' * 470}{KEY}"),
    "in escapes": Play(
        [
            json.dumps({"error": {"type": "x_error", "message": KEY}})
            .replace("-", "\\u002d")
            .encode()
        ],
        status=400,
    ),
    "page": Play([f"<pre>Authorization: Bearer {KEY}</pre>".encode()], status=502),
    "words": Play([json.dumps({"sent": KEY}).encode()], status=500),
    "event": Play([HALF, event("error", error={"type": "x_error", "message": f"{KEY}?"})]),
    "event's kind": Play([HALF, event("error", error={"type": KEY, "message": "?"})]),
    "first event": Play([event("error", error={"type": "x_error", "message": "x" * 480 + KEY})]),
}
"""What a gateway may repeat, where."""


@pytest.mark.parametrize("play", ECHO.values(), ids=ECHO)
async def test_no_error_holds_the_key(kind: str, play: Play) -> None:
    """A service or a gateway that repeats what it was sent does not bring it into logs."""
    error = await failed(kind, play)
    said = f"{error}{error!r}{error.hint}"
    assert KEY[:8] not in said
    assert len(said) < 1500


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>Bad gateway</html>",
        b"null",
        b"[1]",
        b"{",
        b'{"error": "x"}',
        b"\xff",
        b"x" * 10**6,
    ],
)
async def test_an_error_may_have_any_body(kind: str, body: bytes) -> None:
    """A proxy's page, nothing, or nonsense: the status still says what to do."""
    error = await failed(kind, Play([body] if body else [], status=502))
    assert facts(error) == PASSING
    assert len(str(error)) < 1000


@pytest.mark.parametrize("status", [301, 307, 308])
async def test_a_redirect_is_not_followed(kind: str, status: int) -> None:
    """The key and the prompt go to the address that was set and nowhere else."""
    async with serving([]) as elsewhere:
        play = Play([], status=status, headers=(("location", f"{elsewhere.url}/v1/messages"),))
        error = await failed(kind, play)
        assert elsewhere.bodies == []
    assert facts(error) == FINAL


@pytest.mark.parametrize(
    ("said", "cls", "retryable"),
    [
        ("overloaded_error", ModelOverloaded, True),
        ("rate_limit_error", ModelOverloaded, True),
        ("api_error", ModelError, True),
        ("timeout_error", ModelError, True),
        ("invalid_request_error", ModelError, False),
        ("novel_error", ModelError, False),
    ],
)
@pytest.mark.parametrize("begun", [True, False])
async def test_an_error_inside_the_stream_is_an_error(
    kind: str, said: str, cls: type[ModelError], retryable: bool, begun: bool
) -> None:
    """An error that the service reports after its 200 is told by its kind, and whether a reply had begun."""
    stream = (HALF if begun else b"") + event("error", error={"type": said, "message": "sorry"})
    error = await failed(kind, Play([stream]))
    assert type(error) is cls
    assert facts(error) == {**PASSING, "retryable": retryable, "started": begun}
    assert str(error) == f"{said}: sorry"


@pytest.mark.parametrize("error", [None, "overloaded", ["x"], {}])
async def test_an_odd_error_inside_the_stream_is_an_error(kind: str, error: Any) -> None:
    """An error event without its usual form is no reply either."""
    found = await failed(kind, Play([HALF, event("error", error=error)]))
    assert found.started


@pytest.mark.parametrize("begun", [True, False])
@pytest.mark.parametrize("end", ["dropped", "whole"])
async def test_a_stream_that_breaks_off_may_be_tried_again(
    kind: str, begun: bool, end: Any
) -> None:
    """A stream that ends before its end, by the connection or by itself, is no reply."""
    error = await failed(kind, Play([HALF] if begun else [], end=end))
    assert facts(error) == {**PASSING, "started": begun}


async def test_without_its_last_event_a_reply_is_not_whole(kind: str) -> None:
    """Everything up to the very end has to be there."""
    whole = HALF + stop()
    assert facts(await failed(kind, Play([whole[: whole.rindex(b"event:")]]))) == BROKEN_OFF


@pytest.mark.parametrize("begun", [True, False])
async def test_a_stream_that_falls_silent_is_given_up(kind: str, begun: bool) -> None:
    """A service that sends nothing for too long is left, and may be asked again."""
    play = Play([HALF] if begun else [], end="stalled")
    error = await failed(kind, play, silence_s=1.0 if begun else 0.2)
    assert facts(error) == {**PASSING, "started": begun}


@pytest.mark.parametrize(
    "broken",
    [
        b'event: content_block_delta\ndata: {"type": "content_bl\n\n',
        b"event: content_block_delta\ndata: [1, 2]\n\n",
        b"event: content_block_delta\ndata: 7\n\n",
        event("content_block_delta", index=9, delta={"type": "text_delta", "text": "x"}),
        event("content_block_delta", index="x", delta={"type": "text_delta", "text": "x"}),
        event("content_block_delta", index=0, delta={"type": "text_delta"}),
        event("content_block_delta"),
        event("content_block_start", index=1),
        event("message_delta"),
    ],
)
async def test_a_stream_that_makes_no_sense_may_be_tried_again(kind: str, broken: bytes) -> None:
    """Broken JSON, and events that do not fit, are no reply, whatever comes after them."""
    error = await failed(kind, Play([HALF, broken, stop()]))
    assert facts(error) == BROKEN_OFF


async def test_a_first_event_that_makes_no_sense_may_be_tried_again(kind: str) -> None:
    """Where nothing of a reply had come, nothing had started."""
    error = await failed(kind, Play([b"event: message_start\ndata: {broken\n\n", stop()]))
    assert facts(error) == PASSING


async def test_a_page_instead_of_a_stream_is_no_reply(kind: str) -> None:
    """A 200 that is a web page, as a captive portal sends it, is no reply."""
    page = Play([b"<html>Welcome</html>"], headers=(("content-type", "text/html"),))
    assert facts(await failed(kind, page)) == PASSING


async def test_nobody_there_may_be_tried_again(kind: str) -> None:
    """An address where nothing listens is a passing error with a hint."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    async with a_client(kind, f"http://127.0.0.1:{port}") as client:
        with pytest.raises(ModelError) as caught:
            await client.reply(a_request())
    assert facts(caught.value) == PASSING
    assert "ANTHROPIC_BASE_URL" in caught.value.hint


@pytest.mark.parametrize("url", ["http://[broken", "ftp://127.0.0.1", "127.0.0.1"])
async def test_an_address_that_is_none_is_refused(kind: str, url: str) -> None:
    """An address that no client could use is an error of ours, however it is found out."""
    with pytest.raises(ModelError) as caught:
        async with a_client(kind, url) as client:
            await client.reply(a_request())
    assert not caught.value.started


async def test_a_cancelled_attempt_lets_go(kind: str) -> None:
    """Cancelling a request in the middle of its reply passes on as what it is."""
    async with (
        serving([Play([HALF], end="stalled")]) as service,
        a_client(kind, service.url) as client,
    ):
        task = asyncio.create_task(client.reply(a_request()))
        async with asyncio.timeout(60):
            await service.stalled.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


async def test_a_malformed_reply_is_named_as_such(kind: str) -> None:
    """A stream that ends too early is a malformed reply."""
    assert isinstance(await failed(kind, Play([HALF])), MalformedReply)


@pytest.mark.parametrize(
    ("status", "said"),
    [
        (400, "prompt is too long: 208310 tokens > 200000 maximum"),
        (400, "the request exceeds the available context size (exceed_context_size_error)"),
        (400, "This model's maximum context length is 32768 tokens"),
        (413, "request_too_large"),
    ],
)
async def test_a_request_that_is_too_long_is_known(kind: str, status: int, said: str) -> None:
    """However services say it, a request that is too long is an error of its own."""
    error = await failed(kind, refusal(status, "invalid_request_error", said))
    assert isinstance(error, TooLong) and not error.retryable
