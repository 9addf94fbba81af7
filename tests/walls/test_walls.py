"""Attacks on files, secrets, processes and sockets of the host, judged from outside."""

from __future__ import annotations

import os
import pwd
import secrets
import shlex
import socket
import subprocess
import tempfile
from pathlib import Path

import pytest

from orchestrator import open_toolbox
from orchestrator.errors import OrchestratorError
from tests.builders import git
from tests.walls.conftest import OpenHere
from tests.walls.inside import done, python, sh
from tests.walls.outside import differences, listening, photograph, was_contacted

READERS = {
    "cat": ("Bash", {"command": "cat {path}"}),
    "cat-link": ("Bash", {"command": "cat link"}),
    "cat-dots": ("Bash", {"command": "cat ../../../../..{path}"}),
    "cat-proc-root": ("Bash", {"command": "cat /proc/1/root{path} /proc/$PPID/root{path}"}),
    "cat-proc-cwd": ("Bash", {"command": "cat /proc/*/cwd/../../../../..{path}"}),
    "cat-new-link": (
        "Bash",
        {"command": "ln -sfn {path} made; cat made; cp -L made copy; cat copy"},
    ),
    "hard-link": ("Bash", {"command": "ln -L link hard; cat hard"}),
    "include": ("Bash", {"command": "git config --file {path} --list; bash {path}; tar cO {path}"}),
    "Read": ("Read", {"file_path": "{path}"}),
    "Read-link": ("Read", {"file_path": "link"}),
    "Read-folder-link": ("Read", {"file_path": "folder/{name}"}),
    "Read-dots": ("Read", {"file_path": "../../../../../../../..{path}"}),
    "Read-proc": ("Read", {"file_path": "/proc/1/root{path}"}),
    "Grep": ("Grep", {"pattern": ".", "path": "{path}", "output_mode": "content"}),
    "Grep-link": ("Grep", {"pattern": ".", "path": "folder", "output_mode": "content"}),
    "Edit": ("Edit", {"file_path": "link", "old_string": "nothing like it", "new_string": "x"}),
}


def secret_in(file: Path) -> str:
    secret = f"canary-{secrets.token_hex(8)}"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(f"{secret}\n", encoding="utf-8")
    return secret


def lines_of_shadow() -> list[str]:
    try:
        return [one for one in Path("/etc/shadow").read_text("utf-8").splitlines() if one]
    except OSError:
        return []


@pytest.mark.asyncio
@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("place", ["home", "state", "outside", "shadow"])
async def test_a_file_of_the_host_is_unreadable(
    place: str, reader: str, tmp_path: Path, work: Path, state: Path, open_here: OpenHere
) -> None:
    """Nothing of the home, the state directory, /etc/shadow or elsewhere is read by any tool."""
    files = {
        "home": tmp_path / "home" / ".ssh" / "id_rsa",
        "state": state / "runs" / "canary",
        "outside": tmp_path / "outside" / "canary",
        "shadow": Path("/etc/shadow"),
    }
    path = files[place]
    hidden = lines_of_shadow() if place == "shadow" else [secret_in(path)]
    (work / "link").symlink_to(path)
    (work / "folder").symlink_to(path.parent)
    tool, template = READERS[reader]
    given = {
        key: value.replace("{path}", str(path)).replace("{name}", path.name)
        for key, value in template.items()
    }
    async with open_here() as toolbox:
        result = await toolbox.call(tool, given)
    assert not [one for one in hidden if one in result.text]


@pytest.mark.asyncio
async def test_the_real_home_and_the_package_are_invisible(open_here: OpenHere) -> None:
    """Neither the account's home directory nor the runtime's own code exists inside."""
    import orchestrator

    home = pwd.getpwuid(os.getuid()).pw_dir if os.getuid() == 0 else os.environ["HOME"]
    for path in (home, str(Path(orchestrator.__file__).parent)):
        async with open_here() as toolbox:
            assert (await sh(toolbox, f"ls -a {shlex.quote(path)}")).is_error


@pytest.mark.asyncio
@pytest.mark.parametrize("proved", ["before", "anew"])
async def test_path_never_shows_the_home(
    proved: str, work: Path, state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A PATH that names a folder above the home directory does not show the home inside."""
    # Not below /tmp, which is private inside whatever is bound there before.
    with tempfile.TemporaryDirectory(dir="/dev/shm") as above:
        secret = secret_in(Path(above, "me", ".netrc"))
        monkeypatch.setenv("HOME", f"{above}/me")
        place = state if proved == "before" else Path(above, "state")
        async with open_toolbox(work, state=state):
            monkeypatch.setenv("PATH", f"{os.environ['PATH']}:{above}")
        try:
            async with open_toolbox(work, state=place) as toolbox:
                said = await sh(toolbox, f"cat {above}/me/.netrc /opt/toolchains/*/me/.netrc")
        except OrchestratorError:
            return
    assert secret not in said.text


@pytest.mark.asyncio
@pytest.mark.parametrize("named", ["other", "other/bin", "other/.local/bin"])
async def test_path_never_shows_the_home_of_another(
    named: str, work: Path, state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What PATH names below somebody else's home shows programs there, and no data."""
    with tempfile.TemporaryDirectory(dir="/dev/shm") as above:
        other = Path(above, "other")
        secrets = [
            secret_in(other / name)
            for name in (".netrc", "lib/token", ".local/lib/token", ".local/share/keyring")
        ]
        (other / ".ssh").mkdir()
        Path(above, named).mkdir(parents=True, exist_ok=True)
        program = Path(above, named, "theirs")
        program.write_text("#!/bin/sh\necho it runs\n", encoding="utf-8")
        program.chmod(0o755)
        monkeypatch.setenv("PATH", f"{os.environ['PATH']}:{above}/{named}")
        async with open_toolbox(work, state=state) as toolbox:
            said = await sh(toolbox, f"cat $(find {above} /opt/toolchains -type f)")
            ran = await sh(toolbox, "theirs")
    assert not any(secret in said.text for secret in secrets)
    assert (ran.text == "it runs") is (named != "other")


@pytest.mark.asyncio
async def test_a_state_directory_in_the_folder_stays_private(work: Path) -> None:
    """A state directory within the opened folder is refused, or neither read nor written inside."""
    state = work / ".state"
    secret = secret_in(state / "runs" / "canary")
    try:
        async with open_toolbox(work, state=state) as toolbox:
            said = await sh(
                toolbox, "cat .state/runs/canary; echo '{}' | tee .state/sandbox/*.json"
            )
    except OrchestratorError:
        return
    assert secret not in said.text
    proved = list((state / "sandbox").glob("proved-*.json"))
    assert proved and all(one.read_text("utf-8").strip() != "{}" for one in proved)


@pytest.mark.asyncio
@pytest.mark.parametrize(
    "path", ["link", "folder/new", "folder/victim", "{outside}/victim", "dangling"]
)
async def test_no_tool_writes_outside(
    path: str, work: Path, outside: Path, open_here: OpenHere
) -> None:
    """Write, Edit and Bash leave everything outside the folder as it was, links or not."""
    (outside / "victim").write_text("as it was\n", encoding="utf-8")
    (work / "link").symlink_to(outside / "victim")
    (work / "folder").symlink_to(outside)
    (work / "dangling").symlink_to(outside / "new")
    name = path.replace("{outside}", str(outside))
    before = photograph(outside)
    async with open_here() as toolbox:
        await toolbox.call("Read", {"file_path": name})
        await toolbox.call("Write", {"file_path": name, "content": "taken\n"})
        await toolbox.call("Edit", {"file_path": name, "old_string": "was", "new_string": "is"})
        await sh(toolbox, f"echo taken > {name}; rm -rf {name}; mkdir -p {name}; touch {name}/x")
        await sh(toolbox, f"mv {name} stolen; ln -f {name} stolen")
    assert differences(before, photograph(outside)) == []


@pytest.mark.asyncio
async def test_secrets_of_the_environment_stay_outside(
    open_here: OpenHere, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No variable of the host's environment shows inside, in no process's environment."""
    secret = f"canary-{secrets.token_hex(8)}"
    for name in ("ANTHROPIC_API_KEY", "GITHUB_TOKEN", "LD_LIBRARY_PATH", "ORCHESTRATE_KEY"):
        monkeypatch.setenv(name, secret)
    async with open_here() as toolbox:
        shown = await done(toolbox, "env; export; cat /proc/*/environ | tr '\\0' '\\n'; ps auxeww")
        read = [
            await toolbox.call("Read", {"file_path": f"/proc/{one}/environ"})
            for one in (1, 2, "self", os.getpid())
        ]
    assert "HOME=" in shown
    assert secret not in shown and not [one for one in read if secret in one.text]


@pytest.mark.asyncio
async def test_no_host_path_is_in_a_command_line(tmp_path: Path, open_here: OpenHere) -> None:
    """What ``ps`` shows inside names no path of the host: such text goes to a model."""
    async with open_here() as toolbox:
        shown = await done(toolbox, "cat /proc/[0-9]*/cmdline | tr '\\0' ' '")
    assert str(tmp_path) not in shown


@pytest.mark.asyncio
async def test_no_descriptor_is_inherited(
    outside: Path, open_here: OpenHere, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that the host holds open, even inheritable, is not open inside."""
    secret = secret_in(outside / "open")
    descriptor = os.open(outside / "open", os.O_RDONLY)
    os.set_inheritable(descriptor, True)
    code = """
for link in __import__("glob").glob("/proc/[0-9]*/fd/*"):
    print(link, attempt(lambda: print(os.readlink(link))))
    if os.path.isfile(link):
        print(attempt(lambda: print(os.read(os.open(link, os.O_RDONLY), 1000))))
"""
    try:
        async with open_here() as toolbox:
            said = await python(toolbox, code)
    finally:
        os.close(descriptor)
    assert secret not in said.text and "outside/open" not in said.text


@pytest.mark.asyncio
async def test_processes_of_the_host_are_invisible(
    bystander: subprocess.Popen[bytes], open_here: OpenHere
) -> None:
    """A host process does not show inside, and no signal reaches it."""
    async with open_here() as toolbox:
        shown = await done(toolbox, "ps auxww; cat /proc/[0-9]*/cmdline | tr '\\0' ' '")
        await sh(
            toolbox, f"kill -9 {bystander.pid}; kill -9 -{bystander.pid}; kill -9 {os.getpid()}"
        )
        code = "print(call(434, int(sys.argv[1]), 0))  # pidfd_open"
        handle = await python(toolbox, code, bystander.pid)
        await sh(toolbox, "kill -9 -1")
    assert "bystander-" not in shown
    assert handle.text in {"ESRCH", "EINVAL"}
    assert bystander.poll() is None


@pytest.mark.asyncio
@pytest.mark.parametrize("kind", ["abstract", "path", "link", "tcp4", "tcp6"])
async def test_listeners_of_the_host_are_not_reached(
    kind: str, work: Path, tmp_path: Path, outside: Path, open_here: OpenHere
) -> None:
    """No unix or TCP listener of the host is contacted."""
    path = str(outside / "s") if len(str(outside)) < 90 else f"/tmp/{secrets.token_hex(6)}"
    addresses: dict[str, tuple[int, object]] = {
        "abstract": (socket.AF_UNIX, f"\0canary-{secrets.token_hex(6)}"),
        "path": (socket.AF_UNIX, path),
        "link": (socket.AF_UNIX, path),
        "tcp4": (socket.AF_INET, ("127.0.0.1", 0)),
        "tcp6": (socket.AF_INET6, ("::1", 0)),
    }
    family, address = addresses[kind]
    if kind == "tcp6" and not Path("/proc/net/if_inet6").exists():
        pytest.skip("NOT TESTED: this machine has no IPv6")
    with listening(family, address) as listener:
        target = repr(listener.getsockname())
        if kind == "link":
            (work / "link").symlink_to(path)
            target = repr("/workspace/link")
        code = f"print(attempt(lambda: socket.socket({family:d}).connect({target})))"
        async with open_here() as toolbox:
            said = await python(toolbox, code)
        refused = {"ECONNREFUSED", "ENOENT", "ENETUNREACH", "EADDRNOTAVAIL", "EAFNOSUPPORT"}
        assert said.text in refused
        assert not was_contacted(listener)


@pytest.mark.asyncio
async def test_there_is_no_way_to_the_network(open_here: OpenHere) -> None:
    """Inside there is a loopback of its own, no other interface, no route and no resolver."""
    code = """
print([name for _, name in socket.if_nameindex()])
print(attempt(lambda: socket.create_connection(("192.0.2.1", 9), 5)))
print(attempt(lambda: socket.socket(2, 2).sendto(b"x", ("192.0.2.1", 53))))
print(os.path.exists("/etc/resolv.conf"))
"""
    async with open_here() as toolbox:
        said = await python(toolbox, code)
    assert said.text.splitlines() == ["['lo']", "ENETUNREACH", "ENETUNREACH", "False"]


@pytest.mark.asyncio
@pytest.mark.parametrize("way", ["write", "replace", "rename", "hook", "mount-point"])
async def test_git_of_an_opened_checkout_stays_as_it_is(
    way: str, work: Path, open_here: OpenHere
) -> None:
    """The ``.git`` of a folder that is worked on in place cannot be changed from inside."""
    git(work, "init", "-q")
    commands = {
        "write": "git config core.fsmonitor /tmp/x; echo x >> .git/config; git commit --allow-empty -m x",
        "replace": "rm -rf .git; echo 'gitdir: /tmp/x' > .git; git init",
        "rename": "mv .git git2; mv /workspace /workspace2; mkdir .git",
        "hook": "echo x > .git/hooks/pre-commit; ln -s /tmp/x .git/hooks/post-checkout",
        "mount-point": "umount .git; mount --bind /tmp .git; chmod 777 .git .git/config",
    }
    before = photograph(work)
    async with open_here() as toolbox:
        await sh(toolbox, commands[way])
        await toolbox.call("Write", {"file_path": ".git/hooks/pre-push", "content": "x"})
    assert differences(before, photograph(work)) == []
