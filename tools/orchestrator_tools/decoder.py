"""Decodes one image or PDF, in a process of its own inside the sandbox.

Run by ``decoding`` with an order as its argument and the file as its input; prints one JSON object.
It alone imports what is not the standard library, from a read-only folder. The file is hostile:
this process may crash, hang or grow, and is ended by limits that it sets itself before it looks.
"""

from __future__ import annotations

import base64
import io
import json
import math
import resource
import sys
import time
from typing import Any, Callable

FORMATS = ("PNG", "JPEG", "GIF", "WEBP", "BMP", "TIFF")
LITTLE_TEXT = 40
"""Characters of a page below which it is shown as an image unasked."""
QUALITIES = (85, 70, 50)
LARGEST_SCALE = 4.0
MODES = ("L", "LA", "RGB", "RGBA")


class Refused(Exception):
    """The file cannot be shown; says why."""


def bound(limits: dict[str, int]) -> None:
    """Bound this process; what it starts with is not undone by any file."""
    for kind, wanted in (
        (resource.RLIMIT_AS, limits["memory"]),
        (resource.RLIMIT_CPU, limits["seconds"]),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0),
    ):
        hard = resource.getrlimit(kind)[1]
        value = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(kind, (value, value))


def image(order: dict[str, Any], data: bytes) -> dict[str, Any]:
    """Decode an image; return it scaled, or say that it is fine as it is."""
    from PIL import Image, ImageOps, UnidentifiedImageError

    limits = order["limits"]
    Image.MAX_IMAGE_PIXELS = None
    try:
        opened = Image.open(io.BytesIO(data), formats=FORMATS)
    except UnidentifiedImageError:
        raise Refused("is broken: it begins like an image but is none") from None
    width, height = opened.size
    if width * height > limits["pixels"]:
        raise Refused(
            f"is an image of {width} x {height} pixels: too large to be decoded; "
            "scale it down with Bash"
        )
    moving = getattr(opened, "is_animated", False) and order["media"] != "image/gif"
    if order["fits"] and not moving:
        opened.load()
        return {"same": True}
    side = limits["side"]
    if opened.format == "JPEG":
        opened.draft(None, (2 * side, 2 * side))
    opened.load()
    made = _plain(opened)
    made.thumbnail((side, side), Image.Resampling.LANCZOS, reducing_gap=2.0)
    made = ImageOps.exif_transpose(made)
    media, encoded = _encoded(made, limits["bytes"], photo=opened.format == "JPEG")
    return {
        "media": media,
        "data": base64.b64encode(encoded).decode("ascii"),
        "was": f"{width} x {height}",
        "now": f"{made.width} x {made.height}",
    }


def _plain(picture: Any) -> Any:
    """Return a picture in a mode that can be scaled and written."""
    if picture.mode in MODES:
        return picture
    if picture.mode in ("I", "F") or picture.mode.startswith("I;16"):
        low, high = picture.getextrema()
        scale = 255.0 / (high - low) if high > low else 0.0
        wide = picture.convert("F")
        return wide.point(lambda value: value * scale - low * scale).convert("L")
    seen_through = picture.mode in ("PA", "La", "RGBa") or "transparency" in picture.info
    return picture.convert("RGBA" if seen_through else "RGB")


def _encoded(picture: Any, most: int, *, photo: bool) -> tuple[str, bytes]:
    """Write a picture in the fewest steps that make it small enough."""
    if not photo:
        written = _written(picture, "PNG", compress_level=6)
        if len(written) <= most:
            return "image/png", written
    flat = picture
    if picture.mode in ("LA", "RGBA"):
        from PIL import Image

        flat = Image.new("RGB", picture.size, "white")
        flat.paste(picture.convert("RGBA"), mask=picture.getchannel("A"))
    for quality in QUALITIES:
        written = _written(flat, "JPEG", quality=quality)
        if len(written) <= most:
            return "image/jpeg", written
    raise Refused("cannot be made small enough to be shown")


def _written(picture: Any, kind: str, **settings: Any) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, kind, **settings)
    return buffer.getvalue()


def pdf(order: dict[str, Any], data: bytes) -> dict[str, Any]:
    """Show pages of a PDF: their text, and how they look where that is asked for or needed."""
    import pypdfium2  # type: ignore[import-untyped]

    limits, ranges = order["limits"], order["ranges"]
    try:
        document = pypdfium2.PdfDocument(data)
    except pypdfium2.PdfiumError as error:
        if "password" in str(error).lower():
            raise Refused("is encrypted: it cannot be read without its password") from None
        raise Refused(f"is broken: it cannot be read as a PDF ({error})") from None
    count = len(document)
    if count == 0:
        raise Refused("has no pages")
    if ranges is None and count > limits["whole_pages"]:
        return {"count": count, "shown": [], "next": None}
    numbers = _numbers(ranges, count, limits["most_pages"])
    shown: list[dict[str, Any]] = []
    left, room = limits["characters"], limits["all_bytes"]
    end = time.monotonic() + limits["seconds"] / 2
    for index, number in enumerate(numbers):
        if shown and (left <= 0 or room <= 0 or time.monotonic() > end):
            return {"count": count, "shown": shown, "next": numbers[index:]}
        page = _page(document, number, named=ranges is not None, limits=limits)
        used, bytes_used = len(page["text"]), page.pop("bytes")
        if shown and (used > left or bytes_used > room):
            return {"count": count, "shown": shown, "next": numbers[index:]}
        left, room = left - used, room - bytes_used
        shown.append(page)
    return {"count": count, "shown": shown, "next": None}


def _numbers(ranges: list[list[int]] | None, count: int, most: int) -> list[int]:
    if ranges is None:
        return list(range(1, count + 1))
    numbers: list[int] = []
    for first, last in ranges:
        if first > count or last > count:
            plural = "page" if count == 1 else "pages"
            raise Refused(f"has {count} {plural}; there is no page {max(first, last)}")
        numbers += range(first, (last or count) + 1)
    if len(numbers) > most:
        raise Refused(f"has {count} pages, of which at most {most} can be shown at once")
    return numbers


def _page(document: Any, number: int, *, named: bool, limits: dict[str, int]) -> dict[str, Any]:
    page = document[number - 1]
    words = page.get_textpage()
    length = words.count_chars()
    most = min(length, limits["characters"])
    text = words.get_text_range(0, most) if most > 0 else ""
    text = text.replace("\r\n", "\n").replace("\ufffe", "").replace("\0", "").strip()
    shown: dict[str, Any] = {"page": number, "text": text, "more": length - most, "bytes": 0}
    if named or len("".join(text.split())) < LITTLE_TEXT:
        drawn = _drawn(page, limits)
        if drawn is not None:
            shown["bytes"] = len(drawn)
            shown["image"] = base64.b64encode(drawn).decode("ascii")
    return shown


def _drawn(page: Any, limits: dict[str, int]) -> bytes | None:
    """Draw a page, so large as models look at it; None where it has no size."""
    width, height = page.get_size()
    longest = max(width, height)
    if not (math.isfinite(longest) and min(width, height) > 0):
        return None
    scale = min(limits["side"] / (longest + 1), LARGEST_SCALE)
    picture = page.render(scale=scale, draw_annots=True).to_pil()
    return _encoded(picture.convert("RGB"), limits["bytes"], photo=True)[1]


OPERATIONS: dict[str, Callable[[dict[str, Any], bytes], dict[str, Any]]] = {
    "image": image,
    "pdf": pdf,
}


def answered(order: dict[str, Any], data: bytes) -> dict[str, Any]:
    """Do what was ordered; what goes wrong is an answer too."""
    try:
        return OPERATIONS[order["op"]](order, data)
    except Refused as refused:
        return {"error": str(refused)}
    except ImportError as error:
        return {"missing": str(error)}
    except MemoryError:
        return {"error": "is too large to be decoded in the memory that the decoder may use"}
    except Exception as error:  # noqa: BLE001 - a decoder raises anything at all on a broken file
        return {"error": f"is broken: {str(error) or type(error).__name__}"}


def main() -> None:
    """Decode what stands on the input."""
    order = json.loads(sys.argv[1])
    bound(order["limits"])
    sys.path += order["site"].split(":")
    data = sys.stdin.buffer.read(order["limits"]["file"] + 1)
    json.dump(answered(order, data), sys.stdout)


if __name__ == "__main__":
    main()
