"""Issues listed in files: what is read, and what is refused."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.errors import ConfigError, OrchestratorError
from orchestrator.records import Issue
from orchestrator.routing.listed import listed_issues


def test_one_and_many_of_yaml_and_json() -> None:
    """One issue or a list, in YAML or JSON, come out the same."""
    expected = Issue(key="7", title="A", body="B", labels=("x", "y"), assignees=("ada",))
    item = {
        "id": 7,
        "title": "A",
        "body": "B",
        "labels": ["x", "y"],
        "assignee": "ada",
        "kind": "z",
    }
    assert listed_issues(json.dumps(item).encode(), "i.json") == [expected]
    assert listed_issues(json.dumps([item, item]).encode(), "i.json") == [expected, expected]
    text = b"id: 7\ntitle: A\nbody: B\nlabels: [x, y]\nassignee: ada\n"
    assert listed_issues(text, "i.yaml") == [expected]
    listed = b"- " + text.replace(b"\n", b"\n  ")
    assert listed_issues(listed, "i.yaml") == [expected]


def test_a_trackers_own_objects() -> None:
    """Labels and assignees as trackers export them are told by their names."""
    item = {
        "number": 3,
        "title": "A",
        "labels": [{"name": "bug", "color": "f00"}],
        "assignees": [{"login": "ada", "id": 1}],
        "body": None,
    }
    (issue,) = listed_issues(json.dumps(item).encode(), "i.json")
    assert (issue.key, issue.labels, issue.assignees, issue.body) == ("3", ("bug",), ("ada",), "")


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "issue 1 is no mapping"),
        (b"just words", "issue 1 is no mapping"),
        (b"[1, 2]", "issue 1 is no mapping"),
        (b"- id: 1", "neither title nor body"),
        (b"title: [a]", "title is no text"),
        (b"{title: a, labels: {b: c}}", "labels is no list"),
        (b"{title: a, labels: [[b]]}", "labels holds what is no name"),
        (b"{title: a", "neither YAML nor JSON"),
        (b"title: \xff", "not UTF-8"),
        (b"a: &x [1]\nb: *x\ntitle: c", "aliases are not allowed"),
        (b"[" * 5000, "nested deeper"),
        (b"title: !!python/object/apply:os.system [id]", "neither YAML nor JSON"),
        (b"title: a\x00b", "neither YAML nor JSON"),
    ],
)
def test_what_is_no_list_of_issues_is_refused(data: bytes, said: str) -> None:
    """What cannot be read is refused, and the error says what and in which file."""
    with pytest.raises(ConfigError, match=said) as caught:
        listed_issues(data, "mine.yaml")
    assert "mine.yaml" in str(caught.value)


@given(
    st.binary(max_size=200) | st.text(alphabet="-:[]{}#&*!|>'\"ab \n", max_size=80).map(str.encode)
)
def test_any_bytes(data: bytes) -> None:
    """Any bytes give issues or an error of ours."""
    try:
        found = listed_issues(data, "x")
    except OrchestratorError:
        return
    assert all(one.title or one.body for one in found)
