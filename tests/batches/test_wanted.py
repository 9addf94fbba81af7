"""Which issues are asked for: lists, ranges, keys of every tracker."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.batches.wanted import MOST, keys_of
from orchestrator.errors import ConfigError, OrchestratorError


@pytest.mark.parametrize(
    ("said", "keys"),
    [
        ("1", ["1"]),
        ("1,4-6", ["1", "4", "5", "6"]),
        (" 1 , 4 - 6\n8 ", ["1", "4", "5", "6", "8"]),
        ("4..6", ["4", "5", "6"]),
        ("#4-#6,#9", ["4", "5", "6", "#9"]),
        ("3,1,3,2-3", ["3", "1", "2"]),
        ("007-009", ["007", "008", "009"]),
        ("PROJ-12", ["PROJ-12"]),
        ("PROJ-12,PROJ-14-16", ["PROJ-12", "PROJ-14", "PROJ-15", "PROJ-16"]),
        ("PROJ-8-PROJ-10", ["PROJ-8", "PROJ-9", "PROJ-10"]),
        ("ENG_2-8..10", ["ENG_2-8", "ENG_2-9", "ENG_2-10"]),
        ("acme/shop#12", ["acme/shop#12"]),
        ("https://github.com/acme/shop/issues/12", ["https://github.com/acme/shop/issues/12"]),
        ("5-5", ["5"]),
    ],
)
def test_what_is_said_is_what_is_meant(said: str, keys: list[str]) -> None:
    """Lists and ranges become keys, in their order and each once."""
    assert list(keys_of(said)) == keys


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("", "no issue is named"),
        (" , ", "no issue is named"),
        ("9-4", "runs backwards"),
        ("A-1-B-3", "different projects"),
        ("-4", "is no issue"),
        ("1-999999", "more than"),
        (",".join(str(one) for one in range(MOST + 1)), "more than"),
    ],
)
def test_what_cannot_be_meant_is_told(said: str, told: str) -> None:
    """A list that makes no sense is refused with what is wrong."""
    with pytest.raises(ConfigError, match=told):
        keys_of(said)


@given(st.text(alphabet="0123456789-.,# ABab\n/", max_size=40))
def test_no_text_breaks_it(said: str) -> None:
    """Any text gives keys or an error for the user, and never a key twice or an empty one."""
    try:
        keys = keys_of(said)
    except OrchestratorError:
        return
    assert len(set(keys)) == len(keys) <= MOST
    assert all(keys)
