"""Agent files as people publish them, read as was expected of each by hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from orchestrator.definitions.definition import check

PROJECT = Path(__file__).parents[2]
CORPUS = PROJECT.parent / "shared" / "corpus" / "agents"


def test_published_files_are_read_as_expected() -> None:
    """Status, name, description, tools and model of every collected file are those expected."""
    if not (CORPUS / "expected.json").is_file():
        pytest.skip("NOT TESTED: the collected agent files are not beside this project")
    expected = json.loads((CORPUS / "expected.json").read_bytes())
    assert expected
    wrong = {}
    for row in expected:
        wanted = {key: row[key] for key in ("status", "name", "description", "tools", "model")}
        got = told(CORPUS / row["file"])
        if got != wanted:
            wrong[row["file"]] = {
                key: (got[key], wanted[key]) for key in wanted if got[key] != wanted[key]
            }
    assert wrong == {}


def told(path: Path) -> dict[str, Any]:
    """Return what is expected of, as it is."""
    one = check(path.read_bytes(), str(path))
    agent = one.definition
    if agent is None:
        return {
            "status": one.status,
            "name": None,
            "description": None,
            "tools": None,
            "model": None,
        }
    models = list(one.models)
    return {
        "status": one.status,
        "name": agent.name,
        "description": agent.description,
        "tools": None if agent.tools is None else list(agent.tools),
        "model": models if len(models) > 1 else (models[0] if models else None),
    }
