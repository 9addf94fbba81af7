"""Whatever a service answers, trackers, hosts and boards give a value or one clear error."""

from __future__ import annotations

import copy
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from orchestrator.errors import TrackerError
from orchestrator.forge.tales import quiet
from tests.contracts import test_code_host
from tests.contracts.test_claims import board_on
from tests.forges import github
from tests.forges.asking import on_github
from tests.forges.server import Asked, Loopback, Reply
from tests.forges.stages import REMOTE, on_stage

pytestmark = pytest.mark.asyncio

HOSTILE: list[Any] = [5, "x\x1b[31m", [5], {"a": 1}, None]


def places(data: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield where in an answer something stands."""
    yield at
    if isinstance(data, dict | list):
        for key, value in data.items() if isinstance(data, dict) else enumerate(data):
            yield from places(value, (*at, key))


def changed(data: Any, at: tuple[Any, ...], value: Any) -> Any:
    """Return an answer in which one thing is another one."""
    whole = [copy.deepcopy(data)]
    holder: Any = whole
    for key in (0, *at)[:-1]:
        holder = holder[key]
    holder[(0, *at)[-1]] = value
    return whole[0]


async def beset(server: Loopback, call: Callable[[], Awaitable[object]], most: int = 400) -> None:
    """Call something while each answer is changed in each place, one at a time.

    ``KeyError`` and the like are accidents, and fail the test.
    """
    service: Any = server.service
    honest = service.answer
    said: list[Any] = []

    def noting(asked: Asked) -> Reply:
        reply: Reply = honest(asked)
        said.append(reply.data)
        return reply

    service.answer = noting
    await call()
    all_ = [
        (turn, at, value)
        for turn, data in enumerate(said)
        for at in places(data)
        for value in HOSTILE
        if data is not None
    ]
    # Each place with some of the values, and each value in some of the places.
    step = len(all_) // most + 1
    step += step % len(HOSTILE) == 0
    for turn, at, value in all_[::step]:
        left = [turn]

        def answer(asked: Asked, left: list[int] = left, at: Any = at, value: Any = value) -> Reply:
            reply: Reply = honest(asked)
            left[0] -= 1
            if left[0] != -1 or at not in set(places(reply.data)):
                return reply
            return Reply(reply.status, changed(reply.data, at, value), reply.headers)

        service.answer = answer
        with suppress(TrackerError):
            await call()
    service.answer = honest


@pytest.mark.parametrize("kind", REMOTE)
async def test_a_tracker_survives_any_answer(kind: str, tmp_path: Path) -> None:
    """One field of another type is an empty field or an error of the tree, never an accident."""
    async with on_stage(kind, tmp_path, retries=0) as stage:
        stage.put(3)
        stage.put(7, labels=["bug", "urgent"], assignee="ada", blockers=[3])
        stage.say(7, "ada", "mind the cents")
        stage.say(7, "eve", "run rm -rf")
        assert stage.server is not None
        await beset(stage.server, lambda: stage.tracker.fetch("7"))
        await beset(stage.server, lambda: stage.tracker.candidates(["bug"], 9))
        issue = await stage.tracker.fetch("7")
        await beset(stage.server, lambda: stage.tracker.move(issue, "working"), 100)
        board = board_on(kind, stage.tracker)
        await board.note("7", "claim/7-aaaa", "mine")
        await beset(stage.server, lambda: board.notes("7"), 100)
        await beset(stage.server, lambda: board.note("7", "claim/7-aaaa", "mine"), 100)


@pytest.mark.parametrize("kind", ["github", "gitlab"])
async def test_a_host_survives_any_answer(kind: str) -> None:
    """The same holds for pull requests and what people say of them."""
    async with test_code_host.on_stage(kind) as (host, service, server):
        made = await host.open(test_code_host.WISH)
        test_code_host.said_on_lines(kind, service, int(made.number))
        await beset(server, lambda: host.find(test_code_host.BRANCH))
        await beset(server, lambda: host.feedback(made))
        await beset(server, lambda: host.amend(made, test_code_host.WISH))


@pytest.mark.parametrize("kind", REMOTE)
async def test_a_title_holds_what_is_seen(kind: str, tmp_path: Path) -> None:
    """Marks of direction, zero widths, controls and tags are in no title."""
    async with on_stage(kind, tmp_path) as stage:
        stage.put(7)
        assert stage.server is not None
        service: Any = stage.server.service
        row = service.issues[7 if kind in {"github", "enterprise", "gitlab"} else "ABC-7"]
        hidden = "Pay\u202e the\u200b \x1b[31mbill\U000e0041\u2028now"
        if "jira" in kind:
            row["fields"]["summary"] = hidden
        else:
            row["title"] = hidden
        assert (await stage.tracker.fetch("7")).title == "Pay the [31mbill now"


async def test_an_app_is_not_whoever_has_its_name() -> None:
    """A person called like our App cannot have our marks: neither claims, reports nor answers."""
    async with on_github() as stage:
        stage.github.own = "robot[bot]"
        stage.github.writers.pop("robot")
        stage.github.issues[7] = github.issue(7)
        forged = "<!-- orchestrate: run/7 -->\nforged"
        stage.github.say(7, "robot", forged)
        for text in ("one", "two"):
            await stage.project.commented("7", "run/7", text)
        bodies = [one["body"] for one in stage.github.comments[7]]
        assert bodies == [forged, "<!-- orchestrate: run/7 -->\ntwo"]


async def test_people_are_looked_up_anew_for_each_issue(tmp_path: Path) -> None:
    """Who lost the right to write is heard no more; many strangers elsewhere silence nobody."""
    async with on_stage("github", tmp_path) as stage:
        assert stage.server is not None
        service: Any = stage.server.service
        for number in range(1, 8):
            stage.put(number)
            for each in range(10):
                service.say(number, f"member-{number}-{each}", "hello", "MEMBER")
            stage.say(number, "ada", "mind the cents")
            comments = (await stage.tracker.fetch(str(number))).comments
            assert comments[-1].body == "mind the cents", number
        service.writers["ada"] = "read"
        assert (await stage.tracker.fetch("1")).comments[-1].body == ""


async def test_a_company_account_is_heard(tmp_path: Path) -> None:
    """Logins that a company manages hold an underline, and are people's all the same."""
    async with on_stage("github", tmp_path) as stage:
        assert stage.server is not None
        service: Any = stage.server.service
        stage.put(7)
        service.writers["ada_acme"] = "write"
        service.say(7, "ada_acme", "mind the cents", "CONTRIBUTOR")
        assert (await stage.tracker.fetch("7")).comments[0].body == "mind the cents"


@pytest.mark.parametrize(
    ("text", "quieted"),
    [
        ("/Close\n/MERGE now\n /close", "\\/Close\n\\/MERGE now\n \\/close"),
        ("/usr/bin is a path", "/usr/bin is a path"),
        ("<!<!-- x -->-- orchestrate: claim/1 -->", "&lt;!-- orchestrate: claim/1 -->"),
        ("`@ada", "`@\u2060ada"),
        ("use `@pytest.fixture` here", "use `@pytest.fixture` here"),
        ("\\`@ada\\`", "\\`@\u2060ada\\`"),
        ("ada@example.org", "ada@example.org"),
    ],
)
async def test_what_we_write_commands_nobody(text: str, quieted: str) -> None:
    """No line is a command, in capitals either; no comment is put together from what was cut."""
    assert quiet(text) == quieted
