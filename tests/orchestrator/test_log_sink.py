"""The log for programs: one JSON object a line."""

from __future__ import annotations

import io
import json
from datetime import datetime
from typing import Any

import pytest

from orchestrator.events import Event, Notice, RunFinished, RunStarted, Signal, TranscriptOpened
from orchestrator.sinks.log import LONGEST, LogSink
from tests.builders import a_definition, a_reply_event, a_run, an_outcome


async def logged(*events: Event | Signal) -> list[dict[str, Any]]:
    """Return the records that are written."""
    stream = io.StringIO()
    sink = LogSink(stream)
    for event in events:
        await sink(event)
    return [json.loads(line) for line in stream.getvalue().splitlines()]


@pytest.mark.asyncio
async def test_every_event_and_signal_is_one_record() -> None:
    """Each event and signal is a line that names its kind and its time, in order."""
    records = await logged(
        RunStarted(a_run(), a_definition()), Notice("hello"), RunFinished(an_outcome())
    )
    assert [one["event"] for one in records] == ["RunStarted", "Notice", "RunFinished"]
    for record in records:
        assert datetime.fromisoformat(record["timestamp"]).utcoffset() is not None


@pytest.mark.asyncio
async def test_fields_are_kept_by_name() -> None:
    """A record holds what the event holds."""
    started, finished = await logged(
        RunStarted(a_run(), a_definition()), RunFinished(an_outcome(cost_usd=0.5))
    )
    assert started["run"]["issue"]["key"] == "7"
    assert started["agent"]["name"] == "builder"
    assert finished["outcome"]["cost_usd"] == 0.5


@pytest.mark.asyncio
async def test_messages_are_cut_short() -> None:
    """What is sent to a model is cut, however long; short messages are whole."""
    long, head, short = await logged(
        a_reply_event("x" * 100_000), TranscriptOpened("author", b"y" * 100_000), a_reply_event("z")
    )
    assert len(long["message"]) == len(head["head"]) == LONGEST
    assert json.loads(short["message"])["content"][0]["text"] == "z"


@pytest.mark.asyncio
async def test_text_cannot_begin_a_new_line() -> None:
    """Line ends, separators and escapes in a text stay inside its record."""
    text = 'a\n{"event": "RunFinished"}\r\u2028\x1b[2J'
    stream = io.StringIO()
    await LogSink(stream)(Notice(text))
    written = stream.getvalue()
    assert len(written.splitlines()) == 1
    assert "\x1b" not in written
    assert json.loads(written)["text"] == text
