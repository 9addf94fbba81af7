"""The gate against unfinished work, on real commits."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.gates.comments import SYNTAXES, comments, without_comments
from orchestrator.gates.pysource import parsed, source_of
from orchestrator.gates.stubs import stubs
from orchestrator.gates.unfinished import UnfinishedGate
from orchestrator.judgesettings import GateWaiver
from tests.orchestrator.diffs import Files, judged, places

GATE = UnfinishedGate()
OLD = "# TODO: old\ndef old():\n    pass\n\n\ndef f():\n    return 1\n"
BASE: Files = {
    "a.py": OLD,
    "README.md": "x\n",
}


@pytest.mark.parametrize(
    "files",
    [
        pytest.param({"README.md": "# TODO\n\n- TODO: write\n"}, id="prose"),
        pytest.param({"a.py": f"{OLD}\n\ndef g():\n    return 2\n"}, id="old marks stay"),
        pytest.param({"a.py": None, "b/c.py": OLD}, id="old marks and stubs move"),
        pytest.param({"b.py": 'TEXT = "# TODO: not a comment"\n'}, id="a string"),
        pytest.param({"b.py": "# finds `TODO` in comments\n"}, id="a quoted word"),
        pytest.param({"b.py": "# a todo list for people, and XXX-12 too\n"}, id="ordinary words"),
        pytest.param({"b.js": 'const a = "// TODO: no";\n'}, id="a string of JavaScript"),
        pytest.param({"b.pyi": "def f() -> int: ...\n"}, id="a stub file is no stub"),
        pytest.param({"b.py": "class Broken(ValueError):\n    pass\n"}, id="an empty class"),
        pytest.param({"b.py": "try:\n    import x\nexcept ImportError:\n    pass\n"}, id="except"),
        pytest.param(
            {"b.py": "def f():\n    pass  # the file was closed by its reader\n"}, id="said why"
        ),
        pytest.param({"b.py": "def noop(*_):\n    pass\n"}, id="named for doing nothing"),
        pytest.param({"b.py": "@click.group()\ndef cli():\n    '''Shop.'''\n"}, id="a group"),
        pytest.param(
            {"tests/test_b.py": "class Fake:\n    def send(self):\n        pass\n"}, id="a double"
        ),
        pytest.param({"vendor/x/y.go": "package y // TODO: theirs\n"}, id="vendored"),
        pytest.param({"data.bin": b"\0\1# TODO\n"}, id="no source"),
    ],
)
def test_honest_work_passes(tmp_path: Path, files: Files) -> None:
    """What is finished, was there before, or only looks like a mark, passes."""
    verdict = judged(tmp_path, GATE, BASE, files)
    assert (verdict.state, verdict.person) == ("passed", False), verdict.details


ABSTRACT = """
from abc import ABC, abstractmethod
from typing import Protocol, overload


class Port(Protocol):
    def send(self) -> None: ...


class Above(ABC):
    @abstractmethod
    def one(self):
        raise NotImplementedError

    @property
    @abstractmethod
    def two(self): ...


class Old:
    def three(self):
        raise NotImplementedError


class New(Old):
    def three(self):
        return 3


@overload
def f(a: int) -> int: ...
@overload
def f(a: str) -> str: ...
def f(a):
    return a
"""


def test_contracts_are_no_stubs(tmp_path: Path) -> None:
    """Abstract methods, protocols, overloads and what a subclass fills in are meant to be empty."""
    verdict = judged(tmp_path, GATE, BASE, {"b.py": ABSTRACT})
    assert verdict.state == "passed", verdict.details


@pytest.mark.parametrize(
    ("path", "text", "line"),
    [
        ("b.py", "x = 1  # TODO later\n", 1),
        ("b.py", "# fixme: this\n", 1),
        ("b.py", "x = 1\n# Something. FIXME\n", 2),
        pytest.param("b.py", f"# {'a ' * 200_000} TODO\n", 1, id="a long comment"),
        pytest.param("b.js", f"f('{'throw new Error' * 20_000}') // TODO\n", 1, id="a long line"),
        ("b.py", "# XXX\n", 1),
        ("b.py", "# a HACK: yes\n", 1),
        ("b.py", '"""Doc.\n\nTODO: all of it.\n"""\n', 3),
        ("b.py", "x = 1  # your code here\n", 1),
        ("b.py", "def f():\n    pass\n", 1),
        ("b.py", "def f(): ...\n", 1),
        ("b.py", 'def f():\n    """Do it."""\n', 1),
        ("b.py", 'async def f():\n    """Do it."""\n    pass\n', 1),
        ("b.py", "def f():\n    pass  # implement later\n", 1),
        ("b.py", "def f(a):\n    if a:\n        return 1\n    raise NotImplementedError\n", 4),
        ("b.py", "def f():\n    raise NotImplementedError('f')\n", 1),
        ("b.py", "class A:\n    class B:\n        def f(self):\n            pass\n", 3),
        ("b.py", "class Store(Base):\n    def save(self):\n        pass\n", 2),
        ("tests/test_b.py", "def test_b():\n    pass\n", 1),
        ("b.py", "def broken(:\n    raise NotImplementedError\n", 2),
        ("b.py", "def broken(:\n# TODO\n", 2),
        ("b.py", "x = 1\r# hidden\rdef f():\r    pass\n", 0),
        ("b.py", "# coding: utf-7\nx = 1\n", 0),
        ("b.js", "f() // TODO\n", 1),
        ("b.ts", "/* one\n * FIXME: two\n */\n", 2),
        ("b.js", "const a = `\n`; // TODO x\n", 2),
        ("b.js", "const r = /`/;\n// TODO x\n", 2),
        ("b.js", "f() { throw new Error('Not implemented') }\n", 1),
        ("b.java", 'throw new UnsupportedOperationException("TODO");\n', 1),
        ("b.cs", "throw new NotImplementedException();\n", 1),
        ("b.rs", "fn f<'a>() { todo!() } \n", 1),
        ("b.rs", 'unimplemented!("x")\n', 1),
        ("b.rs", "fn f<'a>() {} // TODO don't\n", 1),
        ("b.go", 'panic("not implemented")\n', 1),
        ("b.sql", "select 1; -- TODO\n", 1),
        ("Makefile", "all: # TODO\n", 1),
        ("run", "#!/bin/sh\n# TODO\n", 2),
        ("b.css", "a { } /* TODO */\n", 1),
        ("b.py", "x\0 = 1  # TO\0DO\n", 1),
    ],
)
def test_unfinished_work_fails(tmp_path: Path, path: str, text: str, line: int) -> None:
    """Marks and stubs in added lines fail, at their line, and the agent can mend that."""
    verdict = judged(tmp_path, GATE, BASE, {path: text})
    assert (verdict.state, verdict.person) == ("failed", False)
    assert (f"{path}:{line}" if line else path) in places(verdict), verdict.details


def test_a_body_that_was_taken_out_is_a_stub(tmp_path: Path) -> None:
    """A function that worked and does nothing now is a stub, though its head is old."""
    verdict = judged(tmp_path, GATE, BASE, {"a.py": OLD.replace("return 1", "pass")})
    assert (verdict.state, places(verdict)) == ("failed", ["a.py:6"])


def test_more_marks_than_were_removed(tmp_path: Path) -> None:
    """A mark that is moved is old; the same one twice is not."""
    verdict = judged(tmp_path, GATE, BASE, {"a.py": "x = 1\n# TODO: old\n# TODO: old\n"})
    assert len(places(verdict)) == 1


def test_what_is_too_large_needs_a_person(tmp_path: Path) -> None:
    """A source file whose lines cannot be told is not passed."""
    verdict = judged(
        tmp_path, GATE, BASE, {"b.py": b"x = 1\n" * 1_500_000, "c.csv": b"1\n" * 5_000_000}
    )
    assert (verdict.state, verdict.person, places(verdict)) == ("failed", True, ["b.py"])


def test_names_that_lie_are_shown_harmlessly(tmp_path: Path) -> None:
    """A path with line ends, bytes that are no text, or colours is one plain line."""
    names = ["a\nb.py", "\udcff.py", "\x1b[31m.py"]
    verdict = judged(tmp_path, GATE, BASE, dict.fromkeys(names, "# TODO\n"))
    assert places(verdict) == ["\\x1b[31m.py:1", "a\\x0ab.py:1", "\\udcff.py:1"]
    verdict.details.encode()


def test_waivers(tmp_path: Path) -> None:
    """A person can let files or the whole gate pass, for one issue; nothing is passed by that."""
    files: Files = {"b.py": "# TODO\n", "gen/c.py": "# TODO\n"}
    some = UnfinishedGate(waivers=[GateWaiver("unfinished", "made", paths=("gen/**",))])
    verdict = judged(tmp_path / "1", some, BASE, files)
    assert places(verdict) == ["b.py:1"]
    assert "note: 1 waived by the settings" in verdict.details
    whole = UnfinishedGate(waivers=[GateWaiver("unfinished", "agreed", issue="7")])
    verdict = judged(tmp_path / "2", whole, BASE, files)
    assert (verdict.state, verdict.reason) == ("not_executed", "waived by the settings: agreed")
    other = UnfinishedGate(waivers=[GateWaiver("unfinished", "agreed", issue="8")])
    assert judged(tmp_path / "3", other, BASE, files).state == "failed"


PIECES = st.lists(
    st.sampled_from([*"\"'`#/*-\\\n aT(", "//", "/*", "*/", "--", "TODO", "def f():\n", "pass"])
    | st.text(max_size=3),
    max_size=60,
).map("".join)


@given(PIECES, st.sampled_from(sorted(SYNTAXES)))
def test_comments_of_any_text(text: str, kind: str) -> None:
    """Whatever the text: comments lie in its lines, and without them it keeps its length."""
    syntax = SYNTAXES[kind]
    lines = text.split("\n")
    for number, said in comments(text, syntax):
        assert 1 <= number <= len(lines)
        assert all(part in lines[number - 1] for part in said.split(" ")[:1])
    blanked = without_comments(text, syntax)
    assert (len(blanked), blanked.count("\n")) == (len(text), text.count("\n"))


@given(PIECES)
def test_stubs_of_any_text(text: str) -> None:
    """No text makes the search for stubs fall over."""
    source = source_of(text.encode("utf-8", "surrogatepass"))
    tree = parsed(source.text)
    if tree is not None:
        assert all(one.line >= 1 for one in stubs(tree, {}, test=False))


@pytest.mark.parametrize(
    "text",
    ["(" * 100_000, "-" * 100_000 + "1", "a." * 50_000 + "a", "[" * 5000],
    ids=["parentheses", "signs", "names", "brackets"],
)
def test_deep_files_do_no_harm(tmp_path: Path, text: str) -> None:
    """A file nested deeper than can be parsed is judged line by line, which is told."""
    verdict = judged(tmp_path, GATE, BASE, {"b.py": f"x = {text}\n# TODO\n"})
    assert verdict.state == "failed"
    assert places(verdict) == ["b.py:2"]
