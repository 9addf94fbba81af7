"""A model chooses among the first few agents, where the words alone leave it open."""

from __future__ import annotations

import json
from collections.abc import Sequence
from importlib.resources import files

import anyio
import orjson

from orchestrator.errors import ModelError
from orchestrator.limits import Ledger
from orchestrator.ports import ModelClient
from orchestrator.prices import Model
from orchestrator.records import (
    AgentDefinition,
    Issue,
    Limits,
    ModelReply,
    ModelRequest,
    RouteChoice,
)
from orchestrator.transcript import encode_head, encode_message, text_block
from orchestrator_tools.contract import ToolSpec

NONE = "none"
TOOL = "choose"
BODY_LIMIT = 8000
DESCRIPTION_LIMIT = 1000
MOST_TOKENS = 1024
PATIENCE_S = 20.0


async def ask_model(
    issue: Issue,
    agents: Sequence[AgentDefinition],
    *,
    client: ModelClient,
    model: Model,
    limit_usd: float | None,
    patience_s: float = PATIENCE_S,
) -> RouteChoice:
    """Ask a model which of some agents should have an issue; one attempt.

    Args:
        issue: quoted as data.
        agents: the likeliest, best first; the answer is one of them or ``none``.
        client: asks the model.
        model: which one.
        limit_usd: dollars that may be spent; None is no limit.
        patience_s: seconds after which no answer is waited for.

    Returns:
        What it answered, and what that cost; ``answer`` is empty where it gave none that counts.
    """
    ledger = Ledger(Limits(usd=limit_usd), model.price, max_output=model.max_output)
    if limit_usd is not None and model.price is None:
        return RouteChoice(model.id, "", f"{model.id} has no known price", agents[0].name)
    request = ModelRequest(
        model=model.id,
        max_tokens=min(MOST_TOKENS, model.max_output),
        head=head(agents),
        messages=(encode_message("user", [text_block(question(issue, agents))]),),
    )
    if ledger.reserve(request) is None:
        return RouteChoice(
            model.id, "", f"${limit_usd:g} do not pay for the question", agents[0].name
        )
    reply: ModelReply | None = None
    why, cost = f"no answer within {patience_s:g} s", ledger.input_usd(request)
    with anyio.move_on_after(patience_s):
        try:
            reply = await client.reply(request)
        except ModelError as error:
            why, cost = str(error), cost if error.started else 0.0
    if reply is None:
        return RouteChoice(model.id, "", why, agents[0].name, cost_usd=cost)
    answer = answered(reply, agents)
    why = "" if answer else "its answer was none of those asked for"
    return RouteChoice(
        model.id, answer, why, agents[0].name, usage=reply.usage, cost_usd=ledger.cost(reply.usage)
    )


def head(agents: Sequence[AgentDefinition]) -> bytes:
    """Encode what the model is told, and that it has to answer with a name."""
    schema = {
        "type": "object",
        "properties": {
            "specialist": {"type": "string", "enum": [*(one.name for one in agents), NONE]}
        },
        "required": ["specialist"],
        "additionalProperties": False,
    }
    spec = ToolSpec(
        name=TOOL, description="Say who works on the issue.", input_schema=schema, effect="none"
    )
    told = files("orchestrator.routing").joinpath("choose.md").read_text(encoding="utf-8")
    forced = orjson.dumps({"type": "tool", "name": TOOL})
    return encode_head(told.strip(), [spec]) + b',"tool_choice":' + forced


def question(issue: Issue, agents: Sequence[AgentDefinition]) -> str:
    """Return specialists and issue as JSON, so that no text of the issue ends the quotation."""
    listed = [
        {"name": one.name, "description": one.description[:DESCRIPTION_LIMIT]} for one in agents
    ]
    asked = {
        "title": issue.title,
        "labels": list(issue.labels[:20]),
        "body": issue.body[:BODY_LIMIT],
    }
    return json.dumps({"specialists": listed, "issue": asked}, indent=1)


def answered(reply: ModelReply, agents: Sequence[AgentDefinition]) -> str:
    """Return the name that a reply chooses; empty where it is not exactly one of those allowed."""
    calls = [block for block in reply.blocks if block.get("type") == "tool_use"]
    if len(calls) != 1 or calls[0].get("id") in reply.broken_calls or calls[0].get("name") != TOOL:
        return ""
    given = calls[0].get("input")
    name = given.get("specialist") if isinstance(given, dict) and len(given) == 1 else None
    allowed = {*(one.name for one in agents), NONE}
    return name if isinstance(name, str) and name in allowed else ""
