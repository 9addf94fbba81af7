"""What the host and the tool server say to each other: values, and one JSON object a line."""

from __future__ import annotations

from orchestrator_tools import wire
from orchestrator_tools.values import field, frozen

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any, Literal

    Block = dict[str, Any]
    Effect = Literal["none", "repeatable", "any"]
else:
    Block, Effect = dict, str


LINE_LIMIT = 16 * 1024 * 1024
"""Bytes of one line on the wire; a longer one is refused on either side."""

PACK_PART = 3 * 256 * 1024
"""Bytes of one part of a pack, of which only the last may have fewer."""

RESULT_LIMIT = 256 * 1024
"""Characters of text in one result that the host takes; no tool of ours comes near."""

LIVE_LIMIT = 4096
"""Characters of output that one message shows while a command runs; the latest are kept."""

IMAGE_LIMIT = 5 * 1000 * 1000
"""Characters of one image in base64: what the Messages API takes."""

IMAGES_LIMIT = 20
"""Images of one result."""

SEEN_LIMIT = 2000
"""Files whose last seen content is remembered; the oldest are forgotten."""


@frozen
class ToolCall:
    """One call of a tool, as the model asked for it."""

    call_id: str
    tool: str
    arguments: dict[str, Any]


@frozen
class ToolResult:
    """What a call returned: blocks for the model, details for people."""

    content: tuple[Block, ...]
    details: dict[str, Any] = field(default_factory=dict)
    is_error: bool = False
    truncated: bool = False

    @property
    def text(self) -> str:
        """Return the text blocks, joined."""
        return "\n".join(str(block["text"]) for block in self.content if block["type"] == "text")


@frozen
class ToolSpec:
    """What the model is told about a tool.

    Its effect is what it does to files: nothing; the same again when it is repeated; anything at
    all.
    """

    name: str
    description: str
    input_schema: dict[str, Any]
    effect: Effect


@frozen
class ToolState:
    """What the tools remember from one call to the next; it travels with the calls.

    The server keeps nothing, so a killed server or a resumed run changes nothing.
    """

    cwd: str
    seen: Mapping[str, str] = field(default_factory=dict)

    def after(self, change: StateChange) -> ToolState:
        """Return the state once a call's change is applied."""
        seen = dict(self.seen)
        for path, fingerprint in change.seen.items():
            seen.pop(path, None)
            seen[path] = fingerprint
        while len(seen) > SEEN_LIMIT:
            del seen[next(iter(seen))]
        return ToolState(cwd=change.cwd or self.cwd, seen=seen)


@frozen
class StateChange:
    """What one call changed in the tools' state."""

    cwd: str | None = None
    seen: Mapping[str, str] = field(default_factory=dict)


def text_result(text: str, *, is_error: bool = False, **details: Any) -> ToolResult:
    """Build a result of one text block."""
    truncated = bool(details.pop("truncated", False))
    return ToolResult(
        content=({"type": "text", "text": text},),
        details=details,
        is_error=is_error,
        truncated=truncated,
    )


def encode_line(message: Mapping[str, Any]) -> bytes:
    """Encode a message as one line; lone surrogates become replacement characters."""
    return wire.dumps(message).encode("utf-8", "replace") + b"\n"


def decode_line(line: bytes) -> dict[str, Any]:
    """Decode one line.

    Raises:
        ValueError: it is too long, not JSON, or not an object.
    """
    if len(line) > LINE_LIMIT:
        raise ValueError("line too long")
    try:
        message = wire.loads(line.decode("utf-8", "surrogatepass"))
    except (RecursionError, MemoryError):
        raise ValueError("nested too deep, or too large") from None
    if not isinstance(message, dict):
        raise ValueError("not an object")  # noqa: TRY004 - one kind of error for every bad line
    return message


def result_to_wire(result: ToolResult, change: StateChange) -> dict[str, Any]:
    """Turn a result and its state change into a message for the host."""
    return {
        "content": list(result.content),
        "details": result.details,
        "is_error": result.is_error,
        "truncated": result.truncated,
        "cwd": change.cwd,
        "seen": dict(change.seen),
    }


def result_from_wire(wire: Mapping[str, Any]) -> tuple[ToolResult, StateChange]:
    """Read a result that comes from inside, taking nothing for granted.

    Raises:
        ValueError: a part is missing or of the wrong type.
    """
    content = wire.get("content")
    details = wire.get("details")
    cwd = wire.get("cwd")
    seen = wire.get("seen")
    if not isinstance(content, list) or not content or not isinstance(details, dict):
        raise ValueError("a result without content or details")
    if not isinstance(seen, dict) or not (cwd is None or isinstance(cwd, str)):
        raise ValueError("a result with a broken state")
    if not all(isinstance(value, str) for value in seen.values()):
        raise ValueError("a result with a broken state")
    blocks: list[Block] = [_block(block) for block in content]
    if sum(len(block.get("text", "")) for block in blocks) > RESULT_LIMIT:
        raise ValueError(f"a result of more than {RESULT_LIMIT} characters")
    pictures = sum(block["type"] == "image" for block in blocks)
    if pictures > IMAGES_LIMIT or (pictures and wire.get("is_error") is True):
        raise ValueError("a result with too many images, or an error with any")
    latest = list(seen.items())[-SEEN_LIMIT:]
    fingerprints = {plain(path)[:4096]: plain(value)[:80] for path, value in latest}
    result = ToolResult(
        content=tuple(blocks),
        details=details,
        is_error=wire.get("is_error") is True,
        truncated=wire.get("truncated") is True,
    )
    return result, StateChange(cwd=plain(cwd)[:4096] if cwd else None, seen=fingerprints)


def plain(text: str) -> str:
    """Return text without lone surrogates, which no journal can hold."""
    return text.encode("utf-8", "replace").decode("utf-8")


def _block(block: Any) -> Block:
    if isinstance(block, dict):
        if block.get("type") == "text" and isinstance(block.get("text"), str):
            return {"type": "text", "text": plain(block["text"])}
        if block.get("type") == "image":
            return _image(block.get("source"))
    raise ValueError("a block that is neither text nor image")


def _image(source: Any) -> Block:
    """Read an image that comes from inside: one that the service would refuse ends every request.

    Its first bytes are looked at, no more: it is not decoded on this side.
    """
    media = source.get("media_type") if isinstance(source, dict) else None
    data = source.get("data") if isinstance(source, dict) else None
    if not isinstance(media, str) or not isinstance(data, str) or len(data) > IMAGE_LIMIT:
        raise ValueError("a block that is no image, or too large a one")
    import binascii

    from orchestrator_tools import images

    try:
        content = binascii.a2b_base64(data)
    except ValueError:
        raise ValueError("a block whose image is not base64") from None
    made = images.block(content, media)
    picture = images.inspect(content)
    if made["source"]["data"] != data or picture is None or picture.media != media:
        raise ValueError("a block whose image is not what it says")
    if media not in images.TAKEN or not images.fits(content, picture):
        raise ValueError("a block whose image cannot be sent")
    return made
