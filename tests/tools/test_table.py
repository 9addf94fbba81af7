"""The tool table: six rows, schemas that fit them, and calls that do not."""

from __future__ import annotations

import dataclasses
import os
import stat
from pathlib import Path
from typing import Any

import pytest

from orchestrator_tools import specs, table
from orchestrator_tools.errors import NotFound, ToolError
from orchestrator_tools.place import Place, open_regular, read_whole, replace_file

NAMES = ["Read", "Write", "Edit", "Bash", "Grep", "Glob"]


def test_names_the_tools_in_order() -> None:
    """Models see the six tools in one order."""
    assert list(table.ROOMS) == specs.names() == NAMES
    assert [spec.name for spec in specs.specs()] == NAMES


def test_says_what_tools_do_to_files() -> None:
    """Read, Grep and Glob do nothing to files; Write and Edit may be repeated; Bash does anything."""
    effects = {spec.name: spec.effect for spec in specs.specs()}
    assert {name for name in NAMES if effects[name] == "none"} == {"Read", "Grep", "Glob"}
    assert {name for name in NAMES if effects[name] == "repeatable"} == {"Write", "Edit"}
    assert effects["Bash"] == "any"


@pytest.mark.parametrize("name", NAMES)
def test_the_schema_fits_the_arguments(name: str) -> None:
    """The generated schema has a property for each argument, with its default and no other."""
    (spec,) = [spec for spec in specs.specs() if spec.name == name]
    fields = dataclasses.fields(table.load(name).Arguments)
    properties: dict[str, Any] = spec.input_schema["properties"]
    assert spec.description
    assert spec.input_schema["type"] == "object"
    assert spec.input_schema["additionalProperties"] is False
    assert list(properties) == [field.metadata.get("name", field.name) for field in fields]
    required = [field.name for field in fields if field.default is dataclasses.MISSING]
    assert spec.input_schema["required"] == required
    for field, shown in zip(fields, properties.values(), strict=True):
        assert shown.get("description") == field.metadata.get("doc")
        assert shown.get("minimum") == field.metadata.get("ge")
        if field.default is not dataclasses.MISSING:
            assert shown.get("default") == field.default


def test_runs_a_tool_by_its_names(place: Place, work: Path) -> None:
    """Parameters go by the names of the schema."""
    (work / "f").write_text("A\nb\n")
    arguments = {"pattern": "a", "output_mode": "content", "-i": True, "-A": 1}
    assert table.run("Grep", arguments, place).text == "f:1:A\nf-2-b"


@pytest.mark.parametrize(
    ("tool", "arguments", "message"),
    [
        (
            "Nothing",
            {},
            "there is no tool 'Nothing'; there are Read, Write, Edit, Bash, Grep, Glob",
        ),
        ("read", {"file_path": "f"}, "there is no tool 'read'"),
        ("", {}, "there is no tool ''"),
        ("Read", {}, "Read: .*file_path"),
        ("Edit", {"file_path": "f"}, "Edit: .*old_string.*new_string"),
        ("Read", {"file_path": "f", "lines": "1"}, "Read has no parameter 'lines'"),
        ("Grep", {"pattern": "x", "ignore_case": True}, "Grep has no parameter 'ignore_case'"),
    ],
)
def test_refuses_a_call_that_does_not_fit(
    place: Place, tool: str, arguments: dict[str, Any], message: str
) -> None:
    """An unknown tool, an unknown parameter or a missing one is named."""
    with pytest.raises(ToolError, match=message):
        table.run(tool, arguments, place)


def test_a_place_names_paths_from_its_cwd(place: Place, work: Path) -> None:
    """Paths are made absolute and plain; shown paths are relative where that is shorter."""
    place.cwd = str(work / "sub")
    assert place.path("a/./b/../c") == str(work / "sub/a/c")
    assert place.path("/etc/../tmp") == "/tmp"
    assert place.path("~/x") == f"{os.environ['HOME']}/x"
    assert place.shown(str(work / "sub/a")) == "a"
    assert place.shown(str(work / "a")) == str(work / "a")


def test_a_place_knows_what_was_seen(place: Place, work: Path) -> None:
    """What this call saw counts before what earlier calls saw, under the real path."""
    (work / "link").symlink_to("f")
    place.seen = {str(work / "f"): "old", str(work / "g"): "g"}
    assert place.last_seen(str(work / "link")) == "old"
    place.note(str(work / "link"), b"new")
    assert place.last_seen(str(work / "f")) not in ("old", None)
    assert place.last_seen(str(work / "g")) == "g"
    assert place.last_seen(str(work / "h")) is None
    assert list(place.change().seen) == [str(work / "f")]


def open_descriptors() -> set[str]:
    return {path.name for path in Path("/proc/self/fd").iterdir()}


def test_opening_leaks_no_descriptor(work: Path) -> None:
    """A refused file is closed again."""
    os.mkfifo(work / "fifo")
    before = open_descriptors()
    for path in (work / "fifo", work, work / "missing"):
        with pytest.raises(ToolError):
            open_regular(str(path), "shown")
    assert open_descriptors() == before


def test_reading_whole_gives_bytes_and_mode(work: Path) -> None:
    """A file is read with its permission bits; a missing one is not found."""
    (work / "f").write_bytes(b"\0\xff")
    (work / "f").chmod(0o640)
    data, status = read_whole(str(work / "f"), "f")
    assert (data, stat.S_IMODE(status.st_mode)) == (b"\0\xff", 0o640)
    with pytest.raises(NotFound, match="shown does not exist"):
        read_whole(str(work / "missing"), "shown")


def test_replacing_fails_without_a_trace(work: Path) -> None:
    """Where the new file cannot take its place, the old one stays and nothing else appears."""
    (work / "folder/inside").mkdir(parents=True)
    with pytest.raises(ToolError, match="cannot write"):
        replace_file(str(work / "folder"), b"x", None)
    assert list(work.iterdir()) == [work / "folder"]
