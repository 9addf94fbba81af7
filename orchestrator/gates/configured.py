"""Which changed files are settings of tools: those are taken from the base when gates run."""

from __future__ import annotations

import configparser
import fnmatch
import json
import re
import tomllib
from collections.abc import Callable, Mapping
from pathlib import PurePosixPath

from orchestrator.ports import Change

WHOLE = (
    "pytest.ini",
    ".pytest.ini",
    "pytest.toml",
    ".pytest.toml",
    "tox.ini",
    "noxfile.py",
    ".coveragerc",
    "ruff.toml",
    ".ruff.toml",
    "mypy.ini",
    ".mypy.ini",
    ".flake8",
    ".pylintrc",
    "pylintrc",
    ".isort.cfg",
    "pyrightconfig.json",
    "eslint.config.*",
    ".eslintrc*",
    ".eslintignore",
    ".prettierrc*",
    "prettier.config.*",
    ".prettierignore",
    "biome.json*",
    "tsconfig*.json",
    "jest.config.*",
    "vitest.config.*",
    "vitest.workspace.*",
    ".mocharc.*",
    "karma.conf.*",
    ".nycrc*",
    ".c8rc*",
    ".golangci.*",
    "rustfmt.toml",
    ".rustfmt.toml",
    "clippy.toml",
    ".clippy.toml",
)
"""Files that hold nothing but settings of tools, at any depth."""

BUILDERS = {
    "bumpversion",
    "commitizen",
    "flit",
    "hatch",
    "maturin",
    "pdm",
    "poetry",
    "scikit-build",
    "setuptools",
    "setuptools_scm",
    "towncrier",
    "uv",
}
"""Tables of ``[tool]`` that say how a project is built, not how it is judged."""

PACKAGE_PARTS = (
    "scripts",
    "jest",
    "vitest",
    "mocha",
    "ava",
    "nyc",
    "c8",
    "eslintConfig",
    "eslintIgnore",
    "prettier",
)
OF_THE_BUILD = re.compile(r"metadata|options|egg_info|bdist|sdist|build|global|aliases|upload")
RUNNERS = {
    "make": ("Makefile", "makefile", "GNUmakefile"),
    "just": ("justfile", "Justfile", ".justfile"),
    "task": ("Taskfile.yml", "Taskfile.yaml"),
}
"""Programs that a command names, and the files that tell them what to do."""
WORD = re.compile(r"[\w./-]+")


async def settings_of_base(change: Change, command: str) -> tuple[str, ...]:
    """Return the changed files that have to be as on the base while a command judges the change.

    Args:
        change: what is judged.
        command: the command; scripts that it names are settings too.
    """
    paths = [one.path for one in await change.changes()]
    parted = {path: _part_of(path) for path in paths}
    compared = [path for path, part in parted.items() if part is not None]
    before, after = await change.read_base(*compared), await change.read(*compared)
    taken = [path for path in paths if _whole(path) or _named(path, command)]
    for path in compared:
        part = parted[path]
        if part is not None and not _same(part, before.get(path), after.get(path)):
            taken.append(path)
    return tuple(dict.fromkeys(taken))


def told_of(taken: tuple[str, ...]) -> str:
    """Say which files were taken from the base; empty where none was."""
    if not taken:
        return ""
    named = ", ".join(taken[:3]) + (f" and {len(taken) - 3} more" if len(taken) > 3 else "")
    return f"; taken from the base: {named}"


def _whole(path: str) -> bool:
    name = PurePosixPath(path).name
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in WHOLE)


def _named(path: str, command: str) -> bool:
    """Tell whether a command runs a changed file, or a program that does what the file says."""
    words = {word.removeprefix("./") for word in WORD.findall(command)}
    programs = {word.rpartition("/")[2] for word in words}
    if any(path in files for program, files in RUNNERS.items() if program in programs):
        return True
    return path in words and PurePosixPath(path).suffix in {"", ".sh", ".bash", ".mk"}


Part = Callable[[bytes], object]


def _part_of(path: str) -> Part | None:
    return PARTS.get(PurePosixPath(path).name)


def _same(part: Part, before: bytes | None, after: bytes | None) -> bool:
    """Tell whether two versions of a file set tools up alike; what cannot be read does not."""
    try:
        return part(before or b"") == part(after or b"")
    except (ValueError, RecursionError, configparser.Error):
        return False


def _pyproject(data: bytes) -> object:
    tool = tomllib.loads(data.decode()).get("tool", {})
    if not isinstance(tool, Mapping):
        return tool
    return {name: table for name, table in tool.items() if name not in BUILDERS}


def _setup_cfg(data: bytes) -> object:
    parser = configparser.RawConfigParser()
    parser.read_string(data.decode())
    return {name: dict(section) for name, section in parser.items() if not OF_THE_BUILD.match(name)}


def _package(data: bytes) -> object:
    package = json.loads(data or b"{}")
    if not isinstance(package, dict):
        return package
    return {name: package.get(name) for name in PACKAGE_PARTS}


def _cargo(data: bytes) -> object:
    manifest = tomllib.loads(data.decode())
    workspace = manifest.get("workspace", {})
    own = [manifest.get(name) for name in ("lints", "test", "lib")]
    return [*own, workspace.get("lints") if isinstance(workspace, dict) else workspace]


PARTS: Mapping[str, Part] = {
    "pyproject.toml": _pyproject,
    "setup.cfg": _setup_cfg,
    "package.json": _package,
    "Cargo.toml": _cargo,
}
"""Files that hold settings among other things: what of them has to be as on the base."""
