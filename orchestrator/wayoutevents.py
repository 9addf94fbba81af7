"""Durable events of a workspace's surroundings: connections from inside, and what was set up."""

from __future__ import annotations

from orchestrator.values import frozen


@frozen
class EgressDecided:
    """Something inside asked for a connection, and this was decided."""

    ident: str
    host: str
    port: int
    allowed: bool
    reason: str = ""

    @property
    def key(self) -> str:
        return f"egress/{self.ident}"


@frozen
class EgressEnded:
    """A connection has ended; bytes as they went through."""

    ident: str
    sent: int
    received: int
    reason: str = ""

    @property
    def key(self) -> str:
        return f"egress/{self.ident}/ended"


@frozen
class WorkspaceSetUp:
    """The commands that prepare a workspace have run, or their kept result was put in place."""

    place: str
    commands: tuple[str, ...]
    kept: bool
    duration_s: float

    @property
    def key(self) -> str:
        return f"setup/{self.place}"
