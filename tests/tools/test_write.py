"""Write: a whole file, in one step, never over what the agent has not seen."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from orchestrator_tools import read, write
from orchestrator_tools.contract import ToolResult
from orchestrator_tools.errors import Changed, ToolError
from orchestrator_tools.place import Place, fingerprint


def put(place: Place, name: str, content: str) -> ToolResult:
    return write.run(write.Arguments(file_path=name, content=content), place)


def look_at(place: Place, name: str) -> None:
    read.run(read.Arguments(file_path=name), place)


@pytest.mark.parametrize(
    ("content", "lines"),
    [("", 0), ("a", 1), ("a\n", 1), ("a\nb", 2), ("a\r\nb\r\n", 2), ("\N{BYTE ORDER MARK}é\n", 1)],
)
def test_makes_a_file_byte_for_byte(place: Place, work: Path, content: str, lines: int) -> None:
    """A new file holds exactly the given text, and the answer counts its lines."""
    result = put(place, "f", content)
    assert (work / "f").read_bytes() == content.encode()
    assert result.text == f"Created f ({lines} lines)"


def test_makes_the_folders(place: Place, work: Path) -> None:
    """Folders that are missing are made."""
    put(place, "a/b/c.txt", "x")
    assert (work / "a/b/c.txt").read_text() == "x"


def test_leaves_nothing_else_behind(place: Place, work: Path) -> None:
    """No temporary file stays beside the written one."""
    put(place, "f", "one")
    put(place, "f", "two")
    assert list(work.iterdir()) == [work / "f"]
    assert (work / "f").read_text() == "two"


def test_gives_a_new_file_the_usual_mode(place: Place, work: Path) -> None:
    """A new file has the mode that the umask leaves it."""
    before = os.umask(0o027)
    try:
        put(place, "f", "x")
    finally:
        os.umask(before)
    assert stat.S_IMODE((work / "f").stat().st_mode) == 0o640


@pytest.mark.parametrize("mode", [0o755, 0o600, 0o444])
def test_keeps_the_mode(place: Place, work: Path, mode: int) -> None:
    """A file that is written over keeps its mode bits."""
    (work / "f").write_text("old")
    (work / "f").chmod(mode)
    look_at(place, "f")
    assert put(place, "f", "new").text == "Updated f (1 lines)"
    assert stat.S_IMODE((work / "f").stat().st_mode) == mode


def test_refuses_an_unread_file(place: Place, work: Path) -> None:
    """A file that the agent has not seen is not written over."""
    (work / "f").write_text("precious")
    with pytest.raises(Changed, match="f exists and has not been read yet"):
        put(place, "f", "new")
    assert (work / "f").read_text() == "precious"


def test_refuses_a_file_changed_since(place: Place, work: Path) -> None:
    """A file that somebody changed after the agent saw it is not written over."""
    (work / "f").write_text("old")
    look_at(place, "f")
    (work / "f").write_text("theirs")
    with pytest.raises(Changed, match="f has changed since"):
        put(place, "f", "mine")
    assert (work / "f").read_text() == "theirs"


def test_says_what_changed(place: Place, work: Path) -> None:
    """The refusal of a file changed since shows what was seen and what is there now."""
    (work / "f").write_text("a\nold\n")
    look_at(place, "f")
    (work / "f").write_text("a\ntheirs\n")
    with pytest.raises(Changed, match=r"Read it again first\.\n.*\n-old\n\+2\ttheirs"):
        put(place, "f", "mine")


def test_writes_what_is_there_already(place: Place, work: Path) -> None:
    """A file that holds the very content already loses nothing by it, read or not."""
    (work / "f").write_text("same")
    assert put(place, "f", "same").text == "Updated f (1 lines)"
    assert place.change().seen == {str(work / "f"): fingerprint(b"same")}


def test_a_file_made_meanwhile_is_left_alone(
    place: Place, work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A new file never takes the place of one that something else has just made."""
    real = os.link

    def meanwhile(source: str, target: str) -> None:
        (work / "f").write_text("theirs")
        real(source, target)

    monkeypatch.setattr(os, "link", meanwhile)
    with pytest.raises(Changed, match="was made by something else just now"):
        put(place, "f", "mine")
    assert (work / "f").read_text() == "theirs"
    assert [path.name for path in work.iterdir()] == ["f"]


def test_writes_where_there_are_no_hard_links(
    place: Place, work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file system without hard links takes new files all the same."""

    def refuse(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    put(place, "f", "x")
    assert (work / "f").read_text() == "x"
    assert [path.name for path in work.iterdir()] == ["f"]


def test_takes_the_seen_files_of_earlier_calls(place: Place, work: Path) -> None:
    """What earlier calls saw counts, since the state travels with the calls."""
    (work / "f").write_text("old")
    place.seen = {str(work / "f"): fingerprint(b"old")}
    put(place, "f", "new")
    assert (work / "f").read_text() == "new"
    assert place.change().seen == {str(work / "f"): fingerprint(b"new")}


def test_fills_an_empty_file_unread(place: Place, work: Path) -> None:
    """An empty file holds nothing to lose and is written over unread."""
    (work / "f").touch()
    assert put(place, "f", "x\n").text == "Updated f (1 lines)"


def test_writes_through_a_link(place: Place, work: Path) -> None:
    """A link stays a link; the file that it names is written."""
    (work / "target").write_text("old")
    (work / "link").symlink_to("target")
    look_at(place, "link")
    put(place, "link", "new")
    assert (work / "link").is_symlink()
    assert (work / "target").read_text() == "new"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("dangling", "dangling is a link to nothing"),
        ("loop", "loop is a link to nothing"),
        ("folder", "folder is a directory"),
        ("fifo", "fifo is a pipe"),
        ("/dev/zero", "/dev/zero is a device"),
        ("file/below", "cannot write"),
        ("/proc/nowhere/file", "cannot write"),
        ("nul\0byte", "NUL"),
        ("n" * 256, "cannot write"),
    ],
)
def test_refuses_what_is_no_file(place: Place, work: Path, name: str, message: str) -> None:
    """Only regular files are written; everything else is refused and left as it is."""
    (work / "dangling").symlink_to("nowhere")
    (work / "loop").symlink_to("loop")
    (work / "folder").mkdir()
    (work / "file").touch()
    os.mkfifo(work / "fifo")
    before = sorted(work.iterdir())
    with pytest.raises(ToolError, match=message):
        put(place, name, "x")
    assert sorted(work.iterdir()) == before


def test_refuses_to_replace_a_huge_file(place: Place, work: Path) -> None:
    """A file too large to be seen whole is not written over, and not loaded either."""
    with (work / "f").open("wb") as file:
        file.truncate(10 * 1024**3)
    with pytest.raises(ToolError, match=rf"f is too large \({10 * 1024**3} bytes\)"):
        put(place, "f", "x")
    assert (work / "f").stat().st_size == 10 * 1024**3


@pytest.mark.parametrize(
    "name",
    ["grüße 日本.txt", "two\nlines", "-n", "n" * 255, "é" * 127, "日" * 85],
    ids=["unicode", "newline", "dash", "255-ascii", "254-latin", "255-cjk"],
)
def test_writes_odd_names(place: Place, work: Path, name: str) -> None:
    """Every name that the file system allows can be written, up to its 255 bytes."""
    put(place, name, "one")
    put(place, name, "two")
    assert (work / name).read_text() == "two"


def test_keeps_a_lone_surrogate_from_breaking_the_call(place: Place, work: Path) -> None:
    """A lone surrogate in the content is written rather than failing the call."""
    put(place, "f", "a\ud800b")
    assert (work / "f").read_bytes() == b"a\xed\xa0\x80b"
