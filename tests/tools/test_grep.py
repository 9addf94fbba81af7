"""Grep: contents by regular expression, in pages, never hanging on what is no file."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator_tools import grep, search
from orchestrator_tools.contract import ToolResult
from orchestrator_tools.errors import NotFound, ToolError
from orchestrator_tools.grep import Arguments
from orchestrator_tools.output import MULTILINE_LIMIT, TEXT_LIMIT
from orchestrator_tools.place import Place

FILES = {
    "a.py": "import os\nx = 1\nprint(X)\n",
    "sub/b.py": "y = x\n",
    "sub/c.txt": "x marks\nthe spot\n",
    ".hidden": "x\n",
    "build/out.py": "x\n",
    ".gitignore": "build/\n",
    ".git/config": "x\n",
}


@pytest.fixture
def tree(work: Path) -> Path:
    """Return a small repository; later names are older."""
    for age, (name, text) in enumerate(FILES.items()):
        path = work / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        os.utime(path, ns=(0, (1000 - age) * 10**9))
    return work


def found(place: Place, arguments: Arguments) -> ToolResult:
    return grep.run(arguments, place)


CONTENT = Arguments(pattern="x", output_mode="content")


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (Arguments("x"), "a.py\nsub/b.py\nsub/c.txt\n.hidden"),
        (Arguments("x", glob="*.py"), "a.py\nsub/b.py"),
        (Arguments("x", type="py"), "a.py\nsub/b.py"),
        (Arguments("x", glob="!*.py"), "sub/c.txt\n.hidden"),
        (Arguments("x", path="sub"), "sub/b.py\nsub/c.txt"),
        (Arguments("x", path="./a.py"), "a.py"),
        (Arguments("nowhere"), "No matches"),
        (Arguments("x", output_mode="count"), ".hidden:1\na.py:1\nsub/b.py:1\nsub/c.txt:1"),
        (Arguments("x", output_mode="count", ignore_case=True, path="a.py"), "a.py:2"),
        (replace(CONTENT, path="sub"), "sub/b.py:1:y = x\nsub/c.txt:1:x marks"),
        (replace(CONTENT, path="sub", numbers=False), "sub/b.py:y = x\nsub/c.txt:x marks"),
        (replace(CONTENT, path="a.py", ignore_case=True), "a.py:2:x = 1\na.py:3:print(X)"),
        (replace(CONTENT, path="a.py", after=1), "a.py:2:x = 1\na.py-3-print(X)"),
        (replace(CONTENT, path="a.py", before=1), "a.py-1-import os\na.py:2:x = 1"),
        (replace(CONTENT, path="a.py", context=1, after=0), "a.py-1-import os\na.py:2:x = 1"),
        (replace(CONTENT, path="a.py", around=0, context=1), "a.py:2:x = 1"),
        (replace(CONTENT, pattern="m.r", path="sub", only_matching=True), "sub/c.txt:1:mar"),
        (
            replace(CONTENT, pattern="marks.the", path="sub", multiline=True),
            "sub/c.txt:1:x marks\nsub/c.txt:2:the spot",
        ),
        (replace(CONTENT, pattern="--version"), "No matches"),
    ],
)
def test_finds(place: Place, tree: Path, arguments: Arguments, text: str) -> None:
    """Files come newest first, lines and counts by path; ignored files and .git stay out."""
    assert found(place, arguments).text == text


@pytest.mark.parametrize("glob", ["*", "**/*", "config"])
def test_stays_out_of_git(place: Place, tree: Path, glob: str) -> None:
    """No glob brings git's own files in."""
    assert ".git/config" not in found(place, Arguments("x", glob=glob)).text


def test_searches_from_the_cwd(place: Place, tree: Path) -> None:
    """Paths are relative to the cwd below it, and absolute above it."""
    place.cwd = str(tree / "sub")
    assert found(place, Arguments("y")).text == "b.py"
    assert found(place, Arguments("import", path="..")).text == str(tree / "a.py")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (Arguments("("), "unclosed group"),
        (Arguments("x", type="klingon"), "unrecognized file type"),
        (Arguments("x", glob="{"), "unclosed"),
        (Arguments("nul\0"), "NUL"),
        (Arguments("x", path="nul\0"), "NUL"),
        (Arguments("x", path="fifo"), "fifo is neither a file nor a folder"),
        (Arguments("x", path="link"), "link is neither a file nor a folder"),
        (Arguments("x", path="/dev/zero"), "/dev/zero is neither a file nor a folder"),
    ],
)
def test_refuses(place: Place, tree: Path, arguments: Arguments, message: str) -> None:
    """A broken pattern, an unknown type or a special file is refused in words."""
    os.mkfifo(tree / "fifo")
    (tree / "link").symlink_to("fifo")
    with pytest.raises(ToolError, match=message):
        found(place, arguments)


@pytest.mark.parametrize("path", ["missing", "dangling", "loop", "a.py/below"])
def test_says_that_a_path_is_missing(place: Place, tree: Path, path: str) -> None:
    """A path that leads nowhere is not found."""
    (tree / "dangling").symlink_to("nowhere")
    (tree / "loop").symlink_to("loop")
    with pytest.raises(NotFound, match=f"{path} does not exist"):
        found(place, Arguments("x", path=path))


def test_passes_over_special_files(place: Place, tree: Path) -> None:
    """Pipes, dangling links, loops and binary files below a folder do not disturb a search."""
    os.mkfifo(tree / "sub/fifo")
    (tree / "sub/dangling").symlink_to("nowhere")
    (tree / "sub/loop").symlink_to("..")
    (tree / "sub/zero").symlink_to("/dev/zero")
    (tree / "sub/binary").write_bytes(b"\0" * 100 + b"y = x\n")
    assert found(place, Arguments("y = x", path="sub", output_mode="content")).text.startswith(
        "sub/b.py:1:y = x"
    )


def test_pages_through_many_matches(place: Place, work: Path) -> None:
    """A page names the next offset; following it shows every line once."""
    (work / "f").write_text("".join(f"match {n}\n" for n in range(600)))
    lines: list[str] = []
    for offset, last in ((0, 250), (250, 500), (500, 600)):
        page = found(place, Arguments("match", output_mode="content", offset=offset))
        shown = page.text.split("\n")
        if last < 600:
            assert shown.pop() == f"({offset + 1}-{last} of 600; go on with offset={last})"
        assert page.truncated == (last < 600)
        lines += shown
    assert lines == [f"f:{n + 1}:match {n}" for n in range(600)]
    past = found(place, Arguments("match", output_mode="content", offset=600))
    assert past.text == "Nothing at offset 600: 600 in all"


def test_shows_all_on_demand_up_to_the_limit(place: Place, work: Path) -> None:
    """A head_limit of 0 asks for everything, which ends at the limit of a result."""
    (work / "f").write_text("match\n" * 9000)
    page = found(place, Arguments("match", output_mode="content", head_limit=0))
    body, _, footer = page.text.rpartition("\n")
    assert len(body) <= TEXT_LIMIT
    assert footer.endswith(f"of 9000; go on with offset={body.count(chr(10)) + 1})")
    (work / "f").write_text("match\n" * 300)
    page = found(place, Arguments("match", output_mode="content", head_limit=0))
    assert page.text.count("\n") == 299


@pytest.mark.parametrize("length", [501, 5000])
def test_cuts_long_lines(place: Place, work: Path, length: int) -> None:
    """A long line is shown by its head and a note."""
    (work / "f").write_text("x" + "é" * length)
    text = found(place, CONTENT).text
    assert text.startswith("f:1:x" + "é" * 400)
    assert text.endswith("more characters]")
    assert len(text) < 560


@pytest.mark.parametrize(
    "line", ["a x b", "a\x0cx", "x\x0bb", "x\u2028b", "x\x85b", "\x1cx"], ids=ascii
)
def test_a_match_is_one_line(place: Place, work: Path, line: str) -> None:
    """Only a line end ends a line: form feeds and Unicode separators are part of it."""
    (work / "f").write_bytes(f"{line}\nother\n{line}\r\n".encode())
    result = found(place, replace(CONTENT, head_limit=0))
    assert result.details["matches"] == 2
    assert result.text == f"f:1:{line}\nf:3:{line}"


def test_shows_invalid_bytes_as_replacements(place: Place, work: Path) -> None:
    """A line that is not UTF-8 is shown with replacement characters."""
    (work / "f").write_bytes(b"x caf\xe9\n")
    assert found(place, CONTENT).text == "f:1:x caf\N{REPLACEMENT CHARACTER}"


@pytest.mark.parametrize("name", ["grüße 日本", "-n", "--help", "..", "two\nlines"])
def test_finds_odd_names(place: Place, work: Path, name: str) -> None:
    """A file counts as one match, whatever its name is made of."""
    name = f"{name}file" if name == ".." else name
    (work / name).write_text("x\n")
    result = found(place, Arguments("x"))
    assert (result.text, result.details["matches"]) == (name, 1)
    shown = found(place, Arguments("x", path=name)).text
    assert shown in (name, str(work / name))


def test_a_search_that_takes_too_long_is_ended(
    place: Place, tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A search over its time is ended with advice."""
    monkeypatch.setattr(search, "SECONDS", 0)
    with pytest.raises(ToolError, match="took more than 0 s; narrow it"):
        found(place, Arguments("x"))


def test_says_how_a_silent_failure_ended(place: Place, tree: Path) -> None:
    """A ripgrep that fails without a word is reported by its status."""
    place.rg = str(tree / "rg")
    (tree / "rg").write_text("#!/bin/sh\nexit 9\n")
    (tree / "rg").chmod(0o755)
    with pytest.raises(ToolError, match="rg ended with status 9"):
        found(place, Arguments("x"))


def test_lines_come_by_path_however_many_threads_found_them(place: Place, work: Path) -> None:
    """Content is the same from run to run: files by name, lines by number, breaks between."""
    for number in range(60):
        (work / f"{number:02}").write_text("match\nno\nno\nno\nmatch\n")
    whole = Arguments("match", output_mode="content", head_limit=0, context=1)
    expected = "\n--\n".join(
        f"{n:02}:1:match\n{n:02}-2-no\n--\n{n:02}-4-no\n{n:02}:5:match" for n in range(60)
    )
    for _ in range(5):
        assert found(place, whole).text == expected


def test_a_name_with_a_line_end_keeps_its_lines(place: Place, work: Path) -> None:
    """Lines are told from names by more than their look."""
    (work / "two\nlines").write_text("x\n--\nx\n")
    (work / "other:1:x").write_text("x\n")
    result = found(place, CONTENT)
    assert result.text == "other:1:x:1:x\ntwo\nlines:1:x\ntwo\nlines:3:x"
    assert result.details["matches"] == 3


def test_breaks_stand_only_where_context_is_shown(place: Place, work: Path) -> None:
    """A wish for no context around outdoes the other: no breaks are put between files."""
    for name in "ab":
        (work / name).write_text("x\n")
    assert found(place, replace(CONTENT, around=0, context=1)).text == "a:1:x\nb:1:x"


def test_numbers_of_text_are_not_taken_for_line_numbers(place: Place, work: Path) -> None:
    """Without line numbers, a text that begins like one is shown as it is."""
    (work / "f").write_text("7:x\n")
    assert found(place, replace(CONTENT, numbers=False)).text == "f:7:x"
    assert found(place, CONTENT).text == "f:1:7:x"


def test_says_that_a_binary_file_matches(place: Place, work: Path) -> None:
    """A match in a binary file is told without its bytes."""
    (work / "f").write_bytes(b"a\0\nx = 1\n")
    assert found(place, replace(CONTENT, path="f")).text.startswith("f: binary file matches")


def test_a_file_called_dash_is_no_stdin(place: Place, work: Path) -> None:
    """A dash names a file, like any other name."""
    (work / "-").write_text("x\n")
    assert found(place, replace(CONTENT, path="-")).text == "-:1:x"


def test_a_flood_is_bounded_while_it_comes(
    place: Place, work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Output over the limit is neither held nor lost silently, and comes out the same each time."""
    monkeypatch.setattr(search, "LIMIT", 10_000)
    for number in range(30):
        (work / f"{number:02}").write_text(f"match {number}\n" * 300)
    whole = replace(CONTENT, pattern="match", head_limit=0)
    first = found(place, whole)
    assert first.text.startswith("00:1:match 0\n00:2:match 0\n")
    assert first.text.endswith("(the search was ended after 10000 bytes: there is more; narrow it)")
    assert first.truncated
    assert found(place, whole).text == first.text


MEASURED = """
import resource, sys
sys.path.insert(0, sys.argv[1])
from orchestrator_tools import grep
from orchestrator_tools.place import Place
place = Place(workspace=sys.argv[2], cwd=sys.argv[2], scratch="/tmp", rg=sys.argv[3], seen={})
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
result = grep.run(grep.Arguments(pattern="", output_mode="content", head_limit=0), place)
print(len(result.text), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


def test_a_flood_does_not_fill_memory(place: Place, work: Path) -> None:
    """A search that prints gigabytes costs a bounded number of them: 400 MB are printed here."""
    block = b"x\n" * 500_000
    with (work / "f").open("wb") as file:
        for _ in range(40):
            file.write(block)
    tools = str(Path(grep.__file__).parent.parent)
    argv = [sys.executable, "-I", "-c", MEASURED, tools, place.workspace, place.rg]
    done = subprocess.run(argv, capture_output=True, text=True, check=True)
    length, kib = map(int, done.stdout.split())
    assert length < TEXT_LIMIT + 500
    assert kib < 250 * 1024


def test_what_was_found_in_time_is_shown(
    place: Place, tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A search that is ended for its time answers with what it found until then, and says so."""
    place.rg = str(tree / "rg")
    (tree / "rg").write_text("#!/bin/sh\nprintf 'a.py\\0001:x = 1\\n'\nexec sleep 600\n")
    (tree / "rg").chmod(0o755)
    monkeypatch.setattr(search, "SECONDS", 3)
    result = found(place, CONTENT)
    assert result.text.startswith("a.py:1:x = 1\n(the search was ended after 3 s")
    assert result.truncated


@pytest.fixture
def public(rg: str) -> Iterator[Path]:
    """Return a folder that every user can look into, with a ripgrep in it."""
    folder = Path(tempfile.mkdtemp(prefix="grep-", dir="/tmp"))
    folder.chmod(0o755)
    shutil.copy2(rg, folder / "real")
    yield folder
    shutil.rmtree(folder)


@pytest.mark.parametrize("processes", [1, 2])
def test_searches_where_threads_cannot_be_had(
    place: Place, work: Path, public: Path, processes: int
) -> None:
    """Where ripgrep can start none, or one, of its threads, the search goes on with one.

    As root the limit is that of another user, who has no other process; a normal user has some
    already, so that no thread at all can be had.
    """
    for number in range(300):
        (work / f"{number:03}").write_text("match\n")
    become = "setpriv --reuid=61371 --regid=61371 --clear-groups " if os.getuid() == 0 else ""
    wrapped = f'#!/bin/sh\nexec {become}prlimit --nproc={processes} {public}/real "$@"\n'
    (public / "rg").write_text(wrapped)
    (public / "rg").chmod(0o755)
    place.rg = str(public / "rg")
    argv = [place.rg, "--threads=4", "--files-with-matches", "match", "./"]
    with subprocess.Popen(argv, cwd=work, stdout=-3, stderr=subprocess.PIPE) as bare:
        assert bare.stderr
        said = b""
        while b"failed to spawn thread" not in said and (line := bare.stderr.readline()):
            said += line
        bare.kill()
    assert b"failed to spawn thread" in said, "the limit holds"
    assert found(place, Arguments("match")).details["matches"] == 300
    assert found(place, replace(CONTENT, pattern="match")).details["matches"] == 300


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("x" * 20_000, "more than 16000 characters"),
        (r"(\w{100}){100}", "exceeds size limit"),
        ("(" * 15_000, "."),
        ("((a{0,99}){0,99}){0,99}", "exceeds size limit"),
        ("(?P<n>x)(?P<n>y)", "duplicate capture group name"),
        (r"x\n", "literal"),
    ],
    ids=ascii,
)
def test_a_hostile_pattern_is_refused(place: Place, tree: Path, pattern: str, message: str) -> None:
    """A pattern that would cost too much, or is none, is refused in ripgrep's words or ours."""
    with pytest.raises(ToolError, match=message) as caught:
        found(place, Arguments(pattern))
    assert len(str(caught.value)) <= 2000


@pytest.mark.parametrize("pattern", ["(x+x+)+y", "(a|a|aa)*$", r"(.*)*\1?", "x*" * 500])
def test_no_pattern_makes_a_search_hang(place: Place, work: Path, pattern: str) -> None:
    """Patterns that make a backtracking engine hang are searched in the time of any other."""
    (work / "f").write_text("x" * 50_000 + "\n")
    try:
        text = found(place, replace(CONTENT, pattern=pattern)).text
    except ToolError as error:
        text = str(error)
    assert text
    assert "took more than" not in text


def test_does_not_hold_a_huge_file_for_a_search_across_lines(place: Place, work: Path) -> None:
    """A file that could not be held whole is left out of a search across lines."""
    with (work / "huge").open("wb") as file:
        file.write(b"x\n")
        file.truncate(MULTILINE_LIMIT + 1)
    (work / "small").write_text("x\n")
    assert found(place, Arguments("x", multiline=True)).text == "small"


@settings(deadline=None, max_examples=40)
@given(
    files=st.dictionaries(
        st.sampled_from(["a", "b c", "d/e", "-f", "g:1:h"]),
        st.lists(st.sampled_from(["x", "y x", "", "--", "1-x", "z"]), max_size=6),
        min_size=1,
    ),
    context=st.integers(0, 2),
)
def test_content_is_what_reading_finds(
    new_place: Callable[[], Place], files: dict[str, list[str]], context: int
) -> None:
    """Matching lines, with their context, are those that a simple reading of the files finds."""
    place = new_place()
    expected: list[str] = []
    for name, lines in sorted(files.items()):
        path = Path(place.workspace, name)
        path.parent.mkdir(exist_ok=True)
        path.write_text("".join(f"{line}\n" for line in lines))
        hits = {n for n, line in enumerate(lines) if "x" in line}
        near = [n for n in range(len(lines)) if any(abs(n - hit) <= context for hit in hits)]
        for index, number in enumerate(near):
            if context and expected and (index == 0 or near[index - 1] != number - 1):
                expected.append("--")
            mark = ":" if number in hits else "-"
            expected.append(f"{name}{mark}{number + 1}{mark}{lines[number]}")
    result = found(place, replace(CONTENT, context=context))
    assert result.text == ("\n".join(expected) or "No matches")
