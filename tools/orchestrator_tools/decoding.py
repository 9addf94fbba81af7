"""Has images and PDFs decoded in a process of their own, which can be ended.

The decoder runs on an interpreter and from a folder of packages that the host names; where it
named none, or they do not fit, only what needs no decoding can be shown.
"""

from __future__ import annotations

import json
import os
import sys
import threading

from orchestrator_tools import children
from orchestrator_tools.errors import ToolError
from orchestrator_tools.output import (
    DECODER_MEMORY,
    DECODER_SECONDS,
    DECODERS,
    FILE_LIMIT,
    IMAGE_BYTES,
    IMAGE_PIXELS,
    IMAGE_SIDE,
    IMAGES_BYTES,
    PDF_PAGES,
    PDF_WHOLE,
    READ_LIMIT,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

SITE, PYTHON = "ORCHESTRATE_SITE", "ORCHESTRATE_DECODER_PYTHON"
PROGRAM = os.path.join(os.path.dirname(os.path.abspath(__file__)), "decoder.py")
ANSWER_LIMIT = 12 * 1024 * 1024
"""Bytes of the decoder's answer: images in base64 and text, below a line on the wire."""
WAIT_SECONDS = 30
TURNS = threading.BoundedSemaphore(DECODERS)

LIMITS = {
    "memory": DECODER_MEMORY,
    "seconds": DECODER_SECONDS,
    "file": FILE_LIMIT,
    "side": IMAGE_SIDE,
    "bytes": IMAGE_BYTES,
    "all_bytes": IMAGES_BYTES,
    "pixels": IMAGE_PIXELS,
    "most_pages": PDF_PAGES,
    "whole_pages": PDF_WHOLE,
    "characters": READ_LIMIT,
}


class NoDecoder(ToolError):
    """There is no decoder for this kind of file here."""


def ask(request: dict[str, Any], data: bytes, shown: str) -> dict[str, Any]:
    """Have one file decoded; return what the decoder says.

    Raises:
        NoDecoder: its packages are missing here.
        ToolError: the file is broken, or takes more time or memory than it may.
    """
    if not TURNS.acquire(timeout=WAIT_SECONDS):
        raise ToolError(f"{shown}: too many files are being decoded at once; try again")
    try:
        return _answer(_run(request, data), shown)
    finally:
        TURNS.release()


def _run(request: dict[str, Any], data: bytes) -> children.Ended:
    site = os.environ.get(SITE, "")
    python = os.environ.get(PYTHON) or sys.executable
    if not site:
        raise NoDecoder("Here is no decoder: the host showed no packages for it")
    order = json.dumps({**request, "limits": LIMITS, "site": site})
    # A copy of its own: what is decoded is what was read, whatever happens to the file.
    copy = os.memfd_create("file", os.MFD_CLOEXEC)
    try:
        with os.fdopen(os.dup(copy), "wb") as file:
            file.write(data)
        os.lseek(copy, 0, os.SEEK_SET)
        return children.run(
            [python, "-I", "-S", "-B", PROGRAM, order],
            children.Bounds(DECODER_SECONDS, ANSWER_LIMIT),
            cwd="/",
            stdin=copy,
            environment={"LANG": "C.UTF-8"},
        )
    except (FileNotFoundError, PermissionError) as error:
        raise NoDecoder(f"Here is no decoder: {python} cannot be run: {error.strerror}") from None
    finally:
        os.close(copy)


def _answer(ended: children.Ended, shown: str) -> dict[str, Any]:
    if ended.late:
        raise ToolError(f"{shown} took more than {DECODER_SECONDS} s to decode and was given up")
    try:
        answer = json.loads(ended.output)
    except ValueError:
        answer = None
    if ended.flooded or not isinstance(answer, dict):
        said = ended.errors.strip().splitlines()
        last = f" ({said[-1][:200]})" if said else ""
        raise ToolError(
            f"{shown} could not be decoded within the bounds of the decoder: it ended with "
            f"status {ended.status}{last}"
        )
    if "missing" in answer:
        raise NoDecoder(f"Here is no decoder: {str(answer['missing'])[:300]}")
    if "error" in answer:
        raise ToolError(f"{shown} {str(answer['error'])[:300]}")
    return answer
