"""What lives and dies: servers that are killed, processes that stay, messes that are left."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import anyio
import pytest

from orchestrator import OpenToolbox, ToolResult, open_toolbox
from orchestrator.assembly.machine import make_private, make_sandbox
from orchestrator.errors import WorkspaceError
from orchestrator.records import Mount, SandboxSpec
from orchestrator.toolbox import Toolbox
from orchestrator.toolcode import boot_argv, tool_mounts
from orchestrator.toolserver import Ask, ToolServer
from orchestrator.workspaces import private_mounts
from orchestrator_tools.contract import ToolState
from tests.walls.conftest import OpenHere
from tests.walls.inside import done, python, sh
from tests.walls.outside import DEADLINE_S, descriptors, eventually, photograph, processes_with

KEEPERS = {
    "background": "{sleeper} &",
    "nohup": "nohup {sleeper} >/dev/null 2>&1 &",
    "session": "setsid --fork {sleeper}",
    "deaf": "trap '' TERM HUP INT; {sleeper} &",
    "orphan": "( ( exec -a innocent {sleeper} ) & ) &",
    "stopped": "{sleeper} & kill -STOP $!",
}


def a_sleeper(marker: str) -> str:
    """Return a command that waits for ever under a name that is found on the host."""
    return f"python3 -c 'import signal; signal.pause()' {marker}"


@contextmanager
def started(*arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run a program that embeds the package, in a process of its own, which ends with the block."""
    path = os.pathsep.join(one for one in sys.path if one)
    environment = {**os.environ, "PYTHONPATH": path}
    pipe = subprocess.PIPE
    argv = [sys.executable, *arguments]
    with subprocess.Popen(argv, env=environment, stdout=pipe, stderr=pipe) as process:
        try:
            yield process
        finally:
            process.kill()


def remove(folder: Path) -> None:
    """Remove a folder that Python's own rmtree, and so pytest, could not remove."""
    subprocess.run(["chmod", "-R", "u+rwX", str(folder)], check=False)
    subprocess.run(["rm", "-rf", str(folder)], check=True)


@pytest.mark.asyncio
@pytest.mark.parametrize(
    "command",
    [
        "kill -9 -1",
        "kill -9 $PPID",
        "pkill -9 python3",
        "kill -TERM $PPID; kill -INT $PPID; kill -9 $PPID",
        "exec 9>&-; kill -9 $PPID $$",
    ],
)
async def test_killing_everything_costs_only_a_restart(
    command: str, work: Path, open_here: OpenHere
) -> None:
    """After a command that kills all it can, the next call works and files are kept."""
    async with open_here() as toolbox:
        await done(toolbox, "echo kept > file; mkdir sub; cd sub")
        await sh(toolbox, command)
        assert (await done(toolbox, "pwd; cat ../file")).endswith("/sub\nkept")
    assert (work / "file").read_text(encoding="utf-8") == "kept\n"


@pytest.mark.asyncio
async def test_a_stopped_server_costs_only_a_restart(
    open_here: OpenHere, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A command that stops every process is given up long before its time, and the next works."""
    monkeypatch.setattr("orchestrator.toolserver.PULSE_S", 0.2)
    monkeypatch.setattr("orchestrator.toolserver.PULSE_WAIT_S", 2.0)
    async with open_here() as toolbox:
        # The sleep keeps the call open: a server may answer before its stop reaches it.
        stopped = await sh(toolbox, "kill -STOP -1; sleep 600", 600_000)
        assert stopped.is_error and "ended the sandbox's server" in stopped.text
        monkeypatch.undo()
        assert await done(toolbox, "echo again") == "again"


@pytest.mark.heavy
@pytest.mark.asyncio
@pytest.mark.parametrize(
    "how", ["kill -STOP -1", "kill -STOP $PPID", "trap '' TERM; kill -STOP $PPID"]
)
async def test_a_stopped_server_is_always_started_again(
    how: str, open_here: OpenHere, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Twenty times in a row the server is stopped, given up, and the next call works."""
    monkeypatch.setattr("orchestrator.toolserver.PULSE_S", 0.2)
    monkeypatch.setattr("orchestrator.toolserver.PULSE_WAIT_S", 2.0)
    async with open_here() as toolbox:
        for number in range(20):
            stopped = await sh(toolbox, f"{how}; sleep 600", 600_000)
            assert stopped.is_error and "ended the sandbox's server" in stopped.text, number
            assert await done(toolbox, f"echo {number}") == str(number)


@pytest.mark.asyncio
@pytest.mark.parametrize("how", KEEPERS)
async def test_no_process_survives_the_block(how: str, marker: str, open_here: OpenHere) -> None:
    """A process that a command left behind, however it hides, is gone when the block ends."""
    command = KEEPERS[how].replace("{sleeper}", a_sleeper(marker))
    async with open_here() as toolbox:
        await done(toolbox, command)
        await eventually(lambda: bool(processes_with(marker)), "the process runs")
        assert await done(toolbox, "echo still here") == "still here"
        await eventually(lambda: bool(processes_with(marker)), "it still runs")
    await eventually(lambda: not processes_with(marker), "the process is gone")


@pytest.mark.asyncio
async def test_a_command_in_the_background_survives_the_call_and_not_the_block(
    marker: str, open_here: OpenHere
) -> None:
    """``run_in_background`` lasts over calls, can be killed by its pid, and ends with the block."""
    async with open_here() as toolbox:
        given = {"command": f"echo up; {a_sleeper(marker)}", "run_in_background": True}
        first = await toolbox.call("Bash", given)
        await eventually(lambda: bool(processes_with(marker)), "the first runs")
        await done(toolbox, f"kill -- -{first.details['pid']}")
        await eventually(lambda: not processes_with(marker), "the first was killed")
        await toolbox.call("Bash", given)
        await eventually(lambda: bool(processes_with(marker)), "the second runs")
    await eventually(lambda: not processes_with(marker), "the second is gone")


@pytest.mark.asyncio
async def test_a_cancelled_call_leaves_a_working_toolbox(marker: str, open_here: OpenHere) -> None:
    """When a call is cancelled the next one works, and nothing of it survives the block."""
    async with open_here() as toolbox:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(sh, toolbox, a_sleeper(marker))
            await eventually(lambda: bool(processes_with(marker)), "the command runs")
            tasks.cancel_scope.cancel()
        assert await done(toolbox, "echo next") == "next"
    await eventually(lambda: not processes_with(marker), "the command is gone")


@pytest.mark.asyncio
async def test_a_killed_host_takes_everything_along(
    marker: str, work: Path, state: Path, tmp_path: Path
) -> None:
    """When the runtime itself is killed, no process of the sandbox stays behind."""
    script = tmp_path / "host.py"
    script.write_text(
        f"""
import anyio, orchestrator
async def main():
    async with orchestrator.open_toolbox({str(work)!r}, state={str(state)!r}) as toolbox:
        await toolbox.call("Bash", {{"command": {f"setsid --fork {a_sleeper(marker)}"!r}}})
        await anyio.sleep_forever()
anyio.run(main)
""",
        encoding="utf-8",
    )
    with started(str(script), marker) as host:
        await eventually(lambda: len(processes_with(marker)) > 1, "the sandbox's process runs")
        host.send_signal(signal.SIGKILL)
        await eventually(lambda: not processes_with(marker), "all are gone")


def test_a_program_that_ends_right_after_is_quiet(work: Path, state: Path, tmp_path: Path) -> None:
    """A program whose last act is a toolbox prints no traceback of a transport left open."""
    script = tmp_path / "host.py"
    script.write_text(
        f"""
import asyncio, orchestrator
async def main():
    async with orchestrator.open_toolbox({str(work)!r}, state={str(state)!r}) as toolbox:
        print((await toolbox.call("Bash", {{"command": "echo said"}})).text)
for _ in range(5):
    asyncio.run(main())
""",
        encoding="utf-8",
    )
    with started("-W", "default", str(script)) as host:
        said, errors = host.communicate()
    assert said.split() == [b"said"] * 5
    assert errors.decode() == ""


@pytest.mark.asyncio
async def test_twenty_toolboxes_at_once_leave_nothing(
    marker: str, tmp_path: Path, state: Path
) -> None:
    """Twenty open toolboxes each work, and leave no process, descriptor or folder behind."""
    (tmp_path / "first").mkdir()
    async with open_toolbox(tmp_path / "first", state=tmp_path / "warm"):
        pass
    before, there = descriptors(), sorted(path.name for path in state.iterdir())

    async def one(number: int) -> None:
        folder = tmp_path / f"work-{number}"
        folder.mkdir()
        async with open_toolbox(folder, state=state) as toolbox:
            said = await done(toolbox, f"{a_sleeper(marker)} & echo {number} | tee file")
            assert said == str(number)
        assert (folder / "file").read_text("utf-8") == f"{number}\n"

    async with anyio.create_task_group() as tasks:
        for number in range(20):
            tasks.start_soon(one, number)
    await eventually(lambda: not processes_with(marker), "all processes are gone")
    await eventually(lambda: descriptors() <= before, "all descriptors are closed")
    assert sorted(path.name for path in state.iterdir()) == there


PIDS = Path("/sys/fs/cgroup/pids")


@pytest.mark.asyncio
async def test_a_fork_bomb_is_bounded(marker: str, open_here: OpenHere) -> None:
    """Processes are limited, the limit ends with the block, and the toolbox lives on."""
    if os.getuid() == 0 and not PIDS.exists():
        pytest.skip("NOT TESTED as root: no pids control group on this machine")
    code = """
count = 0
try:
    while count < 2000:
        if not os.fork():
            signal.pause()
        count += 1
except OSError as error:
    print(errno.errorcode[error.errno])
print(count)
os.killpg(0, signal.SIGKILL)
"""
    async with open_here() as toolbox:
        said = await python(toolbox, code.replace("count = 0\n", f"count = 0  # {marker}\n", 1))
        assert said.is_error
        bomb = await sh(toolbox, "bomb() { bomb | bomb & }; bomb; sleep 0; true", 3000)
        assert isinstance(bomb, ToolResult)
        await sh(toolbox, "kill -9 -1")
        assert await done(toolbox, "echo alive") == "alive"


FILLED = """
import os, time
told, full = os.pipe()
if os.fork():
    os.read(told, 1)
    os._exit(0)
while True:
    try:
        if not os.fork():
            os.execlp("sleep", "{marker}", "1000")
    except OSError:
        os.write(full, b"!")
        time.sleep(0.001)
"""


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("tool", "arguments"), [("Bash", {"command": "echo"}), ("Glob", {"pattern": "*"})]
)
async def test_where_no_process_is_left_to_be_had_all_are_ended(
    marker: str, work: Path, open_here: OpenHere, tool: str, arguments: dict[str, object]
) -> None:
    """A call that cannot start anything says so and ends what is in the way; the next one works."""
    if os.getuid() == 0 and not PIDS.exists():
        pytest.skip("NOT TESTED as root: no pids control group on this machine")
    (work / "fill.py").write_text(FILLED.format(marker=marker), encoding="utf-8")
    async with open_here() as toolbox:
        await sh(toolbox, "python3 fill.py")
        with anyio.fail_after(DEADLINE_S):  # until the places that a call gave back are taken
            while not (said := await toolbox.call(tool, arguments)).is_error:
                pass
        assert "too many are running" in said.text
        await eventually(lambda: not processes_with(marker), "they are gone")
        assert await done(toolbox, "echo alive; ls") == "alive\nfill.py"


@pytest.mark.asyncio
async def test_a_file_cannot_fill_the_disk(work: Path, open_here: OpenHere) -> None:
    """No single file grows beyond the limit, not even by holes."""
    async with open_here() as toolbox:
        said = await sh(toolbox, "trap '' XFSZ; truncate -s 3G big; ulimit -f unlimited")
    assert said.is_error
    assert (work / "big").stat().st_size <= 2 * 1024**3


@pytest.mark.asyncio
@pytest.mark.parametrize(
    "mess",
    [
        "mkdir -p $D/a/b && touch $D/a/b/c && chmod 0 $D/a/b $D/a",
        "mkdir -p $D/a/b && touch $D/a/b/c && chmod 500 $D/a/b $D/a && touch $D/z && chmod 0 ~",
        "touch $D/x && chmod 0 $D/x && ln -s /etc $D/etc && mkfifo $D/pipe",
        'python3 -c \'import os; [(os.mkdir("d"), os.chdir("d")) for _ in range(3000)]\'',
        'touch "$D/$(printf \'a\\nb\\377\')" $D/-rf "$D/ "',
    ],
)
async def test_any_mess_in_private_folders_is_removed(
    mess: str, work: Path, outside: Path, tmp_path: Path
) -> None:
    """Whatever modes, names and depths an agent leaves in its home and /tmp, nothing stays."""
    state = tmp_path / "state"
    before = photograph(outside)
    try:
        async with open_toolbox(work, state=state) as toolbox:
            for folder in ("/tmp", "/home/agent"):
                await done(toolbox, f"cd {folder}; D=.; {mess}; cd /workspace")
        assert not list(state.glob("scratch-*"))
    finally:
        remove(state)
    assert photograph(outside) == before


@pytest.mark.asyncio
async def test_toolboxes_do_not_see_each_other(marker: str, tmp_path: Path, state: Path) -> None:
    """Two toolboxes share no processes, no sockets, no /tmp, no home and no /dev/shm."""
    folders = [tmp_path / "one", tmp_path / "two"]
    for folder in folders:
        folder.mkdir()
    leave = f"touch {{/tmp,~,/dev/shm,/run,/var/tmp}}/{marker}; {a_sleeper(marker)} &"
    look = f"ls -a /tmp ~ /dev/shm /run /var/tmp; ps auxww; ls {shlex.quote(str(folders[0]))}"

    async def seen(toolbox: OpenToolbox) -> str:
        return (await sh(toolbox, look)).text.replace(look, "")

    async with (
        open_toolbox(folders[0], state=state) as first,
        open_toolbox(folders[1], state=state) as second,
    ):
        await done(first, leave)
        assert marker in await seen(first)
        assert marker not in await seen(second)


@pytest.mark.asyncio
async def test_a_half_made_workspace_serves_nobody(work: Path, state: Path, tmp_path: Path) -> None:
    """A server whose workspace could not be put back is ended; the next call makes it anew."""
    make_private(state)
    sandbox = make_sandbox("auto", state)
    await sandbox.check()
    for name in ("tmp", "home"):
        (tmp_path / "own" / name).mkdir(parents=True)
    mounts = (
        Mount(str(work), "/workspace", writable=True),
        *tool_mounts(),
        *private_mounts(tmp_path / "own"),
    )
    told = (("ORCHESTRATE_WORKSPACE", "/workspace"),)
    spec = SandboxSpec(mounts=mounts, cwd="/workspace", environment=told)
    tries: list[str] = []

    async def prepare(launch: Callable[[], Awaitable[Ask]]) -> None:
        tries.append("begun")
        await launch()
        if len(tries) == 1:
            raise WorkspaceError("an object is missing")

    server = ToolServer(sandbox, lambda: spec, boot_argv(sandbox), prepare=prepare)
    toolbox = Toolbox(server)
    async with server.open():
        with pytest.raises(WorkspaceError, match="an object is missing"):
            await toolbox.call("Bash", {"command": "touch served"}, ToolState(cwd="/workspace"))
        assert not (work / "served").exists()
        result, _ = await toolbox.call(
            "Bash", {"command": "touch served"}, ToolState(cwd="/workspace")
        )
    assert not result.is_error and (work / "served").exists()
    assert tries == ["begun", "begun"]
