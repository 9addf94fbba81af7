"""Images, PDFs and notebooks, made in the tests that read them."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from typing import Any

from PIL import Image

Size = tuple[int, int]


def an_image(kind: str, size: Size = (60, 40), mode: str = "RGB", **settings: Any) -> bytes:
    """Return an image file with a gradient in it."""
    picture = Image.linear_gradient("L").resize(size).convert(mode)
    return written(picture, kind, **settings)


def noise(kind: str, size: Size, **settings: Any) -> bytes:
    """Return an image file that does not compress."""
    return written(Image.effect_noise(size, 120).convert("RGB"), kind, **settings)


def written(picture: Image.Image, kind: str, **settings: Any) -> bytes:
    """Return the file of a picture."""
    buffer = io.BytesIO()
    picture.save(buffer, kind, **settings)
    return buffer.getvalue()


def a_pdf(pages: Sequence[str], *, size: Size = (300, 400), trailer: str = "") -> bytes:
    """Return a PDF with one line of text a page; an empty text makes an empty page."""
    objects = [
        "<< /Type /Catalog /Pages 2 0 R >>",
        "<< /Type /Pages /Count {} /Kids [{}] >>".format(
            len(pages), " ".join(f"{4 + 2 * n} 0 R" for n in range(len(pages)))
        ),
        "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
    ]
    for number, text in enumerate(pages):
        draw = f"BT /F1 12 Tf 20 200 Td ({text}) Tj ET" if text else ""
        objects.append(
            f"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 {size[0]} {size[1]}] "
            f"/Resources << /Font << /F1 3 0 R >> >> /Contents {5 + 2 * number} 0 R >>"
        )
        objects.append(f"<< /Length {len(draw)} >>\nstream\n{draw}\nendstream")
    return assembled([one.encode() for one in objects], trailer)


def assembled(objects: Sequence[bytes], trailer: str = "") -> bytes:
    """Return a PDF of numbered objects; the first is its catalogue."""
    data = b"%PDF-1.4\n"
    places = []
    for number, one in enumerate(objects, 1):
        places.append(len(data))
        data += b"%d 0 obj\n%b\nendobj\n" % (number, one)
    start = len(data)
    data += b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1)
    data += b"".join(b"%010d 00000 n \n" % place for place in places)
    ending = f"trailer\n<< /Size {len(objects) + 1} /Root 1 0 R {trailer} >>\n"
    return data + ending.encode() + b"startxref\n%d\n%%%%EOF\n" % start


def an_encrypted_pdf() -> bytes:
    """Return a PDF that asks for a password."""
    secret = "00" * 32
    encrypt = f"/Encrypt << /Filter /Standard /V 1 /R 2 /O <{secret}> /U <{secret}> /P -4 >>"
    return a_pdf(["secret"], trailer=f"{encrypt} /ID [<00><00>]")


def a_slow_pdf() -> bytes:
    """Return a PDF of a few kilobytes that would take hours to draw: forms within forms."""
    levels, width = 9, 30
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Count 1 /Kids [3 0 R] >>",
        (
            b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 300 300] "
            b"/Resources << /XObject << /X 5 0 R >> >> /Contents 4 0 R >>"
        ),
        b"<< /Length 5 >>\nstream\n/X Do\nendstream",
    ]
    for level in range(levels):
        draw = b"/X Do\n" * width if level < levels - 1 else b"0 0 300 300 re f\n" * width
        objects.append(
            b"<< /Type /XObject /Subtype /Form /BBox [0 0 300 300] /Length %d "
            b"/Resources << /XObject << /X %d 0 R >> >> >>\nstream\n%b\nendstream"
            % (len(draw), 6 + level, draw)
        )
    objects.append(b"<< >>")
    return assembled(objects)


def a_cell(kind: str, source: str, *outputs: dict[str, Any], run: int | None = None) -> Any:
    """Return a cell of a notebook."""
    lines = source.splitlines(keepends=True)
    cell: dict[str, Any] = {"cell_type": kind, "metadata": {}, "source": lines}
    if kind == "code":
        cell |= {"execution_count": run, "outputs": list(outputs)}
    return cell


def a_notebook(*cells: Any) -> bytes:
    """Return a notebook file."""
    book = {"cells": list(cells), "metadata": {}, "nbformat": 4, "nbformat_minor": 5}
    return json.dumps(book, indent=1).encode()
