"""The gate that keeps tests and checks, on real commits."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.gates.asserted import READING, counts, python_tests
from orchestrator.gates.checksettings import edited
from orchestrator.gates.comments import python_code
from orchestrator.gates.kept import KeptChecksGate
from orchestrator.gates.lenience import skip_in, suppressions
from orchestrator.gates.pysource import parsed
from orchestrator.judgesettings import GateWaiver
from tests.orchestrator.diffs import Files, judged, places

GATE = KeptChecksGate()
TEST = """import pytest

from shop import price, total


class TestPrice:
    def test_price(self):
        assert price(1) == 1
        assert price(2) == 2


def check(found):
    assert found
    assert found > 0


@pytest.mark.skip(reason="old")
def test_old():
    assert total() == 3


def test_total():
    check(total())
    with pytest.raises(ValueError):
        total(-1)
"""
PROJECT = """[project]
name = "shop"

[tool.pytest.ini_options]
addopts = "--cov-fail-under=90"
markers = ["slow: long"]

[tool.coverage.report]
fail_under = 90
"""
JS = "it('adds', () => {\n  expect(add(1, 1)).toBe(2);\n  expect(add(1, 2)).toBe(3);\n});\n"
GO = 'package a\n\nfunc TestA(t *testing.T) {\n\tif a() != 1 {\n\t\tt.Fatal("no")\n\t}\n}\n'
RUST = (
    "fn a() -> i32 { 1 }\n\n#[test]\nfn t() {\n    assert_eq!(a(), 1);\n    assert!(a() > 0);\n}\n"
)
BASE: Files = {
    "shop.py": "def price(n):\n    return n\n\n\ndef total(n=3):\n    return n  # noqa: ERA001\n",
    "tests/test_shop.py": TEST,
    "pyproject.toml": PROJECT,
    "Makefile": "test:\n\tpytest --cov-fail-under=90\n",
    "a.test.js": JS,
    "a_test.go": GO,
    "src/lib.rs": RUST,
    "package.json": '{"scripts": {"test": "jest"}, "jest": {"bail": true}}',
    "tsconfig.json": '{\n  // why\n  "compilerOptions": {"lib": [],\n    "strict": true\n  }\n}\n',
    "setup.cfg": "[metadata]\nname = a\n[flake8]\nmax-line-length = 88\n",
    ".coveragerc": "[run]\nbranch = true\n",
}


def edit(path: str, old: str, new: str) -> Files:
    """Return a file of the base with one text replaced."""
    text = BASE[path]
    assert isinstance(text, str) and old in text
    return {path: text.replace(old, new)}


NEW = TEST + "\n\ndef test_more():\n    assert price(3) == 3\n"
CONDITION = TEST + (
    "\n\n@pytest.mark.skipif(sys.platform == 'win32', reason='posix')\n"
    "def test_posix():\n    assert price(4) == 4\n"
)


@pytest.mark.parametrize(
    "files",
    [
        pytest.param({"tests/test_shop.py": NEW}, id="a further test"),
        pytest.param({"tests/test_shop.py": CONDITION}, id="a new test skips under a condition"),
        pytest.param({"tests/test_shop.py": None, "tests/test_all.py": TEST}, id="moved"),
        pytest.param(edit("tests/test_shop.py", '"old"', '"older"'), id="an old skip is edited"),
        pytest.param(edit("shop.py", "n  # noqa", "int(n)  # noqa"), id="an old noqa is edited"),
        pytest.param(edit("pyproject.toml", '"shop"', '"store"'), id="other settings"),
        pytest.param(
            edit("pyproject.toml", '["slow: long"]', '["slow: long", "db: slow"]'), id="m"
        ),
        pytest.param(edit("pyproject.toml", "= 90\n", "= 95\n"), id="a higher bar"),
        pytest.param(edit("package.json", '"jest"}', '"jest", "start": "node ."}'), id="a script"),
        pytest.param(edit("tsconfig.json", '"lib": []', '"lib": ["dom"]'), id="a library"),
        pytest.param(edit("setup.cfg", "name = a", "name = b"), id="a name"),
        pytest.param({"docs.md": "# noqa, @pytest.mark.skip, it.only(\n"}, id="prose"),
        pytest.param({"b.py": 'x = "# noqa"\n'}, id="a string"),
        pytest.param(
            {"tests/test_b.py": 'X = """\n@pytest.mark.skip\n# noqa\n"""\n'}, id="a long string"
        ),
        pytest.param({"b.test.js": JS}, id="a further file"),
        pytest.param({"a.test.js": None, "b/a.test.js": JS}, id="a moved file"),
    ],
)
def test_honest_work_passes(tmp_path: Path, files: Files) -> None:
    """Further tests, moved ones, edited lines with old marks and stricter settings pass."""
    verdict = judged(tmp_path, GATE, BASE, files)
    assert (verdict.state, verdict.person) == ("passed", False), verdict.details


def test_settings_of_a_first_project_pass(tmp_path: Path) -> None:
    """Where the base has neither tests nor settings of checks, they may be written."""
    verdict = judged(tmp_path, GATE, {"README.md": "x\n"}, {"pyproject.toml": PROJECT})
    assert verdict.state == "passed"
    assert "first settings" in verdict.reason


T = "tests/test_shop.py"


@pytest.mark.parametrize(
    ("files", "place", "said"),
    [
        (edit(T, "        assert price(2) == 2\n", ""), f"{T}:7", "asserts 1 times instead of 2"),
        (
            edit(T, "        assert price(2) == 2\n", "        # assert price(2) == 2\n"),
            f"{T}:7",
            "1",
        ),
        (edit(T, "price(2) == 2", "True"), f"{T}:9", "always holds"),
        (edit(T, "price(2) == 2", "price(2) == 2 or True"), f"{T}:9", "always holds"),
        (edit(T, "price(2) == 2", "price == price"), f"{T}:9", "always holds"),
        (edit(T, "assert price(2) == 2", 'assert (price(2) == 2, "no")'), f"{T}:9", "always"),
        (
            edit(T, "        assert price(1)", "        return\n        assert price(1)"),
            f"{T}:7",
            "0",
        ),
        (
            edit(T, "        assert price(1)", "        if 0:\n            assert price(1)"),
            f"{T}:7",
            "1",
        ),
        (edit(T, "    assert found\n", ""), f"{T}:21", "asserts 2 times instead of 3"),
        (edit(T, "def test_total", "def xtest_total"), T, "test_total() is gone"),
        (edit(T, "class TestPrice", "class Price"), T, "TestPrice.test_price() is gone"),
        ({T: None}, T, "is gone"),
        ({T: None, "tests/shop_checks.py": TEST}, T, "is gone"),
        ({T: TEST + "\n\ndef test_total():\n    pass\n"}, f"{T}:28", "asserts 0 times"),
        (edit(T, "import pytest\n", "import pytest (\n"), T, "cannot be parsed"),
        (edit(T, "def test_total", "@pytest.mark.skip\ndef test_total"), f"{T}:22", "skipped"),
        (edit(T, "def test_total", "@pytest.mark.xfail\ndef test_total"), f"{T}:22", "skipped"),
        (
            edit(T, "def test_total", "@pytest.mark.skipif(a, reason='b')\ndef test_total"),
            f"{T}:22",
            "skipped",
        ),
        (
            edit(T, "    check(total())", "    pytest.skip()\n    check(total())"),
            f"{T}:22",
            "skipped",
        ),
        (
            {"tests/test_new.py": "@pytest.mark.skip\ndef test_a():\n    assert a()\n"},
            "tests/test_new.py:1",
            "",
        ),
        (edit("a.test.js", "  expect(add(1, 2)).toBe(3);\n", ""), "a.test.js", "asserts 1 times"),
        (
            edit("a.test.js", "  expect(add(1, 2))", "  // expect(add(1, 2))"),
            "a.test.js",
            "asserts 1",
        ),
        (edit("a.test.js", "it('", "it.skip('"), "a.test.js:1", "skipped"),
        (edit("a.test.js", "it('", "it.only('"), "a.test.js:1", "left out"),
        ({"a.test.js": None}, "a.test.js", "1 tests are gone"),
        (edit("a_test.go", 't.Fatal("no")', "return"), "a_test.go", "asserts 0 times"),
        (edit("a_test.go", "\tif a()", "\tt.Skip()\n\tif a()"), "a_test.go:4", "skipped"),
        (edit("src/lib.rs", "    assert!(a() > 0);\n", ""), "src/lib.rs", "asserts 1 times"),
        (edit("src/lib.rs", "#[test]", "#[test]\n#[ignore]"), "src/lib.rs:4", "skipped"),
        (edit("src/lib.rs", "fn a", "#[allow(dead_code)]\nfn a"), "src/lib.rs:1", "#[allow]"),
        ({"b.py": "x = 1  # noqa\n"}, "b.py:1", "noqa"),
        ({"b.py": "x = f()  # type: ignore[attr-defined]\n"}, "b.py:1", "type: ignore"),
        ({"b.py": "if x:  # pragma: no cover\n    y()\n"}, "b.py:1", "no cover"),
        pytest.param({"b.py": f"x = 1  # {'a' * 200_000} # noqa\n"}, "b.py:1", "noqa", id="long"),
        ({"b.py": "# ruff: noqa\n"}, "b.py:1", "noqa"),
        ({"b.py": "# mypy: ignore-errors\n"}, "b.py:1", "mypy"),
        ({"b.py": "x = 1  # pylint: disable=all\n"}, "b.py:1", "pylint"),
        ({"b.ts": "// @ts-ignore\nx();\n"}, "b.ts:1", "@ts-ignore"),
        ({"b.js": "/* eslint-disable */\nx();\n"}, "b.js:1", "eslint-disable"),
        ({"b.go": "x() //nolint\n"}, "b.go:1", "nolint"),
        ({"B.java": '@SuppressWarnings("all")\nclass B {}\n'}, "B.java:1", "@SuppressWarnings"),
        (edit("Makefile", "=90", "=50"), "Makefile:2", "lowered from 90 to 50"),
        (edit("Makefile", " --cov-fail-under=90", ""), "Makefile", "fail_under is gone"),
    ],
)
def test_weaker_checks_fail(tmp_path: Path, files: Files, place: str, said: str) -> None:
    """What takes something away from the checks fails, and the agent can put it back."""
    verdict = judged(tmp_path, GATE, BASE, files)
    assert (verdict.state, verdict.person) == ("failed", False), verdict.details
    assert place in places(verdict), verdict.details
    assert said in verdict.details


@pytest.mark.parametrize(
    ("files", "place"),
    [
        (edit("pyproject.toml", '["slow: long"]', "[]"), "pyproject.toml"),
        (edit("pyproject.toml", 'markers = ["slow: long"]', 'testpaths = ["a"]'), "pyproject.toml"),
        ({"pyproject.toml": PROJECT + '\n[tool.ruff.lint]\nignore = ["E"]\n'}, "pyproject.toml"),
        ({"pyproject.toml": PROJECT + "\n[tool.mypy]\nignore_errors = true\n"}, "pyproject.toml"),
        ({"pyproject.toml": "[broken"}, "pyproject.toml"),
        ({".coveragerc": None}, ".coveragerc"),
        (edit(".coveragerc", "branch = true", "omit = *"), ".coveragerc"),
        ({"ruff.toml": 'exclude = ["*"]\n'}, "ruff.toml"),
        ({"pytest.ini": "[pytest]\naddopts = -k nothing\n"}, "pytest.ini"),
        (edit("setup.cfg", "88", "200"), "setup.cfg"),
        (edit("package.json", '"jest"}', '"true"}'), "package.json"),
        (edit("package.json", '"bail": true', '"testPathIgnorePatterns": [".*"]'), "package.json"),
        (edit("tsconfig.json", '"strict": true', '"strict": false'), "tsconfig.json"),
        (
            {"conftest.py": "def pytest_collection_modifyitems(items):\n    items.clear()\n"},
            "conftest.py:1",
        ),
        ({"tests/conftest.py": "import sys\n\nsys.exit(0)\n"}, "tests/conftest.py:3"),
        ({"sitecustomize.py": "import os\n\nos._exit(0)\n"}, "sitecustomize.py"),
    ],
)
def test_settings_of_checks_need_a_person(tmp_path: Path, files: Files, place: str) -> None:
    """Edited settings of checks, and hooks that decide on tests, are a person's to agree to."""
    verdict = judged(tmp_path, GATE, BASE, files)
    assert verdict.state == "failed"
    assert place in places(verdict), verdict.details
    assert verdict.person or "lowered" in verdict.details or "gone" in verdict.details


def test_a_test_that_goes_with_its_code_needs_a_person(tmp_path: Path) -> None:
    """A test of what the change takes out may be right to go: a person says so."""
    files: Files = {
        "shop.py": "def price(n):\n    return n\n",
        T: TEST[: TEST.index("def test_total")].replace("\n\n@pytest", "\n\n\n@pytest"),
    }
    verdict = judged(tmp_path, GATE, BASE, files)
    assert (verdict.state, verdict.person) == ("failed", True), verdict.details
    assert "a person must agree" in verdict.reason


def test_what_the_agent_can_mend_goes_back_first(tmp_path: Path) -> None:
    """Where a person must agree to one thing and the agent can mend another, it is not yet theirs."""
    files: Files = {"b.py": "x = 1  # noqa\n", "ruff.toml": "\n"}
    verdict = judged(tmp_path, GATE, BASE, files)
    assert (verdict.state, verdict.person) == ("failed", False)
    assert places(verdict) == ["b.py:1", "ruff.toml"]


def test_suppressions_can_be_allowed_where_they_name_a_rule(tmp_path: Path) -> None:
    """A project may let agents suppress single rules, never all of them."""
    gate = KeptChecksGate(suppressions=["noqa", "type: ignore"])
    files: Files = {"b.py": "x = 1  # noqa: E501\ny = 1  # noqa\nz = 1  # type: ignore[misc]\n"}
    assert places(judged(tmp_path, gate, BASE, files)) == ["b.py:2"]


def test_a_person_may_let_a_test_go(tmp_path: Path) -> None:
    """A waiver for one issue and one file lets that file's tests go."""
    gate = KeptChecksGate(waivers=[GateWaiver("tests-kept", "dropped", "7", ("tests/**",))])
    assert judged(tmp_path, gate, BASE, {T: None}).state == "passed"


TEXTS = st.lists(
    st.sampled_from(
        ["assert", " True", "def test_a():\n    ", "return", "(", ")", "if 0:", "\n", "'"]
    )
    | st.text(max_size=4),
    max_size=40,
).map("".join)


@given(TEXTS, st.sampled_from(sorted(READING)))
def test_any_text_can_be_counted(text: str, end: str) -> None:
    """No text makes counting fall over."""
    found = counts(f"a_test.{end}", text)
    assert 0 <= found.asserts <= len(text)
    code = python_code(text)
    assert code is None or [len(one) for one in code] == [len(one) for one in text.split("\n")]
    tree = parsed(text)
    assert tree is None or all(one.asserts >= 0 for one in python_tests(tree).values())
    assert all(one.kind for one in suppressions(f"a.{end}", text, text))
    assert isinstance(skip_in(f"a.{end}", text, conditions=True), str)


@given(
    st.sampled_from(["pyproject.toml", "setup.cfg", "package.json", "tsconfig.json", "pytest.ini"]),
    st.text(max_size=60)
    | st.sampled_from(["[" * 3000, '{"a":' * 3000, "tool = 1\n", "[tool]\npytest=1"]),
    st.text(max_size=60)
    | st.sampled_from(["[" * 3000, '{"scripts": []}', "[tool.mypy]\nx = {}\n"]),
)
def test_any_settings_can_be_compared(path: str, before: str, now: str) -> None:
    """No settings make the comparison fall over; the same ones are never edited."""
    assert all(isinstance(one, str) for one in edited(path, before, now))
    assert all("cannot be read" in one for one in edited(path, before, before))
