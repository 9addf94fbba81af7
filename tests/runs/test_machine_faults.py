"""A full disk, a folder that cannot be written, a journal that cannot be read: told, nothing destroyed."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from orchestrator.journals.database import FORM
from tests.runs.conftest import BRANCH, CommandLine, git
from tests.runs.model_server import ModelServer

SMALL = """\
mount -t tmpfs -o size=${SIZE:-1m} none "$1" && cp -R "$2/." "$1" && shift 2
"$@"
status=$?
[ -z "$FREED" ] || { rm -f "$FREED"; "$@"; status=$?; }
exit $status
"""
"""Runs a command whose state directory is a disk of one megabyte, which nobody else sees."""


def in_small_disk(
    line: CommandLine, *arguments: str, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run the command line with a state directory on a disk of its own, in a private namespace."""
    disk = line.state.parent / "disk"
    disk.mkdir(exist_ok=True)
    unshare = ["unshare", "--mount"] if os.geteuid() == 0 else ["unshare", "--mount", "-r"]
    command = [*unshare, "sh", "-c", SMALL, "sh", str(disk), str(line.state)]
    argv = [line.argv()[0], *arguments, "--state", str(disk)]
    return subprocess.run(
        [*command, *argv],
        cwd=line.repo,
        env=line.environment | environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def may_mount() -> bool:
    """Tell whether this machine lets tests have a disk of their own."""
    unshare = ["unshare", "--mount"] if os.geteuid() == 0 else ["unshare", "--mount", "-r"]
    command = [*unshare, "mount", "-t", "tmpfs", "none", "/mnt"]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def one_line(said: str) -> str:
    """Return the one line by which a command tells what is wrong."""
    (found,) = (one for one in said.splitlines() if one.startswith("orchestrate: "))
    assert "Traceback" not in said
    return found


@pytest.mark.skipif(not may_mount(), reason="no private mounts on this machine")
def test_a_full_disk_is_told(orchestrate: CommandLine, server: ModelServer) -> None:
    """Where not even the workspace has room the command ends with 5, says what to do, and asks little."""
    _fill(orchestrate, 900 * 1024)
    full = in_small_disk(orchestrate, "issue", "1")
    assert full.returncode == 5, full.stderr
    assert "free some disk space" in one_line(full.stderr)
    assert len(server.played) <= 1


@pytest.mark.skipif(not may_mount(), reason="no private mounts on this machine")
def test_a_call_that_fails_on_a_full_disk_is_made_again(
    orchestrate: CommandLine, server: ModelServer
) -> None:
    """The agent is not told of what it cannot mend: the run is parked, and with room it is done."""
    room = 1000 * 1024
    _fill(orchestrate, 16 * 1024 * 1024 - room)
    done = in_small_disk(orchestrate, "issue", "1", "--json", SIZE="16m", FREED=_freed(orchestrate))
    assert done.returncode == 0, done.stderr
    parked, ended = (json.loads(one) for one in _objects(done.stdout))
    assert (parked["status"], ended["status"]) == ("unavailable", "done")
    assert parked["error"] == "the disk is full: Bash failed"
    assert "free some space" in parked["hint"]
    assert _asked(server) == list(range(1, len(server.messages) + 1)), "each reply is paid once"


@pytest.mark.skipif(not may_mount(), reason="no private mounts on this machine")
def test_a_journal_whose_disk_fills_up_goes_on_later(
    orchestrate: CommandLine, server: ModelServer
) -> None:
    """It is told what to do; with room again, what was journaled is not asked for again."""
    lines = "\n".join(os.urandom(60).hex() for _ in range(300))
    (orchestrate.repo / "numbers.txt").write_text(f"{lines}\n", encoding="ascii")
    git(orchestrate.repo, "add", "numbers.txt")
    git(orchestrate.repo, "commit", "--quiet", "--message=numbers")
    server.messages = [*(_reading(number) for number in range(40)), *server.messages]
    _fill(orchestrate, 15 * 1024 * 1024)
    done = in_small_disk(orchestrate, "issue", "1", "--json", SIZE="16m", FREED=_freed(orchestrate))
    assert done.returncode == 0, done.stderr
    assert "journal.db failed" in done.stderr
    assert "free some disk space" in one_line(done.stderr)
    assert json.loads(_objects(done.stdout)[-1])["status"] == "done"
    asked = _asked(server)
    assert len(asked) <= len(set(asked)) + 1, "no reply that was journaled is asked for again"


def _reading(number: int) -> dict[str, Any]:
    """Return a reply that reads a file of which the journal keeps a good part."""
    call = {"type": "tool_use", "id": f"toolu_read_{number}", "name": "Read"}
    return {
        "role": "assistant",
        "content": [call | {"input": {"file_path": "numbers.txt", "offset": number + 1}}],
    }


def _asked(server: ModelServer) -> list[int]:
    """Return the turns that were asked for, in order."""
    return [one.turn for one in server.played]


def _fill(line: CommandLine, taken: int) -> None:
    """Have a file in the state directory, so that it takes so many bytes of its disk."""
    rest = taken - _size_of(line.state / "sandbox")
    (line.state / "filler").write_bytes(b"x" * rest)


def _freed(line: CommandLine) -> str:
    """Return where that file is on a disk of its own."""
    return str(line.state.parent / "disk" / "filler")


@pytest.mark.skipif(not may_mount(), reason="no private mounts on this machine")
def test_a_disk_that_is_too_small_for_the_gates_is_no_verdict(
    orchestrate: CommandLine, server: ModelServer
) -> None:
    """The agent is not paid to mend what it has not broken; with room the gates judge."""
    (orchestrate.repo / "data.bin").write_bytes(os.urandom(6 * 1024 * 1024))
    git(orchestrate.repo, "add", "data.bin")
    git(orchestrate.repo, "commit", "--quiet", "--message=data")
    small = in_small_disk(orchestrate, "issue", "1", "--json", SIZE="12m")
    outcome = json.loads(small.stdout)
    assert (small.returncode, outcome["status"]) == (5, "unavailable"), small.stderr
    assert outcome["error"].startswith("the disk is full: ")
    assert "free some space" in outcome["hint"]
    assert _asked(server) == list(range(1, len(server.messages) + 1))


def _size_of(folder: Path) -> int:
    """Return the bytes of a disk that a folder takes, at 4 KiB a file."""
    files = [one.stat().st_size for one in folder.rglob("*") if one.is_file()]
    return sum(-(-size // 4096) * 4096 for size in files)


def _objects(text: str) -> list[str]:
    """Return the JSON objects of an output, one after the other."""
    found, rest = [], text.strip()
    decoder = json.JSONDecoder()
    while rest:
        _, end = decoder.raw_decode(rest)
        found.append(rest[:end])
        rest = rest[end:].strip()
    return found


@pytest.mark.parametrize("command", [("issue", "1"), ("runs", "list")])
def test_a_journal_of_a_newer_version_is_left_alone(
    orchestrate: CommandLine, command: tuple[str, ...]
) -> None:
    """It is refused by name, byte for byte as it was; nothing is asked or begun."""
    path = orchestrate.state / "journal.db"
    with closing(sqlite3.connect(path)) as file:
        file.execute("create table novel (a)")
        file.execute(f"pragma user_version={FORM + 1}")
    before = path.read_bytes()
    refused = orchestrate.run(*command)
    assert refused.returncode == 5
    said = one_line(refused.stderr)
    assert "journal.db" in said and "newer version" in said and "upgrade" in said
    assert path.read_bytes() == before


@pytest.mark.parametrize("damage", ["garbage", "middle"])
def test_a_corrupted_journal_is_kept(
    orchestrate: CommandLine, server: ModelServer, damage: str
) -> None:
    """What cannot be read is told with what to do, is not written to, and another folder works."""
    assert orchestrate.run("issue", "1").returncode == 0
    path = orchestrate.state / "journal.db"
    with closing(sqlite3.connect(path)) as file:
        file.execute("pragma wal_checkpoint(truncate)")
    data = bytearray(path.read_bytes())
    start = 0 if damage == "garbage" else 4096
    data[start:] = b"\xa5" * (len(data) - start)
    path.write_bytes(data)
    for command in (("issue", "1"), ("runs", "list")):
        refused = orchestrate.run(*command)
        assert refused.returncode == 5, refused.stderr
        said = one_line(refused.stderr)
        assert "journal.db" in said and "--state" in said
    assert path.read_bytes() == data
    other = CommandLine(
        orchestrate.repo, orchestrate.state.parent / "other", orchestrate.environment
    )
    shutil.copytree(orchestrate.state / "sandbox", other.state / "sandbox")
    assert json.loads(other.run("issue", "1", "--json").stdout)["status"] == "done"


READ_ONLY = """\
mount --bind "$1" "$1" && mount -o remount,ro,bind "$1" && shift && exec "$@"
"""


def with_read_only(
    line: CommandLine, folder: Path, *arguments: str
) -> subprocess.CompletedProcess[str]:
    """Run the command line where a folder cannot be written, in a private namespace."""
    unshare = ["unshare", "--mount"] if os.geteuid() == 0 else ["unshare", "--mount", "-r"]
    return subprocess.run(
        [*unshare, "sh", "-c", READ_ONLY, "sh", str(folder), *line.argv(*arguments)],
        cwd=line.repo,
        env=line.environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.mark.skipif(not may_mount(), reason="no private mounts on this machine")
@pytest.mark.parametrize("arguments", [("issue", "1"), ("batch", "--issues", "1")])
def test_a_repository_that_cannot_be_written(
    orchestrate: CommandLine, server: ModelServer, arguments: tuple[str, ...]
) -> None:
    """It is told before anything is begun or asked, with what to do."""
    refused = with_read_only(orchestrate, orchestrate.repo / ".git", *arguments)
    assert refused.returncode == 2, refused.stderr
    said = one_line(refused.stderr)
    assert ".git/objects cannot be written" in said and "permission" in said
    assert server.played == [] and orchestrate.events() == []


@pytest.mark.skipif(not may_mount(), reason="no private mounts on this machine")
def test_a_state_directory_that_cannot_be_written(
    orchestrate: CommandLine, server: ModelServer
) -> None:
    """It is told before anything is asked; what was there stays as it was."""
    server.held.add(3)
    process = orchestrate.start("issue", "1")
    assert server.waiting.wait(60)
    process.kill()
    process.communicate(timeout=30)
    server.held.clear()
    asked, events = len(server.played), orchestrate.events()
    refs = git(orchestrate.repo, "for-each-ref")
    refused = with_read_only(orchestrate, orchestrate.state, "issue", "1")
    assert refused.returncode == 5, refused.stderr
    said = one_line(refused.stderr)
    assert "--state" in said and str(orchestrate.state) in said
    assert (len(server.played), orchestrate.events()) == (asked, events)
    assert git(orchestrate.repo, "for-each-ref") == refs
    assert orchestrate.run("issue", "1").returncode == 0


@pytest.mark.skipif(not may_mount(), reason="no private mounts on this machine")
def test_an_archive_is_read(orchestrate: CommandLine, server: ModelServer) -> None:
    """A state directory that cannot be written is looked at, with what a killed process left."""
    assert orchestrate.run("batch", "--issues", "1").returncode == 0
    git(orchestrate.repo, "branch", "-D", BRANCH)
    server.played.clear()
    server.held.add(1)
    process = orchestrate.start("issue", "1", "--new")
    assert server.waiting.wait(60)
    process.kill()
    process.communicate(timeout=30)
    (run, other), state = _runs(orchestrate), orchestrate.state
    with closing(sqlite3.connect(state / "journal.db")) as file:
        file.execute("pragma user_version").fetchone()
        for _ in ("log", "none"):
            listed = with_read_only(orchestrate, state, "runs", "list")
            assert listed.returncode == 0, listed.stderr
            assert run in listed.stdout and other in listed.stdout
            for command in (("show", other), ("export", other)):
                shown = with_read_only(orchestrate, state, "runs", *command)
                assert shown.returncode == 0, shown.stderr
            told = with_read_only(orchestrate, state, "batch", "report")
            assert told.returncode == 0, told.stderr
            file.execute("pragma wal_checkpoint(truncate)")
    refused = with_read_only(orchestrate, state, "runs", "abandon", run)
    assert refused.returncode == 5 and "--state" in one_line(refused.stderr)


def _runs(line: CommandLine) -> list[str]:
    """Return the ids of all runs, the newest first."""
    found = json.loads(line.run("runs", "list", "--json").stdout)
    return [str(one["run"]) for one in found]


@pytest.mark.skipif(not may_mount(), reason="no private mounts on this machine")
def test_an_archive_of_an_older_form_is_refused(orchestrate: CommandLine) -> None:
    """It is told that it would have to be written, and is left as it is."""
    path = orchestrate.state / "journal.db"
    with closing(sqlite3.connect(path)) as file:
        file.execute(f"pragma user_version={FORM - 1}")
    before = path.read_bytes()
    refused = with_read_only(orchestrate, orchestrate.state, "runs", "list")
    assert refused.returncode == 5
    assert "has an older form" in one_line(refused.stderr)
    assert path.read_bytes() == before
