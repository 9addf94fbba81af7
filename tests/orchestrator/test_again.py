"""Commands that hints name, with the places that were named."""

from __future__ import annotations

import pytest

from orchestrator.cli.again import placed

NAMED = {"state": "/a b", "repo": "r", "config": "c.yaml"}


@pytest.mark.parametrize(
    ("hint", "expected"),
    [
        (
            "go on with: orchestrate issue 1 --limit-turns 6",
            "go on with: orchestrate issue 1 --limit-turns 6 --repo r --state '/a b' --config c.yaml",
        ),
        (
            "orchestrate runs resume 1-2 --take-over",
            "orchestrate runs resume 1-2 --take-over --repo r --state '/a b' --config c.yaml",
        ),
        ("see: orchestrate runs show 1-2", "see: orchestrate runs show 1-2 --state '/a b'"),
        ("orchestrate batch resume 2026", "orchestrate batch resume 2026 --state '/a b'"),
        ("`orchestrate runs gc` removes it", "`orchestrate runs gc` removes it"),
        ("free some space, or choose another folder with --state", ""),
        ("orchestrate doctor", "orchestrate doctor"),
        ("", ""),
    ],
)
def test_a_command_looks_where_this_one_did(hint: str, expected: str) -> None:
    """Elsewhere the same words would begin another run, which is paid for anew."""
    assert placed(hint, NAMED) == (expected or hint)
    assert placed(hint, {}) == hint
