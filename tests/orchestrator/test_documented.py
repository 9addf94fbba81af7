"""The gate on docs, on real commits."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.gates.documented import DocsGate
from orchestrator.gates.publicnames import public_names
from orchestrator.gates.pysource import parsed
from orchestrator.judgesettings import GateWaiver
from tests.orchestrator.diffs import Files, judged, places

GATE = DocsGate()
SHOP = '''import argparse


def price(n, *, tax=0):
    """Return a price."""
    return n


def total(n):
    return n


def _hidden(n):
    return n


class Cart:
    def __init__(self, owner):
        self.owner = owner

    def add(self, item):
        """Add an item."""


parser = argparse.ArgumentParser()
parser.add_argument("--dry-run", help="do nothing")
'''
BASE: Files = {
    "shop.py": SHOP,
    "_inner.py": "def f():\n    return 1\n",
    "README.md": "# shop\n\nUse `price`.\n",
    "listed.py": "__all__ = ['a']\n\n\ndef a():\n    return 1\n\n\ndef b():\n    return 2\n",
}


def edit(old: str, new: str, path: str = "shop.py") -> Files:
    """Return a file of the base with one text replaced."""
    text = BASE[path]
    assert isinstance(text, str) and old in text
    return {path: text.replace(old, new)}


MORE = edit("def total(n)", "def total(n, m)")


@pytest.mark.parametrize(
    "files",
    [
        pytest.param(edit("    return n\n\n\nclass", "    return 2\n\n\nclass"), id="a body"),
        pytest.param(edit("_hidden(n)", "_hidden(n, m)"), id="a private name"),
        pytest.param(edit("total(n)", "total(n: int) -> int"), id="a type"),
        pytest.param({**MORE, "README.md": "# shop\n\nUse `price` and `total`.\n"}, id="readme"),
        pytest.param({**MORE, "docs/total.md": "Totals.\n"}, id="docs"),
        pytest.param({**MORE, "CHANGELOG.md": "- Totals.\n"}, id="changelog"),
        pytest.param(
            edit("def total(n):\n", 'def total(n, m):\n    """Total."""\n'), id="a docstring"
        ),
        pytest.param(
            {"new.py": 'def f():\n    """Do."""\n    return 1\n'}, id="new, with a docstring"
        ),
        pytest.param({"_new.py": "def f():\n    return 1\n"}, id="a private file"),
        pytest.param({"tests/test_new.py": "def test_f():\n    assert f()\n"}, id="a test"),
        pytest.param(
            {"listed.py": "__all__ = ['a']\n\n\ndef a():\n    return 1\n"}, id="not listed"
        ),
        pytest.param(edit("def total(n):\n    return n\n\n\n", ""), id="gone, written of nowhere"),
        pytest.param({"shop.py": None, "store.py": SHOP}, id="moved"),
        pytest.param({"a.ts": "export function f() {}\n", "b.py": "x = 1\n"}, id="other languages"),
    ],
)
def test_what_is_told_or_concerns_nobody_passes(tmp_path: Path, files: Files) -> None:
    """Bodies, private names and types concern nobody; docs, changelogs and docstrings tell."""
    verdict = judged(tmp_path, GATE, BASE, files)
    assert verdict.state in {"passed", "not_executed"}, verdict.details
    assert verdict.state == "passed" or "no public Python file" in verdict.reason


@pytest.mark.parametrize(
    ("files", "place", "said"),
    [
        (MORE, "shop.py:9", "total has other arguments"),
        (edit("tax=0", "tax=0, net=1"), "shop.py:4", "price has other arguments"),
        (edit("tax=0", "tax"), "shop.py:4", "price has other arguments"),
        (edit("def total", "async def total"), "shop.py:9", "total has other arguments"),
        (edit("owner)", "owner, size)"), "shop.py:17", "Cart has other arguments"),
        (edit("self, item)", "self, item, n)"), "shop.py:21", "Cart.add has other arguments"),
        (edit("def price", "def prices"), "shop.py", "price is gone"),
        ({"new.py": "def f():\n    return 1\n"}, "new.py:1", "f is new"),
        ({"new.py": "class C:\n    def m(self):\n        return 1\n"}, "new.py:2", "C.m is new"),
        ({**MORE, "README.md": "# shop\n\n\n"}, "shop.py:9", "total"),
        ({**MORE, "docs.py": "x = 1\n"}, "shop.py:9", "total"),
        (
            {**edit('"--dry-run"', '"--really"'), "b.py": "p.add_argument('--x')\n"},
            "b.py:1",
            "option --x is new",
        ),
    ],
)
def test_what_nobody_is_told_of_fails(tmp_path: Path, files: Files, place: str, said: str) -> None:
    """Changed arguments, new names and options of which nothing is said fail."""
    verdict = judged(tmp_path, GATE, BASE, files)
    assert (verdict.state, verdict.person) == ("failed", False)
    assert place in places(verdict), verdict.details
    assert said in verdict.details


def test_a_project_without_docs_is_not_judged(tmp_path: Path) -> None:
    """Where the base has no docs and no README, none are asked for, and nothing is passed."""
    base: Files = {"shop.py": SHOP}
    verdict = judged(tmp_path, GATE, base, {**MORE, "README.md": "x\n"})
    assert verdict.state == "not_executed"
    assert "neither a folder of docs nor a README" in verdict.reason


def test_a_file_that_cannot_be_parsed_is_told(tmp_path: Path) -> None:
    """A file that cannot be parsed is told of, and does not make the gate fall over."""
    verdict = judged(tmp_path, GATE, BASE, {"shop.py": "def broken(:\n"})
    assert "shop.py could not be parsed" in verdict.reason


def test_what_is_too_large_needs_a_person(tmp_path: Path) -> None:
    """A file that is too large to be read is not passed."""
    verdict = judged(tmp_path, GATE, BASE, {"shop.py": SHOP + "# x\n" * 1_500_000})
    assert (verdict.state, verdict.person) == ("failed", True)


def test_a_person_may_agree(tmp_path: Path) -> None:
    """A waiver for the issue takes the gate out, and says why."""
    gate = DocsGate(waivers=[GateWaiver("docs", "internal", issue="7")])
    assert judged(tmp_path, gate, BASE, MORE).reason == "waived by the settings: internal"


TEXTS = st.lists(
    st.sampled_from(
        ["def f(", "a", "=1", "*", ",", "/", "):\n", " return\n", "class A:\n", "__all__ = ["]
    ),
    max_size=20,
).map("".join)


@given(TEXTS)
def test_any_file_has_names_that_can_be_compared(text: str) -> None:
    """No text makes reading names fall over; read twice they are the same."""
    tree = parsed(text)
    assert tree is None or public_names(tree) == public_names(tree)
