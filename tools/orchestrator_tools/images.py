"""Images as models take them: known by their first bytes, whole, and not too large."""

from __future__ import annotations

import binascii

from orchestrator_tools.contract import Block, ToolResult
from orchestrator_tools.errors import ToolError
from orchestrator_tools.output import IMAGE_BYTES, IMAGE_PIXELS, IMAGE_SIDE
from orchestrator_tools.values import frozen

TAKEN = ("image/png", "image/jpeg", "image/gif", "image/webp")
"""What the Messages API takes; anything else is converted."""

PNG_SIGN = b"\x89PNG\r\n\x1a\n"
CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
"""Values of one pixel, by a PNG's colour type."""


@frozen
class Picture:
    """What an image says of itself at its beginning; 0 where that does not tell its size."""

    media: str
    width: int = 0
    height: int = 0


def inspect(data: bytes) -> Picture | None:
    """Tell what image this is by its first bytes, or None if it is none that is known."""
    if data.startswith(PNG_SIGN) and data[12:16] == b"IHDR" and len(data) >= 26:
        return Picture("image/png", _big(data[16:20]), _big(data[20:24]))
    if data.startswith(b"\xff\xd8\xff"):
        return Picture("image/jpeg", *_jpeg_size(data))
    # A text may begin like one of the others.
    return _other(data) if b"\0" in data[:8192] else None


def _other(data: bytes) -> Picture | None:
    if data.startswith((b"GIF87a", b"GIF89a")) and len(data) >= 10:
        return Picture("image/gif", _little(data[6:8]), _little(data[8:10]))
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        return Picture("image/webp", *_webp_size(data))
    if data.startswith(b"BM") and data[6:10] == b"\0\0\0\0":
        return Picture("image/bmp")
    if data.startswith((b"II*\0", b"MM\0*")):
        return Picture("image/tiff")
    return None


def _big(data: bytes) -> int:
    return int.from_bytes(data, "big")


def _little(data: bytes) -> int:
    return int.from_bytes(data, "little")


def _jpeg_size(data: bytes) -> tuple[int, int]:
    """Walk a JPEG's segments to the one that tells its size."""
    at = 2
    while at + 9 < len(data) and data[at] == 0xFF:
        kind = data[at + 1]
        if kind == 0xFF:
            at += 1  # a fill byte
        elif 0xC0 <= kind <= 0xCF and kind not in {0xC4, 0xC8, 0xCC}:
            return _big(data[at + 7 : at + 9]), _big(data[at + 5 : at + 7])
        elif kind == 0x01 or 0xD0 <= kind <= 0xD8:
            at += 2
        else:
            at += 2 + _big(data[at + 2 : at + 4])
    return 0, 0


def _webp_size(data: bytes) -> tuple[int, int]:
    kind = data[12:16]
    if len(data) < 30:
        return 0, 0
    if kind == b"VP8X":
        return _little(data[24:27]) + 1, _little(data[27:30]) + 1
    if kind == b"VP8L":
        bits = _little(data[21:25])
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    if kind == b"VP8 ":
        return _little(data[26:28]) & 0x3FFF, _little(data[28:30]) & 0x3FFF
    return 0, 0


def fits(data: bytes, picture: Picture) -> bool:
    """Tell whether an image may be sent as it is, as far as its first bytes tell."""
    return (
        picture.media in TAKEN
        and 0 < picture.width <= IMAGE_SIDE
        and 0 < picture.height <= IMAGE_SIDE
        and len(data) <= IMAGE_BYTES
    )


def block(data: bytes, media: str) -> Block:
    """Build the block that carries an image."""
    encoded = binascii.b2a_base64(data, newline=False).decode("ascii")
    return {"type": "image", "source": {"type": "base64", "media_type": media, "data": encoded}}


def show(data: bytes, shown: str) -> ToolResult:
    """Show an image file: as it is where it is whole and fits, else decoded and scaled.

    Raises:
        ToolError: it is broken, too large, or cannot be decoded here.
    """
    made, about = prepared(data, shown)
    text = {"type": "text", "text": f"({shown}: {about})"}
    return ToolResult(content=(text, made), details={"image": about, "bytes": len(data)})


def prepared(data: bytes, shown: str) -> tuple[Block, str]:
    """Return the block of an image, and what is to be said about it.

    A broken image would make the service refuse this request and every later one of the session,
    so each is decoded before it is sent: a plain PNG right here, all others by the decoder. Only
    where there is no decoder is an image taken by its first bytes.

    Raises:
        ToolError: it is broken, too large, or cannot be decoded here.
    """
    picture = inspect(data)
    if picture is None:
        raise ToolError(f"{shown} is no image of a known kind")
    if picture.width * picture.height > IMAGE_PIXELS:
        raise ToolError(
            f"{shown} is an image of {picture.width} x {picture.height} pixels: too large to be "
            "decoded; scale it down with Bash"
        )
    as_it_is = fits(data, picture)
    about = f"{picture.media}, {picture.width} x {picture.height}"
    if as_it_is and picture.media == "image/png" and is_whole_png(data):
        return block(data, picture.media), about
    from orchestrator_tools import decoding

    try:
        made = decoding.ask({"op": "image", "media": picture.media, "fits": as_it_is}, data, shown)
    except decoding.NoDecoder as missing:
        if as_it_is:
            return block(data, picture.media), about
        raise ToolError(
            f"{shown} ({about}) would have to be scaled or converted. {missing}"
        ) from None
    if made.get("same"):
        return block(data, picture.media), about
    scaled = {
        "type": "image",
        "source": {"type": "base64", "media_type": made["media"], "data": made["data"]},
    }
    return scaled, f"{picture.media}, {made['was']}, shown as {made['media']}, {made['now']}"


def is_whole_png(data: bytes) -> bool:
    """Tell whether a PNG that is not interlaced is intact: its checksums, rows and filters."""
    import zlib

    width, height, depth, colour = _big(data[16:20]), _big(data[20:24]), data[24], data[25]
    row = 1 + (width * depth * CHANNELS.get(colour, 8) + 7) // 8
    inflate = zlib.decompressobj()
    pixels = bytearray()
    kinds: list[bytes] = []
    at = len(PNG_SIGN)
    try:
        while at + 12 <= len(data):
            length = _big(data[at : at + 4])
            kind, body = data[at + 4 : at + 8], data[at + 8 : at + 8 + length]
            check = data[at + 8 + length : at + 12 + length]
            if len(check) != 4 or zlib.crc32(kind + body) != _big(check):
                return False
            if kind == b"IHDR" and (kinds or len(body) != 13 or body[10:] != b"\0\0\0"):
                return False
            if kind == b"IDAT":
                if len(pixels) > row * height:
                    return False
                pixels += inflate.decompress(body, row * height + 1 - len(pixels))
            kinds.append(kind)
            at += 12 + length
    except zlib.error:
        return False
    return (
        _is_known(depth, colour)
        and kinds[-1:] == [b"IEND"]
        and (colour != 3 or b"PLTE" in kinds)
        and b"acTL" not in kinds
        and len(pixels) == row * height
        and inflate.eof
        and max(pixels[::row]) <= 4
    )


def _is_known(depth: int, colour: int) -> bool:
    if colour == 0:
        return depth in {1, 2, 4, 8, 16}
    if colour == 3:
        return depth in {1, 2, 4, 8}
    return colour in CHANNELS and depth in {8, 16}
