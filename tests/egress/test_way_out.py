"""The way out, from inside a real sandbox: programs find it, and it leads nowhere else."""

from __future__ import annotations

import os
import shlex
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import anyio
import pytest

from orchestrator import OpenToolbox, open_toolbox
from orchestrator.errors import ConfigError
from orchestrator.wayoutevents import EgressDecided, EgressEnded
from tests.egress.conftest import World
from tests.walls.inside import done, sh

pytestmark = pytest.mark.asyncio

FETCH = """
import ssl, sys, urllib.request
context = ssl.create_default_context(cafile="ca.pem")
opener = urllib.request.build_opener(urllib.request.HTTPSHandler(context=context))
for url in sys.argv[1:]:
    try:
        print(opener.open(url, timeout=30).read().decode())
    except Exception as error:
        print("FAILED", error)
"""
ALLOWED = ["*.example.org:443", "deb.example.org:80"]


@pytest.fixture
def ready(far: World, work: Path) -> World:
    """Put a client and the authority's certificate into the folder that is opened."""
    (work / "fetch.py").write_text(FETCH, encoding="utf-8")
    far.authority.cert_pem.write_to_path(work / "ca.pem")
    return far


async def fetched(toolbox: OpenToolbox, *urls: str) -> list[str]:
    """Fetch addresses from inside; return what was printed for each."""
    words = " ".join(shlex.quote(url) for url in urls)
    return (await done(toolbox, f"python3 fetch.py {words}")).splitlines()


async def test_programs_find_the_way_out(ready: World, work: Path, state: Path) -> None:
    """With and without TLS; every decision is told, with bytes and all."""
    told: list[EgressDecided | EgressEnded] = []

    async def decided(event: EgressDecided | EgressEnded) -> None:
        told.append(event)

    async with open_toolbox(work, state=state, network=ALLOWED, decided=decided) as toolbox:
        said = await fetched(toolbox, "https://a.example.org/x", "http://deb.example.org/y")
    assert said == ["from far away"] * 2
    assert ready.requests == ["GET a.example.org/x 0", "GET deb.example.org/y 0"]
    assert [one.host for one in told if isinstance(one, EgressDecided)] == [
        "a.example.org",
        "deb.example.org",
    ]
    assert sum(isinstance(one, EgressEnded) for one in told) == 2


async def test_a_refused_attempt_is_told_in_the_result(
    ready: World,
    work: Path,
    state: Path,
) -> None:
    """A client hardly shows what a proxy says: the result of the call says it, once."""
    async with open_toolbox(work, state=state, network=ALLOWED) as toolbox:
        result = await sh(toolbox, "python3 fetch.py https://evil.net/")
        again = await sh(toolbox, "true")
    assert "Network: connection to evil.net:443 was refused" in result.text
    assert "*.example.org:443" in result.text and "Network" not in again.text
    assert ready.dialled == []


async def test_the_way_out_stays_after_the_server_was_ended(
    ready: World,
    work: Path,
    state: Path,
) -> None:
    """A command that ends the tool server costs the way out nothing."""
    async with open_toolbox(work, state=state, network=ALLOWED) as toolbox:
        await sh(toolbox, "kill -9 -1")
        assert await fetched(toolbox, "https://a.example.org/x") == ["from far away"]


@pytest.fixture
def listener() -> Iterator[tuple[int, list[bytes]]]:
    """A service of the host on loopback, and whatever reached it."""
    got: list[bytes] = []
    server = socket.create_server(("127.0.0.1", 0))
    server.settimeout(0.05)
    ended = threading.Event()

    def serve() -> None:
        while not ended.is_set():
            try:
                client, _ = server.accept()
            except TimeoutError:
                continue
            with client:
                got.append(client.recv(100))

    thread = threading.Thread(target=serve)
    thread.start()
    yield int(server.getsockname()[1]), got
    ended.set()
    thread.join()
    server.close()


@pytest.mark.parametrize("network", [[], ALLOWED], ids=["closed", "open"])
async def test_nothing_of_the_host_is_reached(
    network: list[str],
    listener: tuple[int, list[bytes]],
    ready: World,
    work: Path,
    state: Path,
) -> None:
    """Neither directly, nor through the proxy, by address, name or a name that leads there."""
    port, got = listener
    ready.names["a.example.org"] = ["127.0.0.1"]
    attempts = [
        f"exec 3<>/dev/tcp/127.0.0.1/{port} && echo hi >&3",
        f"exec 3<>/dev/tcp/151.101.0.223/{port} && echo hi >&3",
        f"python3 fetch.py http://127.0.0.1:{port}/ http://localhost:{port}/",
        f"no_proxy= python3 fetch.py http://127.0.0.1:{port}/ http://localhost:{port}/",
        f"no_proxy= NO_PROXY= python3 fetch.py http://127.0.0.1:{port}/ https://a.example.org/",
        f"printf 'CONNECT 127.0.0.1:{port} HTTP/1.1\\r\\n\\r\\n' >/dev/tcp/127.0.0.1/3128",
    ]
    async with open_toolbox(work, state=state, network=network) as toolbox:
        for attempt in attempts:
            await sh(toolbox, attempt)
    assert got == [] and ready.dialled == []


async def test_without_a_name_there_is_no_way_out(work: Path, state: Path) -> None:
    """Where nothing is allowed there is no proxy, no socket and no mention of one."""
    async with open_toolbox(work, state=state) as toolbox:
        said = await sh(
            toolbox, "env | grep -ci proxy; ls /run/orchestrate; : </dev/tcp/127.0.0.1/3128"
        )
    assert said.is_error and said.text.splitlines()[1] == "0"
    assert "No such file" in said.text and "refused" in said.text


async def test_the_key_of_the_house_is_not_told(ready: World, work: Path, state: Path) -> None:
    """The socket has a name inside that says nothing of the host, and commands do not inherit it."""
    async with open_toolbox(work, state=state, network=ALLOWED) as toolbox:
        said = await done(toolbox, "env; ls -l /proc/self/fd /run/orchestrate; cat /proc/1/cmdline")
    assert "ORCHESTRATE_EGRESS" not in said and str(state) not in said


async def test_many_connections_leave_nothing(ready: World, work: Path, state: Path) -> None:
    """Two hundred connections, and as many descriptors and files as before."""
    async with open_toolbox(work, state=state, network=ALLOWED) as toolbox:
        await fetched(toolbox, "https://a.example.org/x")
        before = descriptors()
        urls = ["https://a.example.org/x", "http://deb.example.org/y"] * 100
        assert await fetched(toolbox, *urls) == ["from far away"] * 200
        with anyio.fail_after(30):
            while descriptors() > before:
                await anyio.wait_all_tasks_blocked()
    assert not [one for one in state.iterdir() if one.name.startswith("scratch-")]


def descriptors() -> int:
    """Return how many descriptors this process has open."""
    return len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - the folder itself is one of them


async def test_no_walls_no_way_out(work: Path, state: Path) -> None:
    """Without walls the list could not be kept, so it is refused."""
    with pytest.raises(ConfigError, match="network"):
        async with open_toolbox(work, state=state, network=ALLOWED, sandbox_backend="none"):
            pass
