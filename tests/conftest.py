"""What holds for every test: no network, no key, nothing of the host's own settings."""

from __future__ import annotations

import ipaddress
import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

# The same examples everywhere, and none judged by how long it took on this machine.
settings.register_profile(
    "project",
    database=None,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("project")


class OutsideRefusedError(AssertionError):
    """A test tried to reach something beyond this machine."""


def is_near(family: int, address: Any) -> bool:
    """Tell whether an address is on this machine."""
    if family == socket.AF_UNIX:
        return True
    host = str(address[0]) if isinstance(address, tuple) and address else ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def only_near(real: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap a connecting method of sockets, so that it refuses to leave this machine."""

    def connect(own: socket.socket, address: Any) -> Any:
        if not is_near(own.family, address):
            raise OutsideRefusedError(f"a test tried to connect to {address!r}")
        return real(own, address)

    return connect


@pytest.fixture(autouse=True)
def sealed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every test runs offline, without a key, and in a home of its own."""
    monkeypatch.setattr(socket.socket, "connect", only_near(socket.socket.connect))
    monkeypatch.setattr(socket.socket, "connect_ex", only_near(socket.socket.connect_ex))
    for name in list(os.environ):
        if name.startswith(("ANTHROPIC_", "GIT_")):
            monkeypatch.delenv(name)
    for name, folder in (
        ("HOME", "home"),
        ("XDG_STATE_HOME", "home/state"),
        ("XDG_CONFIG_HOME", "home/config"),
    ):
        path = tmp_path / folder
        path.mkdir(parents=True, exist_ok=True)
        monkeypatch.setenv(name, str(path))
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", "/dev/null")
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
