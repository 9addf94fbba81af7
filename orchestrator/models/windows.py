"""How long a model's requests may be, as its service says: asked once, and kept for a day."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Mapping, MutableMapping
from hashlib import sha256
from pathlib import Path
from urllib.parse import quote

import anyio
import orjson

from orchestrator.errors import ConfigError, ModelError
from orchestrator.models.messages import API_VERSION, DEFAULT_URL
from orchestrator.models.refusals import sendable
from orchestrator.models.ways import Connector, way_to
from orchestrator.models.wire import WireError, written

DAY_S = 86_400.0
WAIT_S = 10.0
ANSWER_MOST = 1024 * 1024
LEAST, MOST = 1_000, 100_000_000


def look_up(
    model: str, environment: Mapping[str, str], path: Path, known: MutableMapping[str, int]
) -> threading.Thread | None:
    """Have a model's window looked up, without waiting for it.

    Args:
        model: its full id.
        environment: holds the key, and the address of the service.
        path: the file that keeps answers.
        known: where the answer is put; nothing is, where none comes.

    Returns:
        The thread that asks; None where a kept answer will do, or there is no key.
    """
    url = environment.get("ANTHROPIC_BASE_URL", "") or DEFAULT_URL
    found = kept(path, url, model)
    if found:
        known[model] = found
        return None
    key = environment.get("ANTHROPIC_API_KEY", "").strip()
    if not key:
        return None
    thread = threading.Thread(
        target=_ask, args=(model, url, key, environment, path, known), daemon=True
    )
    thread.start()
    return thread


def kept(path: Path, url: str, model: str) -> int:
    """Return the window that a service gave a model within the last day; 0 where it did not."""
    row = _rows(path).get(_name(url, model))
    if not isinstance(row, list) or len(row) != 2:
        return 0
    window, at = row
    fresh = isinstance(at, int | float) and 0 <= time.time() - at < DAY_S
    return window if fresh and _is_window(window) else 0


def _name(url: str, model: str) -> str:
    """Return what an answer is kept under: an address may hold a password."""
    return f"{model} {sha256(url.encode()).hexdigest()[:16]}"


def _is_window(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and LEAST <= value <= MOST


def _rows(path: Path) -> dict[str, object]:
    try:
        rows = orjson.loads(path.read_bytes())
    except (OSError, orjson.JSONDecodeError):
        return {}
    return rows if isinstance(rows, dict) else {}


def _ask(
    model: str,
    url: str,
    key: str,
    environment: Mapping[str, str],
    path: Path,
    known: MutableMapping[str, int],
) -> None:
    """Ask, and keep the answer; whatever goes wrong leaves the window unknown."""
    with contextlib.suppress(ModelError, WireError, ConfigError, OSError, ValueError):
        window = anyio.run(asked, model, url, key, environment)
        if not _is_window(window):
            return
        known[model] = window
        rows = _rows(path) | {_name(url, model): [window, time.time()]}
        temporary = path.with_name(f"{path.name}.{os.getpid()}.{threading.get_ident()}")
        temporary.write_bytes(orjson.dumps(rows))
        temporary.replace(path)


async def asked(model: str, url: str, key: str, environment: Mapping[str, str] = os.environ) -> int:
    """Ask the service for a model's window; 0 where it does not say.

    Raises:
        ModelError: it is not reached.
        WireError: its answer breaks off.
        ValueError: what it answers is not JSON.
    """
    way = way_to(f"{url.rstrip('/')}/v1/models/{quote(model, safe='')}", environment)
    headers = {
        "host": way.host,
        "authorization": way.place.credential or f"Bearer {sendable(key)}",
        "anthropic-version": API_VERSION,
        "accept-encoding": "identity",
        "user-agent": "issue-orchestrator",
    }
    body = b""
    with anyio.fail_after(WAIT_S):
        wire = await Connector(way).connect()
        try:
            await wire.send(way.target.encode("ascii"), written(headers), b"", method=b"GET")
            status, _ = await wire.head()
            while len(body) <= ANSWER_MOST and (chunk := await wire.data()):
                body += chunk
        finally:
            with anyio.CancelScope(shield=True):
                await wire.aclose()
    if status != 200 or len(body) > ANSWER_MOST:
        return 0
    data = orjson.loads(body)
    window = data.get("max_input_tokens") if isinstance(data, dict) else None
    return window if isinstance(window, int) else 0
