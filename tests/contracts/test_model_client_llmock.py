"""The model clients against a service that others wrote: llmock, a process of its own."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from orchestrator.errors import ModelError, ModelOverloaded, ModelRefused
from orchestrator.transcript import encode_head, encode_message
from orchestrator_tools.contract import ToolSpec
from tests.builders import a_request, a_text
from tests.model_clients import CLIENTS, a_client

LLMOCK = Path(sys.executable).with_name("llmock")
READY = re.compile(r"Uvicorn running on (http://127\.0\.0\.1:\d+)")

pytestmark = [pytest.mark.asyncio, pytest.mark.parametrize("kind", sorted(CLIENTS))]


@contextmanager
def llmock(*options: str) -> Iterator[str]:
    """Run llmock on a free port and give its address once it listens."""
    argv = [str(LLMOCK), "serve", "--host", "127.0.0.1", "--port", "0", *options]
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    with subprocess.Popen(
        argv, env=kept, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        assert process.stdout is not None
        patience = threading.Timer(60, process.kill)
        patience.start()
        try:
            found = next(filter(None, map(READY.search, process.stdout)), None)
            assert found is not None, "llmock did not start"
            drain = threading.Thread(target=process.stdout.read)
            drain.start()
            yield f"{found[1]}/anthropic"
        finally:
            patience.cancel()
            process.kill()
        drain.join()


@pytest.fixture(scope="session")
def service() -> Iterator[str]:
    """A service that answers what it was asked."""
    with llmock("--response-style", "echo", "--context-window", "2000") as url:
        yield url


@pytest.fixture(scope="session")
def storm() -> Iterator[str]:
    """A service that is over its rate whatever it is asked."""
    with llmock("--error-rate", "429=1.0") as url:
        yield url


@pytest.fixture(scope="session")
def falling() -> Iterator[str]:
    """A service whose streams all break off."""
    with llmock("--stream-fault", "truncate=1.0") as url:
        yield url


async def test_a_reply_comes_whole(kind: str, service: str) -> None:
    """A text comes back with its stop reason and its tokens."""
    async with a_client(kind, service) as client:
        reply = await client.reply(a_request(encode_message("user", [a_text("Grüße, 🦊")])))
    (block,) = reply.blocks
    assert block["type"] == "text"
    assert "Grüße, 🦊" in block["text"]
    assert reply.stop_reason == "end_turn"
    assert reply.usage.input_tokens > 0
    assert reply.usage.output_tokens > 0


async def test_a_tool_is_called_and_its_result_taken(kind: str, service: str) -> None:
    """An offered tool is called with arguments, and after its result comes a text."""
    schema = {"type": "object", "properties": {"path": {"type": "string"}}, "required": ["path"]}
    head = encode_head("You read.", [ToolSpec("Read", "Reads a file", schema, "none")])
    asked = encode_message("user", [a_text("Read the file a.txt")])
    async with a_client(kind, service) as client:
        first = await client.reply(a_request(asked, head=head))
        call = next(block for block in first.blocks if block["type"] == "tool_use")
        result = {"type": "tool_result", "tool_use_id": call["id"], "content": "one"}
        history = [
            asked,
            encode_message("assistant", first.blocks),
            encode_message("user", [result]),
        ]
        second = await client.reply(a_request(*history, head=head))
    assert (first.stop_reason, first.broken_calls) == ("tool_use", ())
    assert call["name"] == "Read"
    assert isinstance(call["input"]["path"], str)
    assert second.stop_reason == "end_turn"


async def test_a_storm_may_be_tried_again(kind: str, storm: str) -> None:
    """Every 429 is an error that says it passes, and no reply is made up."""
    async with a_client(kind, storm) as client:
        for _ in range(3):
            with pytest.raises(ModelOverloaded) as caught:
                await client.reply(a_request())
            assert caught.value.retryable
            assert not caught.value.started
            assert caught.value.retry_after is None or caught.value.retry_after >= 0


async def test_a_prompt_that_is_too_long_is_final(kind: str, service: str) -> None:
    """A prompt beyond the model's window is refused, and the same one is not worth sending again."""
    async with a_client(kind, service) as client:
        with pytest.raises(ModelRefused) as caught:
            await client.reply(a_request(encode_message("user", [a_text("word " * 20_000)])))
    assert not caught.value.retryable
    assert not caught.value.mendable


async def test_a_stream_that_is_cut_is_no_reply(kind: str, falling: str) -> None:
    """A stream that breaks off may be tried again."""
    async with a_client(kind, falling) as client:
        with pytest.raises(ModelError) as caught:
            await client.reply(a_request())
    assert caught.value.retryable
