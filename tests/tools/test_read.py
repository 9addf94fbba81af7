"""Read: a page of a text file, and a quick refusal of anything else."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator_tools import paging, read
from orchestrator_tools.contract import ToolResult
from orchestrator_tools.errors import NotFound, ToolError
from orchestrator_tools.output import FILE_LIMIT, LINE_LIMIT, READ_LIMIT
from orchestrator_tools.place import Place, fingerprint

TEN_GIB = 10 * 1024**3


def page(
    place: Place, name: str, offset: int | None = None, limit: int | None = None
) -> ToolResult:
    return read.run(read.Arguments(file_path=name, offset=offset, limit=limit), place)


@pytest.mark.parametrize(
    ("data", "shown"),
    [
        (b"a\nb\n", "1\ta\n2\tb"),
        (b"a\nb", "1\ta\n2\tb"),
        (b"a\r\nb\r\n", "1\ta\n2\tb"),
        (b"\n\n", "1\t\n2\t"),
        (b"\xef\xbb\xbfa\n", "1\ta"),
        (b"a\x0cb\xe2\x80\xa8c\n", "1\ta\x0cb\u2028c"),
        ("\N{BYTE ORDER MARK}grüß\r\n".encode("utf-16-le"), "1\tgrüß"),
        ("日本語\n".encode(), "1\t日本語"),
    ],
    ids=["lf", "no-end", "crlf", "blank", "bom", "separators", "utf-16", "unicode"],
)
def test_shows_numbered_lines(place: Place, work: Path, data: bytes, shown: str) -> None:
    """A file is shown as number, tab, text, whatever its line ends and encoding are."""
    (work / "f").write_bytes(data)
    result = page(place, "f")
    assert result.text == shown
    assert not result.is_error


def test_says_that_a_file_is_empty(place: Place, work: Path) -> None:
    """An empty file is an answer, not an error."""
    (work / "f").touch()
    result = page(place, "f")
    assert (result.text, result.is_error) == ("(f is empty)", False)


def test_names_the_next_offset(place: Place, work: Path) -> None:
    """A page that ends before the file does names the offset to go on with."""
    (work / "f").write_text("".join(f"line {n}\n" for n in range(1, 11)))
    result = page(place, "f", offset=3, limit=2)
    assert result.text == "3\tline 3\n4\tline 4\n(lines 3-4 of 10; go on with offset=5, limit=2)"


def test_takes_offset_zero_for_the_first_line(place: Place, work: Path) -> None:
    """Offset 0 and offset 1 both start at the first line."""
    (work / "f").write_text("a\nb\n")
    assert page(place, "f", offset=0).text == page(place, "f", offset=1).text == "1\ta\n2\tb"


def test_refuses_an_offset_past_the_end(place: Place, work: Path) -> None:
    """An offset past the end says how long the file is."""
    (work / "f").write_text("a\nb\n")
    with pytest.raises(ToolError, match="f has 2 lines; offset 3 is past its end"):
        page(place, "f", offset=3)


def test_cuts_a_long_line_and_counts_the_rest(place: Place, work: Path) -> None:
    """A line over the limit is cut, and the missing characters are counted."""
    (work / "f").write_text("é" * (LINE_LIMIT + 5))
    assert page(place, "f").text == (
        "1\t" + "é" * LINE_LIMIT + " [... 5 more characters]\n"
        "(line 1 is cut; with Bash: sed -n 1p FILE | cut -c 2001-4000)"
    )


@settings(deadline=None, max_examples=50)
@given(lengths=st.lists(st.sampled_from([0, 1, 80, 1900, LINE_LIMIT]), min_size=1, max_size=90))
def test_pages_cover_the_file(new_place: Callable[[], Place], lengths: list[int]) -> None:
    """Following the offsets shows every line once, in pages that keep to the limit."""
    place = new_place()
    lines = ["x" * length for length in lengths]
    Path(place.workspace, "f").write_text("".join(f"{line}\n" for line in lines))
    seen: list[str] = []
    while len(seen) < len(lines):
        result = page(place, "f", offset=len(seen) + 1)
        shown = result.text.split("\n")[: result.details["lines"]]
        assert len("\n".join(shown)) <= READ_LIMIT
        assert result.truncated == (len(seen) + len(shown) < len(lines))
        seen += [line.split("\t", 1)[1] for line in shown]
    assert seen == lines


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("fifo", "is a pipe"),
        ("/dev/zero", "is a device"),
        ("socket", "is a socket"),
        ("folder", "is a directory"),
        ("binary", "is a binary file"),
        ("loop", "cannot be opened"),
        ("nul\0byte", "NUL"),
    ],
)
def test_refuses_what_is_no_text_file(
    place: Place, work: Path, monkeypatch: pytest.MonkeyPatch, name: str, message: str
) -> None:
    """Anything but a text file is refused at once, by what it is."""
    os.mkfifo(work / "fifo")
    (work / "folder").mkdir()
    (work / "binary").write_bytes(b"\x7fELF\0\0")
    (work / "loop").symlink_to("loop")
    with socket.socket(socket.AF_UNIX) as listener:
        monkeypatch.chdir(work)  # a socket's address has no room for a path in tmp_path
        listener.bind("socket")
        with pytest.raises(ToolError, match=message):
            page(place, name)


@pytest.mark.parametrize("name", ["missing", "dangling", "text/below", "missing/below"])
def test_says_that_a_file_is_missing(place: Place, work: Path, name: str) -> None:
    """A path that leads to no file is not found."""
    (work / "text").write_text("a")
    (work / "dangling").symlink_to("nowhere")
    with pytest.raises(NotFound, match=f"{name} does not exist"):
        page(place, name)


@pytest.mark.parametrize("name", ["grüße 日本.txt", "two\nlines", "-n", "~tilde", "...", "\udcff"])
def test_reads_odd_names(place: Place, work: Path, name: str) -> None:
    """A file is found whatever its name is made of."""
    (work / name).write_text("inside\n")
    assert page(place, name).text == "1\tinside"


def test_follows_links_and_the_cwd(place: Place, work: Path) -> None:
    """Relative paths start at the cwd, and links are followed."""
    (work / "sub").mkdir()
    (work / "target").write_text("here\n")
    (work / "sub" / "link").symlink_to("../target")
    place.cwd = str(work / "sub")
    assert page(place, "link").text == page(place, "../target").text == "1\there"


def test_remembers_what_was_seen(place: Place, work: Path) -> None:
    """A read file is seen under its real path, so that it may be written."""
    (work / "target").write_text("here\n")
    (work / "link").symlink_to("target")
    page(place, "link", limit=1)
    assert place.change().seen == {str(work / "target"): fingerprint(b"here\n")}


def make_sparse(path: Path, head: bytes, size: int) -> None:
    with path.open("wb") as file:
        file.write(head)
        file.truncate(size)


def test_refuses_a_huge_sparse_file(place: Place, work: Path) -> None:
    """A sparse file of 10 GiB is refused as binary without being read."""
    make_sparse(work / "f", b"", TEN_GIB)
    with pytest.raises(ToolError, match="f is a binary file"):
        page(place, "f")


def test_pages_through_the_head_of_a_huge_file(place: Place, work: Path) -> None:
    """The first lines of a file of 10 GiB are shown without loading it."""
    make_sparse(work / "f", b"a line of text\r\n" * 1000, TEN_GIB)
    result = page(place, "f", offset=2, limit=2)
    assert result.text.startswith("2\ta line of text\n3\ta line of text\n(lines 2-3 of ")
    assert result.text.endswith("of a file of 10737418240 bytes; go on with offset=4, limit=2)")


def test_gives_up_on_what_lies_too_deep(place: Place, work: Path) -> None:
    """A line behind more bytes than are scanned is refused with advice."""
    make_sparse(work / "f", b"a line of text\n" * 1000, TEN_GIB)
    with pytest.raises(ToolError, match="line 5000 of f lies too deep in a huge file; use Grep"):
        page(place, "f", offset=5000)


def test_numbers_long_lines_of_a_huge_file_once(place: Place, work: Path) -> None:
    """In a huge file a line longer than one block is one line, shown from its start."""
    lines = [b"first", b"A" * 100_000 + b"Z", b"third", b"fourth" + b" " * 8200, b""]
    make_sparse(work / "f", b"\n".join(lines), FILE_LIMIT + 1)
    shown = page(place, "f", limit=3).text.split("\n")
    assert [line[:7] for line in shown[:3]] == ["1\tfirst", "2\tAAAAA", "3\tthird"]


INVALID = [
    b"caf\xe9\n",
    b"\xe6\n\xe6",
    b"ok\n" * 400_000 + b"\xff",
    b"\xff" * 3000,
]


@pytest.mark.parametrize("data", INVALID, ids=["latin-1", "cut-short", "large", "line"])
def test_says_what_is_not_utf_8(place: Place, work: Path, data: bytes) -> None:
    """Bytes that are no UTF-8 are marked and noted, and Edit works beside them."""
    (work / "f").write_bytes(data)
    last = data.count(b"\n") + (not data.endswith(b"\n"))
    shown = page(place, "f", offset=last).text
    assert "\N{REPLACEMENT CHARACTER}" in shown.split("\n")[0]
    assert shown.endswith("Edit keeps them, but its old_string cannot hold them)")


def test_does_not_note_what_a_page_does_not_show(place: Place, work: Path) -> None:
    """A real replacement character, or invalid bytes on another page, are no reason for a note."""
    (work / "f").write_bytes(b"a\n\xff\n")
    assert page(place, "f", limit=1).text == "1\ta\n(lines 1-1 of 2; go on with offset=2, limit=1)"
    (work / "f").write_bytes("a\N{REPLACEMENT CHARACTER}b\n".encode())
    assert page(place, "f").text == "1\ta\N{REPLACEMENT CHARACTER}b"


LINES = st.lists(
    st.one_of(
        st.binary(max_size=12).map(lambda one: one.replace(b"\n", b"").replace(b"\0", b"")),
        st.sampled_from(
            [b"", b"a\r", b"\r", b"x" * LINE_LIMIT, b"x" * LINE_LIMIT + b"\r", b"\xe6\x97" * 1500,
             "日".encode() * (LINE_LIMIT + 1), b"y" * (LINE_LIMIT + 1) + b"\r"]
        ),
    ),
    max_size=40,
)  # fmt: skip


@settings(deadline=None, max_examples=200)
@given(
    lines=LINES,
    ends=st.booleans(),
    first=st.integers(1, 45),
    wanted=st.integers(1, 45),
    size=st.integers(1, 5000),
)
def test_every_way_to_a_page_gives_the_same(
    lines: list[bytes], ends: bool, first: int, wanted: int, size: int
) -> None:
    """Splitting a text whole and walking through it in blocks of any size agree."""
    data = b"\n".join(lines) + (b"\n" if ends and lines else b"")
    whole = paging._quick(data, first, wanted)
    walk = paging.Walk(first, wanted)
    for at in range(0, len(data), size):
        walk.feed(data[at : at + size])
    walked = walk.page()
    unknown = "\N{REPLACEMENT CHARACTER}".encode() in data
    assert (walked.lines, walked.total, walked.full, walked.cut) == (
        whole.lines,
        whole.total,
        whole.full,
        whole.cut,
    )
    assert unknown or walked.invalid == whole.invalid


@settings(deadline=None, max_examples=100)
@given(
    text=st.text(st.sampled_from("ab \té日\r\n"), max_size=60),
    first=st.integers(1, 8),
    wanted=st.integers(1, 8),
)
def test_a_page_is_what_a_simple_reader_shows(
    new_place: Callable[[], Place], text: str, first: int, wanted: int
) -> None:
    """A page holds the lines that splitting the text gives, by their numbers."""
    place = new_place()
    Path(place.workspace, "f").write_bytes(text.encode())
    lines = text.replace("\r\n", "\n").removesuffix("\n").split("\n") if text else []
    if text and first > len(lines):
        with pytest.raises(ToolError, match="past its end"):
            page(place, "f", first, wanted)
        return
    result = page(place, "f", first, wanted)
    chosen = lines[first - 1 : first - 1 + wanted]
    numbered = [f"{number}\t{line}" for number, line in enumerate(chosen, first)]
    shown = result.text.split("\n")[: len(chosen)]
    assert shown == numbered
    assert place.change().seen == {f"{place.workspace}/f": fingerprint(text.encode())}


def test_a_large_file_is_paged_without_a_copy_for_each_line(place: Place, work: Path) -> None:
    """A file of 64 MiB in millions of lines is paged to anywhere, and seen whole."""
    data = b"line\n" * (FILE_LIMIT // 5)
    (work / "f").write_bytes(data)
    total = FILE_LIMIT // 5
    result = page(place, "f", offset=total - 1)
    assert result.text == f"{total - 1}\tline\n{total}\tline"
    assert place.change().seen == {str(work / "f"): fingerprint(data)}


def test_a_limit_beyond_all_lines_is_bounded(place: Place, work: Path) -> None:
    """However many lines are asked for, a page keeps to its limit, in a huge file too."""
    make_sparse(work / "f", b"a\n" * 1_000_000, FILE_LIMIT + 1)
    result = page(place, "f", limit=10**9)
    assert len(result.text) < READ_LIMIT + 200
    assert result.truncated


def test_blank_lines_of_a_huge_file_are_passed_by_in_blocks(place: Place, work: Path) -> None:
    """A file of 100 million line ends is paged without a step for each of them."""
    with (work / "f").open("wb") as file:
        for _ in range(100):
            file.write(b"\n" * 1_000_000)
    assert page(place, "f", offset=99_999_999).text == "99999999\t\n100000000\t"


def test_a_file_that_grows_while_it_is_read(place: Place, work: Path) -> None:
    """A file to which another process keeps writing is shown as it was at some moment."""
    (work / "f").write_text("0\n")
    code = "import sys\nwith open(sys.argv[1], 'a') as f:\n n = 0\n while True: n += 1; f.write(f'{n}\\n'); f.flush()"
    with subprocess.Popen([sys.executable, "-c", code, str(work / "f")]) as writer:
        try:
            while (work / "f").stat().st_size < 1000:
                assert writer.poll() is None
            for _ in range(20):
                shown = page(place, "f", limit=100).text.split("\n")[:100]
                assert shown == [f"{number + 1}\t{number}" for number in range(100)]
        finally:
            writer.kill()


def test_files_of_size_zero_that_are_not_empty(place: Place) -> None:
    """Files that the kernel makes as they are read, of no size beforehand, are shown."""
    assert page(place, "/proc/self/status", limit=1).text.startswith("1\tName:\t")


def test_a_file_that_cannot_be_read_is_said_to_be_so(place: Place) -> None:
    """An error in reading is a refusal in words."""
    with pytest.raises(ToolError, match="/proc/self/mem cannot be read"):
        page(place, "/proc/self/mem")


def test_pages_are_for_pdfs(place: Place, work: Path) -> None:
    """Pages of a text are refused with what to use instead."""
    (work / "f").write_text("a\n")
    with pytest.raises(ToolError, match="pages is for PDF files, and f is none; use offset"):
        read.run(read.Arguments(file_path="f", pages="1"), place)


@pytest.mark.parametrize("text", ["GIF89a = 1\n", "BM\n", "RIFF\n", "II*\n"])
def test_a_text_that_begins_like_an_image_is_text(place: Place, work: Path, text: str) -> None:
    """A few letters at the beginning make no image."""
    (work / "f").write_text(text)
    assert page(place, "f").text == f"1\t{text.strip()}"
