"""What goes over the wire is held against the standard library's ``json``."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator_tools import wire

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(VALUES)
def test_writes_and_reads_what_json_does(value: Any) -> None:
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    assert wire.dumps(value) == text
    assert wire.loads(text) == json.loads(text)
    assert wire.loads(f" \r\n{json.dumps(value, indent=1)}\t") == value


@given(st.text(alphabet='{}[]:," \t\n\\u0eE+-.1tfnaulsr', max_size=12))
def test_takes_and_refuses_what_json_does(text: str) -> None:
    try:
        expected = json.loads(text)
    except ValueError:
        with pytest.raises(ValueError, match=r"."):
            wire.loads(text)
    else:
        assert wire.loads(text) == expected


def test_numbers_that_are_none_are_those_of_json() -> None:
    assert math.isnan(wire.loads("NaN"))
    assert wire.loads("[Infinity,-Infinity]") == [math.inf, -math.inf]
    assert wire.dumps([math.inf, -math.inf, math.nan]) == "[Infinity,-Infinity,NaN]"


def test_what_cannot_be_written_is_refused() -> None:
    with pytest.raises(TypeError, match="set cannot be written"):
        wire.dumps({"a": set()})
    circle: list[Any] = []
    circle.append(circle)
    with pytest.raises(ValueError, match="Circular"):
        wire.dumps(circle)
    with pytest.raises(RecursionError):
        wire.loads("[" * 200_000)


def test_json_does_it_where_its_half_in_c_is_not_there() -> None:
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); sys.modules['_json'] = None\n"
        "from orchestrator_tools import wire\n"
        'print(wire.loads(\'{"a": [1, null]}\'), wire.dumps({"ü": [1, None]}))\n'
    )
    tools = str(Path(wire.__file__).parent.parent)
    argv = [sys.executable, "-I", "-S", "-X", "utf8", "-c", code, tools]
    done = subprocess.run(argv, capture_output=True, text=True, check=True, encoding="utf-8")
    assert done.stdout == "{'a': [1, None]} {\"ü\":[1,null]}\n"
