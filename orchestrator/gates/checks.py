"""The checks that a repository sets up itself: linters, formatters and type checkers."""

from __future__ import annotations

import contextlib
import json
import re
import tomllib
from collections.abc import Iterator, Mapping
from typing import Literal

from orchestrator.gates.command import judge_command
from orchestrator.gates.detect import not_executed
from orchestrator.ports import Change
from orchestrator.records import Verdict
from orchestrator.values import frozen

Kind = Literal["lint", "format", "types"]

SCRIPTS: Mapping[str, Kind] = {
    "lint": "lint",
    "format:check": "format",
    "check:format": "format",
    "prettier:check": "format",
    "typecheck": "types",
    "type-check": "types",
    "check:types": "types",
}
"""Scripts of ``package.json`` that check and change nothing."""
CHANGES_FILES = re.compile(r"--(?:fix|write)\b")


@frozen
class Check:
    """A tool that a repository sets up.

    Attributes:
        tool: what people call it.
        probe: a command that succeeds inside where the tool is.
    """

    kind: Kind
    tool: str
    command: str
    probe: str


class CheckGate:
    """Runs one of the repository's own checks; only what is new fails.

    Args:
        check: the check.
        timeout_s: seconds after which it is ended, and has failed.
    """

    def __init__(self, check: Check, *, timeout_s: float = 900.0) -> None:
        self.name = f"{check.kind}-{check.tool}"
        self._check = check
        self._timeout_s = timeout_s

    async def judge(self, change: Change) -> Verdict:
        """Run the tool where it is installed inside."""
        check = self._check
        if not await change.available(check.probe):
            return not_executed(self.name, change, f"{check.tool} is not installed inside")
        return await judge_command(self.name, change, check.command, self._timeout_s, new_only=True)


def checks_of(files: Mapping[str, bytes]) -> list[Check]:
    """Tell which checks a repository sets up.

    Args:
        files: the settings files at the top of the base commit, by name.
    """
    found = [*_python(files), *_node(files), *_go(files), *_cargo(files)]
    return list({(one.kind, one.tool): one for one in found}.values())


def _python(files: Mapping[str, bytes]) -> Iterator[Check]:
    tools = _tool_tables(files)
    parts = _sections(files)
    if "ruff" in tools or {"ruff.toml", ".ruff.toml"} & files.keys():
        yield Check("lint", "ruff", "ruff check --no-cache .", "ruff --version")
        ruff = tools.get("ruff")
        table = ruff if isinstance(ruff, Mapping) else {}
        dotted = b"[format]" in files.get("ruff.toml", b"") + files.get(".ruff.toml", b"")
        if "format" in table or dotted:
            yield Check("format", "ruff", "ruff format --no-cache --check .", "ruff --version")
    if "flake8" in parts or ".flake8" in files:
        yield _module("lint", "flake8", "flake8")
    if "black" in tools:
        yield _module("format", "black", "black --check --quiet .", verbose="black --check .")
    if "mypy" in tools or "mypy" in parts or {"mypy.ini", ".mypy.ini"} & files.keys():
        yield _module("types", "mypy", f"mypy --no-incremental{_mypy_files(files, tools)}")
    if "pyright" in tools or "pyrightconfig.json" in files:
        yield Check("types", "pyright", "pyright", "pyright --version")


def _module(kind: Kind, tool: str, command: str, *, verbose: str = "") -> Check:
    return Check(kind, tool, f"python3 -m {verbose or command}", f"python3 -m {tool} --version")


def _mypy_files(files: Mapping[str, bytes], tools: Mapping[str, object]) -> str:
    """Return what mypy is to look at: what its settings say, else everything."""
    table = tools.get("mypy")
    own = table.keys() if isinstance(table, Mapping) else ()
    texts = b"\n".join(files.get(name, b"") for name in ("mypy.ini", ".mypy.ini", "setup.cfg"))
    listed = re.search(rb"^(?:files|packages|modules)\s*=", texts, re.MULTILINE)
    return "" if listed or {"files", "packages", "modules"} & set(own) else " ."


def _tool_tables(files: Mapping[str, bytes]) -> Mapping[str, object]:
    try:
        tool = tomllib.loads(files.get("pyproject.toml", b"").decode("utf-8", "replace"))["tool"]
    except (tomllib.TOMLDecodeError, RecursionError, KeyError):
        return {}
    return tool if isinstance(tool, dict) else {}


def _sections(files: Mapping[str, bytes]) -> set[str]:
    texts = b"\n".join(files.get(name, b"") for name in ("setup.cfg", "tox.ini"))
    return {one.decode() for one in re.findall(rb"^\[(flake8|mypy)\]", texts, re.MULTILINE)}


def _node(files: Mapping[str, bytes]) -> Iterator[Check]:
    scripts: object = {}
    with contextlib.suppress(ValueError, KeyError, TypeError, RecursionError):
        scripts = json.loads(files.get("package.json", b""))["scripts"]
    kinds: set[Kind] = set()
    for name, script in scripts.items() if isinstance(scripts, dict) else ():
        kind = SCRIPTS.get(name)
        if kind is None or CHANGES_FILES.search(str(script)) or kind in kinds:
            continue
        kinds.add(kind)
        yield Check(
            kind, "npm", f"npm run --silent {name}", "test -d node_modules && command -v npm"
        )
    if "types" not in kinds and "tsconfig.json" in files:
        yield Check("types", "tsc", "tsc --noEmit --pretty false", "tsc --version")


def _go(files: Mapping[str, bytes]) -> Iterator[Check]:
    if "go.mod" in files:
        # gofmt names files and ends with 0 all the same.
        yield Check(
            "format",
            "gofmt",
            'found=$(gofmt -l .); echo "$found"; test -z "$found"',
            "command -v gofmt",
        )
        yield Check("lint", "vet", "go vet ./...", "command -v go")


def _cargo(files: Mapping[str, bytes]) -> Iterator[Check]:
    if "Cargo.toml" in files:
        yield Check("format", "rustfmt", "cargo fmt --check", "cargo fmt --version")
        yield Check(
            "lint",
            "clippy",
            "cargo clippy --offline --quiet --message-format short -- -D warnings",
            "cargo clippy --version",
        )
