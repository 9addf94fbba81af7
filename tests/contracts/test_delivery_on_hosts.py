"""What delivery builds on: hidden lines survive, and what was answered waits no more."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest

from orchestrator.announcing import (
    answer_marker,
    answer_of,
    body_of,
    is_ours,
    merged_body,
    round_of,
    waits,
)
from orchestrator.ports import CodeHost
from orchestrator.pullrequests import Continued, Feedback, PullRequestWish
from orchestrator.testing import MemoryHost
from tests.builders import a_run, an_outcome
from tests.contracts.test_code_host import BRANCH, on_stage, said_on_lines

pytestmark = pytest.mark.asyncio

RUN = replace(
    a_run(), continues=Continued("1", "https://host.example/pull/1", BRANCH, 2, Feedback())
)
OUTCOME = an_outcome(summary="/close\nMended by @ada. <!-- x -->")


@asynccontextmanager
async def a_host(kind: str) -> AsyncIterator[tuple[CodeHost, Callable[[], None]]]:
    """Set up a host, and a way for a person who may write to say something on a line."""
    if kind == "memory":
        memory = MemoryHost()
        yield memory, lambda: said(memory)
        return
    async with on_stage(kind) as (host, service, _):
        yield host, lambda: said_on_lines(kind, service, 1 if kind == "gitlab" else opened(service))


def said(host: MemoryHost) -> None:
    """Say something on a line."""
    host.says("1", "Round it.")


def opened(service: Any) -> int:
    """Return the number of the only pull request."""
    (number,) = service.pulls
    return int(number)


def a_wish(body: str) -> PullRequestWish:
    """Wish for a pull request."""
    return PullRequestWish("Totals are right", body, BRANCH, "main", draft=True)


hosts = pytest.mark.parametrize("kind", ["github", "gitlab", "memory"])


@hosts
async def test_ours_is_found_again(kind: str) -> None:
    """Issue and round are read off the pull request as the host gives it back."""
    async with a_host(kind) as (host, _):
        body = body_of(RUN, OUTCOME, closes=True)
        made = await host.open(a_wish(body))
        again = await host.open(a_wish(body))
        found = await host.find(BRANCH)
        assert found is not None and found.number == made.number == again.number
        assert is_ours(found.body, "7") and round_of(found.body) == 2
        assert merged_body(found.body, body) == body


@hosts
async def test_the_same_text_again_changes_nothing(kind: str) -> None:
    """Amending with what is there already gives the same pull request; a new text is taken."""
    async with a_host(kind) as (host, _):
        body = body_of(RUN, OUTCOME, closes=True)
        made = await host.open(a_wish(body))
        assert (await host.amend(made, a_wish(body))).body == made.body
        other = merged_body(made.body, body_of(RUN, an_outcome(summary="Other."), closes=True))
        await host.amend(made, a_wish(other))
        found = await host.find(BRANCH)
        assert found is not None and "Other." in found.body


@hosts
async def test_what_was_answered_waits_no_more(kind: str) -> None:
    """A thread waits until it has our answer, and is answered once however often that is tried."""
    async with a_host(kind) as (host, say):
        made = await host.open(a_wish(body_of(RUN, OUTCOME, closes=True)))
        say()
        (before,) = [one for one in (await host.feedback(made)).threads if one.kind == "lines"]
        assert waits(before)
        for _ in range(2):
            await host.answer(before.id, answer_marker(before), answer_of(RUN, OUTCOME))
        after = [one for one in (await host.feedback(made)).threads if one.id == before.id]
        assert len(after) == 1 and len(after[0].comments) == len(before.comments) + 1
        assert not waits(after[0])
        assert answer_marker(after[0]) == answer_marker(before)
