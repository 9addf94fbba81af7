"""Modules that are put off: not loaded before somebody looks into them, and whole from then on."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import orchestrator_tools

BOOT = f"""
import sys
sys.path.insert(0, {str(Path(orchestrator_tools.__file__).parent.parent)!r})
from orchestrator_tools import later
later.put_off("inspect")
"""


def said(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", BOOT + code], capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def test_the_server_loads_without_what_describes_classes() -> None:
    code = "import orchestrator_tools.server\nprint([n for n in ('ast', 'dis', 'tokenize') if n in sys.modules])"
    assert said(code) == "[]"


@pytest.mark.parametrize(
    "code",
    [
        "import inspect\nprint(inspect.isfunction(len))",
        "from inspect import isfunction\nprint(isfunction(len))",
        "import dataclasses\nprint(str(dataclasses.inspect.signature(lambda a: a)) != '(a)')",
    ],
)
def test_it_is_there_for_whoever_looks(code: str) -> None:
    assert said(code) == "False"


def test_classes_without_a_word_of_their_own_are_described_as_ever() -> None:
    code = """
from dataclasses import dataclass
@dataclass
class Plain:
    number: int = 3
print(Plain.__doc__, Plain(), type(sys.modules["inspect"]).__name__)
"""
    assert said(code) == "Plain(number: int = 3) Plain(number=3) module"


def test_a_module_that_is_there_stays() -> None:
    assert said(
        "import json\nlater.put_off('json')\nprint(json.dumps(1), json is sys.modules['json'])"
    ) == ("1 True")
