"""Edit: one exact piece of a file, told from all others; every other byte stays."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from orchestrator_tools import edit, read
from orchestrator_tools.contract import ToolResult
from orchestrator_tools.errors import Changed, NotFound, NotUnique, ToolError
from orchestrator_tools.place import Place, fingerprint

PIECES = st.lists(st.sampled_from(["a", "b", "\n", "é", "日"]), max_size=4).map("".join)
JUNK = st.lists(st.sampled_from([b"a", b"b", b"\n", "é".encode(), b"\xff", b"\xe6"]), max_size=12)


def change(place: Place, old: str, new: str, *, everywhere: bool = False) -> ToolResult:
    arguments = edit.Arguments(
        file_path="f", old_string=old, new_string=new, replace_all=everywhere
    )
    return edit.run(arguments, place)


def make_huge(path: Path) -> None:
    path.touch()
    os.truncate(path, 10 * 1024**3)


def test_replaces_the_one_place(place: Place, work: Path) -> None:
    """A piece that occurs once is replaced, and the answer names its line."""
    (work / "f").write_text("one\ntwo\nthree\n")
    result = change(place, "two", "2")
    assert result.text == "Edited f at line 2"
    assert (work / "f").read_text() == "one\n2\nthree\n"


@pytest.mark.parametrize(
    ("data", "old", "new", "expected"),
    [
        (b"\xef\xbb\xbfone\n", "one", "1", b"\xef\xbb\xbf1\n"),
        (b"\xff\xfe caf\xe9 one", "one", "1", b"\xff\xfe caf\xe9 1"),
        (b"\0one\0", "one", "1", b"\x001\0"),
        (b"one\r\ntwo\r\n", "one\ntwo", "1\n2", b"1\r\n2\r\n"),
        (b"one\r\ntwo\r\n", "one", "1\n1", b"1\r\n1\r\ntwo\r\n"),
        (b"one\r\ntwo\r\n", "one\r\n", "1\r\n", b"1\r\ntwo\r\n"),
        (b"one\ntwo\r\n", "one\ntwo", "1\n2", b"1\n2\r\n"),
        (b"one", "one", "", b""),
        ("日本\n".encode(), "本", "é", "日é\n".encode()),
    ],
    ids=["bom", "latin", "nul", "crlf", "grow", "crlf-given", "mixed", "empty", "unicode"],
)
def test_keeps_every_other_byte(
    place: Place, work: Path, data: bytes, old: str, new: str, expected: bytes
) -> None:
    """Bytes around the piece survive, and the new text takes the file's own line ends."""
    (work / "f").write_bytes(data)
    change(place, old, new)
    assert (work / "f").read_bytes() == expected


@settings(deadline=None, max_examples=100)
@given(data=JUNK.map(b"".join), old=PIECES, new=PIECES)
@example(data=b"aaa", old="aa", new="b")
@example(data=b"}\n}\n}\n", old="}\n}\n", new="}\n")
def test_edits_only_what_is_unique(
    new_place: Callable[[], Place], data: bytes, old: str, new: str
) -> None:
    """An edit happens if and only if the text stands at exactly one place of the bytes."""
    place = new_place()
    path = Path(place.workspace, "f")
    path.write_bytes(data)
    wanted = old.encode()
    places = [at for at in range(len(data)) if wanted and data.startswith(wanted, at)]
    if old == new or not old:
        with pytest.raises(ToolError):
            change(place, old, new)
    elif not places:
        with pytest.raises(NotFound):
            change(place, old, new)
    elif len(places) > 1:
        with pytest.raises(NotUnique):
            change(place, old, new)
    else:
        change(place, old, new)
        data = data[: places[0]] + new.encode() + data[places[0] + len(wanted) :]
    assert path.read_bytes() == data


@settings(deadline=None, max_examples=100)
@given(text=PIECES, old=PIECES.filter(bool), new=PIECES)
@example(text="a\nfoo\n", old="\nfoo", new="\nbar\nfoo")
@example(text="a\nb\n", old="\n", new="")
def test_a_crlf_file_stays_one(
    new_place: Callable[[], Place], text: str, old: str, new: str
) -> None:
    """An edit of a CRLF file gives what the edit of the LF file gives, with CRLF."""
    place = new_place()
    path = Path(place.workspace, "f")
    path.write_bytes(f"{text}\n".replace("\n", "\r\n").encode())
    expected = f"{text}\n"
    if old != new and old in expected:
        change(place, old, new, everywhere=True)
        expected = expected.replace(old, new)
    assert path.read_bytes() == expected.replace("\n", "\r\n").encode()


def test_counts_the_places(place: Place, work: Path) -> None:
    """A piece that occurs more than once is refused with the count and a way out."""
    (work / "f").write_text("x = 1\nx = 1\n")
    with pytest.raises(NotUnique, match="occurs 2 times in f; give more surrounding lines"):
        change(place, "x = 1", "x = 2")
    assert (work / "f").read_text() == "x = 1\nx = 1\n"


def test_replaces_all_on_demand(place: Place, work: Path) -> None:
    """With replace_all every place is replaced."""
    (work / "f").write_text("\nx y\nx\n")
    assert change(place, "x", "xx", everywhere=True).text == "Edited f at line 2 (2 places)"
    assert (work / "f").read_text() == "\nxx y\nxx\n"


def test_points_at_white_space(place: Place, work: Path) -> None:
    """Where only white space differs, the answer says so and shows the lines."""
    (work / "f").write_text("def f():\n\treturn 1\n")
    with pytest.raises(NotFound, match="only white space differs:\n2\t\treturn 1"):
        change(place, "    return 1", "    return 2")


def test_points_at_the_nearest_place(place: Place, work: Path) -> None:
    """A near miss shows the lines that are there."""
    (work / "f").write_text("a\nresult = compute(first, second)\nb\n")
    with pytest.raises(NotFound, match=r"nearest place is:\n2\tresult = compute\(first, second\)"):
        change(place, "result = compute(first, third)", "x")


@pytest.mark.parametrize("old", ["something else entirely", "\n\n\n", " ", "é" * 5000])
def test_says_that_nothing_is_like_it(place: Place, work: Path, old: str) -> None:
    """A text that is nowhere near is said to be absent."""
    (work / "f").write_text("0123456789")
    with pytest.raises(NotFound, match="old_string is not in f"):
        change(place, old, "x")


def test_refuses_no_change(place: Place, work: Path) -> None:
    """Two equal strings, or nothing to replace, are refused."""
    (work / "f").write_text("a")
    with pytest.raises(ToolError, match="are the same"):
        change(place, "a", "a")
    with pytest.raises(ToolError, match="old_string is empty; use Write"):
        change(place, "", "a")


def test_refuses_a_file_changed_since(place: Place, work: Path) -> None:
    """A file that somebody changed after the agent saw it is not edited."""
    (work / "f").write_text("a b")
    read.run(read.Arguments(file_path="f"), place)
    (work / "f").write_text("a c")
    with pytest.raises(Changed, match="f has changed since it was last seen"):
        change(place, "a", "x")
    assert (work / "f").read_text() == "a c"


def test_edits_follow_each_other(place: Place, work: Path) -> None:
    """An edit counts as having seen the file, so that the next one is allowed."""
    (work / "f").write_text("a b")
    read.run(read.Arguments(file_path="f"), place)
    change(place, "a", "x")
    change(place, "b", "y")
    assert (work / "f").read_text() == "x y"
    assert place.change().seen == {str(work / "f"): fingerprint(b"x y")}


def test_keeps_mode_and_link(place: Place, work: Path) -> None:
    """A link stays a link, the mode bits stay, and no other file appears."""
    (work / "target").write_text("a")
    (work / "target").chmod(0o751)
    (work / "f").symlink_to("target")
    change(place, "a", "b")
    assert (work / "f").is_symlink()
    assert (work / "target").read_text() == "b"
    assert stat.S_IMODE((work / "target").stat().st_mode) == 0o751
    assert {path.name for path in work.iterdir()} == {"f", "target"}


def test_edits_the_longest_name(place: Place, work: Path) -> None:
    """A name of 255 bytes in 85 characters is no obstacle."""
    (work / ("日" * 85)).write_text("a")
    edit.run(edit.Arguments(file_path="日" * 85, old_string="a", new_string="b"), place)
    assert (work / ("日" * 85)).read_text() == "b"


@pytest.mark.parametrize(
    "kind", ["missing", "dangling", "loop", "folder", "fifo", "device", "huge"]
)
def test_refuses_what_is_no_file(place: Place, work: Path, kind: str) -> None:
    """Only a regular file of bounded size is edited; anything else is refused at once."""
    makers: dict[str, Callable[[Path], object]] = {
        "missing": lambda path: path,
        "dangling": lambda path: path.symlink_to("nowhere"),
        "loop": lambda path: path.symlink_to("f"),
        "folder": lambda path: path.mkdir(),
        "fifo": os.mkfifo,
        "device": lambda path: path.symlink_to("/dev/zero"),
        "huge": make_huge,
    }
    makers[kind](work / "f")
    with pytest.raises(ToolError):
        change(place, "a", "b")
