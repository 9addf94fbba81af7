"""The floors: an import points down, adapters are named in one place, vendors have one home."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[1]
PACKAGE = PROJECT / "orchestrator"
TOOLS = PROJECT / "tools" / "orchestrator_tools"

FLOORS = {
    "values": 0.9,
    "errors": 1.0,
    "calm": 1.0,
    "arguments": 1.0,
    "hostgit": 1.1,
    "checkout": 1.2,
    "removal": 1.1,
    "ownplaces": 1.2,
    "shell": 1.1,
    "permissions": 1.2,
    "header": 1.1,
    "pullrequests": 1.1,
    "pacing": 1.0,
    "stages": 1.0,
    "amounts": 0.95,
    "records": 1.2,
    "rebuilding": 1.0,
    "prices": 1.3,
    "decoders": 1.3,
    "deliveryevents": 1.3,
    "lifeevents": 1.3,
    "wayoutevents": 1.0,
    "contextevents": 1.3,
    "events": 1.4,
    "trackerports": 1.3,
    "messagebatches": 1.3,
    "ports": 1.5,
    "transcript": 1.6,
    "session": 1.7,
    "gitinside": 1.7,
    "commands": 1.7,
    "channel": 1.0,
    "accounts": 1.65,
    "limits": 1.7,
    "nearing": 1.68,
    "standing": 1.2,
    "sharedanswer": 1.0,
    "objects": 1.7,
    "trees": 1.75,
    "ancestry": 1.75,
    "comparing": 1.3,
    "refs": 1.3,
    "quarantine": 1.75,
    "places": 1.7,
    "lanes": 1.7,
    "governor": 1.75,
    "modelevents": 1.3,
    "repository": 1.8,
    "located": 1.75,
    "remoteurls": 1.1,
    "remotegit": 1.85,
    "remotes": 1.9,
    "patches": 1.85,
    "settings": 1.85,
    "judgesettings": 1.3,
    "config": 1.9,
    "forge": 1.9,
    "toolserver": 1.9,
    "toolcode": 1.6,
    "agent": 2,
    "stuck": 1.9,
    "prefixes": 1.3,
    "cacheuse": 1.7,
    "weighing": 1.88,
    "context": 1.9,
    "shrinking": 1.92,
    "asking": 1.95,
    "shortening": 1.97,
    "care": 1.98,
    "toolbox": 2,
    "workspaces": 2,
    "routing": 2.1,
    "prompts": 2,
    "definitions": 2,
    "models": 2,
    "trackers": 2,
    "hosts": 2,
    "sandboxes": 2,
    "egress": 2,
    "journals": 2,
    "sinks": 2,
    "snapshots": 3,
    "delivery": 3,
    "announcing": 3.1,
    "publishing": 3.2,
    "claims": 2,
    "feedback": 3.3,
    "change": 3,
    "judging": 3,
    "workflow": 2.5,
    "hearing": 2.5,
    "reviewfindings": 2.6,
    "review": 3.2,
    "means": 3.6,
    "following": 3.6,
    "rounds": 3.7,
    "outcomes": 3,
    "gates": 3,
    "setups": 2.5,
    "preparation": 3.5,
    "conclusion": 3.5,
    "testing": 3,
    "collect": 3.5,
    "runner": 4,
    "broadcast": 4.5,
    "tending": 4.5,
    "forking": 4.5,
    "rescuing": 3.6,
    "clearing": 5,
    "replaying": 4,
    "tuning": 1.0,
    "exporting": 1.0,
    "planning": 4.5,
    "batches": 4.5,
    "scheduler": 5,
    "watching": 5,
    "assembly": 6,
    "cli": 7,
    "__init__": 7,
}
ADAPTERS = {"models", "trackers", "hosts", "sandboxes", "gates", "journals", "sinks"}
DECODER = "tools/orchestrator_tools/decoder.py"
"""Runs as a process of its own, with a read-only folder of packages for it."""
VENDORS = {
    "anthropic": {
        "orchestrator/models/anthropic_sdk.py",
        "orchestrator/models/anthropic_batches.py",
    },
    "httpx2": {
        "orchestrator/models/anthropic_sdk.py",
        "orchestrator/models/anthropic_batches.py",
        "orchestrator/forge/client.py",
    },
    "h11": {
        "orchestrator/models/wire.py",
        "orchestrator/models/ways.py",
        "orchestrator/egress/request.py",
    },
    "cryptography": {"orchestrator/forge/app.py"},
    "git": {"orchestrator/repository.py"},
    "frontmatter": {"orchestrator/header.py"},
    "yaml": {
        "orchestrator/header.py",
        "orchestrator/config.py",
        "orchestrator/prices.py",
        "orchestrator/routing/listed.py",
    },
    "rich": {"orchestrator/sinks/table.py"},
    "structlog": {"orchestrator/sinks/log.py"},
    "pydantic": {"orchestrator/arguments.py"},
    "tree_sitter": {"orchestrator/shell.py"},
    "tree_sitter_bash": {"orchestrator/shell.py"},
    "PIL": {DECODER},
    "pypdfium2": {DECODER},
}
LATE = {"cli", "assembly"}
LATE_FILES = {
    "orchestrator/__init__.py": "the public face is lazy",
    "orchestrator/arguments.py": "pydantic and the tools wait for the first reply",
    "orchestrator/runner.py": "what judges and delivers waits for the first reply",
    "orchestrator/tending.py": "what is told of a run waits for its end",
    "orchestrator/toolbox.py": "the tools themselves wait for the first reply",
    "orchestrator/care.py": "neither is needed before the first reply",
    "orchestrator/repository.py": "GitPython is needed only where the git that stays does not tell",
    "orchestrator/prices.py": "the table is read when a model is named",
    "orchestrator/config.py": "difflib is for wrong keys only",
    "orchestrator/routing/route.py": "difflib is for wrong names, the lexicon for what no rule says",
    "orchestrator/toolcode.py": "where the tools' code lies",
    "orchestrator/scheduler.py": "most runs are no forks",
    "orchestrator/shell.py": "only agents with rules for commands need a parser",
    "orchestrator/rounds.py": "most runs have no review",
    "orchestrator/forge/app.py": "only a GitHub App signs, and the library for it is an extra",
    "orchestrator/preparation.py": "most runs have no network and no set-up",
    "orchestrator/permissions.py": "most agents have no rules for commands",
    "orchestrator/definitions/known.py": "difflib is for wrong words only",
}


def files() -> list[Path]:
    """Return every file of both packages."""
    return sorted([*PACKAGE.rglob("*.py"), *TOOLS.rglob("*.py")])


def room(path: Path) -> str:
    """Return the room that a file belongs to."""
    relative = path.relative_to(PACKAGE)
    return relative.parts[0] if len(relative.parts) > 1 else relative.stem


def imports(path: Path) -> Iterator[tuple[str, bool]]:
    """Yield every module that a file imports, and whether that happens inside a function."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    inside = {
        id(node)
        for function in ast.walk(tree)
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef)
        for node in ast.walk(function)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for name in node.names:
                yield name.name, id(node) in inside
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module, id(node) in inside
            if node.module == "orchestrator":
                for name in node.names:
                    yield f"orchestrator.{name.name}", id(node) in inside


def name_of(path: Path) -> str:
    """Return a file's path from the top of the project."""
    return str(path.relative_to(PROJECT))


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=name_of)
def test_an_import_points_to_a_lower_floor(path: Path) -> None:
    """A room imports what lies below it; rooms of one floor do not know each other."""
    own = room(path)
    assert own in FLOORS, f"{own} has no floor yet"
    for module, _ in imports(path):
        parts = module.split(".")
        if parts[0] != "orchestrator" or len(parts) == 1 or parts[1] == own:
            continue
        assert FLOORS[parts[1]] < FLOORS[own], f"{own} imports {parts[1]}, which is not below it"


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=name_of)
def test_adapters_are_named_by_assembly_alone(path: Path) -> None:
    """Only assembly, the command line's own output, and the public doubles name an adapter."""
    own = room(path)
    named = {
        module
        for module, _ in imports(path)
        if module.startswith("orchestrator.") and module.split(".")[1] in ADAPTERS - {own}
    }
    allowed = {
        "assembly": named,
        "testing": {"orchestrator.models.replay"},
        "cli": {one for one in named if one.split(".")[1] in {"sinks", "journals", "sandboxes"}},
    }
    assert named <= allowed.get(own, set())


@pytest.mark.parametrize("path", files(), ids=name_of)
def test_a_vendor_has_one_home(path: Path) -> None:
    """A vendor's package is imported where it belongs and nowhere else."""
    for module, _ in imports(path):
        homes = VENDORS.get(module.split(".")[0])
        assert homes is None or name_of(path) in homes, f"{module} does not belong here"


@pytest.mark.parametrize("path", sorted(TOOLS.rglob("*.py")), ids=name_of)
def test_the_tools_know_nothing_of_the_host(path: Path) -> None:
    """What runs inside the sandbox imports the standard library and itself."""
    import sys

    for module, _ in imports(path):
        top = module.split(".")[0]
        own = top == "orchestrator_tools" or top in sys.stdlib_module_names
        assert own or (name_of(path) == DECODER and name_of(path) in VENDORS[top]), module


def test_the_decoder_stands_alone() -> None:
    """Nothing imports the decoder, and it imports none of the server's rooms."""
    for path in files():
        assert "orchestrator_tools.decoder" not in dict(imports(path)), name_of(path)
    inside = dict(imports(PROJECT / DECODER))
    assert not any(module.startswith("orchestrator_tools") for module in inside)


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=name_of)
def test_late_imports_have_a_reason(path: Path) -> None:
    """An import inside a function stands in the command line, in assembly, or has its reason."""
    late = [module for module, inside in imports(path) if inside]
    assert not late or room(path) in LATE or name_of(path) in LATE_FILES, late


@pytest.mark.parametrize("path", files(), ids=name_of)
def test_a_room_is_not_crowded(path: Path) -> None:
    """A file keeps under 450 lines: what grows beyond 400 is split by what it holds."""
    assert len(path.read_text(encoding="utf-8").splitlines()) < 450


BANNED = {"utils", "helpers", "common", "core", "base", "manager", "handler", "service", "misc"}


@pytest.mark.parametrize("path", files(), ids=name_of)
def test_names_say_what_a_thing_is(path: Path) -> None:
    """No file or class is named for being a drawer."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    classes = [node.name.lower() for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]
    for name in (path.stem, *classes):
        assert not any(name == word or name.endswith(word) for word in BANNED - {"base"}), name
