"""Grep: contents by regular expression, in pages, never hanging on what is no file."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from orchestrator_tools import grep
from orchestrator_tools.contract import ToolResult
from orchestrator_tools.errors import NotFound, ToolError
from orchestrator_tools.grep import Arguments
from orchestrator_tools.output import TEXT_LIMIT
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
    monkeypatch.setattr(grep, "SECONDS", 0)
    with pytest.raises(ToolError, match="took more than 0 s; narrow it"):
        found(place, Arguments("x"))


def test_says_how_a_silent_failure_ended(place: Place, tree: Path) -> None:
    """A ripgrep that fails without a word is reported by its status."""
    place.rg = str(tree / "rg")
    (tree / "rg").write_text("#!/bin/sh\nexit 9\n")
    (tree / "rg").chmod(0o755)
    with pytest.raises(ToolError, match="rg ended with status 9"):
        found(place, Arguments("x"))
