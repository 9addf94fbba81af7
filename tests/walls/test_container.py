"""What is said to a container engine, and what happens where there is none that works.

The engine here is a stand-in, see tests/contracts/stand_in.py: it notes its command line and runs
the command behind bubblewrap. Real engines are tried by tests/contracts/test_sandbox.py.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest

from orchestrator import open_toolbox
from orchestrator.assembly.machine import make_sandbox
from orchestrator.errors import ConfigError, SandboxUnavailable
from orchestrator.records import Mount
from orchestrator.sandboxes.engine import bind, started_at
from orchestrator.settings import SandboxSettings
from tests.contracts.stand_in import a_stand_in, asked
from tests.walls.inside import done, python, sh
from tests.walls.outside import eventually, processes_with
from tests.walls.test_fail_closed import a_program
from tests.walls.test_walls_processes import a_sleeper, started

CONTAINER = SandboxSettings(backend="container", engine="docker", image="tools:1", memory_mb=1024)


@pytest.fixture
def engine(tmp_path: Path, bwrap: str, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Put the stand-in in front of PATH, and return its folder."""
    folder = a_stand_in(tmp_path / "engine", bwrap)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    return folder


@pytest.mark.asyncio
async def test_the_command_line_asks_for_every_wall(
    engine: Path, work: Path, tmp_path: Path
) -> None:
    """The engine is told, word for word, to give no network, no rights and no way to write."""
    state = tmp_path / "state"
    async with open_toolbox(work, state=state, sandbox_backend=CONTAINER) as toolbox:
        await done(toolbox, "true")
    runs = [one for one in asked(engine) if one[0] == "run"]
    assert len(runs) == 2  # the self-test, and the tool server
    given = runs[-1]
    name = given[given.index("--name") + 1]
    assert name.startswith(f"orchestrate-{os.getpid()}-{started_at(os.getpid())}-")
    until = given.index("--mount")
    expected = ["run", "--rm", "--interactive", "--pull", "never", "--name", name,
                "--network", "none", "--read-only", "--cap-drop", "ALL",
                "--security-opt", "no-new-privileges", "--pids-limit", "512"]  # fmt: skip
    if Path("/sys/fs/selinux/enforce").exists():
        expected += ["--security-opt", "label=disable"]
    expected += ["--memory", "1024m", "--memory-swap", "1024m", "--ipc", "private",
                 "--shm-size", "1g", "--hostname", "sandbox",
                 "--user", f"{os.geteuid()}:{os.getegid()}",
                 "--tmpfs", "/run:rw,nosuid,nodev,size=1m,mode=1777",
                 "--workdir", "/workspace"]  # fmt: skip
    assert given[:until] == expected
    mounts = [value for flag, value in pairwise(given) if flag == "--mount"]
    writable = [one for one in mounts if not one.endswith(",readonly")]
    targets = {one.rpartition("target=")[2] for one in writable}
    assert targets == {"/workspace", "/tmp", "/var/tmp", "/home/agent"}
    image = given.index("tools:1")
    assert given[image - 2 : image] == ["--entrypoint", "python3"]
    tail = [
        "-I",
        "-S",
        "/opt/orchestrate/confine.py",
        "/opt/orchestrate/start/plan.json",
        "python3",
    ]
    assert given[image + 1 : image + 6] == tail
    assert "--privileged" not in given and not any("docker.sock" in one for one in given)


@pytest.mark.asyncio
async def test_the_channel_is_handed_over_once(engine: Path, work: Path, state: Path) -> None:
    """No command inside finds the socket, the standard streams, or the channel of the server."""
    code = """
print(os.listdir("/opt/orchestrate/start"), attempt(lambda: open("/opt/orchestrate/start/x", "w")))
for process in ("1", "2", str(os.getppid())):
    for number in range(40):
        path = f"/proc/{process}/fd/{number}"
        if attempt(lambda: os.stat(path)) == "OK" and stat.S_ISSOCK(os.stat(path).st_mode):
            print("a channel", path)
print(attempt(lambda: os.listdir("/proc/1/fd")))
"""
    async with open_toolbox(work, state=state, sandbox_backend=CONTAINER) as toolbox:
        said = (await python(toolbox, code)).text
    assert said.splitlines()[0] == "['plan.json'] EROFS"
    assert "a channel" not in said
    assert not list((state / "sandbox").glob("start-*"))


@pytest.mark.asyncio
async def test_a_leftover_of_a_killed_process_is_removed(
    engine: Path, work: Path, state: Path, bystander: subprocess.Popen[bytes]
) -> None:
    """Containers whose owner is gone are removed at the next check; those of others stay."""
    own = f"orchestrate-{os.getpid()}-{started_at(os.getpid())}-abc"
    names = [
        f"orchestrate-{ended_process()}-123-abc",
        f"orchestrate-{os.getpid()}-1-abc",
        own,
        "other",
    ]
    for name in names:
        pid = ended_process() if name == names[1] else bystander.pid
        (engine / "running" / name).write_text(str(pid), encoding="utf-8")
    async with open_toolbox(work, state=state, sandbox_backend=CONTAINER):
        pass
    removed = [one[-1] for one in asked(engine) if one[:2] == ["rm", "--force"]]
    assert (
        sorted(removed[:2]) == sorted(names[:2]) and own not in removed and "other" not in removed
    )


def ended_process() -> int:
    """Return the number of a process that has ended."""
    with subprocess.Popen(["true"]) as process:
        pass
    return process.pid


HOST = """
import asyncio, sys
from orchestrator import open_toolbox
from orchestrator.settings import SandboxSettings
walls = SandboxSettings(backend="container", engine="docker", image="tools:1")
async def main():
    async with open_toolbox(sys.argv[1], state=sys.argv[2], sandbox_backend=walls) as toolbox:
        await toolbox.call("Bash", {"command": sys.argv[3]})
        print("ready", flush=True)
        await asyncio.sleep(600)
asyncio.run(main())
"""


@pytest.mark.asyncio
async def test_a_killed_host_leaves_no_container_running(
    engine: Path, marker: str, work: Path, tmp_path: Path
) -> None:
    """When the host is killed the server's channel closes: the container ends by itself."""
    command = f"setsid --fork {a_sleeper(marker)}"
    with started("-c", HOST, str(work), str(tmp_path / "state"), command) as host:
        assert host.stdout is not None and host.stdout.readline() == b"ready\n"
        await eventually(lambda: bool(processes_with(marker)), "it runs")
        os.kill(host.pid, signal.SIGKILL)
    await eventually(lambda: not processes_with(marker), "all processes are gone")


@pytest.mark.asyncio
async def test_any_path_can_be_mounted(engine: Path, tmp_path: Path, state: Path) -> None:
    """Commas, quotes, colons and blanks in a path are no part of the command line's own words."""
    folder = tmp_path / 'a,b "c": readonly=x'
    folder.mkdir()
    async with open_toolbox(folder, state=state, sandbox_backend=CONTAINER) as toolbox:
        await done(toolbox, "echo x > made")
    assert (folder / "made").read_text(encoding="utf-8") == "x\n"
    assert bind(Mount("/a,b", "/t")) == 'type=bind,"source=/a,b",target=/t,readonly'


# -- where it does not work ----------------------------------------------------------------


async def refused(work: Path, state: Path, settings: SandboxSettings) -> SandboxUnavailable:
    """Open a toolbox that must not open, and return why it did not."""
    with pytest.raises(SandboxUnavailable) as caught:
        async with open_toolbox(work, state=state, sandbox_backend=settings) as toolbox:
            await sh(toolbox, "touch ran")
    assert list(work.iterdir()) == [] and caught.value.hint
    assert len(str(caught.value).splitlines()) == 1
    return caught.value


@pytest.mark.asyncio
async def test_without_an_engine_nothing_runs(
    work: Path, state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each engine that was looked for is named, and no other walls are taken instead."""
    monkeypatch.setenv("PATH", "/nonexistent")
    settings = SandboxSettings(backend="container", image="tools:1")
    error = await refused(work, state, settings)
    assert "docker is not installed" in str(error) and "podman is not installed" in str(error)


@pytest.mark.asyncio
async def test_an_engine_that_does_not_answer_is_told_with_its_words(
    work: Path, state: Path, first_on_path: Path
) -> None:
    """What the engine says is passed on; the next engine is tried before giving up."""
    a_program(first_on_path, "#!/bin/sh\necho no daemon here >&2\nexit 1\n", "docker")
    a_program(first_on_path, "#!/bin/sh\necho not allowed >&2\nexit 1\n", "podman")
    settings = SandboxSettings(backend="container", image="tools:1")
    error = await refused(work, state, settings)
    assert "no daemon here" in str(error) and "not allowed" in str(error)


@pytest.mark.asyncio
async def test_a_missing_image_is_not_fetched(engine: Path, work: Path, state: Path) -> None:
    """An image that is not there is an error that says how to fetch it; nothing is pulled."""
    settings = SandboxSettings(backend="container", engine="docker", image="tools:2")
    error = await refused(work, state, settings)
    assert "tools:2" in str(error) and "docker pull tools:2" in error.hint
    assert not [one for one in asked(engine) if one[0] in {"pull", "run"}]


def test_a_container_needs_an_image(tmp_path: Path) -> None:
    """Without an image the settings are wrong, and the error says what to write."""
    with pytest.raises(ConfigError, match=r"sandbox\.image") as caught:
        make_sandbox("container", tmp_path)
    assert caught.value.hint


WEAKENED = {
    "network": ('"--unshare-net", ', "namespace is the host's"),
    "processes": ('"--unshare-pid", ', "namespace is the host's"),
}


@pytest.mark.asyncio
@pytest.mark.parametrize("how", WEAKENED)
async def test_an_engine_that_leaves_out_a_wall_is_noticed(
    how: str, engine: Path, work: Path, state: Path
) -> None:
    """The self-test runs in the real container: what was asked for and not given is refused."""
    words, said = WEAKENED[how]
    program = engine / "docker"
    text = program.read_text(encoding="utf-8")
    assert words in text
    program.write_text(text.replace(words, ""), encoding="utf-8")
    error = await refused(work, state, CONTAINER)
    assert said in str(error)


@pytest.mark.asyncio
async def test_privileges_are_given_up_whatever_the_engine_gives(
    engine: Path, work: Path, state: Path
) -> None:
    """Our first process inside drops what the engine left to it, before anything else runs."""
    program = engine / "docker"
    text = program.read_text(encoding="utf-8")
    program.write_text(text.replace('"--cap-drop", "ALL", ', ""), encoding="utf-8")
    async with open_toolbox(work, state=state, sandbox_backend=CONTAINER) as toolbox:
        held = await done(toolbox, "grep -E '^Cap(Prm|Eff|Inh|Amb)' /proc/self/status | cut -f2")
    assert set(held.split()) == {"0" * 16}


def test_the_stand_in_refuses_what_it_does_not_know(engine: Path) -> None:
    """A flag that is new, or one that is missing, makes these tests fail."""
    for arguments in (
        ["run", "--privileged", "x", "tools:1"],
        ["run", "--rm", "tools:1"],
        ["exec"],
    ):
        ended = subprocess.run(
            [sys.executable, str(engine / "docker"), *arguments], capture_output=True, check=False
        )
        assert ended.returncode != 0
    assert json.loads((engine / "asked").read_text(encoding="utf-8").splitlines()[-1]) == ["exec"]
