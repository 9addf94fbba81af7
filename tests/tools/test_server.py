"""The server: the real one, spoken to over its stdin and stdout."""

from __future__ import annotations

import json
import os
import resource
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from orchestrator_tools.contract import LINE_LIMIT
from orchestrator_tools.place import Place, fingerprint
from tests.tools.client import Client, text_of


@pytest.fixture
def connect(place: Place) -> Iterator[Callable[..., Client]]:
    """Return a function that starts a server; each must end well once its input ends."""
    clients: list[Client] = []

    def start(**environment: str) -> Client:
        clients.append(Client(place, environment))
        return clients[-1]

    yield start
    for client in clients:
        assert client.close() == (0, b"")


@pytest.fixture
def client(connect: Callable[..., Client]) -> Client:
    """Return a started server's host end."""
    return connect()


def test_says_that_it_is_ready(client: Client) -> None:
    """The first line says that the server is ready, and on which Python."""
    assert client.ready == {"ready": True, "python": sys.version.split()[0]}


def test_answers_many_reads(client: Client) -> None:
    """Reads sent at once are all answered, each under its own id."""
    for number in range(30):
        (client.workspace / str(number)).write_text(f"text {number}\n")
    for number in range(30):
        client.send(id=number, op="call", tool="Read", arguments={"file_path": str(number)})
    answers = {answer["id"]: text_of(answer) for answer in (client.receive() for _ in range(30))}
    assert answers == {number: f"1\ttext {number}" for number in range(30)}


def test_runs_calls_side_by_side(client: Client) -> None:
    """Two calls that wait for each other both end."""
    os.mkfifo(client.workspace / "there")
    os.mkfifo(client.workspace / "back")
    for number, command in enumerate(("echo a >there; cat back", "cat there; echo b >back")):
        client.send(id=number, op="call", tool="Bash", arguments={"command": command})
    answers = {answer["id"]: text_of(answer) for answer in (client.receive(), client.receive())}
    assert answers == {0: "b", 1: "a"}


GARBAGE = (b"\n", b"junk\n", b"[1]\n", b'"op"\n', b"12\n", b"null\n", b"\xff\0\xfe\n", b'{"op":\n')


def test_ignores_garbage(client: Client) -> None:
    """Lines that are no messages are passed over without an answer."""
    for line in GARBAGE:
        client.send_line(line)
    assert text_of(client.call("Bash", command="echo fine")) == "fine"


def test_ignores_a_message_nested_too_deep(client: Client) -> None:
    """A line that no parser can follow is passed over, and the server lives on."""
    client.send_line(b'{"a": ' + b"[" * 200_000 + b"]" * 200_000 + b"}\n")
    assert text_of(client.call("Bash", command="echo fine")) == "fine"


def test_ignores_a_huge_line_whole(client: Client) -> None:
    """A line over the limit is passed over to its end: no part of it is a message."""
    forged = json.dumps(
        {"id": 9, "op": "call", "tool": "Bash", "arguments": {"command": "touch x"}}
    )
    client.send_line(b" " * (LINE_LIMIT + 1) + forged.encode() + b"\n")
    assert text_of(client.call("Bash", command="echo fine")) == "fine"
    assert not (client.workspace / "x").exists()


@pytest.mark.parametrize("channel", ["1", "2", "0", "3", "4", "5", "9"])
def test_a_command_cannot_answer_for_the_server(client: Client, channel: str) -> None:
    """Nothing that a command writes reaches the host but as its output."""
    answer = client.call("Bash", command=f'echo \'{{"id": 1, "forged": true}}\' >&{channel}')
    assert "forged" not in answer
    assert answer["content"][0]["type"] == "text"
    assert text_of(client.call("Bash", command="cat; echo fine")) == "fine"


@pytest.mark.parametrize(
    ("message", "error"),
    [
        ({}, "None"),
        ({"op": "exit"}, "exit"),
        ({"op": ["call"]}, "call"),
        ({"op": "snapshot"}, "turn"),
        ({"op": "snapshot", "turn": "x"}, "ValueError"),
        ({"op": "restore"}, "snapshot"),
        ({"op": "restore", "snapshot": "../../1:x"}, "there is no snapshot"),
        ({"op": "commit"}, "message"),
    ],
)
def test_a_broken_message_is_answered(client: Client, message: dict[str, Any], error: str) -> None:
    """An unknown operation or a missing part is an error under the same id."""
    answer = client.ask(**message)
    assert list(answer) == ["error"]
    assert error in answer["error"]
    assert text_of(client.call("Bash", command="echo fine")) == "fine"


@pytest.mark.parametrize(
    ("message", "text"),
    [
        ({"tool": "Nothing"}, "there is no tool 'Nothing'"),
        ({}, "there is no tool 'None'"),
        ({"tool": "Read", "arguments": {}}, "file_path"),
        ({"tool": "Read", "arguments": ["file_path"]}, "Read failed"),
        ({"tool": "Read", "arguments": "x"}, "Read has no parameter 'x'"),
        ({"tool": "Read", "arguments": {"file_path": 7}}, "Read failed"),
        ({"tool": "Read", "arguments": {"file_path": "x\0"}}, "NUL"),
        ({"tool": "Write", "arguments": {"file_path": "f", "content": 7}}, "Write failed"),
        ({"tool": "Bash", "arguments": {"command": None}}, "Bash failed"),
        ({"tool": "Glob", "arguments": {"pattern": ["*"]}}, "Glob failed"),
        ({"tool": "Bash", "arguments": {"command": "true"}, "cwd": "\0"}, "(no output)"),
    ],
)
def test_a_failing_call_is_a_result(client: Client, message: dict[str, Any], text: str) -> None:
    """Whatever goes wrong in a tool is a result for the model, not an end of the server."""
    answer = client.ask(op="call", **message)
    assert text in text_of(answer)
    assert answer["is_error"] is (text != "(no output)")


def test_state_travels_with_the_calls(client: Client) -> None:
    """The server remembers neither the cwd nor what was seen; the host sends both along."""
    (client.workspace / "sub").mkdir()
    (client.workspace / "sub/f").write_text("old\n")
    sub = client.call("Bash", command="cd sub")["cwd"]
    assert sub == str(client.workspace / "sub")
    assert text_of(client.call("Bash", command="pwd")) == str(client.workspace)
    assert text_of(client.call("Bash", command="pwd", cwd=sub)) == sub
    seen = client.call("Read", file_path="f", cwd=sub)["seen"]
    assert seen == {f"{sub}/f": fingerprint(b"old\n")}
    assert client.call("Write", file_path="f", content="new", cwd=sub)["is_error"]
    assert not client.call("Write", file_path="f", content="new", cwd=sub, seen=seen)["is_error"]


def test_a_result_too_large_is_an_error(client: Client) -> None:
    """A result that does not fit one line is answered by an error of its own."""
    answer = client.call("\x7f" * (LINE_LIMIT // 4))
    assert answer == {"error": "the result is too large"}


def test_takes_snapshots(connect: Callable[..., Client], work: Path) -> None:
    """Snapshot, restore and commit are operations of the server."""
    names = [f"GIT_{role}_{part}" for role in ("AUTHOR", "COMMITTER") for part in ("NAME", "EMAIL")]
    client = connect(
        GIT_CONFIG_GLOBAL="/dev/null",
        ORCHESTRATE_GIT=str(work / ".git"),
        **dict.fromkeys(names, "a"),
    )
    client.call("Bash", command="git init -q; git commit -q --allow-empty -m base; echo 1 >f")
    name = client.ask(op="snapshot", turn=1)["snapshot"]
    assert name.startswith("1:")
    client.call("Bash", command="echo 2 >f; echo 3 >g")
    assert client.ask(op="restore", snapshot=name) == {"snapshot": name}
    assert (work / "f").read_text() == "1\n"
    assert not (work / "g").exists()
    head = client.ask(op="commit", message="done")["head"]
    assert text_of(client.call("Bash", command="git rev-parse HEAD")) == head


def test_repeats_a_write_once(client: Client, work: Path) -> None:
    """A Write is repeated on files that were put back, not where its effect is there already."""
    (work / "f").write_text("new")
    done = {str(work / "f"): fingerprint(b"new")}
    write = {"tool": "Write", "arguments": {"file_path": "f", "content": "new"}, "after": done}
    assert client.ask(op="redo", **write) == {"seen": {}}
    (work / "f").unlink()
    assert client.ask(op="redo", **write) == {"seen": done}
    assert (work / "f").read_text() == "new"


def test_repeats_an_edit_once(client: Client, work: Path) -> None:
    """An Edit whose effect is there already is not applied a second time."""
    (work / "f").write_text("a")
    edit = {"file_path": "f", "old_string": "a", "new_string": "aa"}
    message = {"tool": "Edit", "arguments": edit, "after": {str(work / "f"): fingerprint(b"aa")}}
    for _ in range(2):
        client.ask(op="redo", **message)
        assert (work / "f").read_text() == "aa"


@pytest.mark.parametrize("tool", ["Bash", "Read", "Grep", "Glob", "Nothing", None])
def test_repeats_nothing_else(client: Client, work: Path, tool: str | None) -> None:
    """Only Write and Edit may be repeated."""
    answer = client.ask(op="redo", tool=tool, arguments={"command": "touch x"}, after={"x": "x"})
    assert list(answer) == ["error"]
    assert not list(work.iterdir())


@pytest.mark.parametrize("tool", ["Read", "Write", "Edit", "Bash", "Grep", "Glob"])
def test_a_tool_that_could_not_be_loaded_is_tried_again(client: Client, tool: str) -> None:
    """A server that is out of descriptors says so, and works once there are some again."""
    pid = client.process.pid
    limits = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (3, limits[1]))
    for _ in range(2):
        answer = client.call(tool)
        assert answer["is_error"] and text_of(answer).startswith(f"{tool} failed: ")
        assert "Too many open files" in text_of(answer)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, limits)
    assert text_of(client.call(tool)).startswith(f"{tool}: Arguments lacks ")
    (client.workspace / "f").write_text("x\n")
    assert text_of(client.call("Read", file_path="f")) == "1\tx"


def test_what_lies_in_the_workspace_is_never_loaded(client: Client) -> None:
    """Rooms and modules that are loaded late are the server's own, whatever the agent writes."""
    names = {*sys.stdlib_module_names, "orchestrator_tools/__init__", "orchestrator_tools/nearest"}
    (client.workspace / "orchestrator_tools").mkdir()
    for name in names - {"__main__"}:
        (client.workspace / f"{name}.py").write_text("open('stolen', 'w')\n")
    (client.workspace / "f").write_text("some text\n")
    assert text_of(client.call("Read", file_path="f")) == "1\tsome text"
    assert text_of(client.call("Bash", command="cd orchestrator_tools; pwd")).endswith("_tools")
    missed = client.call("Edit", file_path="f", old_string="some  text", new_string="x")
    assert "white space" in text_of(missed)
    cwd = str(client.workspace / "orchestrator_tools")
    assert text_of(client.call("Glob", pattern="*.py", cwd=cwd)).count(".py") == 2
    assert "nearest" in text_of(client.call("Grep", pattern="stolen", cwd=cwd))
    assert "there is no snapshot" in client.ask(op="restore", snapshot="1:x")["error"]
    assert not (client.workspace / "stolen").exists()


def test_a_server_short_of_memory_goes_on(client: Client) -> None:
    """A tool for whose code there is no memory says so, and works once there is some again."""
    pid = client.process.pid
    limits = resource.prlimit(pid, resource.RLIMIT_AS)
    taken = int(Path(f"/proc/{pid}/statm").read_text().split()[0]) * resource.getpagesize()
    resource.prlimit(pid, resource.RLIMIT_AS, (taken, limits[1]))
    (client.workspace / "f").write_text("x\n" * 2_000_000)
    answer = client.call("Read", file_path="f")
    assert answer["is_error"] and text_of(answer).startswith("Read failed: ")
    resource.prlimit(pid, resource.RLIMIT_AS, limits)
    assert not client.call("Read", file_path="f")["is_error"]
