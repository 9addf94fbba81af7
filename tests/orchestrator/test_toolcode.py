"""How the tools' own programs start inside: from which places, and what they load."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import orchestrator_tools
from orchestrator.sandboxes.unconfined import UnconfinedSandbox
from orchestrator.toolcode import boot_argv

ALONE = {"decoder", "unittests", "relay", "__main__"}
"""Programs of their own; the rest is loaded by the server, sooner or later."""


ROOMS = [
    "children",
    "contract",
    "errors",
    "output",
    "place",
    "recall",
    "server",
    "table",
    "values",
    "wire",
]


def boot(then: str, *, room: str = "server") -> Any:
    """Run what starts a server, up to where it would serve; load a room, and return ``then``."""
    argv = boot_argv(UnconfinedSandbox(environment={}))
    *options, code = argv
    assert code.endswith("\nmain()")
    code = code.removesuffix("main()") + f"import json, sys\nprint(json.dumps({then}))"
    loading = f"import orchestrator_tools.{room}\nloaded = list(sys.modules)\nimport json\n"
    code = code.replace("import json, sys\n", loading)
    done = subprocess.run([*options, code], capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def test_a_server_starts_with_what_it_needs_at_once() -> None:
    """Each run starts two or three servers: what only some calls need is loaded by the first."""
    loaded = set(boot("loaded"))
    assert "orchestrator_tools.server" in loaded
    assert not loaded & {"dataclasses", "typing", "inspect", "contextlib", "copy", "shutil"}
    assert not loaded & {"subprocess", "signal", "selectors", "locale", "socket", "hashlib", "site"}
    assert not loaded & {"json", "re", "enum", "threading", "functools", "collections", "ctypes"}
    assert {one for one in loaded if one.startswith("orchestrator_tools.")} == {
        f"orchestrator_tools.{room}" for room in ROOMS
    }


def test_a_server_loads_from_trusted_places_alone(tmp_path: Path) -> None:
    """Whatever is loaded later comes from the standard library, wherever the server stands."""
    path = boot("sys.path")
    assert path and all(Path(one).is_absolute() for one in path)
    trusted = [sys.prefix, sys.base_prefix, str(Path(orchestrator_tools.__file__).parent)]
    assert all(any(one.startswith(place) for place in trusted) for one in path), path


@pytest.mark.parametrize(
    "room",
    sorted({one.stem for one in Path(orchestrator_tools.__file__).parent.glob("*.py")} - ALONE),
)
def test_no_room_of_the_server_loads_what_describes_types(room: str) -> None:
    """These cost more than all tools together: values are made, and types named, without them."""
    code = "(__import__('orchestrator_tools.' + ROOM), sorted({'dataclasses', 'typing'} & set(sys.modules)))[1]"
    assert boot(code.replace("ROOM", repr(room))) == []


@pytest.mark.parametrize(
    "room",
    [
        "alone",
        "bash",
        "committing",
        "edit",
        "grep",
        "indexes",
        "packing",
        "read",
        "snapshot",
        "write",
    ],
)
def test_what_most_runs_use_loads_little(room: str) -> None:
    """Every run pays for it, most of them at their end, when many hand in: ``signal`` cost 6 ms."""
    slow = {"signal", "enum", "re", "functools", "collections", "subprocess", "shutil", "json"}
    assert not slow & set(boot("loaded", room=room))
