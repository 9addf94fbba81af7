"""Edit: one exact piece of a file, told from all others; every other byte stays."""

from __future__ import annotations

import os
import re
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
    with pytest.raises(NotUnique, match=r"\(at line 1, 2\)$"):
        change(place, "x = 1", "x = 2")
    assert (work / "f").read_text() == "x = 1\nx = 1\n"


def test_counts_very_many_places_no_further(place: Place, work: Path) -> None:
    """A piece that stands everywhere is refused without counting to the end."""
    (work / "f").write_bytes(b"a" * 10_000_000)
    with pytest.raises(NotUnique, match="occurs 1000 or more times in f"):
        change(place, "aa", "b")


def test_counts_what_was_replaced(place: Place, work: Path) -> None:
    """Places that overlap are replaced from the left, and only those are counted."""
    (work / "f").write_text("aaa")
    assert change(place, "aa", "b", everywhere=True).details["count"] == 1
    assert (work / "f").read_text() == "ba"


def test_replaces_all_on_demand(place: Place, work: Path) -> None:
    """With replace_all every place is replaced."""
    (work / "f").write_text("\nx y\nx\n")
    assert change(place, "x", "xx", everywhere=True).text == "Edited f at line 2 (2 places)"
    assert (work / "f").read_text() == "\nxx y\nxx\n"


NEARLY = b"def f(x):\n    if x:\n        return 'a'  \n\n    return \"b\"\n"
"""A file that texts nearly stand in."""


@pytest.mark.parametrize(
    ("data", "old", "said"),
    [
        (
            b"def f():\n\treturn 1\n",
            "    return 1",
            "line 2 differs from it only in the indentation",
        ),
        (NEARLY, "if x:\n        return 'a'\n", "lines 2-3 .* only in white space at line ends"),
        (NEARLY, "if  x:", "line 2 .* only in white space within lines"),
        (NEARLY, "return \u2018a\u2019", "line 3 .* only in quotes"),
        (NEARLY, 'return "a"', "line 3 .* only in quotes"),
        (b"a - b\n", "a \u2013 b", "line 1 .* only in dashes"),
        (b"a\xc2\xa0b\n", "a b", "line 1 .* only in characters that look alike"),
        ("n\u0430me = 1\n".encode(), "name = 1", "line 1 .* only in characters that look alike"),
        ("cafe\u0301\n".encode(), "caf\u00e9", "line 1 .* only in characters that look alike"),
        ("a\u200bb\n".encode(), "ab", "line 1 .* only in invisible characters"),
        (NEARLY, "Return 'a'", "line 3 .* only in upper and lower case"),
        (NEARLY, "return 'a'  \n    return", "lines 3-5 .* only in blank lines"),
        (b"a\rb\nc\n", "ab\nc", "lines 1-2 .* only in carriage returns"),
        (NEARLY, "2\t    if x:\n3\t        return 'a'  ", "lines 2-3 .* only in the line numbers"),
        (NEARLY, "if x:\\n        return", "lines 2-3 .* only in backslash escapes"),
        (NEARLY, "return &#x27;a&#x27;", "line 3 .* only in HTML entities"),
        (
            NEARLY,
            "\tif x:\n\t\treturn 'a'\n",
            "lines 2-3 .* only in white space at line ends and the indentation",
        ),
    ],
)
def test_says_what_differs(place: Place, work: Path, data: bytes, old: str, said: str) -> None:
    """A near miss names its lines and every kind of difference, and no other."""
    (work / "f").write_bytes(data)
    with pytest.raises(NotFound, match=f"old_string is not in f; {said}"):
        change(place, old, "x")
    assert (work / "f").read_bytes() == data


def test_spells_out_what_cannot_be_seen(place: Place, work: Path) -> None:
    """The first line that differs is shown in a way that tells look-alikes and tabs apart."""
    (work / "f").write_text("\tn\u0430me = 1\n")
    with pytest.raises(NotFound) as caught:
        change(place, "  name = 1", "x")
    assert str(caught.value).endswith(
        "Line 1: old_string has '  name = 1', the file has '\\tn\\u0430me = 1'"
    )


@settings(deadline=None, max_examples=60)
@given(
    lines=st.lists(
        st.sampled_from(["if a:", "  b = 'c'", "d()", "", "\te"]), min_size=1, max_size=8
    ),
    at=st.integers(0, 7),
    count=st.integers(1, 4),
    change_of=st.sampled_from([str.upper, lambda line: f"  {line}", lambda line: f"{line}  "]),
)
def test_one_retry_is_enough(
    new_place: Callable[[], Place],
    lines: list[str],
    at: int,
    count: int,
    change_of: Callable[[str], str],
) -> None:
    """The lines that a near miss is answered with can be taken as they are, and then match."""
    place = new_place()
    path = Path(place.workspace, "f")
    path.write_text("\n".join(lines))
    old = "\n".join(change_of(line) for line in lines[at : at + count])
    if not old.strip() or old in path.read_text():
        return
    with pytest.raises(NotFound, match=r"differs? from it only in") as caught:
        change(place, old, "x")
    shown = [one for one in str(caught.value).split("\n") if re.match(r"\d+\t", one)]
    change(place, "\n".join(one.split("\t", 1)[1] for one in shown), "y", everywhere=True)


@pytest.mark.parametrize(
    ("data", "old"),
    [
        (b"".join(b"a" * (150 + n % 40) + b"\n" for n in range(20_000)), "a" * 149 + "b" * 20),
        (b"x = foo(bar)\n" * 500_000, "x = foo(baz)\ny"),
        ("\u0430".encode() * 3_000_000, "z" * 100),
        (b"\xff" * 1_000_000, "\\" * 5000),
        (b"a" * 5_000_000, "b" * 50_000),
    ],
    ids=["alike", "repeated", "unicode", "bytes", "one-line"],
)
def test_a_miss_in_a_large_file_is_answered_briefly(
    place: Place, work: Path, data: bytes, old: str
) -> None:
    """Whatever a file is made of, a miss is answered, in a bounded number of characters."""
    (work / "f").write_bytes(data)
    with pytest.raises(NotFound) as caught:
        change(place, old, "x")
    assert len(str(caught.value)) < 10_000


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
    with pytest.raises(ToolError, match="old_string is empty; use Write to replace f whole"):
        change(place, "", "a")


def test_refuses_a_file_changed_since(place: Place, work: Path) -> None:
    """A file that somebody changed after the agent saw it is not edited."""
    (work / "f").write_text("a b")
    read.run(read.Arguments(file_path="f"), place)
    (work / "f").write_text("a c")
    with pytest.raises(Changed, match="f has changed since it was last seen"):
        change(place, "a", "x")
    assert (work / "f").read_text() == "a c"


@pytest.mark.parametrize(
    ("now", "said"),
    [
        (b"one\n2\nthree\n", "\n-two\n+2\t2"),
        (b"one\ntwo\nthree\nfour\n", "\n+4\tfour"),
        (b"one\nthree\n", "\n-two"),
        (b"one\r\ntwo\r\nthree\r\n", "Only its line ends changed: LF became CRLF"),
        (b"one\r\ntwo\nthree\n", "LF became a mixture of LF and CRLF"),
        (b"one\ntwo \nthree\n", "\n-'two'\n+2\t'two '"),
        (b"".join(b"%d\n" % n for n in range(5000)), "3 lines became 5000, from line 1 on"),
        (b"".join(b"%d\n" % n for n in range(500)), "(and 463 more lines)"),
        (b"one\n\xff\nthree\n", "-two\n+2\t\N{REPLACEMENT CHARACTER}"),
    ],
    ids=["changed", "added", "gone", "crlf", "mixed", "blank", "huge", "many", "invalid"],
)
def test_says_what_changed(place: Place, work: Path, now: bytes, said: str) -> None:
    """A file changed since is refused with what was and what is there now, in bounds."""
    (work / "f").write_bytes(b"one\ntwo\nthree\n")
    read.run(read.Arguments(file_path="f"), place)
    (work / "f").write_bytes(now)
    with pytest.raises(Changed) as caught:
        change(place, "one", "x")
    assert str(caught.value).startswith("f has changed since it was last seen; Read it again first")
    assert said in str(caught.value)
    assert len(str(caught.value)) < 4000
    assert (work / "f").read_bytes() == now
    with pytest.raises(Changed):
        change(place, "one", "x")


def test_says_only_that_it_changed_once_it_has_forgotten(place: Place, work: Path) -> None:
    """A server that was started anew knows the fingerprint alone, and still refuses."""
    (work / "f").write_text("new")
    place.seen = {str(work / "f"): fingerprint(b"old")}
    with pytest.raises(Changed) as caught:
        change(place, "new", "x")
    assert str(caught.value) == "f has changed since it was last seen; Read it again first"


def test_refuses_to_make_a_file_too_large(place: Place, work: Path) -> None:
    """What would grow beyond what can be edited again is refused before memory is taken for it."""
    (work / "f").write_bytes(b"a" * 1_000_000)
    with pytest.raises(ToolError, match=r"f would become too large \(1000000000000 bytes\)"):
        change(place, "a", "b" * 1_000_000, everywhere=True)
    assert (work / "f").stat().st_size == 1_000_000


def test_makes_a_file_from_nothing(place: Place, work: Path) -> None:
    """An empty old_string makes a file where there is none, and only there."""
    arguments = edit.Arguments(file_path="new/f", old_string="", new_string="a\n")
    assert edit.run(arguments, place).text == "Created new/f"
    assert (work / "new/f").read_text() == "a\n"
    with pytest.raises(ToolError, match="old_string is empty; use Write to replace new/f whole"):
        edit.run(arguments, place)


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
def test_edits_utf_16(place: Place, work: Path, encoding: str) -> None:
    """A file in UTF-16 is matched and changed in its own encoding, with its own line ends."""
    text = "\N{BYTE ORDER MARK}eins\r\nzwei\r\n\u0165\u6500\r\n"
    (work / "f").write_bytes(text.encode(encoding))
    change(place, "eins\nzwei", "1\n2")
    expected = text.replace("eins\r\nzwei", "1\r\n2")
    assert (work / "f").read_bytes() == expected.encode(encoding)
    with pytest.raises(NotFound, match=r"nearest place is|nor anything like it"):
        change(place, "zwei", "y")


def test_takes_crlf_for_lf(place: Place, work: Path) -> None:
    """A text given with CRLF matches a file of LF, and leaves it one."""
    (work / "f").write_bytes(b"one\ntwo\n")
    change(place, "one\r\ntwo", "1\r\n2")
    assert (work / "f").read_bytes() == b"1\n2\n"


def test_a_file_changed_under_the_edit_is_left_alone(
    place: Place, work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a background process writes between looking and writing is not lost."""
    (work / "f").write_text("a")
    real = os.fchmod

    def meanwhile(descriptor: int, mode: int) -> None:
        (work / "f").write_text("theirs")
        real(descriptor, mode)

    monkeypatch.setattr(os, "fchmod", meanwhile)
    with pytest.raises(Changed, match="was changed by something else just now"):
        change(place, "a", "b")
    assert (work / "f").read_text() == "theirs"
    assert [path.name for path in work.iterdir()] == ["f"]


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
