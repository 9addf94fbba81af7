"""Ordinary work goes on behind the walls as it would without them."""

from __future__ import annotations

import shutil
from pathlib import Path

import anyio
import pytest

from orchestrator import OpenToolbox, open_toolbox
from orchestrator.errors import WorkspaceError
from tests.walls.conftest import OpenHere, OpenRepository
from tests.walls.inside import done, sh

SERVER = """
import http.server, socketserver, sys
class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.end_headers(); self.wfile.write(b"it answers")
    def log_message(self, *_): pass
socketserver.TCPServer.allow_reuse_address = True
server = socketserver.TCPServer(("127.0.0.1", 0), Answer)
print(server.server_address[1], flush=True)
server.serve_forever()
"""

POOL = """
import multiprocessing
from multiprocessing import shared_memory

def square(number):
    return number * number

if __name__ == "__main__":
    with multiprocessing.Pool(3) as pool:
        print(pool.map(square, range(4)))
    with multiprocessing.Manager() as manager:
        shared = manager.dict()
        worker = multiprocessing.Process(target=shared.update, args=({"a": 1},))
        worker.start(); worker.join()
        print(dict(shared))
    lock, queue = multiprocessing.Lock(), multiprocessing.Queue()
    queue.put("through a queue")
    print(queue.get())
    block = shared_memory.SharedMemory(create=True, size=64)
    block.close(); block.unlink()
"""

SOCKET = """
import os, socket, threading
for address in ("/tmp/a.sock", "\\0abstract", "/workspace/b.sock"):
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(address); listener.listen()
    client = socket.socket(socket.AF_UNIX); client.connect(address)
    server, _ = listener.accept()
    server.sendall(b"hello"); print(client.recv(5).decode())
one, other = socket.socketpair(); one.send(b"x"); print(other.recv(1).decode())
os.unlink("/workspace/b.sock")
"""


async def a_file(toolbox: OpenToolbox, name: str, content: str) -> None:
    result = await toolbox.call("Write", {"file_path": name, "content": content})
    assert not result.is_error, result.text


@pytest.mark.asyncio
async def test_the_whole_of_git_works_inside(
    repository: Path, open_repository: OpenRepository
) -> None:
    """Add, commit, amend, branch, stash, rebase, merge, tag, work trees and bisect all work."""
    steps = """
git status && git checkout -b topic && echo 1 > one && git add one && git commit -m one
git commit --amend --no-edit && echo 2 > two && git add . && git commit -m two
echo dirty > one && git stash && git stash list | grep -q 'on topic' && git stash pop && git checkout one
git checkout work && echo 3 > three && git add -A && git commit -m three
git rebase work topic && git log --format=%s | head -3 && git tag -a v1 -m v1 && git describe
git checkout work && git merge --no-ff --no-edit topic && git cherry-pick -x --allow-empty HEAD~1 || true
git cherry-pick --abort 2>/dev/null; git branch -d topic && git reflog && git blame one && git diff HEAD~1
git worktree add /tmp/other v1 && test -f /tmp/other/one && git worktree remove /tmp/other
git bisect start HEAD HEAD~2 && git bisect reset && git mv three four && git commit -m four
git format-patch -1 -o /tmp && git reset --hard HEAD~1 && git am /tmp/*.patch && git clean -nd
git clone -q . /tmp/clone && git -C /tmp/clone log -1 --format=%s && git fsck && git status --short
"""
    async with open_repository() as workspace:
        for step in steps.strip().splitlines():
            await done(workspace.toolbox, f"set -e; {step}")
        commit = await workspace.collect("refs/heads/out")
    listed = (repository / ".git" / "refs/heads/out").read_text("utf-8").strip()
    assert listed == commit


@pytest.mark.asyncio
async def test_unit_tests_run(open_here: OpenHere) -> None:
    """``python3 -m unittest`` finds and runs tests, and its failure is told."""
    good = "import unittest\nclass T(unittest.TestCase):\n    def test_a(self):\n        {body}\n"
    async with open_here() as toolbox:
        await a_file(toolbox, "test_a.py", good.format(body="self.assertTrue(True)"))
        assert "OK" in await done(toolbox, "python3 -m unittest")
        await a_file(toolbox, "test_b.py", good.format(body="self.fail('no')"))
        failed = await sh(toolbox, "python3 -m unittest -v")
    assert failed.is_error and "FAILED (failures=1)" in failed.text


@pytest.mark.asyncio
async def test_a_virtual_environment_can_be_made(open_here: OpenHere) -> None:
    """A venv without pip is made and used, in the folder and in the home."""
    async with open_here() as toolbox:
        for place in (".venv", "~/venv"):
            said = await done(
                toolbox,
                f"python3 -m venv --without-pip {place} && {place}/bin/python -c 'print(1)'",
            )
            assert said == "1"


@pytest.mark.asyncio
async def test_a_compiler_runs(open_here: OpenHere) -> None:
    """A C program is compiled and run; debugging and profiling it works too."""
    if shutil.which("gcc", path="/usr/bin:/bin") is None:
        pytest.skip("NOT TESTED: this machine has no gcc")
    async with open_here() as toolbox:
        await a_file(toolbox, "a.c", '#include <stdio.h>\nint main() { puts("compiled"); }\n')
        assert await done(toolbox, "gcc -g -o a a.c && ./a") == "compiled"


@pytest.mark.asyncio
async def test_a_server_started_in_one_call_answers_in_the_next(open_here: OpenHere) -> None:
    """A TCP server in the background is reached by later calls, on a port it chose."""
    ask = "curl -s" if shutil.which("curl", path="/usr/bin:/bin") else "wget -qO-"
    look = "python3 -c 'import sys, urllib.request as r; print(r.urlopen(sys.argv[1]).read().decode())'"
    async with open_here() as toolbox:
        await a_file(toolbox, "serve.py", SERVER)
        given = {"command": "exec python3 serve.py", "run_in_background": True}
        started = await toolbox.call("Bash", given)
        waiting = f"until grep -q . {started.details['output']}; do sleep 0.01; done"
        port = await done(
            toolbox, f"timeout 30 bash -c '{waiting}'; cat {started.details['output']}"
        )
        assert await done(toolbox, f"{look} http://127.0.0.1:{port}/") == "it answers"
        for host in ("localhost", "sandbox", "127.0.0.2"):
            said = await sh(toolbox, f"{ask} http://{host}:{port}/")
            assert said.text == "it answers" or host != "localhost"


@pytest.mark.asyncio
async def test_multiprocessing_works(open_here: OpenHere) -> None:
    """Pools, managers, queues and locks of Python's multiprocessing work."""
    async with open_here() as toolbox:
        await a_file(toolbox, "pool.py", POOL)
        said = await done(toolbox, "python3 pool.py")
    assert said.splitlines() == ["[0, 1, 4, 9]", "{'a': 1}", "through a queue"]


@pytest.mark.asyncio
async def test_unix_sockets_work(open_here: OpenHere) -> None:
    """Unix sockets inside work, by path and abstract ones, in /tmp and in the folder."""
    async with open_here() as toolbox:
        await a_file(toolbox, "s.py", SOCKET)
        assert (await done(toolbox, "python3 s.py")).split() == ["hello"] * 3 + ["x"]


@pytest.mark.asyncio
async def test_links_within_the_folder_work(work: Path, open_here: OpenHere) -> None:
    """Relative, absolute and hard links within the folder are followed by all tools."""
    (work / "real").write_text("real\n", encoding="utf-8")
    async with open_here() as toolbox:
        await done(toolbox, "mkdir d; ln -s ../real d/rel; ln -s /workspace/real abs; ln real hard")
        for name in ("d/rel", "abs", "hard"):
            assert "real" in (await toolbox.call("Read", {"file_path": name})).text
        given = {"file_path": "d/rel", "old_string": "real", "new_string": "changed"}
        assert not (await toolbox.call("Edit", given)).is_error
    assert (work / "real").read_text(encoding="utf-8") == "changed\n"
    assert (work / "d/rel").is_symlink()


@pytest.mark.asyncio
async def test_names_of_all_kinds_work(work: Path, open_here: OpenHere) -> None:
    """Unicode, spaces, quotes and leading dashes in names work in every tool."""
    names = [
        "größe/naïve.txt",
        "日本/語.md",
        "with space/ x",
        "quo'te\"s",
        "-rf",
        "$HOME",
        "[a]{b}*",
    ]
    async with open_here() as toolbox:
        for name in names:
            await a_file(toolbox, f"./{name}", "needle\n")
            assert "needle" in (await toolbox.call("Read", {"file_path": f"./{name}"})).text
        found = await toolbox.call("Grep", {"pattern": "needle"})
        listed = await toolbox.call("Glob", {"pattern": "**/*"})
    assert all(name in found.text and name in listed.text for name in names)
    assert sorted(str(one.relative_to(work)) for one in work.rglob("*") if one.is_file()) == sorted(
        names
    )


@pytest.mark.asyncio
async def test_private_folders_are_there(open_here: OpenHere) -> None:
    """/tmp, /var/tmp, /dev/shm, home and /dev/null can be used; programs in them run."""
    async with open_here() as toolbox:
        for folder in ("/tmp", "/var/tmp", "~", "/dev/shm", "."):
            script = f"{folder}/run-me"
            await done(toolbox, f"printf '#!/bin/sh\\necho ran' > {script}; chmod +x {script}")
            assert await done(toolbox, script) == "ran"
        await done(toolbox, "mktemp -d && echo x > /dev/null && head -c 1 /dev/urandom | wc -c")
        await done(
            toolbox, "cat <(echo substituted) | grep substituted; mkfifo /tmp/p && test -p /tmp/p"
        )
        await done(toolbox, "id -un | grep agent; hostname; date; locale; getent passwd agent")


@pytest.mark.asyncio
async def test_a_command_may_empty_its_temporary_folder(open_here: OpenHere) -> None:
    """``rm -rf /tmp/*``, a usual way to tidy up, does not cost a command its output."""
    async with open_here() as toolbox:
        said = await sh(toolbox, "echo before; rm -rf /tmp/* /tmp/.[a-z]*; echo after")
        assert not said.is_error
        assert said.text == "before\nafter"
        assert await done(toolbox, "echo next") == "next"


@pytest.mark.asyncio
async def test_tracing_ones_own_processes_works(open_here: OpenHere) -> None:
    """A debugger may trace what it started itself."""
    if shutil.which("strace", path="/usr/bin:/bin") is None:
        pytest.skip("NOT TESTED: this machine has no strace")
    async with open_here() as toolbox:
        assert "exited with 0" in await done(toolbox, "strace -f true 2>&1")


@pytest.mark.asyncio
async def test_a_folder_with_a_linked_git_works(
    repository: Path, tmp_path: Path, state: Path
) -> None:
    """A checkout whose ``.git`` is a link or a file is worked on in place like any other."""
    (repository / ".git").rename(tmp_path / "real-git")
    for kind in ("link", "file"):
        (repository / ".git").unlink(missing_ok=True)
        if kind == "link":
            (repository / ".git").symlink_to(tmp_path / "real-git")
        else:
            (repository / ".git").write_text(f"gitdir: {tmp_path}/real-git\n", encoding="utf-8")
        async with open_toolbox(repository, state=state) as toolbox:
            assert await done(toolbox, "cat README.md") == "# A project"


@pytest.mark.asyncio
async def test_an_error_of_the_caller_comes_out_as_it_is(
    work: Path, state: Path, open_repository: OpenRepository
) -> None:
    """An exception raised in the block, one of ours or the caller's own, is not wrapped."""
    error = KeyError("the caller's own")

    async def own() -> None:
        async with open_toolbox(work, state=state) as toolbox:
            await done(toolbox, "true")
            raise error

    async def ours() -> None:
        async with open_repository() as workspace:
            await done(workspace.toolbox, "echo junk > /git/HEAD")
            await workspace.collect("refs/heads/out")

    with pytest.raises(KeyError):
        await own()
    with pytest.raises(WorkspaceError):
        await ours()


@pytest.mark.asyncio
async def test_many_calls_at_once_are_answered(work: Path, open_here: OpenHere) -> None:
    """Reads that run side by side each get their own answer."""
    for number in range(30):
        (work / str(number)).write_text(f"content of {number}.\n", encoding="utf-8")
    texts: dict[int, str] = {}

    async def read(toolbox: OpenToolbox, number: int) -> None:
        texts[number] = (await toolbox.call("Read", {"file_path": str(number)})).text

    async with open_here() as toolbox, anyio.create_task_group() as tasks:
        for number in range(30):
            tasks.start_soon(read, toolbox, number)
    assert all(f"content of {number}." in texts[number] for number in range(30))
