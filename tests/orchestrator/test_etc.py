"""One folder stands for /etc in all sandboxes of a process, and it is what the host's /etc is now."""

from __future__ import annotations

import os
import shutil
import threading
from pathlib import Path

import pytest

from orchestrator.sandboxes import etc, inside
from orchestrator.sandboxes.etc import Etc, furnish
from orchestrator.sandboxes.identity import User


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that is taken for the host's /etc."""
    folder = tmp_path / "host"
    (folder / "ssl" / "certs").mkdir(parents=True)
    (folder / "timezone").write_text("UTC\n", encoding="utf-8")
    (folder / "ssl" / "openssl.cnf").write_text("# none\n", encoding="utf-8")
    monkeypatch.setattr(etc, "_inside", lambda made, path: made / Path(path).relative_to(folder))
    return folder


def made_of(host: Path, state: Path, *names: str, user: User | None = None) -> Etc:
    """Furnish what is shown of a host."""
    return furnish(state, user, [str(host / name) for name in names])


def names_in(folder: Path) -> list[str]:
    """Return the names in a folder."""
    return sorted(one.name for one in folder.iterdir())


def test_files_are_copied_and_folders_are_places_for_mounts(host: Path, tmp_path: Path) -> None:
    """Each file is there with its content, each folder is empty and told as a mount."""
    (host / "localtime").symlink_to(host / "timezone")
    names = ("timezone", "ssl/certs", "ssl/openssl.cnf", "localtime", "missing")
    made = made_of(host, tmp_path / "state", *names)
    folder = Path(made.folder)
    found = sorted(str(one.relative_to(folder)) for one in folder.rglob("*"))
    assert found == [
        *("group", "hosts", "localtime", "passwd", "ssl", "ssl/certs", "ssl/openssl.cnf"),
        "timezone",
    ]
    assert (folder / "localtime").read_text("utf-8") == "UTC\n" and made.mounted == (
        str(host / "ssl" / "certs"),
    )
    assert not (folder / "localtime").is_symlink()
    assert made.flags()[:3] == ["--ro-bind", made.folder, "/etc"]


def test_it_is_made_once_and_anew_when_the_host_changes(host: Path, tmp_path: Path) -> None:
    """An unchanged host needs nothing written; a file that changes or comes, another folder."""
    state = tmp_path / "state"
    first = made_of(host, state, "timezone", "services")
    inode = Path(first.folder, "timezone").stat().st_ino
    assert made_of(host, state, "timezone", "services") == first
    assert Path(first.folder, "timezone").stat().st_ino == inode
    (host / "timezone").write_text("CET\n", encoding="utf-8")
    second = made_of(host, state, "timezone", "services")
    assert Path(second.folder, "timezone").read_text("utf-8") == "CET\n"
    (host / "services").write_text("ssh 22/tcp\n", encoding="utf-8")
    third = made_of(host, state, "timezone", "services")
    assert len({first.folder, second.folder, third.folder}) == 3
    assert Path(first.folder).is_dir(), "a sandbox of another process may be about to show it"


def test_what_is_no_plain_small_file_is_left_out(host: Path, tmp_path: Path) -> None:
    """A pipe is not read from, a file without end not copied, a loop of links not followed."""
    os.mkfifo(host / "pipe")
    with (host / "huge").open("wb") as file:
        file.truncate(etc.COPIED_MOST + 1)
    (host / "loop").symlink_to("loop")
    made = made_of(host, tmp_path / "state", "pipe", "huge", "loop", "timezone")
    assert names_in(Path(made.folder)) == ["group", "hosts", "passwd", "timezone"]


def test_who_runs_inside_can_read_it_whatever_the_umask(host: Path, tmp_path: Path) -> None:
    """Every file is open to all, and names the user that runs inside."""
    (host / "timezone").chmod(0o600)
    before = os.umask(0o077)
    try:
        made = made_of(host, tmp_path / "state", "timezone", "ssl/certs", user=User(4321, 4322))
    finally:
        os.umask(before)
    modes = {one.stat().st_mode & 0o777 for one in Path(made.folder).rglob("*")}
    assert modes == {0o755, 0o644} and Path(made.folder).stat().st_mode & 0o777 == 0o755
    assert "agent:x:4321:4322:" in Path(made.folder, "passwd").read_text("utf-8")
    assert made.folder != made_of(host, tmp_path / "state", "timezone", "ssl/certs").folder


def test_many_at_once_make_one(host: Path, tmp_path: Path) -> None:
    """Processes that begin together end up with the same whole folder, and leave nothing else."""
    state = tmp_path / "state"
    together, found = threading.Barrier(8), []

    def begin() -> None:
        together.wait()
        found.append(made_of(host, state, "timezone", "ssl/certs"))

    threads = [threading.Thread(target=begin) for _ in range(8)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert len(found) == 8 and len(set(found)) == 1
    assert names_in(state) == [Path(found[0].folder).name]


def test_what_is_long_unused_goes(host: Path, tmp_path: Path) -> None:
    """A folder of long ago is removed, and so is one that a killed process left half made."""
    state = tmp_path / "state"
    old = made_of(host, state, "timezone")
    half = state / ".etc-left"
    half.mkdir()
    for one in (Path(old.folder), half):
        os.utime(one, (1, 1))
    (host / "timezone").write_text("CET\n", encoding="utf-8")
    made = made_of(host, state, "timezone")
    assert names_in(state) == [Path(made.folder).name]


def test_a_folder_of_before_the_last_start_is_made_anew(
    host: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was not on disk when the machine went down may be empty files of the right names."""
    first = made_of(host, tmp_path / "state", "timezone")
    Path(first.folder, "passwd").write_text("", encoding="utf-8")
    monkeypatch.setattr(inside, "boot_id", lambda: "another start")
    second = made_of(host, tmp_path / "state", "timezone")
    assert second.folder != first.folder
    assert "agent" in Path(second.folder, "passwd").read_text("utf-8")


def test_a_file_that_is_replaced_meanwhile_is_no_error(
    host: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A package manager may put a new file in place between two looks: it is looked at again."""
    copied, copyfile = [], shutil.copyfile

    def replaced(source: str, target: Path) -> None:
        copied.append(source)
        if len(copied) == 1:
            raise FileNotFoundError(source)
        copyfile(source, target)

    monkeypatch.setattr(shutil, "copyfile", replaced)
    made = made_of(host, tmp_path / "state", "timezone")
    assert names_in(Path(made.folder)) == ["group", "hosts", "passwd", "timezone"]
    assert names_in(tmp_path / "state") == [Path(made.folder).name]


def test_a_state_folder_that_cannot_be_written_is_told(host: Path, tmp_path: Path) -> None:
    """Where the folder would be is a file: the error goes up, and nothing is left."""
    (tmp_path / "state").write_text("", encoding="utf-8")
    with pytest.raises(OSError, match="state"):
        made_of(host, tmp_path / "state", "timezone")
