"""An image that an agent reads reaches the service as the Messages API wants it."""

from __future__ import annotations

import base64
import io
import json
from pathlib import Path

import pytest
from PIL import Image

from orchestrator.events import ToolsReturned
from orchestrator.testing import says
from tests.runs.conftest import git
from tests.runs.stage import MEND, Stage

pytestmark = pytest.mark.asyncio


async def test_an_image_is_in_the_next_request(shop: Path, state: Path) -> None:
    """What Read shows of a picture is an image block in the tool's result, in every later request."""
    buffer = io.BytesIO()
    Image.linear_gradient("L").resize((3000, 300)).save(buffer, "PNG")
    (shop / "screen.png").write_bytes(buffer.getvalue())
    git(shop, "add", "screen.png")
    git(shop, "commit", "--quiet", "-m", "a picture")
    stage = Stage(shop, state)
    read = ("Read", {"file_path": "screen.png"})
    outcome = await stage.play(says("I look.", read), says("I mend it.", MEND), says("Mended."))
    assert outcome.status == "done"
    first = stage.all(ToolsReturned)[0]
    (result,) = [b for b in json.loads(first.message)["content"] if b["type"] == "tool_result"]
    text, image = result["content"]
    assert text["text"].startswith("(screen.png: image/png, 3000 x 300, shown as image/png")
    assert image["source"].keys() == {"type", "media_type", "data"}
    assert (image["source"]["type"], image["source"]["media_type"]) == ("base64", "image/png")
    picture = Image.open(io.BytesIO(base64.b64decode(image["source"]["data"])))
    assert picture.size == (1568, 157)
    sent = [json.loads(request.body())["messages"] for request in stage.model.requests]
    assert len(sent) == 3
    for messages in sent[1:]:
        blocks = [block for message in messages for block in message["content"]]
        (again,) = [
            block["content"][1]
            for block in blocks
            if block["type"] == "tool_result" and isinstance(block["content"], list)
        ]
        assert again == image
