"""Every request that we make in GraphQL fits what GitHub and Linear publish of theirs."""

from __future__ import annotations

import asyncio
import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from orchestrator.hosts.linearnotes import LinearNotes
from tests.builders import an_outcome
from tests.contracts import test_code_host
from tests.contracts.test_code_host import WISH
from tests.forges.prism import installed
from tests.forges.server import Loopback
from tests.forges.stages import on_stage

pytestmark = pytest.mark.asyncio

SCRIPT = Path(__file__).parents[1] / "forges" / "queries.mjs"
PACKAGES = {"github": "@octokit/graphql-schema", "linear": "@linear/sdk"}


async def objections(kind: str, asked: list[Any]) -> list[str]:
    """Return what the published schema has against requests."""
    folder = installed()
    modules = (folder or Path("/nonexistent")) / "node_modules"
    if folder is None or not all((modules / one).is_dir() for one in ("graphql", PACKAGES[kind])):
        pytest.skip(f"NOT TESTED: {PACKAGES[kind]} and graphql are not installed (make prism)")
    node = shutil.which("node")
    assert node is not None
    process = await asyncio.create_subprocess_exec(
        *(node, str(SCRIPT), str(folder), kind), stdin=-1, stdout=-1, stderr=-1
    )
    out, errors = await asyncio.wait_for(process.communicate(json.dumps(asked).encode()), 120)
    assert process.returncode == 0, errors.decode()[-2000:]
    found: list[str] = json.loads(out)
    return found


def in_graphql(server: Loopback) -> list[Any]:
    """Return what was asked in GraphQL, each query once."""
    sent = [one.body for one in server.asked if one.path == "/graphql"]
    return list({f"{one['query']}{sorted(one['variables'])}": one for one in sent}.values())


async def test_our_queries_of_github_fit() -> None:
    """Who we are, threads of a review, and drafts."""
    async with test_code_host.on_stage("github") as (host, service, server):
        made = await host.open(WISH)
        test_code_host.said_on_lines("github", service, int(made.number))
        await host.feedback(made)
        for draft in (False, True):
            made = await host.amend(made, replace(WISH, draft=draft))
        asked = in_graphql(server)
        assert len(asked) == 4
        assert await objections("github", asked) == []


async def test_our_queries_of_linear_fit(tmp_path: Path) -> None:
    """Issues, what waits and what is solved, comments, notes and states."""
    async with on_stage("linear", tmp_path) as stage:
        stage.put(3)
        stage.put(7, labels=["ready"], assignee="ada", blockers=[3])
        stage.say(7, "ada", "mind the cents")
        tracker, board = stage.tracker, LinearNotes(stage.tracker._its)
        issue = await tracker.fetch("7")
        await tracker.candidates(["ready", "shop"], 5)
        await tracker.solved(5)
        await tracker.report(issue, an_outcome())
        await tracker.move(issue, "working")
        for text in ("one", "two"):
            await board.note("7", "claim/7-aaaa", text)
        await tracker._its.is_ours({})
        assert stage.server is not None
        asked = in_graphql(stage.server)
        assert len(asked) == 9
        assert await objections("linear", asked) == []


@pytest.mark.parametrize("kind", list(PACKAGES))
async def test_a_wrong_query_is_seen(kind: str) -> None:
    """Prove that the schemas object to a field, an argument and a value that there is not."""
    wrong: list[dict[str, Any]] = [
        {"query": "query { viewer { shoeSize } }", "variables": {}},
        {"query": "query { viewer(tall: true) { id } }", "variables": {}},
        {"query": "query($x: Nothing) { viewer { id } }", "variables": {}},
    ]
    if kind == "linear":
        query = "mutation($i: IssueUpdateInput!) { issueUpdate(id: 1, input: $i) { success } }"
        wrong.append({"query": query.replace("1", '"1"'), "variables": {"i": {"state": "Done"}}})
    else:
        query = "mutation($i: AddCommentInput!) { addComment(input: $i) { clientMutationId } }"
        wrong.append({"query": query, "variables": {"i": {"text": "x"}}})
    found = await objections(kind, wrong)
    assert all(any(one["query"][:60] in said for said in found) for one in wrong), found
