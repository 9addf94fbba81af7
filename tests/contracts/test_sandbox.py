"""The contract of Sandbox: what all walls do, each kind played by the same tests."""

from __future__ import annotations

import contextlib
import os
import secrets
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import anyio
import pytest

from orchestrator import open_toolbox, open_workspace
from orchestrator.assembly.machine import make_private, make_sandbox
from orchestrator.errors import OrchestratorError, SandboxUnavailable
from orchestrator.ports import Sandbox, SandboxProcess
from orchestrator.records import Mount, SandboxSpec
from orchestrator.sandboxes import confine
from orchestrator.sandboxes.engine import ENGINES, find_engine
from orchestrator.settings import SandboxSettings
from tests.builders import a_repository, git
from tests.contracts.stand_in import a_stand_in
from tests.walls.conftest import bwrap  # noqa: F401 - the fixture
from tests.walls.inside import done
from tests.walls.outside import descriptors, eventually, processes_with

USER = 61_341
IMAGE = "tools:1"
KINDS = (
    "bubblewrap",
    "bubblewrap, another user",
    "landlock",
    "docker",
    "podman",
    "a stand-in for docker",
    "external",
    "none",
)
WITHOUT_WALLS = {"external", "none"}


@dataclass(frozen=True, slots=True)
class Walls:
    """One kind of walls, ready to be made."""

    kind: str
    settings: SandboxSettings
    state: Path

    @property
    def open(self) -> bool:
        """Tell whether there are no walls."""
        return self.kind in WITHOUT_WALLS

    def made(self) -> Sandbox:
        """Make the walls."""
        return make_sandbox(self.settings, self.state)


def real_engine(kind: str) -> SandboxSettings:
    """Return the settings for a real engine, or skip aloud."""
    image = os.environ.get("ORCHESTRATE_TEST_IMAGE", "")

    async def found() -> None:
        engine = await find_engine([kind], os.environ)
        if not image:
            raise SandboxUnavailable("ORCHESTRATE_TEST_IMAGE names no image to try it with")
        await engine.require_image(image)

    try:
        anyio.run(found)
    except SandboxUnavailable as error:
        pytest.skip(f"NOT TESTED: {kind}: {error}")
    return SandboxSettings(backend="container", engine=kind, image=image)  # type: ignore[arg-type]


@pytest.fixture(params=KINDS)
def walls(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Walls:
    """Return each kind of walls that this machine can have; the others are skipped aloud."""
    kind = str(request.param)
    settings = SandboxSettings(backend="bubblewrap")
    if kind in ENGINES:
        settings = real_engine(kind)
    elif kind == "a stand-in for docker":
        folder = a_stand_in(tmp_path / "engine", request.getfixturevalue("bwrap"))
        monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
        settings = SandboxSettings(backend="container", engine="docker", image=IMAGE)
    elif kind == "landlock":
        if confine.landlock_abi() < confine.ABI:
            pytest.skip(f"NOT TESTED: landlock: the kernel offers {confine.landlock_abi()}")
        settings = SandboxSettings(backend="landlock")
    elif kind in WITHOUT_WALLS:
        settings = SandboxSettings(backend=kind)  # type: ignore[arg-type]
    else:
        request.getfixturevalue("bwrap")
    if kind.endswith("user"):
        if os.geteuid() != 0:
            pytest.skip("NOT TESTED: only root can run things as another user")
        settings = SandboxSettings(run_as=str(USER))
    state = tmp_path / "state"
    make_private(state)
    return Walls(kind, settings, state)


def a_spec(walls: Walls, sandbox: Sandbox, folder: Path) -> SandboxSpec:
    """Describe a sandbox with a writable folder and one that is only shown."""
    for name in ("work", "shown", "home", "tmp"):
        (folder / name).mkdir(parents=True)
        if sandbox.owner is not None:
            os.chown(folder / name, *sandbox.owner)
    (folder / "shown" / "file").write_text("as it was\n", encoding="utf-8")
    mounts = (
        Mount(str(folder / "tmp"), "/tmp", writable=True),
        Mount(str(folder / "home"), "/home/agent", writable=True),
        Mount(str(folder / "work"), "/workspace", writable=True),
        Mount(str(folder / "shown"), "/shown"),
        Mount(str(folder / "missing"), "/missing", optional=True),
    )
    at = "/workspace" if sandbox.maps_paths else str(folder / "work")
    shown = "/shown" if sandbox.maps_paths else str(folder / "shown")
    home = "/home/agent" if sandbox.maps_paths else str(folder / "home")
    return SandboxSpec(mounts, at, (("TOLD", "a value=1"), ("SHOWN", shown), ("HOME", home)))


async def rest_of(process: SandboxProcess) -> bytes:
    """Read the output to its end."""
    data = b""
    try:
        while process.stdout is not None:
            data += await process.stdout.receive()
    except anyio.EndOfStream:
        pass
    return data


@asynccontextmanager
async def started(
    walls: Walls, folder: Path, *argv: str, pass_fds: tuple[int, ...] = ()
) -> AsyncIterator[SandboxProcess]:
    """Start a command behind proved walls."""
    sandbox = walls.made()
    await sandbox.check()
    spec = a_spec(walls, sandbox, folder)
    if pass_fds:
        channel = ("ORCHESTRATE_CHANNEL", str(pass_fds[0]))
        spec = SandboxSpec(spec.mounts, spec.cwd, (*spec.environment, channel))
    with anyio.fail_after(60):
        process = await sandbox.start(argv, spec, pass_fds=pass_fds)
        try:
            yield process
        finally:
            await process.aclose()


@pytest.mark.asyncio
async def test_what_was_proved_is_said_in_one_line(walls: Walls) -> None:
    """check() says what holds, and gaps are told by all walls but the whole ones."""
    sandbox = walls.made()
    with anyio.fail_after(60):
        said = await sandbox.check()
        assert await sandbox.check() == said
    assert said and len(said.splitlines()) == 1
    assert (sandbox.gaps == ()) is walls.kind.startswith(("bubblewrap", "podman"))
    assert all(gap and len(gap.splitlines()) == 1 for gap in sandbox.gaps)


@pytest.mark.asyncio
async def test_nothing_starts_before_the_check(walls: Walls, tmp_path: Path) -> None:
    """Walls that were not looked at start nothing."""
    sandbox = walls.made()
    spec = a_spec(walls, sandbox, tmp_path / "place")
    with pytest.raises(SandboxUnavailable):
        await sandbox.start(["touch", "ran"], spec)
    assert list((tmp_path / "place" / "work").iterdir()) == []


@pytest.mark.asyncio
async def test_three_streams_and_a_status(walls: Walls, tmp_path: Path) -> None:
    """Input arrives, both outputs and the exit status come back."""
    script = "read line; echo out $line; echo err >&2; exit 7"
    async with started(walls, tmp_path / "place", "bash", "-c", script) as process:
        assert process.stdin is not None and process.stderr is not None
        await process.stdin.send(b"given\n")
        await process.stdin.aclose()
        assert await rest_of(process) == b"out given\n"
        assert await process.stderr.receive() == b"err\n"
        assert await process.wait() == 7
        assert process.reason == ""


@pytest.mark.asyncio
async def test_a_signal_or_a_missing_program_is_a_failure(walls: Walls, tmp_path: Path) -> None:
    """What is killed, or not there at all, never looks like success."""
    async with started(walls, tmp_path / "one", "bash", "-c", "kill -9 $$") as process:
        assert await process.wait() in {-9, 137}
    status = 1
    with contextlib.suppress(SandboxUnavailable):  # where it is noticed at the start already
        async with started(walls, tmp_path / "two", "no-such-program") as process:
            status = await process.wait()
    assert status != 0


@pytest.mark.asyncio
async def test_folder_and_environment_are_the_given_ones(
    walls: Walls, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A command starts where it was told, knows what it was told, and nothing of the host."""
    monkeypatch.setenv("ANTHROPIC_API_KEY", "canary-in-the-environment")
    async with started(walls, tmp_path / "place", "bash", "-c", "pwd; env") as process:
        said = (await rest_of(process)).decode()
    sandbox_cwd = "/workspace" if walls.made().maps_paths else str(tmp_path / "place" / "work")
    assert said.splitlines()[0] == sandbox_cwd
    assert "TOLD=a value=1" in said and "canary" not in said
    assert "CI=1" in said and "HOME=" in said


@pytest.mark.asyncio
async def test_what_is_shown_cannot_be_changed(walls: Walls, tmp_path: Path) -> None:
    """A writable folder keeps what is written, for its owner; a shown one stays as it was."""
    script = 'cat "$SHOWN/file"; echo new > made; echo x >> "$SHOWN/file"; touch "$SHOWN/new"; true'
    place = tmp_path / "place"
    async with started(walls, place, "bash", "-c", script) as process:
        assert (await rest_of(process)).startswith(b"as it was\n")
    sandbox = walls.made()
    owner = sandbox.owner[0] if sandbox.owner else os.geteuid()
    assert (place / "work" / "made").stat().st_uid == owner
    kept = (place / "shown" / "file").read_text(encoding="utf-8") == "as it was\n"
    assert walls.open or (kept and not (place / "shown" / "new").exists())


@pytest.mark.asyncio
async def test_a_file_of_the_host_is_not_there(walls: Walls, tmp_path: Path) -> None:
    """What was not given cannot be read."""
    secret = tmp_path / "secret"
    secret.write_text("canary-in-a-file\n", encoding="utf-8")
    script = f"cat {secret}; ls {walls.state}"
    async with started(walls, tmp_path / "place", "bash", "-c", script) as process:
        said = await rest_of(process)
    assert (b"canary" in said) is walls.open


@pytest.mark.asyncio
async def test_a_descriptor_is_handed_over(walls: Walls, tmp_path: Path) -> None:
    """A channel of one's own arrives inside, and nothing else can take it."""
    code = (
        "import os, socket; own = socket.socket(fileno=int(os.environ['ORCHESTRATE_CHANNEL'])); "
        "own.sendall(b'heard ' + own.recv(100)); own.recv(1)"
    )
    ours, theirs = socket.socketpair()
    ours.settimeout(30)
    with ours:
        python = "python3" if walls.kind != "none" else sys.executable
        argv = (python, "-c", code)
        async with started(walls, tmp_path / "place", *argv, pass_fds=(theirs.fileno(),)):
            theirs.close()
            await anyio.to_thread.run_sync(ours.sendall, b"hello")
            assert await anyio.to_thread.run_sync(ours.recv, 100) == b"heard hello"
        assert await anyio.to_thread.run_sync(ours.recv, 100) == b""


@pytest.mark.asyncio
@pytest.mark.parametrize("how", ["{} & wait", "setsid --fork {}; {}", "trap '' TERM HUP INT; {}"])
async def test_closing_ends_everything(how: str, walls: Walls, tmp_path: Path) -> None:
    """When a process is closed, all that it has started is gone."""
    if walls.open and "setsid" in how:
        pytest.skip("NOT TESTED: without walls what has left its session is not found again")
    mark = f"marker-{secrets.token_hex(8)}"
    sleeper = f"python3 -c 'import signal; print(1, flush=True); signal.pause()' {mark}"
    script = how.replace("{}", sleeper)
    async with started(walls, tmp_path / "place", "bash", "-c", script) as process:
        assert process.stdout is not None
        await process.stdout.receive()
        assert processes_with(mark)
    if not walls.open:
        await eventually(lambda: not processes_with(mark), "all processes are gone")
    for left in processes_with(mark):
        os.kill(left, 9)


@pytest.mark.asyncio
async def test_killing_ends_at_once(walls: Walls, tmp_path: Path) -> None:
    """A process that waits for ever ends when it is killed, and its status tells."""
    async with started(walls, tmp_path / "place", "sleep", "600") as process:
        process.kill()
        assert await process.wait() != 0


@pytest.mark.asyncio
async def test_killing_while_the_walls_are_built_leaves_nothing(
    walls: Walls, tmp_path: Path
) -> None:
    """A process that is killed while it is still being started leaves none of its helpers."""
    if walls.kind == "a stand-in for docker":
        pytest.skip("NOT TESTED: what a killed stand-in leaves is its own, not an engine's")
    mark = f"marker-{secrets.token_hex(8)}"
    sleeper = ("bash", "-c", "exec sleep 600", mark)
    for number in range(40):
        async with started(walls, tmp_path / f"place-{number}", *sleeper) as process:
            await anyio.sleep(0.0005 * (number % 8))
            process.kill()
            assert await process.wait() != 0
    await eventually(lambda: not processes_with(mark), "all processes are gone")


@pytest.mark.asyncio
async def test_nothing_is_left_open(walls: Walls, tmp_path: Path) -> None:
    """No descriptor, and nothing in the state directory, stays of a process that was closed."""
    async with started(walls, tmp_path / "warm", "true") as process:
        await process.wait()
    before = descriptors()
    there = sorted(path.name for path in (walls.state / "sandbox").iterdir())
    async with started(walls, tmp_path / "place", "true") as process:
        assert await process.wait() == 0
    await eventually(lambda: descriptors() <= before, "all descriptors are closed")
    assert sorted(path.name for path in (walls.state / "sandbox").iterdir()) == there


@pytest.mark.asyncio
async def test_the_tools_work_behind_them(walls: Walls, tmp_path: Path) -> None:
    """The six tools work, a killed server is started again, and work comes out of a repository."""
    repository = a_repository(tmp_path / "repository", {"README.md": "# A\n", "a.py": "A\n"})
    try:
        opened = open_workspace(repository, state=walls.state, sandbox_backend=walls.settings)
        async with opened as workspace:
            box = workspace.toolbox
            assert await done(box, "git status --porcelain; cat a.py") == "A"
            for tool, given in {
                "Write": {"file_path": "new.py", "content": "one\ntwo\n"},
                "Read": {"file_path": "new.py"},
                "Edit": {"file_path": "new.py", "old_string": "two", "new_string": "three"},
                "Grep": {"pattern": "three"},
                "Glob": {"pattern": "*.py"},
            }.items():
                result = await box.call(tool, given)
                assert not result.is_error, f"{tool}: {result.text}"
            # Without walls this would end the test too.
            await box.call("Bash", {"command": "kill -9 $PPID" if walls.open else "kill -9 -1"})
            assert await done(box, "cat new.py") == "one\nthree"
            commit = await workspace.collect("refs/heads/feature/out")
    except OrchestratorError as error:
        pytest.fail(f"{error} ({error.hint})")
    assert git(repository, "show", f"{commit}:new.py") == "one\nthree"


@pytest.mark.asyncio
async def test_a_folder_is_worked_on_in_place(walls: Walls, tmp_path: Path) -> None:
    """A folder that is no repository can be worked on where it is, behind any walls."""
    folder = tmp_path / "folder"
    folder.mkdir()
    owner = walls.made().owner
    if owner is not None:
        os.chown(folder, *owner)
    async with open_toolbox(folder, state=walls.state, sandbox_backend=walls.settings) as box:
        await done(box, "echo made > here; echo private > ~/there; echo x > $TMPDIR/x")
    assert [path.name for path in folder.iterdir()] == ["here"]
    assert not list(walls.state.glob("scratch-*"))
