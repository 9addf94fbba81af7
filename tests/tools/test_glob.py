"""Glob: files by name, newest first, by a matcher that hostile patterns cannot slow down."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator_tools import glob, search
from orchestrator_tools.contract import ToolResult
from orchestrator_tools.errors import NotFound, ToolError
from orchestrator_tools.place import Place

FILES = (
    "top.py",
    "src/a.py",
    "src/deep/b.py",
    "src/deep/b.toml",
    ".hidden/c.py",
    "out/ignored.py",
    ".gitignore",
    ".git/d.py",
)
TOKENS = ("a", "b", ".", "*", "?", "[ab]", "[!a]")
Part = list[str]


@pytest.fixture
def tree(work: Path) -> Path:
    """Return a small repository; later names are older."""
    for age, name in enumerate(FILES):
        path = work / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("out/\n")
        os.utime(path, ns=(0, (1000 - age) * 10**9))
    return work


def found(place: Place, pattern: str, path: str | None = None) -> ToolResult:
    return glob.run(glob.Arguments(pattern=pattern, path=path), place)


@pytest.mark.parametrize(
    ("pattern", "path", "text"),
    [
        ("*.py", None, "top.py\nsrc/a.py\nsrc/deep/b.py\n.hidden/c.py"),
        ("./*.py", None, "top.py"),
        ("**/*.py", None, "top.py\nsrc/a.py\nsrc/deep/b.py\n.hidden/c.py"),
        ("src/*.py", None, "src/a.py"),
        ("src/**/*.py", None, "src/a.py\nsrc/deep/b.py"),
        ("src/**", None, "src/a.py\nsrc/deep/b.py\nsrc/deep/b.toml"),
        ("src/**/*.{py,toml}", None, "src/a.py\nsrc/deep/b.py\nsrc/deep/b.toml"),
        ("{src,.hidden}/{a,c}.py", None, "src/a.py\n.hidden/c.py"),
        ("**/b.*", "src", "src/deep/b.py\nsrc/deep/b.toml"),
        ("?.py", "src/deep/..", "src/a.py\nsrc/deep/b.py"),
        ("[!a].py", None, "src/deep/b.py\n.hidden/c.py"),
        ("src", None, "No files found"),
        ("**/.git/*", None, "No files found"),
        ("*.[", None, "No files found"),
        ("[z-a]", None, "No files found"),
    ],
)
def test_finds(place: Place, tree: Path, pattern: str, path: str | None, text: str) -> None:
    """Files that fit come newest first; folders, ignored files and .git stay out."""
    result = found(place, pattern, path)
    assert result.text == text
    assert result.details["files"] == (0 if text == "No files found" else text.count("\n") + 1)


@pytest.mark.parametrize(
    "pattern", ["*.py", "src/*.py", "src/**/*.py", "src/a.py", "sr?/a.py", "s{rc,x}/*.py", "a.py"]
)
def test_an_absolute_pattern_is_anchored(place: Place, tree: Path, pattern: str) -> None:
    """An absolute pattern finds what the same pattern, anchored at that folder, finds."""
    assert found(place, f"{tree}/{pattern}").text == found(place, f"./{pattern}").text


def test_shows_paths_from_the_cwd(place: Place, tree: Path) -> None:
    """Paths are relative to the cwd below it, and absolute elsewhere."""
    place.cwd = str(tree / "src")
    assert found(place, "a.py").text == "a.py"
    assert found(place, "top.py", "..").text == str(tree / "top.py")


@pytest.mark.parametrize("path", ["top.py", "missing", "dangling", "loop"])
def test_refuses_what_is_no_folder(place: Place, tree: Path, path: str) -> None:
    """The path must be a folder."""
    (tree / "dangling").symlink_to("nowhere")
    (tree / "loop").symlink_to("loop")
    with pytest.raises(NotFound, match=f"{path} is not a folder"):
        found(place, "*", path)


def test_refuses_a_nul(place: Place, tree: Path) -> None:
    """A NUL in the path is refused, one in the pattern fits nothing."""
    with pytest.raises(ToolError, match="NUL"):
        found(place, "*", "nul\0")
    assert found(place, "*.py\0").text == "No files found"


def test_passes_over_special_files(place: Place, work: Path) -> None:
    """Pipes, dangling links and link loops do not disturb the walk."""
    os.mkfifo(work / "fifo.py")
    (work / "dangling.py").symlink_to("nowhere")
    (work / "loop").symlink_to(".")
    (work / "file.py").touch()
    assert found(place, "**/file.py").text == "file.py"


def test_shows_a_hundred_and_counts_the_rest(place: Place, work: Path) -> None:
    """The hundred newest files are shown, and the number of all is named."""
    for number in range(130):
        path = work / f"{number:03}"
        path.touch()
        os.utime(path, ns=(0, number * 10**9))
    result = found(place, "*")
    lines = result.text.split("\n")
    assert lines[:-1] == [f"{number:03}" for number in range(129, 29, -1)]
    assert lines[-1] == "(100 of 130 files; narrow the pattern to see the others)"
    assert result.truncated


@pytest.mark.parametrize(
    "name", ["grüße 日本.txt", "two\nlines.txt", "-n.txt", "*.txt", "{a,b}.txt"]
)
def test_finds_odd_names(place: Place, work: Path, name: str) -> None:
    """A file is found whatever its name is made of, and counts once."""
    (work / name).touch()
    result = found(place, "*.txt")
    assert (result.text, result.details["files"]) == (name, 1)


def test_shows_names_that_are_not_utf8(place: Place, work: Path) -> None:
    """A name that is no text is shown with a mark in place of its bytes."""
    (work / "caf\udce9.txt").touch()
    assert found(place, "*.txt").text == "caf?.txt"


@pytest.mark.parametrize(
    ("pattern", "expanded"),
    [
        ("a", ["a"]),
        ("{a,b}", ["a", "b"]),
        ("{a,b}{c,d}", ["ac", "ad", "bc", "bd"]),
        ("{a,{b,c}}", ["a", "b", "c"]),
        ("x{,y}", ["x", "xy"]),
        ("{a}", ["{a}"]),
        ("{a,b", ["{a,b"]),
        ("a,b}", ["a,b}"]),
        ("", [""]),
    ],
)
def test_expands_braces(pattern: str, expanded: list[str]) -> None:
    """Sets in braces stand for each of their members; anything else stays."""
    assert set(glob.expand_braces(pattern)) == set(expanded)


@pytest.mark.parametrize("pattern", ["{a,b}" * 7, "{" + "a," * 100 + "}", "{a,b}" * 5000])
def test_bounds_the_alternatives(pattern: str) -> None:
    """A pattern of too many alternatives is refused before it is expanded."""
    with pytest.raises(ToolError, match="more than 64 alternatives"):
        glob.expand_braces(pattern)


def test_bounds_the_length(place: Place) -> None:
    """A pattern longer than any path is refused before it is looked at."""
    with pytest.raises(ToolError, match="more than 4096 characters"):
        found(place, "[" * 5000)
    assert found(place, "[" * 4096).text == "No files found"


def test_bounds_the_parts(place: Place) -> None:
    """A pattern of too many parts is refused."""
    with pytest.raises(ToolError, match="more than 32 parts"):
        found(place, "a/" * 33 + "a")


def test_no_pattern_makes_the_matcher_slow() -> None:
    """Patterns that make a backtracking matcher hang are answered."""
    assert not glob._matcher("**/" * 31 + "x")("a/" * 200 + "a")
    assert not glob._matcher("a*" * 30 + "b")("a" * 200)


@settings(deadline=None, max_examples=30)
@given(
    names=st.sets(
        st.lists(st.sampled_from(["a", "b.py", "c d", "é.py", ".e"]), min_size=1, max_size=3).map(
            "/".join
        ),
        min_size=1,
        max_size=8,
    ),
    pattern=st.sampled_from(["*.py", "**/*", "a/**", "a/*/b.py", "**/a/**/*.py", "{a,.e}/**", "?"]),
)
def test_finds_what_python_finds(
    new_place: Callable[[], Place], names: set[str], pattern: str
) -> None:
    """On real folders the files found are those that a walk and the slow matcher find."""
    place = new_place()
    work = Path(place.workspace)
    for name in sorted(names, key=len, reverse=True):
        if not (work / name).exists():
            with contextlib.suppress(FileExistsError, NotADirectoryError):
                (work / name).parent.mkdir(parents=True, exist_ok=True)
                (work / name).touch()
    files = [str(path.relative_to(work)) for path in work.rglob("*") if path.is_file()]
    matchers = [
        [list(part) if part != "**" else ["*", "*"] for part in one.split("/")]
        for one in glob.expand_braces(pattern)
    ]
    matchers = [one if len(one) > 1 else [["*", "*"], *one] for one in matchers]
    expected = {name for name in files if any(fits(one, name.split("/")) for one in matchers)}
    result = found(place, pattern)
    shown = set(result.text.split("\n")) if result.details["files"] else set()
    assert shown == expected


def test_honours_ignore_files_in_any_folder(place: Place, work: Path) -> None:
    """A .gitignore counts in a folder that is no repository, as its author meant it."""
    (work / ".gitignore").write_text("*.log\n")
    (work / "a.log").touch()
    (work / "a.txt").touch()
    assert found(place, "a.*").text == "a.txt"


def test_says_when_the_walk_was_not_whole(
    place: Place, work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A listing that is ended at its limit names no cut name, and says that there is more."""
    for number in range(40):
        (work / f"file-{number:02}").touch()
    monkeypatch.setattr(search, "LIMIT", 100)
    result = found(place, "*")
    *lines, note = result.text.split("\n")
    assert note == "(the search was ended after 100 bytes: there is more; narrow it)"
    assert lines
    assert all(re.fullmatch(r"file-\d\d", line) for line in lines)
    assert result.truncated


def fits_part(part: Part, text: str) -> bool:
    """Match one part in the slow and simple way."""
    if not part:
        return not text
    head, rest = part[0], part[1:]
    if head == "*":
        return any(fits_part(rest, text[at:]) for at in range(len(text) + 1))
    accepted = {"?": text[:1], "[ab]": "ab", "[!a]": text[:1].replace("a", "")}.get(head, head)
    return bool(text) and text[0] in accepted and fits_part(rest, text[1:])


def fits(parts: list[Part], pieces: list[str]) -> bool:
    """Match a path in the slow and simple way; a part of two stars stands for folders."""
    if not parts:
        return not pieces
    if parts[0] == ["*", "*"]:
        if len(parts) == 1:
            return bool(pieces)
        return any(fits(parts[1:], pieces[at:]) for at in range(len(pieces) + 1))
    return bool(pieces) and fits_part(parts[0], pieces[0]) and fits(parts[1:], pieces[1:])


PARTS = st.lists(
    st.one_of(st.just(["*", "*"]), st.lists(st.sampled_from(TOKENS), min_size=1, max_size=4)),
    min_size=1,
    max_size=4,
).filter(lambda parts: ["."] not in parts)
PIECES = st.lists(st.text("ab.\n", min_size=1, max_size=4), min_size=1, max_size=5)


@settings(deadline=None, max_examples=100)
@given(parts=PARTS, pieces=PIECES)
def test_matches_like_the_simple_matcher(parts: list[Part], pieces: list[str]) -> None:
    """The matcher agrees with a slow one; a pattern of one part fits at any depth."""
    pattern = "/".join("".join(part) for part in parts)
    expected = fits(parts if len(parts) > 1 else [["*", "*"], *parts], pieces)
    assert bool(glob._matcher(pattern)("/".join(pieces))) == expected
