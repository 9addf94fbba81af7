"""The way out, seen from inside: a port of this sandbox that leads to the host's proxy.

There is no network inside; programs that know proxies find this one by their environment, and
what they ask for is decided on the host.
"""

from __future__ import annotations

import contextlib
import os
import socket
import sys
import threading

SETTING = "ORCHESTRATE_EGRESS"
"""``PORT:PATH``: the port to listen on, and the socket that leads to the proxy."""

AT_ONCE = 64
CHUNK = 65536


def start(setting: str) -> None:
    """Listen, and carry every connection to the proxy, beside whatever this process does."""
    port, _, path = setting.partition(":")
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(("127.0.0.1", int(port)))
    except OSError:
        listener.close()
        return  # somebody inside has the port: that is where connections go now
    listener.listen(AT_ONCE)
    threading.Thread(target=_accept, args=(listener, path), daemon=True).start()


def _accept(listener: socket.socket, path: str) -> None:
    places = threading.BoundedSemaphore(AT_ONCE)
    while True:
        places.acquire()
        try:
            client, _ = listener.accept()
        except OSError:
            places.release()
            continue
        try:
            threading.Thread(target=_carry, args=(client, path, places), daemon=True).start()
        except RuntimeError:  # no further thread is to be had
            client.close()
            places.release()


def _carry(client: socket.socket, path: str, places: threading.BoundedSemaphore) -> None:
    try:
        with client, socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as proxy:
            proxy.connect(path)
            back = threading.Thread(target=_pump, args=(proxy, client), daemon=True)
            back.start()
            _pump(client, proxy)
            back.join()
    except (OSError, RuntimeError):
        return
    finally:
        places.release()


def _pump(source: socket.socket, target: socket.socket) -> None:
    try:
        while True:
            chunk = source.recv(CHUNK)
            if not chunk:
                break
            target.sendall(chunk)
    except OSError:
        # Either side is gone: the other direction has nobody to talk to any more.
        with contextlib.suppress(OSError):
            source.shutdown(socket.SHUT_RDWR)
    with contextlib.suppress(OSError):
        target.shutdown(socket.SHUT_WR)


def main() -> None:
    """Run a command with the way out at hand, and end as it ends."""
    setting = os.environ.pop(SETTING, "")
    if setting:
        start(setting)
    import subprocess

    status = subprocess.run(sys.argv[1:], check=False).returncode
    sys.exit(128 - status if status < 0 else status)
