"""PDFs: text of their pages, and how they look, in bounds."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from orchestrator_tools import decoding, pdf, read
from orchestrator_tools.contract import ToolResult
from orchestrator_tools.errors import ToolError
from orchestrator_tools.output import IMAGE_SIDE, PDF_PAGES, PDF_WHOLE
from orchestrator_tools.place import Place
from tests.tools import papers
from tests.tools.papers import a_pdf
from tests.tools.test_images import decoder, look

__all__ = ["decoder"]

LONG = "A line that is long enough to be worth the page that it stands on"


def pages(place: Place, wanted: str) -> ToolResult:
    return read.run(read.Arguments(file_path="f.pdf", pages=wanted), place)


def pictures(result: ToolResult) -> list[Image.Image]:
    found: list[Image.Image] = []
    for block in result.content:
        if block["type"] == "image":
            picture = Image.open(io.BytesIO(base64.b64decode(block["source"]["data"])))
            picture.load()
            found.append(picture)
    return found


def test_shows_the_text_of_a_short_pdf(place: Place, work: Path) -> None:
    """Without pages, a short PDF is its text, page by page, and no picture."""
    (work / "f.pdf").write_bytes(a_pdf([f"{LONG} {n}" for n in range(1, 4)]))
    result = look(place, "f.pdf")
    assert result.text == "\n".join(f"--- page {n} of 3 ---\n{LONG} {n}" for n in (1, 2, 3))
    assert pictures(result) == []


def test_draws_a_page_without_text(place: Place, work: Path) -> None:
    """A page of little text is drawn unasked: it may be a scan."""
    (work / "f.pdf").write_bytes(a_pdf([LONG, ""]))
    result = look(place, "f.pdf")
    assert result.text == f"--- page 1 of 2 ---\n{LONG}\n--- page 2 of 2 ---"
    assert [max(one.size) for one in pictures(result)] == [1565]


def test_draws_the_pages_that_are_named(place: Place, work: Path) -> None:
    """Pages that are named come as text and as they look, in the order given."""
    (work / "f.pdf").write_bytes(a_pdf([f"{LONG} {n}" for n in range(1, 31)]))
    result = pages(place, "3, 1-2,29-")
    assert result.details["shown"] == [3, 1, 2, 29, 30]
    drawn = pictures(result)
    assert len(drawn) == 5
    assert all(one.convert("L").histogram()[0] for one in drawn), "there is black on them"
    assert not result.truncated


def test_asks_for_the_pages_of_a_long_pdf(place: Place, work: Path) -> None:
    """A long PDF without pages answers how many there are, and how to ask."""
    (work / "f.pdf").write_bytes(a_pdf([LONG] * (PDF_WHOLE + 1)))
    said = '(f.pdf has 11 pages; name up to 20 of them, e.g. pages="1-5")'
    assert look(place, "f.pdf").text == said


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ("", "names no pages"),
        ("x", "'x' names no pages; name them like"),
        ("1;2", "names no pages"),
        ("-3", "names no pages"),
        ("0", "'0' is no range of pages"),
        ("5-3", "'5-3' is no range of pages"),
        ("1-21", "at most 20 pages"),
        ("1-15,20-30", "at most 20 pages"),
        ("1," * 5000 + "1", "at most 20 pages"),
        ("4", "f.pdf has 3 pages; there is no page 4"),
        ("2-9", "f.pdf has 3 pages; there is no page 9"),
        ("4-", "f.pdf has 3 pages; there is no page 4"),
    ],
)
def test_refuses_pages_that_are_not_there(
    place: Place, work: Path, wanted: str, message: str
) -> None:
    """Pages that are none, too many, or beyond the last are refused with what there is."""
    (work / "f.pdf").write_bytes(a_pdf([LONG] * 3))
    with pytest.raises(ToolError, match=message):
        pages(place, wanted)


@given(st.text(st.sampled_from("0123456789-, x"), max_size=12))
def test_pages_are_ranges_or_refused(given_pages: str) -> None:
    """Any text is a list of ranges of at most so many pages, or an error in words."""
    try:
        ranges = pdf.parse_pages(given_pages)
    except ToolError as error:
        ranges, said = [(1, 1)], str(error)
    else:
        said = "pages: "
    assert said.startswith("pages: ")
    assert ranges
    assert all(first >= 1 and (last == 0 or last >= first) for first, last in ranges)
    assert sum(last - first + 1 if last else 1 for first, last in ranges) <= PDF_PAGES


def test_an_open_range_of_too_many_pages_is_refused(place: Place, work: Path) -> None:
    """A range without an end is counted by the pages that there are."""
    (work / "f.pdf").write_bytes(a_pdf([LONG] * 30))
    with pytest.raises(ToolError, match="has 30 pages, of which at most 20"):
        pages(place, "1-")


def test_goes_on_where_the_answer_was_full(
    place: Place, work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An answer that is full names the pages to go on with; following it shows every page once."""
    monkeypatch.setitem(decoding.LIMITS, "characters", 3 * len(LONG))
    (work / "f.pdf").write_bytes(a_pdf([f"{LONG}"] * 8))
    seen: list[int] = []
    wanted = "1-8"
    while wanted:
        result = pages(place, wanted)
        seen += result.details["shown"]
        wanted = result.text.rpartition('pages="')[2].rstrip('")') if result.truncated else ""
    assert seen == list(range(1, 9))


def test_bounds_the_pictures_of_one_answer(
    place: Place, work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pictures beyond the bytes of one answer are left for the next."""
    monkeypatch.setitem(decoding.LIMITS, "all_bytes", 60_000)
    (work / "f.pdf").write_bytes(a_pdf([LONG] * 12))
    result = pages(place, "1-12")
    assert result.truncated
    assert 1 <= len(pictures(result)) < 12
    assert result.text.endswith('-12")')


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (papers.an_encrypted_pdf(), "f.pdf is encrypted: it cannot be read without its password"),
        (b"%PDF-1.4\n", "f.pdf is broken: it cannot be read as a PDF"),
        (b"%PDF-1.4\n" + b"\xff\0" * 5000, "f.pdf is broken: it cannot be read as a PDF"),
        (a_pdf([]), "f.pdf is broken: it cannot be read as a PDF"),
    ],
    ids=["encrypted", "empty", "noise", "no-pages"],
)
def test_refuses_what_is_no_readable_pdf(
    place: Place, work: Path, data: bytes, message: str
) -> None:
    """A PDF that is encrypted, broken or empty is refused in words."""
    (work / "f.pdf").write_bytes(data)
    with pytest.raises(ToolError, match=message):
        look(place, "f.pdf")


def test_a_pdf_that_takes_for_ever_is_given_up(
    place: Place, work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A page that would take hours to draw costs the decoder's time, and no more."""
    monkeypatch.setattr(decoding, "DECODER_SECONDS", 2)
    (work / "f.pdf").write_bytes(papers.a_slow_pdf())
    with pytest.raises(ToolError, match="took more than 2 s to decode and was given up"):
        look(place, "f.pdf")


@pytest.mark.parametrize("size", [(1, 1), (14_400, 3), (100_000, 100_000), (0, 0), (-5, 7)])
def test_a_page_of_any_size_is_drawn_in_bounds(
    place: Place, work: Path, size: tuple[int, int]
) -> None:
    """However large a page says it is, its picture is at most as large as models look at."""
    (work / "f.pdf").write_bytes(a_pdf([""], size=size))
    for one in pictures(look(place, "f.pdf")):
        assert max(one.size) <= IMAGE_SIDE


@settings(deadline=None, max_examples=12)
@given(at=st.integers(8, 900), put=st.binary(min_size=1, max_size=20))
def test_a_hurt_pdf_is_shown_or_refused(
    new_place: Callable[[], Place], at: int, put: bytes
) -> None:
    """A PDF with bytes changed anywhere gives a result or a refusal, never anything else."""
    place = new_place()
    good = a_pdf([LONG, ""])
    Path(place.workspace, "f.pdf").write_bytes(good[:at] + put + good[at + len(put) :])
    try:
        said = look(place, "f.pdf").text
    except ToolError as error:
        said = str(error)
    assert said.startswith(("--- page 1 of ", "f.pdf ", "(f.pdf has"))


def test_says_that_there_is_no_decoder(
    place: Place, work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without packages a PDF is refused with the reason."""
    monkeypatch.setenv(decoding.SITE, "")
    (work / "f.pdf").write_bytes(a_pdf([LONG]))
    with pytest.raises(ToolError, match=r"is a PDF and cannot be shown. Here is no decoder"):
        look(place, "f.pdf")
