"""Images: as they are where they are whole and fit, scaled or refused otherwise."""

from __future__ import annotations

import base64
import io
import json
import os
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw

from orchestrator.decoders import decoders
from orchestrator_tools import decoding, images, read
from orchestrator_tools.contract import StateChange, ToolResult, result_from_wire, result_to_wire
from orchestrator_tools.errors import ToolError
from orchestrator_tools.output import IMAGE_BYTES, IMAGE_SIDE
from orchestrator_tools.place import Place, fingerprint
from tests.tools.papers import an_image, noise, written


@pytest.fixture(autouse=True)
def decoder(monkeypatch: pytest.MonkeyPatch) -> None:
    """The decoder is where the host says, as without walls."""
    for name, value in decoders(maps_paths=False).environment:
        monkeypatch.setenv(name, value)


def look(place: Place, name: str) -> ToolResult:
    """Read a file, and see that the host takes the result."""
    result = read.run(read.Arguments(file_path=name), place)
    wire = json.loads(json.dumps(result_to_wire(result, StateChange())))
    assert result_from_wire(wire)[0] == result
    return result


def source_of(result: ToolResult) -> dict[str, Any]:
    (block,) = [block for block in result.content if block["type"] == "image"]
    source: dict[str, Any] = block["source"]
    return source


def picture_of(result: ToolResult) -> Image.Image:
    picture = Image.open(io.BytesIO(base64.b64decode(source_of(result)["data"])))
    picture.load()
    return picture


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "WEBP"])
def test_a_small_image_is_passed_on_byte_for_byte(place: Place, work: Path, kind: str) -> None:
    """An image that is whole and fits is sent as it is, whatever its name, and counts as seen."""
    data = an_image(kind)
    (work / "f.txt").write_bytes(data)
    result = look(place, "f.txt")
    media = f"image/{kind.lower()}"
    assert result.text == f"(f.txt: {media}, 60 x 40)"
    assert source_of(result)["media_type"] == media
    assert base64.b64decode(source_of(result)["data"]) == data
    assert place.change().seen == {str(work / "f.txt"): fingerprint(data)}


@pytest.mark.parametrize(
    ("data", "media", "size"),
    [
        (an_image("PNG", (3136, 100)), "image/png", (1568, 50)),
        (an_image("PNG", (9000, 1)), "image/png", (1568, 1)),
        (an_image("JPEG", (1000, 4000)), "image/jpeg", (392, 1568)),
        (an_image("WEBP", (2000, 1000)), "image/png", (1568, 784)),
        (an_image("GIF", (2000, 1000), "P"), "image/png", (1568, 784)),
        (an_image("BMP"), "image/png", (60, 40)),
        (an_image("TIFF"), "image/png", (60, 40)),
        (an_image("TIFF", mode="CMYK"), "image/png", (60, 40)),
        (an_image("TIFF", mode="F"), "image/png", (60, 40)),
        (an_image("TIFF", mode="I;16"), "image/png", (60, 40)),
        (an_image("BMP", mode="1"), "image/png", (60, 40)),
        (an_image("PNG", (2000, 100), "RGBA"), "image/png", (1568, 78)),
        (an_image("PNG", (2000, 100), "LA"), "image/png", (1568, 78)),
        (an_image("PNG", (2000, 100), "P", transparency=0), "image/png", (1568, 78)),
        (noise("PNG", (1500, 1500)), "image/jpeg", (1500, 1500)),
        (noise("BMP", (3000, 3000)), "image/jpeg", (1568, 1568)),
    ],
    ids=lambda value: "" if isinstance(value, bytes) else str(value),
)
def test_an_image_is_made_to_fit(
    place: Place, work: Path, data: bytes, media: str, size: tuple[int, int]
) -> None:
    """Too large a picture is scaled with its proportions kept, other kinds are converted."""
    (work / "f").write_bytes(data)
    result = look(place, "f")
    made = picture_of(result)
    assert (source_of(result)["media_type"], made.size) == (media, size)
    assert f"shown as {media}, {size[0]} x {size[1]}" in result.text
    assert len(base64.b64decode(source_of(result)["data"])) <= IMAGE_BYTES
    assert max(made.size) <= IMAGE_SIDE


def test_a_scaled_picture_is_the_same_picture(place: Place, work: Path) -> None:
    """What stood in a corner stands there still, upright as its camera meant it."""
    picture = Image.new("RGB", (4000, 2000), "white")
    ImageDraw.Draw(picture).rectangle((0, 0, 999, 999), fill="red")
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by a quarter
    (work / "f.jpg").write_bytes(written(picture, "JPEG", exif=exif))
    made = picture_of(look(place, "f.jpg")).convert("RGB")
    assert made.size == (784, 1568)
    corner = made.getpixel((700, 80))
    assert isinstance(corner, tuple)
    assert corner[0] > 200 and corner[1] < 60
    assert made.getpixel((80, 80)) == (255, 255, 255)


def test_sixteen_bits_keep_their_contrast(place: Place, work: Path) -> None:
    """A picture of 16 bits a pixel comes out as grey, not as black or white."""
    picture = Image.new("I;16", (100, 10), 1000)
    picture.paste(3000, (50, 0, 100, 10))
    (work / "f.tif").write_bytes(written(picture, "TIFF"))
    made = picture_of(look(place, "f.tif"))
    assert [made.getpixel((10, 5)), made.getpixel((90, 5))] == [0, 255]


def test_a_moving_webp_is_shown_by_its_first_picture(place: Place, work: Path) -> None:
    """The service takes no moving WebP; its first picture is shown."""
    pictures = [Image.new("RGB", (20, 20), colour) for colour in ("red", "blue")]
    data = written(pictures[0], "WEBP", save_all=True, append_images=pictures[1:], lossless=True)
    (work / "f.webp").write_bytes(data)
    result = look(place, "f.webp")
    assert source_of(result)["media_type"] == "image/png"
    assert picture_of(result).convert("RGB").getpixel((3, 3)) == (255, 0, 0)


def header_only(width: int, height: int) -> bytes:
    """Return a PNG that claims a size and holds no picture."""
    data = bytearray(an_image("PNG"))
    data[16:24] = width.to_bytes(4, "big") + height.to_bytes(4, "big")
    return bytes(data)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (written(Image.new("1", (30_000, 30_000)), "PNG"), "30000 x 30000 pixels: too large"),
        (written(Image.new("1", (30_000, 30_000)), "TIFF", compression="group4"), "too large"),
        (header_only(2**31 - 1, 2**31 - 1), "too large to be decoded"),
        (header_only(1000, 1000), "f is broken"),
        (an_image("PNG")[:60], "f is broken"),
        (an_image("JPEG")[:400], "f is broken"),
        (an_image("WEBP")[:60], "f is broken"),
        (an_image("GIF", mode="P")[:700], "f is broken"),
        (an_image("TIFF")[:200], "f is broken"),
        (b"\x89PNG\r\n\x1a\n" + bytes(100), "binary file"),
        (b"BM" + bytes(100), "f is broken"),
        (b"RIFF\0\0\0\0WEBPVP8X" + bytes(100), "f is broken"),
    ],
    ids=lambda value: f"{len(value)}" if isinstance(value, bytes) else value,
)
def test_refuses_what_cannot_be_shown(place: Place, work: Path, data: bytes, message: str) -> None:
    """Bombs and broken images are refused in words, and nothing of them is sent."""
    (work / "f").write_bytes(data)
    with pytest.raises(ToolError, match=message):
        look(place, "f")


def test_a_bomb_within_the_pixels_is_held_by_the_memory_limit(
    place: Place, work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What would take more memory than the decoder has is refused in words."""
    monkeypatch.setitem(decoding.LIMITS, "memory", 256 * 1024 * 1024)
    (work / "f").write_bytes(written(Image.new("RGBA", (9000, 9000)), "PNG", compress_level=1))
    with pytest.raises(ToolError, match="in the memory that the decoder may use"):
        look(place, "f")


@settings(deadline=None, max_examples=150)
@given(
    kind=st.sampled_from(["L", "LA", "RGB", "RGBA", "P", "1", "I;16"]),
    size=st.tuples(st.integers(1, 20), st.integers(1, 20)),
    at=st.integers(0, 400),
    put=st.binary(max_size=3),
    cut=st.integers(0, 30),
)
def test_a_png_taken_for_whole_can_be_decoded(
    kind: str, size: tuple[int, int], at: int, put: bytes, cut: int
) -> None:
    """Every good PNG is taken for whole, and whatever is taken for whole can be decoded."""
    good = an_image("PNG", size, kind)
    assert images.is_whole_png(good)
    hurt = good[:at] + put + good[at + len(put) : len(good) - cut]
    if images.inspect(hurt) is not None and images.is_whole_png(hurt):
        Image.open(io.BytesIO(hurt)).load()


@settings(deadline=None, max_examples=200)
@given(
    kind=st.sampled_from(["PNG", "JPEG", "GIF", "WEBP"]),
    size=st.tuples(st.integers(1, 300), st.integers(1, 300)),
    lossless=st.booleans(),
)
def test_sizes_are_read_from_the_first_bytes(
    kind: str, size: tuple[int, int], lossless: bool
) -> None:
    """What the first bytes say of an image is what it is."""
    settings_of = {"lossless": lossless} if kind == "WEBP" else {}
    data = an_image(kind, size, "RGBA" if kind == "WEBP" and lossless else "RGB", **settings_of)
    assert images.inspect(data) == images.Picture(f"image/{kind.lower()}", *size)


@settings(deadline=None, max_examples=300)
@given(start=st.sampled_from([an_image(kind)[:30] for kind in ("PNG", "JPEG", "GIF", "WEBP", "TIFF")]),
       cut=st.integers(0, 30), rest=st.binary(max_size=60))  # fmt: skip
def test_any_bytes_are_looked_at_without_fear(start: bytes, cut: int, rest: bytes) -> None:
    """No beginning, however broken, is more than an unknown size or no image."""
    found = images.inspect(start[:cut] + rest)
    assert found is None or (found.width >= 0 and found.height >= 0)


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        (decoding.SITE, "", "Here is no decoder: the host showed no packages for it"),
        (decoding.SITE, "/nowhere", "Here is no decoder: No module named 'PIL'"),
        (decoding.PYTHON, "/nowhere/python", "Here is no decoder: /nowhere/python cannot be run"),
    ],
)
def test_says_what_cannot_be_done_without_a_decoder(
    place: Place, work: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: str, said: str
) -> None:
    """Without packages an image that fits is shown, and any other is refused with the reason."""
    monkeypatch.setenv(name, value)
    for kind in ("PNG", "JPEG"):
        (work / "small").write_bytes(an_image(kind))
        assert base64.b64decode(source_of(look(place, "small"))["data"]) == an_image(kind)
    (work / "large").write_bytes(an_image("PNG", (2000, 20)))
    with pytest.raises(ToolError, match=f"would have to be scaled or converted. {said}"):
        look(place, "large")


def replace_decoder(path: Path, code: str, monkeypatch: pytest.MonkeyPatch) -> None:
    path.write_text(code)
    monkeypatch.setattr(decoding, "PROGRAM", str(path))


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("import time; time.sleep(600)", "took more than 1 s to decode and was given up"),
        ("while True: pass", "took more than 1 s to decode and was given up"),
        ("import os; os.kill(os.getpid(), 9)", "it ended with status -9"),
        ("import os; os.abort()", "it ended with status -6"),
        ("raise SystemExit('no luck')", r"it ended with status 1 \(no luck\)"),
        ("while True: print('x' * 100000)", "could not be decoded within the bounds"),
        ("print('[1]')", "could not be decoded"),
        ("print('nonsense')", "could not be decoded"),
    ],
)
def test_a_decoder_that_fails_is_an_answer(
    place: Place, work: Path, monkeypatch: pytest.MonkeyPatch, code: str, message: str
) -> None:
    """A decoder that hangs, dies, floods or babbles costs its time and is said to have done so."""
    if "took more" in message:
        monkeypatch.setattr(decoding, "DECODER_SECONDS", 1)
    replace_decoder(work / "decoder.py", code, monkeypatch)
    (work / "f").write_bytes(an_image("BMP"))
    with pytest.raises(ToolError, match=message):
        look(place, "f")
    assert decoding.TURNS.acquire(blocking=False)
    decoding.TURNS.release()


def test_few_decoders_run_at_once(
    place: Place, work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many images are read at once, no more decoders run than may."""
    code = (
        "import os, sys, time\n"
        f"os.mkdir({str(work)!r} + f'/on-{{os.getpid()}}')\n"
        f"on = [n for n in os.listdir({str(work)!r}) if n.startswith('on-')]\n"
        "time.sleep(0.05)\n"
        f"os.rmdir({str(work)!r} + f'/on-{{os.getpid()}}')\n"
        'print(\'{"error": "ran beside %d"}\' % len(on))\n'
    )
    replace_decoder(work / "decoder.py", code, monkeypatch)
    (work / "f").write_bytes(an_image("BMP"))
    said: list[str] = []

    def one() -> None:
        try:
            read.run(read.Arguments(file_path="f"), place)
        except ToolError as error:
            said.append(str(error))

    threads = [threading.Thread(target=one) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(said) == 8
    assert {one.split()[-1] for one in said} <= {"1", "2"}


def test_waits_for_a_turn_no_longer_than_it_may(
    place: Place, work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A read that gets no turn says so before the host gives the server up."""
    monkeypatch.setattr(decoding, "WAIT_SECONDS", 0)
    monkeypatch.setattr(decoding, "TURNS", threading.BoundedSemaphore(1))
    (work / "f").write_bytes(an_image("BMP"))
    with decoding.TURNS, pytest.raises(ToolError, match="too many files are being decoded at once"):
        look(place, "f")


def test_the_server_imports_no_decoder() -> None:
    """The server's own process never loads what decodes."""
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); import orchestrator_tools.server;"
        "print([n for n in sys.modules if n.split('.')[0] in {'PIL', 'pypdfium2'}"
        " or n in {'orchestrator_tools.images', 'orchestrator_tools.decoding', 'difflib',"
        " 'orchestrator_tools.nearest', 'orchestrator_tools.notebook', 'orchestrator_tools.pdf'}])"
    )
    tools = str(Path(images.__file__).parent.parent)
    with os.popen(f"{sys.executable} -I -S -c \"{code}\" '{tools}'") as said:
        assert said.read() == "[]\n"
