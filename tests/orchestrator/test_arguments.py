"""The tools' arguments at the border: checked, and described to models."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from orchestrator import arguments
from orchestrator_tools import specs, table


def test_the_generated_file_is_up_to_date() -> None:
    """What models are told is what the tools say and pydantic derives from their arguments."""
    assert json.loads(Path(specs.FILE).read_text(encoding="utf-8")) == arguments.described()


def test_the_schemas_are_in_the_order_of_the_table() -> None:
    """A model sees tools and their parameters in one order, so that its cache holds."""
    written = json.loads(Path(specs.FILE).read_text(encoding="utf-8"))
    derived = arguments.described()
    assert list(written) == list(derived) == list(table.ROOMS) == specs.names()
    for name in written:
        one, other = (told[name]["input_schema"]["properties"] for told in (written, derived))
        assert list(one) == list(other)


def test_no_tool_is_loaded_for_what_is_said_of_it() -> None:
    code = "import sys; from orchestrator import toolbox; toolbox.specs(['Read']); print([n for n in sys.modules if n.startswith(('orchestrator_tools.read', 'orchestrator_tools.bash', 'pydantic'))])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("tool", specs.names())
def test_a_schema_is_closed_and_lean(tool: str) -> None:
    """A schema allows no other parameters and holds nothing that says nothing."""
    schema = arguments.described()[tool]["input_schema"]
    assert schema["additionalProperties"] is False
    assert set(schema["required"]) <= set(schema["properties"])
    for about in (schema, *schema["properties"].values()):
        assert "title" not in about
        assert "anyOf" not in about
        assert about.get("default", "") is not None


VALID: list[tuple[str, dict[str, Any]]] = [
    ("Read", {"file_path": "a"}),
    ("Read", {"file_path": "a", "offset": 0, "limit": 1}),
    ("Write", {"file_path": "a", "content": ""}),
    ("Edit", {"file_path": "a", "old_string": "x", "new_string": "y", "replace_all": True}),
    ("Bash", {"command": "ls", "timeout": 1, "description": "list", "run_in_background": False}),
    ("Grep", {"pattern": "x", "-A": 1, "-n": False, "-i": True, "output_mode": "count"}),
    ("Glob", {"pattern": "*.py", "path": "src"}),
]


@pytest.mark.parametrize(("tool", "given"), VALID)
def test_what_fits_comes_back_under_the_models_names(tool: str, given: dict[str, Any]) -> None:
    """Arguments that fit are returned as they were given, and no others are added."""
    assert arguments.validated(tool, given) == given


def test_a_null_counts_as_not_given() -> None:
    """A model may write null for an optional parameter; it is left out."""
    given = {"pattern": "x", "path": None, "-C": None}
    assert arguments.validated("Grep", given) == {"pattern": "x"}


@pytest.mark.parametrize(
    ("tool", "given", "named"),
    [
        ("Read", {}, "file_path"),
        ("Read", {"file_path": None}, "file_path"),
        ("Read", {"file_path": 7}, "file_path"),
        ("Read", {"file_path": ["a"]}, "file_path"),
        ("Read", {"file_path": "a", "offset": -1}, "offset"),
        ("Read", {"file_path": "a", "limit": 0}, "limit"),
        ("Read", {"file_path": "a", "limit": "ten"}, "limit"),
        ("Read", {"file_path": "a", "limit": 1.5}, "limit"),
        ("Read", {"path": "a"}, "path"),
        ("Write", {"file_path": "a", "content": {"a": 1}}, "content"),
        ("Edit", {"file_path": "a", "old_string": "x"}, "new_string"),
        (
            "Edit",
            {"file_path": "a", "old_string": "x", "new_string": "y", "replace_all": 7},
            "replace_all",
        ),
        ("Bash", {"command": "ls", "timeout": 600_001}, "timeout"),
        ("Bash", {"command": "ls", "timeout": 0}, "timeout"),
        ("Bash", {"command": "ls", "timeout": float("nan")}, "timeout"),
        ("Bash", {"command": "ls", "dangerouslyDisableSandbox": True}, "dangerouslyDisableSandbox"),
        ("Grep", {"pattern": "x", "output_mode": "all"}, "output_mode"),
        ("Grep", {"pattern": "x", "after": 1}, "after"),
        ("Grep", {"pattern": "x", "-A": -1}, "-A"),
        ("Glob", {"pattern": "*", "": 1}, ""),
    ],
)
def test_what_does_not_fit_is_refused_by_name(tool: str, given: dict[str, Any], named: str) -> None:
    """Missing, wrong and unknown parameters are refused, naming the parameter."""
    with pytest.raises(ValueError, match=r".") as caught:
        arguments.validated(tool, given)
    assert named in str(caught.value)
    assert "pydantic" not in str(caught.value)


@pytest.mark.parametrize("given", [None, [], ["file_path", "a"], "a", 1, {1: "a"}])
def test_what_is_no_object_does_not_fit(given: Any) -> None:
    """Whatever a program hands on, it is told as what does not fit."""
    with pytest.raises(ValueError, match=r"no object|1: "):
        arguments.validated("Read", given)


def test_every_parameter_that_does_not_fit_is_named() -> None:
    """A model can mend all of its mistakes at once."""
    with pytest.raises(ValueError, match=r"file_path.*; .*limit.*; .*colour"):
        arguments.validated("Read", {"limit": 0, "colour": "red"})


def test_there_are_no_arguments_of_an_unknown_tool() -> None:
    """A tool that is not in the table has no arguments."""
    with pytest.raises(KeyError):
        arguments.validated("Sing", {})
