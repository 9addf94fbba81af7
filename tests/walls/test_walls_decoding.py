"""Images, PDFs and notebooks are decoded inside the walls, by what the host shows and no more."""

from __future__ import annotations

import base64
import io
import json
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from orchestrator import open_toolbox
from orchestrator_tools.contract import ToolResult
from tests.walls.conftest import OpenHere, OpenRepository
from tests.walls.inside import done, sh

PDF = b"""%PDF-1.4
1 0 obj
<< /Type /Catalog /Pages 2 0 R >>
endobj
2 0 obj
<< /Type /Pages /Count 1 /Kids [3 0 R] >>
endobj
3 0 obj
<< /Type /Page /Parent 2 0 R /MediaBox [0 0 300 300] /Contents 4 0 R
/Resources << /Font << /F1 << /Type /Font /Subtype /Type1 /BaseFont /Helvetica >> >> >> >>
endobj
4 0 obj
<< /Length 74 >>
stream
BT /F1 12 Tf 20 200 Td (Words that stand on the only page of this file) Tj ET
endstream
endobj
trailer
<< /Root 1 0 R >>
"""


def an_image(kind: str, size: tuple[int, int], mode: str = "RGB") -> bytes:
    buffer = io.BytesIO()
    Image.linear_gradient("L").resize(size).convert(mode).save(buffer, kind)
    return buffer.getvalue()


def pictures(result: ToolResult) -> list[Image.Image]:
    """Return the images of a result, decoded."""
    assert not result.is_error, result.text
    found: list[Image.Image] = []
    for block in result.content:
        if block["type"] == "image":
            found.append(Image.open(io.BytesIO(base64.b64decode(block["source"]["data"]))))
            found[-1].load()
    return found


@pytest.mark.asyncio
async def test_an_image_is_scaled_inside(work: Path, open_here: OpenHere) -> None:
    """A large image comes out scaled, a small one as it is, and the tools go on working."""
    (work / "large.jpg").write_bytes(an_image("JPEG", (4000, 2000)))
    (work / "small.webp").write_bytes(an_image("WEBP", (40, 20)))
    async with open_here() as toolbox:
        (large,) = pictures(await toolbox.call("Read", {"file_path": "large.jpg"}))
        assert large.size == (1568, 784)
        (small,) = pictures(await toolbox.call("Read", {"file_path": "/workspace/small.webp"}))
        assert (small.size, small.format) == ((40, 20), "WEBP")
        assert await done(toolbox, "echo fine") == "fine"


@pytest.mark.asyncio
async def test_a_pdf_is_read_inside(work: Path, open_here: OpenHere) -> None:
    """A PDF gives its words, and how a named page looks."""
    (work / "f.pdf").write_bytes(PDF)
    async with open_here() as toolbox:
        result = await toolbox.call("Read", {"file_path": "f.pdf"})
        assert "Words that stand on the only page" in result.text, result.text
        (page,) = pictures(await toolbox.call("Read", {"file_path": "f.pdf", "pages": "1"}))
        shades = page.convert("L").histogram()
        assert shades[0] and shades[255] > shades[0], "black words on white"


@pytest.mark.asyncio
async def test_a_notebook_is_read_in_a_private_copy(
    repository: Path, open_repository: OpenRepository
) -> None:
    """A workspace of a run shows the same decoder as a toolbox in place."""
    picture = base64.b64encode(an_image("JPEG", (3000, 30))).decode()
    output = {"output_type": "display_data", "data": {"image/jpeg": picture}}
    cell = {"cell_type": "code", "source": ["draw()"], "outputs": [output]}
    book = json.dumps({"cells": [cell]})
    async with open_repository() as workspace:
        await workspace.toolbox.call("Write", {"file_path": "f.ipynb", "content": book})
        result = await workspace.toolbox.call("Read", {"file_path": "f.ipynb"})
        assert "draw()" in result.text
        assert [picture.size for picture in pictures(result)] == [(1568, 16)]


@pytest.mark.asyncio
async def test_bombs_are_refused_and_the_server_lives(work: Path, open_here: OpenHere) -> None:
    """Images that would fill memory or are broken are refused; nothing is restarted for them."""
    bomb = bytearray(an_image("PNG", (9, 9)))
    bomb[16:24] = (60_000).to_bytes(4, "big") * 2
    (work / "bomb.png").write_bytes(bomb)
    (work / "large.tif").write_bytes(an_image("TIFF", (12_000, 12_000), "1"))
    (work / "broken.jpg").write_bytes(an_image("JPEG", (900, 900))[:2000])
    (work / "broken.pdf").write_bytes(PDF[:60])
    async with open_here() as toolbox:
        await done(toolbox, "sleep 600 >/dev/null 2>&1 & echo $! >/tmp/pid")
        for name, said in (
            ("bomb.png", "too large to be decoded"),
            ("large.tif", "too large to be decoded"),
            ("broken.jpg", "broken.jpg is broken"),
            ("broken.pdf", "broken.pdf is broken"),
        ):
            result = await toolbox.call("Read", {"file_path": name})
            assert result.is_error
            assert said in result.text
        await done(toolbox, "kill -0 $(cat /tmp/pid)")


@pytest.mark.asyncio
async def test_only_the_decoder_s_packages_are_shown(work: Path, open_here: OpenHere) -> None:
    """Inside are the few packages that decode, read-only, and none of the host's others."""
    async with open_here() as toolbox:
        shown = set((await done(toolbox, "ls /opt/site")).split())
        assert {"PIL", "pypdfium2", "pypdfium2_raw"} <= shown
        assert shown <= {"PIL", "pillow.libs", "pypdfium2", "pypdfium2_raw", "pypdfium2_cfg"}
        assert (await sh(toolbox, "touch /opt/site/PIL/x")).is_error
        assert (await sh(toolbox, "ls /opt/site/.. | grep -x anyio")).is_error


@pytest.mark.asyncio
async def test_images_are_decoded_without_walls_too(work: Path, state: Path) -> None:
    """Without walls the decoder runs from the host's own packages."""
    (work / "large.png").write_bytes(an_image("PNG", (3000, 30)))
    async with open_toolbox(work, state=state, sandbox_backend="none") as toolbox:
        (large,) = pictures(await toolbox.call("Read", {"file_path": "large.png"}))
        assert large.size == (1568, 16)


def test_the_host_decodes_nothing() -> None:
    """Looking up what decodes does not import it."""
    code = (
        "import sys, orchestrator.assembly.embedding, orchestrator.workspaces, orchestrator.decoders;"
        "orchestrator.decoders.decoders(maps_paths=True);"
        "print([n for n in sys.modules if n.startswith(('PIL', 'pypdfium2'))])"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout == "[]\n"
