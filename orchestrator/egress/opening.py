"""How a sandbox is shown the way out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from orchestrator.egress.allowed import Host
from orchestrator.records import Mount, SandboxSpec

SOCKET = "/run/orchestrate/egress"
PORT = 3128
ADDRESS = f"http://127.0.0.1:{PORT}"
NEAR = "localhost,127.0.0.1,::1"
ENVIRONMENT = (
    ("ORCHESTRATE_EGRESS", f"{PORT}:{SOCKET}"),
    ("http_proxy", ADDRESS),
    ("https_proxy", ADDRESS),
    ("HTTP_PROXY", ADDRESS),
    ("HTTPS_PROXY", ADDRESS),
    ("no_proxy", NEAR),
    ("NO_PROXY", NEAR),
    ("NODE_USE_ENV_PROXY", "1"),
)


def opened(spec: SandboxSpec, socket: Path) -> SandboxSpec:
    """Return a sandbox's spec with the way to a proxy's socket in it."""
    return spec.adding((Mount(str(socket), SOCKET),), ENVIRONMENT)


def told(allowed: Sequence[Host]) -> str:
    """Return what an agent is told of the network."""
    hosts = ", ".join(str(one) for one in allowed)
    return (
        f"The network is open to these hosts, by the proxy that https_proxy names: {hosts}. "
        "Everything else is refused."
    )
