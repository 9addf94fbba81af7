"""Root that runs everything inside as a user without rights: a real change, played by attacks."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestrator import open_toolbox, open_workspace
from orchestrator.assembly.machine import make_sandbox
from orchestrator.errors import ConfigError, SandboxUnavailable
from orchestrator.sandboxes import identity
from orchestrator.settings import SandboxSettings
from tests.builders import git
from tests.walls.conftest import OpenHere
from tests.walls.inside import done, python, sh
from tests.walls.test_fail_closed import LIAR, a_program
from tests.walls.test_walls import (  # noqa: F401 - played once more, with the fixtures below
    test_a_file_of_the_host_is_unreadable,
    test_git_of_an_opened_checkout_stays_as_it_is,
    test_listeners_of_the_host_are_not_reached,
    test_no_descriptor_is_inherited,
    test_no_host_path_is_in_a_command_line,
    test_no_tool_writes_outside,
    test_processes_of_the_host_are_invisible,
    test_secrets_of_the_environment_stay_outside,
    test_the_real_home_and_the_package_are_invisible,
    test_there_is_no_way_to_the_network,
)
from tests.walls.test_walls_answers import (  # noqa: F401 - the same
    test_an_answer_cannot_be_forged,
    test_no_process_of_the_walls_can_be_opened,
    test_output_is_not_taken_for_an_answer,
)
from tests.walls.test_walls_kernel import (  # noqa: F401 - the same
    test_a_crash_leaves_no_core,
    test_a_dangerous_call_is_refused,
    test_a_sandbox_cannot_be_nested,
    test_devices_are_few_and_none_can_be_made,
    test_no_privilege_is_left_and_none_can_be_gained,
    test_no_set_id_file_comes_out,
    test_nobody_types_into_a_terminal,
    test_settings_of_the_kernel_cannot_be_written,
    test_the_system_is_read_only,
    test_times_owners_and_names_outside_stay,
)
from tests.walls.test_walls_processes import (  # noqa: F401 - the same
    a_sleeper,
    test_a_fork_bomb_is_bounded,
    test_a_stopped_server_costs_only_a_restart,
    test_a_stopped_server_is_always_started_again,
    test_killing_everything_costs_only_a_restart,
    test_no_process_survives_the_block,
    test_where_no_process_is_left_to_be_had_all_are_ended,
)

USER = 61_339
"""Not in /etc/passwd: a user who owns nothing."""
AS_USER = SandboxSettings(run_as=str(USER))


@pytest.fixture(autouse=True)
def root() -> None:
    """Skip aloud where the user cannot be changed."""
    if os.geteuid() != 0:
        pytest.skip("NOT TESTED: only root can run things as another user")


@pytest.fixture
def work(root: None, work: Path) -> Iterator[Path]:
    """Return a folder that belongs to the user."""
    os.chown(work, USER, USER)
    yield work
    subprocess.run(["chown", "-hR", "0:0", "--", str(work)], check=True)


@pytest.fixture
def open_here(work: Path, state: Path) -> OpenHere:
    """Return what opens a toolbox over ``work``, as the user."""
    return lambda: open_toolbox(work, state=state, sandbox_backend=AS_USER)


@pytest.mark.asyncio
async def test_the_user_is_a_real_one(open_here: OpenHere, work: Path) -> None:
    """Every process inside is the user's, in the kernel's own eyes, and what it makes is too."""
    async with open_here() as toolbox:
        ids = await done(
            toolbox, "grep -E '^(Uid|Gid|Groups)' /proc/self/status; cat /proc/self/uid_map"
        )
        await done(toolbox, "touch made; mkdir folder")
        bound = await done(toolbox, "ulimit -Hu; whoami; echo ~")
    assert ids.split() == [
        *("Uid:", *[str(USER)] * 4, "Gid:", *[str(USER)] * 4, "Groups:"),
        *("0", "0", "4294967295"),
    ]
    assert bound.split() == ["512", "agent", "/home/agent"]
    assert {(work / name).stat().st_uid for name in ("made", "folder")} == {USER}


@pytest.mark.asyncio
async def test_files_of_root_are_closed_by_their_modes_alone(
    work: Path, open_here: OpenHere
) -> None:
    """What root owns can neither be read nor changed nor replaced, even where it is shown."""
    (work / "secret").write_text("canary-of-root\n", encoding="utf-8")
    (work / "secret").chmod(0o600)
    (work / "shown").write_text("as it was\n", encoding="utf-8")
    (work / "folder").mkdir(mode=0o755)
    (work / "folder" / "kept").touch()
    async with open_here() as toolbox:
        read = await sh(toolbox, "cat secret; chmod 777 secret shown; chown 0 shown")
        tool = await toolbox.call("Read", {"file_path": "secret"})
        await sh(toolbox, "echo x >> shown; rm -f folder/kept; touch folder/new")
    assert "canary" not in read.text + tool.text and tool.is_error
    assert (work / "shown").read_text(encoding="utf-8") == "as it was\n"
    assert [path.name for path in (work / "folder").iterdir()] == ["kept"]


@pytest.mark.asyncio
async def test_a_private_copy_belongs_to_the_user_and_comes_out(
    repository: Path, state: Path
) -> None:
    """A workspace is given to the user with all in it; its commits come out, and nothing is left."""
    async with open_workspace(repository, state=state, sandbox_backend=AS_USER) as workspace:
        toolbox = workspace.toolbox
        assert await done(toolbox, "git status --porcelain; git log --format=%s") == "First commit"
        (place,) = state.glob("scratch-*/workspace/place-*")
        owners = {path.lstat().st_uid for path in (place / "work").rglob("*")}
        assert owners == {USER}
        edited = await toolbox.call("Write", {"file_path": "new", "content": "x\n"})
        assert not edited.is_error
        await done(toolbox, "echo B > src/a.py; git add -A; git commit -qm second; echo y > more")
        denied = await sh(toolbox, "echo x >> .git; git config user.name x; touch /git/hooks/x")
        commit = await workspace.collect("refs/heads/feature/out")
    assert denied.is_error
    assert git(repository, "show", f"{commit}:src/a.py") == "B"
    assert git(repository, "show", f"{commit}:more") == "y"
    assert not list(state.glob("scratch-*"))


@pytest.mark.asyncio
async def test_git_sees_a_fresh_copy_as_clean_without_reading_it(
    repository: Path, state: Path
) -> None:
    """The index holds what files are to the user: nothing has to be hashed again."""
    async with open_workspace(repository, state=state, sandbox_backend=AS_USER) as workspace:
        said = await done(
            workspace.toolbox, "git diff-files; git ls-files --debug | grep uid | sort -u"
        )
    assert said.split() == ["uid:", str(USER), "gid:", str(USER)]


@pytest.mark.asyncio
async def test_a_folder_of_somebody_else_is_refused_in_place(tmp_path: Path, state: Path) -> None:
    """In place the folder must be the user's to write already: its owner is never changed."""
    folder = tmp_path / "roots"
    folder.mkdir(mode=0o755)
    with pytest.raises(ConfigError, match="cannot write") as caught:
        async with open_toolbox(folder, state=state, sandbox_backend=AS_USER):
            pass
    assert "open_workspace" in caught.value.hint and folder.stat().st_uid == os.getuid()
    folder.chmod(0o777)
    async with open_toolbox(folder, state=state, sandbox_backend=AS_USER) as toolbox:
        await done(toolbox, "touch made")
    assert folder.stat().st_uid == os.getuid()


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("root", "root"),
        ("0", "root"),
        ("nobody-at-all", "there is no user"),
        ("4294967295", "root"),
    ],
)
def test_a_user_that_is_none_is_refused(name: str, said: str, tmp_path: Path) -> None:
    """Root itself, and names that nobody has, are refused with what to write instead."""
    with pytest.raises(ConfigError, match=said) as caught:
        make_sandbox(SandboxSettings(run_as=name), tmp_path)
    assert caught.value.hint


@pytest.mark.parametrize("backend", ["landlock", "container", "external", "none"])
def test_other_walls_do_not_change_the_user(backend: str, tmp_path: Path) -> None:
    """A setting that would not hold is an error, not silence."""
    settings = SandboxSettings(backend=backend, run_as=str(USER), image="x")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="run_as"):
        make_sandbox(settings, tmp_path)


@pytest.mark.asyncio
async def test_a_change_of_user_that_did_not_happen_is_noticed(
    work: Path,
    tmp_path: Path,
    first_on_path: Path,
    bwrap: str,
) -> None:
    """The self-test proves the user by itself: a bubblewrap that leaves the change out is refused."""
    do = f"""
at = given.index("--")
given[at:] = ["--"] + given[given.index("--", at + 1) + 1:]
os.execv({bwrap!r}, [{bwrap!r}, *given])
"""
    a_program(first_on_path, LIAR.replace("{do}", do))
    with pytest.raises(SandboxUnavailable, match="the user was not changed"):
        async with open_toolbox(work, state=tmp_path / "state", sandbox_backend=AS_USER) as toolbox:
            await sh(toolbox, "touch ran")
    assert list(work.iterdir()) == []


@pytest.mark.asyncio
async def test_without_setpriv_nothing_runs(
    work: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bwrap: str
) -> None:
    """The program that changes the user is looked for before anything is started."""
    monkeypatch.setattr("orchestrator.sandboxes.probe.setpriv", lambda: None)
    with pytest.raises(SandboxUnavailable, match="setpriv") as caught:
        async with open_toolbox(work, state=tmp_path / "state", sandbox_backend=AS_USER):
            pass
    assert "util-linux" in caught.value.hint


def test_the_proof_is_of_one_user(tmp_path: Path) -> None:
    """What was proved for one user is not taken for another."""
    from orchestrator.sandboxes.probe import Probe

    files = {
        Probe(state=tmp_path, environment=os.environ, user=user)._file()
        for user in (None, identity.User(1, 1), identity.User(2, 2))
    }
    assert len(files) == 3


ASKING = """
import os, sys
os.setgid({user}); os.setuid({user})
from pathlib import Path
from orchestrator.assembly.machine import make_sandbox
from orchestrator.settings import SandboxSettings
try:
    make_sandbox(SandboxSettings(run_as="nobody"), Path("/nonexistent"))
except Exception as error:
    print(type(error).__name__, error, "|", error.hint)
"""


def test_a_normal_user_cannot_choose_another(tmp_path: Path) -> None:
    """Without root's rights the setting is refused before anything runs."""
    # Imported as root: a checkout may lie where a normal user cannot read.
    code = ASKING.format(user=USER)
    first = "import orchestrator.assembly.machine, orchestrator.sandboxes.bubblewrap\n"
    path = os.pathsep.join(one for one in sys.path if one)
    done = subprocess.run(
        [sys.executable, "-c", first + code],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.startswith("ConfigError sandbox.run_as: only root"), done.stderr
    assert "leave it out" in done.stdout


@pytest.mark.asyncio
async def test_python_can_share_memory(open_here: OpenHere) -> None:
    """What ordinary programs need of shared folders works for the user."""
    code = "import multiprocessing as m; m.Lock(); print(os.access('/dev/shm', os.W_OK))"
    async with open_here() as toolbox:
        assert (await python(toolbox, code)).text == "True"
