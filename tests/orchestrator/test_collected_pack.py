"""A pack that comes out of a workspace in parts, when what tells them is somebody else's server."""

from __future__ import annotations

import base64
import json
import sys
from pathlib import Path
from typing import Any

import anyio
import pytest

from orchestrator import collect
from orchestrator.collect import CollectedWork, Collector
from orchestrator.errors import WorkspaceError
from orchestrator.records import SandboxSpec
from orchestrator.repository import Repository, locate
from orchestrator.sandboxes.unconfined import UnconfinedSandbox
from orchestrator.toolserver import ToolServer
from orchestrator.workspaces import Workspace
from orchestrator_tools.contract import LINE_LIMIT, PACK_PART
from tests.builders import a_clone, a_commit, a_pack, a_repository, git

HOSTILE = r"""
import json, os, socket, sys
channel = socket.socket(fileno=int(os.environ["ORCHESTRATE_CHANNEL"]))
requests = channel.makefile("rb")
told = json.load(open(os.environ["TOLD"]))
lives = os.environ["TOLD"] + ".lives"
said = told["lives"][os.path.exists(lives)]
open(lives, "w").close()
def say(message, number):
    channel.sendall(json.dumps({**message, "id": number}).encode() + b"\n")
channel.sendall(b'{"ready":true}\n')
parts = 0
for line in requests:
    message = json.loads(line)
    with open(os.environ["TOLD"] + ".asked", "a") as file:
        file.write(message["op"] + "\n")
    if message["op"] in {"pack", "packed"}:
        answer = said[min(parts, len(said) - 1)]
        parts += 1
        if answer == "die":
            os._exit(1)
        if answer == "silent":
            continue
        if "bytes" in answer:
            answer = {"data": "A" * answer["bytes"], "more": answer["more"]}
        say(answer, message["id"])
    else:
        say({"head": told["head"], "snapshot": "0:" + "a" * 40}, message["id"])
"""
"""Names a head, and tells of its pack what it was told to; the last of the parts again and again.
In its first life it may tell something else."""

pytestmark = pytest.mark.asyncio

FULL = PACK_PART // 3 * 4
"""Characters of a part that is full."""


class Given:
    """A user's repository, a commit that it lacks, and a server that brings out what it likes."""

    def __init__(self, folder: Path) -> None:
        self.repo = a_repository(folder / "repo", {"a.txt": "one\n" * 100})
        agent = a_clone(self.repo, folder / "agent")
        self.base = git(self.repo, "rev-parse", "HEAD")
        self.head = a_commit(agent, {"b.txt": "two\n"})
        self.pack = a_pack(agent, self.head, self.base)
        self.repository: Repository = locate(self.repo)
        self.told = folder / "told"
        self.state = folder / "state"

    async def collect(
        self, *parts: Any, head: str = "", limit: int = 1 << 20, first: Any = None
    ) -> CollectedWork:
        """Bring out what a server tells; whatever it does, no file of it is left."""
        self.told.write_text(
            json.dumps({"head": head or self.head, "lives": [first or parts, parts]})
        )
        sandbox = UnconfinedSandbox(environment={})
        await sandbox.check()
        workspace = Workspace(
            self.state,
            repository=self.repository,
            base=self.base,
            branch="work",
            sandbox=sandbox,
            identity="agent",
        )
        await anyio.to_thread.run_sync(workspace.create)

        told = (("TOLD", str(self.told)),)
        spec = SandboxSpec(mounts=(), cwd="/", environment=told)
        argv = (sys.executable, "-I", "-S", "-c", HOSTILE)
        before = sorted(self.state.rglob("*"))
        try:
            with anyio.fail_after(60):
                async with ToolServer(sandbox, lambda: spec, argv).open() as server:
                    return await Collector(
                        workspace=workspace,
                        server=server,
                        repository=self.repository,
                        pack_limit=limit,
                    ).collect(message="all", turn=0)
        finally:
            assert sorted(self.state.rglob("*")) == before

    def asked(self) -> list[str]:
        """Return what the server was asked, in order."""
        return Path(f"{self.told}.asked").read_text().split()


@pytest.fixture
def given(tmp_path: Path) -> Given:
    """A repository and a commit that comes out."""
    return Given(tmp_path)


def part(data: bytes, *, more: bool = False) -> dict[str, Any]:
    """Return what an honest server tells."""
    return {"data": base64.b64encode(data).decode(), "more": more}


async def test_one_part_is_a_pack(given: Given) -> None:
    """What is small comes with the first answer, from the server that committed it."""
    assert (await given.collect(part(given.pack))).commit == given.head
    assert given.asked() == ["commit", "pack"]


async def test_parts_are_put_together(given: Given) -> None:
    """A pack of many parts comes out in order; a last one may be empty."""
    noise = bytes((number * 7919 + number // 251) % 256 for number in range(PACK_PART))
    agent = given.repo.parent / "agent"
    head = a_commit(agent, {"c.bin": noise * 2})
    pack = a_pack(agent, head, given.base)
    parts = [pack[start : start + PACK_PART] for start in range(0, len(pack), PACK_PART)]
    said = [part(one, more=len(one) == PACK_PART) for one in [*parts, b""]]
    work = await given.collect(*said, head=head, limit=len(pack) + 100)
    assert work.commit == head


async def test_where_nothing_has_changed_no_pack_is_asked_for(given: Given) -> None:
    """The base comes out as it is."""
    assert (await given.collect("die", head=given.base)).commit == given.base
    assert given.asked() == ["commit"]


@pytest.mark.parametrize(
    "head", ["", "HEAD", "--all", "a" * 39, "refs/heads/main", "b" * 40 + "\n", "x" * 100_000]
)
async def test_a_head_that_is_no_id_is_asked_for_no_pack(given: Given, head: str) -> None:
    """What is named as the head is looked at before it goes anywhere."""
    with pytest.raises(WorkspaceError, match="names no commit"):
        await given.collect(part(given.pack), head=head or " ")
    assert given.asked() == ["commit"]


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        ({"error": "no such object"}, "pack-objects failed inside: no such object"),
        ({"error": "x" * 100_000}, "pack-objects failed inside: xxx"),
        ({"error": None}, "pack-objects failed inside: None"),
        ("die", "pack-objects failed inside: the tool server ended"),
        ({}, "no part of a pack"),
        ({"data": None}, "no part of a pack"),
        ({"data": ["UEFD", "Sw=="]}, "no part of a pack"),
        ({"data": "not base64!"}, "no part of a pack"),
        ({"data": "UEFDSw"}, "no part of a pack"),
        ({"data": "UEFD\nSw=="}, "no part of a pack"),
        ({"data": "\u00fc\ud800"}, "no part of a pack"),
        ({"bytes": 4, "more": True}, "no part of a pack"),
        ({"bytes": 0, "more": True}, "no part of a pack"),
        ({"bytes": FULL + 4, "more": False}, "no part of a pack"),
        ({"bytes": LINE_LIMIT * 2, "more": False}, "pack-objects failed inside"),
        ({"bytes": 0, "more": False}, "no commit"),
        ({"bytes": 4000, "more": False}, "what the agent committed was refused"),
        ({"data": "UEFDSwAAAAIAAAAB", "more": "yes"}, "what the agent committed was refused"),
    ],
)
async def test_what_is_no_pack_is_refused(given: Given, answer: Any, says: str) -> None:
    """Whatever is told in the place of a pack ends in one error, and nothing is taken in."""
    before = git(given.repo, "count-objects", "-v")
    with pytest.raises(WorkspaceError, match=says) as refused:
        await given.collect(answer)
    assert len(str(refused.value)) < 1000
    assert git(given.repo, "count-objects", "-v") == before
    assert not list((given.repo / ".git/objects").glob("orchestrate-*"))


async def test_a_pack_without_an_end_stops_at_its_limit(given: Given) -> None:
    """No more parts are asked for than fit, and the limit is named as the user knows it."""
    with pytest.raises(WorkspaceError, match="larger than 2 MB") as refused:
        await given.collect({"bytes": FULL, "more": True}, limit=2 << 20)
    assert "workspace.pack_limit_mb" in str(refused.value.hint)
    assert given.asked() == ["commit", "pack", "packed", "packed"]


async def test_a_server_that_dies_between_parts_brings_nothing_out(given: Given) -> None:
    """Half of a pack is none: another server is asked for all of it, once."""
    with pytest.raises(WorkspaceError, match="the tool server ended"):
        await given.collect({"bytes": FULL, "more": True}, "die", limit=2 << 20)
    assert given.asked() == ["commit", *["pack", "packed"] * 2]


@pytest.mark.parametrize("first", ["die", {"error": "too many open files"}, {"data": "?"}])
async def test_another_server_may_pack_what_one_cannot(given: Given, first: Any) -> None:
    """A server whose limits an agent has lowered is replaced, and the work comes out."""
    work = await given.collect(part(given.pack), first=[first])
    assert work.commit == given.head
    assert given.asked() == ["commit", "pack", "pack"]


async def test_a_silent_server_is_given_up(given: Given, monkeypatch: pytest.MonkeyPatch) -> None:
    """A pack that never comes ends the server in bounded time."""
    monkeypatch.setattr(collect, "PATIENCE_S", 0.3)
    with pytest.raises(WorkspaceError, match=r"it took over 0\.3 s"):
        await given.collect("silent")
