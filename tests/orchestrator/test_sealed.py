"""The tests' own walls: no network, no key, nothing of the host's settings."""

from __future__ import annotations

import os
import socket
import subprocess
from pathlib import Path

import pytest

from tests.conftest import OutsideRefusedError, is_near


@pytest.mark.parametrize("address", [("192.0.2.1", 80), ("example.org", 443), ("2001:db8::1", 80)])
def test_nothing_beyond_this_machine_is_reached(address: tuple[str, int]) -> None:
    """A test that tries to leave the machine fails at once, however it connects."""
    family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
    with socket.socket(family) as outgoing:
        with pytest.raises(OutsideRefusedError):
            outgoing.connect(address)
        with pytest.raises(OutsideRefusedError):
            outgoing.connect_ex(address)


def test_this_machine_can_be_reached() -> None:
    """Loopback addresses and local sockets are near, and really connect."""
    with socket.socket() as listening, socket.socket() as outgoing:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        outgoing.connect(listening.getsockname())
    assert is_near(socket.AF_UNIX, "/tmp/socket")
    assert is_near(socket.AF_INET6, ("::1", 80, 0, 0))
    assert is_near(socket.AF_INET, ("localhost", 80))


def test_no_key_and_no_settings_of_the_host(tmp_path: Path) -> None:
    """Keys are gone, home is empty and its own, and git knows nobody."""
    assert not [name for name in os.environ if name.startswith("ANTHROPIC_")]
    assert Path.home().is_relative_to(tmp_path)
    done = subprocess.run(
        ["git", "config", "--list"], cwd=tmp_path, capture_output=True, check=False
    )
    assert done.stdout == b""
