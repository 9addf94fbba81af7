"""A workspace's commits as a pack, told in parts by the server."""

from __future__ import annotations

import base64
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from orchestrator_tools.contract import PACK_PART
from orchestrator_tools.place import Place
from tests.tools.client import Client
from tests.tools.repos import Repo


@pytest.fixture
def client(repo: Repo, new_place: Callable[[], Place]) -> Iterator[Client]:
    """Return the host's end of a server on a repository."""
    place = new_place()
    server = Client(
        Place(str(repo.work), str(repo.work), place.scratch, place.rg, {}),
        {"ORCHESTRATE_GIT": str(repo.git)},
    )
    yield server
    server.close()


def packed(client: Client, head: str, *without: str) -> tuple[bytes, int]:
    """Return a whole pack, and of how many parts it was."""
    answer = client.ask(op="pack", head=head, without=list(without))
    data, parts = b"", 0
    while True:
        assert "error" not in answer, answer
        data, parts = data + base64.b64decode(answer["data"], validate=True), parts + 1
        if not answer["more"]:
            return data, parts
        answer = client.ask(op="packed")


def taken_in(folder: Path, repo: Repo, pack: bytes) -> str:
    """Take a pack into a repository that has the base; return what its commits are."""
    other = folder / "other"
    subprocess.run(["git", "init", "-q", str(other)], check=True)
    alternates = other / ".git/objects/info/alternates"
    alternates.write_text(f"{repo.git}/objects\n")
    done = subprocess.run(
        ["git", "-C", str(other), "index-pack", "--stdin", "--fix-thin", "--strict"],
        input=pack,
        capture_output=True,
        check=True,
    )
    return done.stdout.decode()


def test_brings_out_what_is_new(repo: Repo, client: Client, tmp_path: Path) -> None:
    """A pack holds the commits since those that are known, and nothing of before."""
    base = repo.sh("git rev-parse HEAD").strip()
    repo.sh("echo 2 >kept; git commit -qam two; echo 3 >kept; git commit -qam three")
    pack, parts = packed(client, repo.sh("git rev-parse HEAD").strip(), base)
    assert parts == 1
    # Two commits, two trees, two files.
    assert int.from_bytes(pack[8:12], "big") == 6
    assert taken_in(tmp_path, repo, pack).startswith("pack\t")
    known = repo.sh("git rev-parse HEAD^").strip()
    pack, _ = packed(client, repo.sh("git rev-parse HEAD").strip(), base, known)
    assert int.from_bytes(pack[8:12], "big") == 3


def test_what_is_large_comes_in_parts(repo: Repo, client: Client, tmp_path: Path) -> None:
    """All parts but the last are full, and together they are one pack; another may follow."""
    base = repo.sh("git rev-parse HEAD").strip()
    (repo.work / "noise").write_bytes(os.urandom(PACK_PART * 2))
    head = repo.sh("git add .; git commit -qm noise; git rev-parse HEAD").strip()
    for _ in range(2):
        pack, parts = packed(client, head, base)
        assert (len(pack) > PACK_PART * 2, parts) == (True, 3)
    assert taken_in(tmp_path, repo, pack).startswith("pack\t")


def test_a_pack_begun_anew_is_whole(repo: Repo, client: Client) -> None:
    """What was asked for before and never taken is dropped, and its git is ended."""
    base = repo.sh("git rev-parse HEAD").strip()
    (repo.work / "noise").write_bytes(os.urandom(PACK_PART * 3))
    head = repo.sh("git add .; git commit -qm noise; git rev-parse HEAD").strip()
    assert client.ask(op="pack", head=head, without=[base])["more"]
    whole, _ = packed(client, head, base)
    again, _ = packed(client, head, base)
    assert whole[:4] == b"PACK" and len(whole) == len(again)
    children = Path(f"/proc/{client.process.pid}/task").glob("*/children")
    assert not [one for one in children if one.read_text().strip()]


@pytest.mark.parametrize("head", ["a" * 40, "--all", "no-such-ref", "HEAD:kept/"])
def test_says_why_it_cannot_pack(client: Client, head: str) -> None:
    """What git refuses is an error with git's words, and the server goes on."""
    answer = client.ask(op="pack", head=head, without=[])
    assert answer["error"].startswith("fatal: ")
    assert client.ask(op="ping") == {}


def test_nothing_follows_what_was_never_begun(client: Client) -> None:
    """A part that nobody began is an error."""
    assert client.ask(op="packed") == {"error": "nothing is being packed"}
    assert client.ask(op="pack", head="x")["error"] == "KeyError: 'without'"


GITS = {
    "flood": ("head -c 4000000 /dev/zero | tr '\\0' x >&2; echo the reason >&2; exit 3", "reason"),
    "deaf": ("exec <&-; echo no such thing >&2; exit 1", "no such thing"),
    "mute": ("exit 1", "it does not say why"),
    "killed": ("kill -9 $$", "it does not say why"),
}


@pytest.mark.parametrize(("script", "says"), GITS.values(), ids=GITS)
def test_a_git_that_is_none(
    script: str, says: str, tmp_path: Path, repo: Repo, new_place: Callable[[], Place]
) -> None:
    """A flood of complaints, input that nobody reads and silence all end in one short error."""
    program = tmp_path / "bin" / "git"
    program.parent.mkdir()
    program.write_text(f"#!/bin/bash\n{script}\n")
    program.chmod(0o755)
    place = new_place()
    path = f"{program.parent}:{os.environ['PATH']}"
    client = Client(
        Place(str(repo.work), str(repo.work), place.scratch, place.rg, {}),
        {"ORCHESTRATE_GIT": str(repo.git), "PATH": path},
    )
    asked: dict[str, Any] = {"head": "HEAD", "without": ["a" * 40] * 5000}
    answer = client.ask(op="pack", **asked)
    assert answer["error"].endswith(says)
    assert len(answer["error"]) <= 500
    client.close()
