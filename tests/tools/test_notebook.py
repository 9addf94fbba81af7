"""Notebooks: cells with their outputs and pictures, in bounds."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator_tools import notebook, read
from orchestrator_tools.contract import ToolResult
from orchestrator_tools.errors import ToolError
from orchestrator_tools.output import (
    CELL_OUTPUT,
    NOTEBOOK_BYTES,
    NOTEBOOK_IMAGES,
    READ_LIMIT,
)
from orchestrator_tools.place import Place
from tests.tools.papers import a_cell, a_notebook, an_image
from tests.tools.test_images import decoder, look

__all__ = ["decoder"]


def stream(text: str) -> dict[str, Any]:
    return {"output_type": "stream", "name": "stdout", "text": text.splitlines(keepends=True)}


def picture(data: bytes, media: str = "image/png") -> dict[str, Any]:
    bundle = {media: base64.b64encode(data).decode(), "text/plain": ["<Figure>"]}
    return {"output_type": "display_data", "data": bundle, "metadata": {}}


def test_shows_cells_and_outputs(place: Place, work: Path) -> None:
    """Cells come by number and kind, with what they printed, returned or raised, without colours."""
    failed = {
        "output_type": "error",
        "ename": "E",
        "evalue": "no",
        "traceback": ["\x1b[0;31mE\x1b[0m: no"],
    }
    returned = {"output_type": "execute_result", "data": {"text/plain": ["4"]}, "metadata": {}}
    book = a_notebook(
        a_cell("markdown", "# Title\ntext"),
        a_cell("code", "print(1)\n2 + 2", stream("1\n"), returned, run=7),
        a_cell("code", "fail()", failed),
    )
    (work / "f.ipynb").write_bytes(book)
    assert look(place, "f.ipynb").text == (
        "--- cell 1, markdown ---\n# Title\ntext\n"
        "--- cell 2, code, run 7 ---\nprint(1)\n2 + 2\n--- output of cell 2 ---\n1\n4\n"
        "--- cell 3, code ---\nfail()\n--- output of cell 3 ---\nE: no\n"
        f"{notebook.NOTE}"
    )


def test_shows_pictures_between_the_texts(place: Place, work: Path) -> None:
    """A picture stands after its cell; one that is too large is scaled."""
    small, large = an_image("PNG"), an_image("JPEG", (3000, 30))
    book = a_notebook(
        a_cell("code", "a()", picture(small)),
        a_cell("code", "b()", picture(large, "image/jpeg")),
    )
    (work / "f.ipynb").write_bytes(book)
    result = look(place, "f.ipynb")
    assert [block["type"] for block in result.content] == ["text", "image", "text", "image", "text"]
    assert base64.b64decode(result.content[1]["source"]["data"]) == small
    assert "(the image/png of cell 1: image/png, 60 x 40)" in result.content[0]["text"]
    assert "3000 x 30, shown as image/jpeg, 1568 x 16" in result.content[2]["text"]


def test_says_what_picture_cannot_be_shown(place: Place, work: Path) -> None:
    """A picture that is broken, or none, is named in its place, and the rest is shown."""
    broken = picture(an_image("JPEG")[:300], "image/jpeg")
    none = picture(b"not a picture")
    (work / "f.ipynb").write_bytes(a_notebook(a_cell("code", "x", broken, none)))
    result = look(place, "f.ipynb")
    assert (
        "(the image/jpeg of cell 1 cannot be shown: the image/jpeg of cell 1 is broken"
        in result.text
    )
    assert "(the image/png of cell 1 cannot be shown: " in result.text
    assert [block["type"] for block in result.content] == ["text"]


def test_bounds_the_pictures(place: Place, work: Path) -> None:
    """So many pictures are shown and no more; the others are named."""
    outputs = [picture(an_image("PNG")) for _ in range(NOTEBOOK_IMAGES + 2)]
    (work / "f.ipynb").write_bytes(a_notebook(a_cell("code", "x", *outputs)))
    result = look(place, "f.ipynb")
    assert sum(block["type"] == "image" for block in result.content) == NOTEBOOK_IMAGES
    assert result.text.count("is not shown: the answer holds enough images") == 2


def test_bounds_one_output(place: Place, work: Path) -> None:
    """A long output keeps its head and its tail."""
    text = "".join(f"{n}\n" for n in range(10_000))
    (work / "f.ipynb").write_bytes(a_notebook(a_cell("code", "x", stream(text))))
    shown = look(place, "f.ipynb").text
    assert len(shown) < CELL_OUTPUT + 400
    assert "\n0\n1\n" in shown and "\n9999\n" in shown and "characters left out" in shown


def read_cells(place: Place, offset: int | None = None, limit: int | None = None) -> ToolResult:
    return read.run(read.Arguments(file_path="f.ipynb", offset=offset, limit=limit), place)


def test_offset_and_limit_count_cells(place: Place, work: Path) -> None:
    """A page of cells names the next one."""
    (work / "f.ipynb").write_bytes(a_notebook(*(a_cell("raw", f"<{n}>") for n in range(1, 10))))
    result = read_cells(place, 3, 2)
    assert "<3>" in result.text and "<4>" in result.text
    assert "<2>" not in result.text and "<5>" not in result.text
    assert result.text.endswith("(cells 3-4 of 9; go on with offset=5, limit=2)")
    with pytest.raises(ToolError, match=r"f.ipynb has 9 cells; offset 10 is past its end"):
        read_cells(place, 10)


@settings(deadline=None, max_examples=25)
@given(lengths=st.lists(st.sampled_from([1, 500, 1900, 30_000, 90_000]), min_size=1, max_size=12))
def test_pages_cover_the_notebook(new_place: Callable[[], Place], lengths: list[int]) -> None:
    """Following the offsets shows every cell once, in answers that keep to the limit."""
    place = new_place()
    cells = [a_cell("raw", ("x" * 99 + "\n") * (length // 100 + 1)) for length in lengths]
    Path(place.workspace, "f.ipynb").write_bytes(a_notebook(*cells))
    shown = 0
    while shown < len(cells):
        result = read_cells(place, shown + 1)
        assert len(result.text) < READ_LIMIT + 500
        assert result.text.startswith(f"--- cell {shown + 1}, raw ---")
        shown += result.details["shown"]
        assert result.truncated == (shown < len(cells))


@pytest.mark.parametrize(
    "data",
    [b"", b"{}", b"[1]", b'{"cells": 3}', b'{"cells": [3]}', b"plain\n", b"[" * 100_000, b"\xff"],
    ids=lambda data: ascii(data[:12]),
)
def test_what_is_no_notebook_is_text(place: Place, work: Path, data: bytes) -> None:
    """A file that only has the name of a notebook is shown as the text that it is."""
    (work / "f.ipynb").write_bytes(data)
    text = look(place, "f.ipynb").text
    assert text.startswith("1\t") if data else text == "(f.ipynb is empty)"


def test_a_notebook_without_cells(place: Place, work: Path) -> None:
    """An empty notebook is said to be one."""
    (work / "f.ipynb").write_bytes(a_notebook())
    assert look(place, "f.ipynb").text == "(f.ipynb is a notebook without cells)"


def test_a_notebook_too_large_is_text(place: Place, work: Path) -> None:
    """A notebook that would take too much memory is paged as text."""
    cell = a_cell("raw", "x" * NOTEBOOK_BYTES)
    (work / "f.ipynb").write_bytes(a_notebook(cell))
    assert look(place, "f.ipynb").text.startswith("1\t{")


JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(
        st.sampled_from(["cell_type", "source", "outputs", "data", "text", "text/plain",
                         "image/png", "traceback", "output_type", "execution_count"]),
        inner, max_size=5,
    ),
    max_leaves=20,
)  # fmt: skip


@settings(deadline=None, max_examples=150)
@given(
    cells=st.lists(
        st.dictionaries(st.sampled_from(["cell_type", "source", "outputs"]), JUNK), max_size=4
    )
)
def test_any_cells_are_shown(new_place: Callable[[], Place], cells: list[Any]) -> None:
    """Whatever stands in a notebook's cells, there is an answer."""
    place = new_place()
    Path(place.workspace, "f.ipynb").write_text(json.dumps({"cells": cells}))
    assert look(place, "f.ipynb").details["cells"] == len(cells)
