"""Settings of the checks themselves: what of them a change edits."""

from __future__ import annotations

import configparser
import json
import re
import tomllib
from collections.abc import Iterator, Mapping
from typing import Any

from orchestrator.gates.paths import matches, name_of

TOOLS = (
    "pytest coverage ruff mypy pylint flake8 black isort pyright basedpyright bandit tox nox "
    "importlinter interrogate pydocstyle vulture mutmut pyrefly ty diff-cover pytype"
)
INI_SECTIONS = re.compile(
    r"(?i)(?:tool:)?(?:pytest|coverage|run|report|mypy|flake8|pylint|isort|pydocstyle|bandit|tox"
    r"|testenv|pycodestyle|importlinter)\b.*"
)
WHOLE = (
    ".coveragerc mypy.ini .mypy.ini .flake8 .pylintrc pylintrc ruff.toml .ruff.toml noxfile.py "
    ".eslintrc* eslint.config.* .eslintignore jest.config.* vitest.config.* vitest.workspace.* "
    ".mocharc* .nycrc* .c8rc* karma.conf.* playwright.config.* cypress.config.* biome.json* "
    ".golangci.* clippy.toml .clippy.toml codecov.y*ml .codecov.y*ml sonar-project.properties "
    "phpunit.xml* phpstan.neon* .rubocop.yml .rspec pyrightconfig.json .bandit .importlinter "
    "pytest.toml .pytest.toml sitecustomize.py usercustomize.py"
)
"""Files that are nothing but such settings."""
PARTS = ("pyproject.toml", "Cargo.toml", "setup.cfg", "tox.ini", "pytest.ini", "package.json")
STRICT = re.compile(
    r"\"(strict\w*|no[A-Z]\w+|skipLibCheck|checkJs|exclude|useUnknownInCatchVariables"
    r"|exactOptionalPropertyTypes|allowUnreachableCode|allowUnusedLabels)\""
)
PACKAGE = ("jest", "nyc", "c8", "eslintConfig", "mocha", "ava", "vitest", "tap")
SCRIPTS = re.compile(r"(?:pre|post)?(?:test|lint|types?|type-?check|check|coverage|ci)\b.*")
TSCONFIG = ("tsconfig*.json", "jsconfig*.json")
WHOLE_FILES = tuple(WHOLE.split())
SETTINGS = (*WHOLE_FILES, *PARTS, *TSCONFIG)


def is_settings(path: str) -> bool:
    """Tell whether a file may hold settings of checks."""
    return matches(name_of(path), SETTINGS)


def edited(path: str, before: str | None, now: str | None) -> Iterator[str]:
    """Yield what of the settings of checks is not what it was.

    Args:
        path: the file's.
        before: its text on the base; None where it was not there.
        now: its text; None where it is gone.
    """
    name = name_of(path)
    if matches(name, WHOLE_FILES):
        if before != now:
            yield "the settings of a check"
    elif matches(name, TSCONFIG):
        if before is not None and _strict_lines(before) != _strict_lines(now or ""):
            yield "how strict types are"
    else:
        yield from _edited_parts(name, before or "", now or "")


def _edited_parts(name: str, before: str, now: str) -> Iterator[str]:
    read = {"toml": _toml, "json": _package}.get(name.rpartition(".")[2], _ini)
    try:
        old = read(before)
    except ValueError:
        old = {}
    try:
        new = read(now)
    except ValueError:
        yield "a file that cannot be read any more"
        return
    for section in sorted({*old, *new}):
        if _softened(section, old.get(section), new.get(section)):
            yield f"[{section}]"


def _softened(section: str, old: Any, new: Any) -> bool:
    """Tell whether a section's change may be more than a stricter bar or a further marker."""
    if old == new:
        return False
    if not isinstance(old, Mapping) or not isinstance(new, Mapping):
        return True
    keys = {key for key in {*old, *new} if old.get(key) != new.get(key)}
    return any(not _is_stricter(key, old.get(key), new.get(key), section) for key in keys)


def _is_stricter(key: str, old: Any, new: Any, section: str) -> bool:
    if isinstance(old, Mapping | None) and isinstance(new, Mapping) and (old or new):
        return not _softened(section, old or {}, new)
    if key == "markers":
        return set(_listed(old)) <= set(_listed(new))
    if key in {"fail_under", "min_coverage", "fail-under"}:
        try:
            return float(new) >= float(old or 0)
        except (TypeError, ValueError):
            return False
    return False


def _listed(value: Any) -> list[str]:
    if isinstance(value, str):
        return [line.strip() for line in value.splitlines() if line.strip()]
    return [str(one) for one in value] if isinstance(value, list) else []


def _toml(text: str) -> dict[str, Any]:
    try:
        found = tomllib.loads(text)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    tool = found.get("tool")
    wanted = TOOLS.split()
    parts = {f"tool.{key}": tool[key] for key in wanted if isinstance(tool, dict) and key in tool}
    workspace = found.get("workspace")
    if "lints" in found:
        parts["lints"] = found["lints"]
    if isinstance(workspace, dict) and "lints" in workspace:
        parts["workspace.lints"] = workspace["lints"]
    return parts


def _ini(text: str) -> dict[str, Any]:
    parser = configparser.RawConfigParser(strict=False)
    try:
        parser.read_string(text)
    except configparser.Error as error:
        raise ValueError("not readable") from error
    return {
        name: dict(parser.items(name))
        for name in parser.sections()
        if INI_SECTIONS.fullmatch(name) is not None
    }


def _package(text: str) -> dict[str, Any]:
    try:
        found = json.loads(text or "{}")
    except RecursionError:
        raise ValueError("nested too deeply") from None
    if not isinstance(found, dict):
        raise ValueError("no mapping")  # noqa: TRY004 - what is read is broken, not the caller
    parts: dict[str, Any] = {key: found[key] for key in PACKAGE if key in found}
    scripts = found.get("scripts")
    if isinstance(scripts, dict):
        parts |= {f"scripts.{key}": one for key, one in scripts.items() if SCRIPTS.fullmatch(key)}
    return parts


def _strict_lines(text: str) -> set[str]:
    return {line.strip().rstrip(",") for line in text.splitlines() if STRICT.search(line)}
