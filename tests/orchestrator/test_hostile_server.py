"""The host's end of the talk with a tool server that is somebody else's: anything may come."""

from __future__ import annotations

import json
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import anyio
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from orchestrator import toolserver
from orchestrator.events import CallSummary, ToolsReturned, decode, encode
from orchestrator.records import SandboxSpec
from orchestrator.sandboxes.unconfined import UnconfinedSandbox
from orchestrator.toolbox import Toolbox
from orchestrator.toolserver import ToolServer
from orchestrator.transcript import encode_message, result_block
from orchestrator_tools.contract import LINE_LIMIT, LIVE_LIMIT, StateChange, ToolResult, ToolState

HOSTILE = r"""
import json, os, socket, sys
channel = socket.socket(fileno=int(os.environ["ORCHESTRATE_CHANNEL"]))
requests = channel.makefile("rb")
before, rounds, ending = json.loads(sys.stdin.readline())
channel.sendall(bytes.fromhex(before) + b'{"ready":true}\n')
for answer in rounds:
    while True:
        message = json.loads(requests.readline())
        if message["op"] == "call":
            break
    said = bytes.fromhex(answer).replace(b"@ID@", message["id"].encode())
    for start in range(0, len(said), 70000):
        channel.sendall(said[start:start + 70000])
if ending == "flood":
    while True:
        channel.sendall(b'{"id": "0"}\n' * 5000)
if ending == "stay":
    requests.read()
"""
"""Says what it is told to say: something before it is ready, and something on every call."""

HONEST = b'{"id":"@ID@","content":[{"type":"text","text":"honest"}],"details":{},"is_error":false,"truncated":false,"cwd":null,"seen":{}}\n'
FORGED = HONEST.replace(b"honest", b"FORGED")
READ = ("Read", {"file_path": "f"})
SAFETY_S = 60


@dataclass
class Told:
    """A process that starts like any other, and is told its lines once it runs."""

    lines: bytes
    sandbox: UnconfinedSandbox = field(default_factory=lambda: UnconfinedSandbox(environment={}))
    name: str = "none"
    maps_paths: bool = False
    own_processes: bool = False
    python: str = sys.executable
    gaps: tuple[str, ...] = ()
    owner: tuple[int, int] | None = None

    async def check(self) -> str:
        """Nothing is proved."""
        return await self.sandbox.check()

    async def start(self, argv: Any, spec: SandboxSpec, *, pass_fds: Any = ()) -> Any:
        """Start the process and tell it its lines."""
        process = await self.sandbox.start(argv, spec, pass_fds=pass_fds)
        assert process.stdin is not None
        await process.stdin.send(self.lines)
        return process


@asynccontextmanager
async def hostile(
    *answers: bytes, before: bytes = b"", ending: str = "close"
) -> AsyncIterator[ToolServer]:
    """Open a server that says this to its first calls, the same in every life."""
    lines = json.dumps([before.hex(), [one.hex() for one in answers], ending]).encode() + b"\n"
    sandbox = Told(lines)
    await sandbox.check()
    argv = (sys.executable, "-I", "-S", "-c", HOSTILE)
    spec = SandboxSpec(mounts=(), cwd="/", environment=())
    async with ToolServer(sandbox, lambda: spec, argv).open() as server:
        yield server


def answered(
    *answers: bytes,
    before: bytes = b"",
    ending: str = "close",
    show: Callable[[str], None] | None = None,
) -> list[tuple[ToolResult, StateChange]]:
    """Make one call for each answer, within a bounded time, and return what the host made of it."""

    async def calls() -> list[tuple[ToolResult, StateChange]]:
        with anyio.fail_after(SAFETY_S):
            async with hostile(*answers, before=before, ending=ending) as server:
                tools = Toolbox(server)
                return [await tools.call(*READ, ToolState(cwd="/"), show=show) for _ in answers]

    return anyio.run(calls)


def can_be_kept(result: ToolResult, change: StateChange) -> None:
    """Check that a result can be sent to a model and kept in the journal, and comes back."""
    message = encode_message("user", [result_block("toolu_1", result)])
    json.loads(message)
    call = CallSummary("Read", "f", result.is_error, 0.1)
    event = ToolsReturned("author", 1, message, (call,), change.cwd, dict(change.seen))
    assert decode("ToolsReturned", encode(event)) == event


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have a server that has gone silent given up soon."""
    monkeypatch.setattr(toolserver, "PULSE_S", 0.1)
    monkeypatch.setattr(toolserver, "PULSE_WAIT_S", 1.0)


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters(exclude_categories=()), max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=6,
)
NOT_THE_ID = JSON.filter(lambda value: value != "@ID@")
BLOCK = st.fixed_dictionaries(
    {},
    optional={
        "type": st.sampled_from(["text", "image", "tool_use"]) | JSON,
        "text": JSON,
        "source": st.dictionaries(st.text(max_size=5), JSON, max_size=3) | JSON,
    },
)


def line_with(number: st.SearchStrategy[Any]) -> st.SearchStrategy[bytes]:
    """Return a strategy for answers under some id, each part good, broken or missing."""
    good = st.just([{"type": "text", "text": "FORGED"}])
    message = st.fixed_dictionaries(
        {"id": number},
        optional={
            "content": good | st.lists(BLOCK, max_size=3) | JSON,
            "details": st.just({}) | JSON,
            "is_error": JSON,
            "truncated": JSON,
            "cwd": JSON,
            "seen": st.just({}) | st.dictionaries(st.text(max_size=4), JSON, max_size=3) | JSON,
            "error": JSON,
            "output": JSON,
            "ready": JSON,
        },
    )
    return message.map(lambda one: json.dumps(one).encode() + b"\n")


NOISE = (
    st.binary(max_size=60).map(lambda data: data.replace(b"@ID@", b"") + b"\n")
    | line_with(NOT_THE_ID)
    | st.sampled_from(
        [
            b"[" * 100_000 + b"\n",
            b'{"id":' + b"[" * 400 + b"]" * 400 + b"}\n",
            b'{"id":' + b"[" * 900 + b"]" * 900 + b"}\n",
            b'{"a":' * 50_000 + b"\n",
            b'{"id":NaN}\n{"id":Infinity}\n{"id":1e999}\n',
            b'{"id":' + b"9" * 5000 + b"}\n",
            b'{"id":"\\ud800"}\n',
            b'{"ready":true}\n' * 3,
            b" " * 300_000 + b"\n",
            b"\0" * 1000 + b"\n",
            HONEST[:40] + b"\n",
            FORGED.replace(b"@ID@", b"0" * 24),
        ]
    )
)

ROUNDS = settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.too_slow])


@ROUNDS
@given(noise=st.lists(st.lists(NOISE, max_size=4).map(b"".join), min_size=1, max_size=4))
def test_noise_changes_no_answer(noise: list[bytes]) -> None:
    """Whatever comes under no asked id, before and after, each call gets its own answer."""
    said = [one + HONEST + FORGED + one for one in noise]
    for result, change in answered(*said, before=noise[0]):
        assert (result.text, result.is_error) == ("honest", False)
        assert change == StateChange()


@ROUNDS
@given(answer=line_with(st.just("@ID@")), more=st.booleans())
def test_any_answer_is_a_result_that_can_be_kept(answer: bytes, more: bool) -> None:
    """An answer of any shape becomes a result for the model, and the first one counts."""
    ((result, change),) = answered(answer + (FORGED if more else b""))
    can_be_kept(result, change)
    said = json.loads(answer)
    if "output" not in said and "error" not in said and "content" not in said:
        assert "broken result" in result.text


@ROUNDS
@given(cut=st.integers(0, len(HONEST) + 23), noise=NOISE)
def test_an_answer_cut_short_is_no_answer(cut: int, noise: bytes) -> None:
    """A server that closes in the middle of its answer has ended, and the model is told."""
    ((result, change),) = answered(noise + HONEST[: min(cut, len(HONEST) - 1)])
    assert result.is_error
    assert "ended the sandbox's server" in result.text
    assert change == StateChange()


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"x" * (LINE_LIMIT + 1_000_000),
        b"x" * (LINE_LIMIT + 1_000_000) + b"\n" + FORGED,
        b'{"id":"@ID@","content":' + b"[" * 990 + b"]" * 990 + b"}",
    ],
    ids=["nothing", "endless", "too-long", "no-line-end"],
)
def test_what_is_no_answer_ends_the_server(answer: bytes, impatient: None) -> None:
    """A line that never ends, or is too long, costs a restart; the next call is answered."""
    (first, _), (second, _) = answered(answer, HONEST)
    assert first.is_error
    assert "ended the sandbox's server" in first.text
    assert "FORGED" not in first.text
    assert second.is_error  # the same answer comes again in the next life


def test_a_flood_ends_the_server() -> None:
    """A server that never stops talking is ended, though nothing of it is an answer."""
    ((result, _),) = answered(b"\n", ending="flood")
    assert result.is_error
    assert "ended the sandbox's server" in result.text


@pytest.mark.asyncio
async def test_a_server_that_never_answers_is_given_up() -> None:
    """Silence is waited for as long as the caller says, and the next call has a new server."""
    async with hostile(b"", ending="stay") as server:
        for _ in range(2):
            with anyio.fail_after(SAFETY_S):
                with pytest.raises(Exception, match="no answer within"):
                    await server.ask({"op": "call"}, seconds=0.3)


def test_an_early_answer_is_not_taken() -> None:
    """What was said before the question is no answer to it, whatever ids it guesses."""
    guesses = b"".join(FORGED.replace(b"@ID@", b"%024x" % number) for number in range(2000))
    ((result, _),) = answered(HONEST, before=guesses)
    assert result.text == "honest"


def test_many_names_are_not_all_kept() -> None:
    """A state as long as a line can hold is cut to what the tools remember."""
    names = ",".join(f'"/{number}":"x"' for number in range(50_000)).encode()
    answer = HONEST.replace(b'"seen":{}', b'"seen":{' + names + b"}")
    ((result, change),) = answered(answer)
    assert result.text == "honest"
    assert len(change.seen) == 2000
    can_be_kept(result, change)


@ROUNDS
@given(texts=st.lists(st.text(st.characters(exclude_categories=()), max_size=50), max_size=5))
def test_live_output_is_bounded_and_never_an_answer(texts: list[str]) -> None:
    """Output on the way is shown in small whole pieces, and only until the answer."""
    heard: list[str] = []
    lines = [
        json.dumps({"id": "@ID@", "output": text * 5000, "content": []}).encode() + b"\n"
        for text in texts
    ]
    ((result, _),) = answered(b"".join(lines) + HONEST + b"".join(lines), show=heard.append)
    assert result.text == "honest"
    assert all(len(one) <= LIVE_LIMIT for one in heard)
    assert len(heard) <= max(len(texts), 1)
    for one in heard:
        one.encode()


@pytest.mark.parametrize(("lines", "text"), [(500, "honest"), (3000, "ended the sandbox's server")])
def test_much_live_output_is_passed_over(lines: int, text: str) -> None:
    """Output that comes too fast is not shown; a server that does not stop at all is ended."""
    heard: list[str] = []
    line = json.dumps({"id": "@ID@", "output": "x" * 20_000}).encode() + b"\n"
    ((result, _),) = answered(line * lines + HONEST, show=heard.append)
    assert text in result.text
    assert all(len(one) == LIVE_LIMIT for one in heard)
    assert len(heard) < lines // 2
