"""The extension surface on one page: what an adapter must offer.

Any object that fits a Protocol will do; nothing here is to be inherited from.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from orchestrator.events import Event, Signal
from orchestrator.records import (
    Conditions,
    FileChange,
    ModelReply,
    ModelRequest,
    SandboxSpec,
    Verdict,
)
from orchestrator.trackerports import (
    Board,
    Claims,
    Closing,
    CodeHost,
    IssueHistory,
    IssueKeys,
    IssueQueue,
    IssueStates,
    IssueTracker,
    UnreadableIssues,
)
from orchestrator_tools.contract import StateChange, ToolResult, ToolSpec, ToolState

__all__ = [
    "PLAIN",
    "Board",
    "ByteReader",
    "ByteWriter",
    "Change",
    "Claims",
    "Clock",
    "Closing",
    "CodeHost",
    "CommandRun",
    "EventSink",
    "Gate",
    "IssueHistory",
    "IssueKeys",
    "IssueQueue",
    "IssueStates",
    "IssueTracker",
    "ModelClient",
    "RunJournal",
    "Sandbox",
    "SandboxProcess",
    "Tools",
    "UnreadableIssues",
]

PLAIN = Conditions()


class ModelClient(Protocol):
    """Asks a model for one reply; makes one attempt.

    One whose replies take hours by design, as those of batches do, has an attribute
    ``ungoverned`` that is true: it holds no place in a lane, and has no limit of time.
    """

    async def reply(self, request: ModelRequest) -> ModelReply:
        """Return the reply.

        Raises:
            ModelError: no reply came; its attributes say whether to try again.
        """
        ...

    async def aclose(self) -> None:
        """Close connections."""
        ...


class ByteReader(Protocol):
    """One output of a process."""

    async def receive(self, max_bytes: int = 65536) -> bytes:
        """Return the next bytes; raises ``anyio.EndOfStream`` at the end."""
        ...


class ByteWriter(Protocol):
    """The input of a process."""

    async def send(self, item: bytes) -> None:
        """Write all of the bytes."""
        ...

    async def aclose(self) -> None:
        """Close the input."""
        ...


class SandboxProcess(Protocol):
    """A process behind the walls."""

    @property
    def stdin(self) -> ByteWriter | None: ...
    @property
    def stdout(self) -> ByteReader | None: ...
    @property
    def stderr(self) -> ByteReader | None: ...

    @property
    def reason(self) -> str:
        """Return why the sandbox's own limits ended it; empty where they did not."""
        ...

    async def wait(self) -> int:
        """Wait for the end and return the exit status."""
        ...

    def kill(self) -> None:
        """End the process and everything inside its walls, at once."""
        ...

    async def aclose(self) -> None:
        """Close the streams and wait for the end."""
        ...


class Sandbox(Protocol):
    """Starts processes behind walls.

    Attributes:
        name: for people.
        maps_paths: whether a mount is seen inside at its target, or at its source.
        own_processes: whether processes inside are numbered by themselves, with the first one not
            ours to end, so that one of them can end all others and no process of the host.
        gaps: what these walls do not hold; told at the beginning of each run.
    """

    name: str
    maps_paths: bool
    own_processes: bool
    gaps: tuple[str, ...]

    @property
    def owner(self) -> tuple[int, int] | None:
        """Return user and group that files must belong to; None means whoever started this."""
        ...

    @property
    def python(self) -> str:
        """Return the interpreter for the tool server, as it is called inside."""
        ...

    async def start(
        self, argv: Sequence[str], spec: SandboxSpec, *, pass_fds: Sequence[int] = ()
    ) -> SandboxProcess:
        """Start a process; its three streams are pipes.

        Args:
            argv: the command, as it is called inside.
            spec: what it sees.
            pass_fds: further descriptors that it gets. Under the same numbers, unless a container
                cannot: then the first one's number is what ORCHESTRATE_CHANNEL says inside.

        Raises:
            SandboxUnavailable: it cannot be started.
        """
        ...

    async def check(self) -> str:
        """Prove that the walls stand, and return what was proved in one line.

        Raises:
            SandboxUnavailable: they do not; the error names the probe and the fix.
        """
        ...


class Tools(Protocol):
    """The tools of one agent, as the turn loop sees them."""

    def specs(self) -> Sequence[ToolSpec]:
        """Return what the model is told."""
        ...

    async def call(
        self,
        tool: str,
        arguments: Mapping[str, object],
        state: ToolState,
        *,
        show: Callable[[str], None] | None = None,
    ) -> tuple[ToolResult, StateChange]:
        """Run one call; what the model can mend comes back as a result with ``is_error``.

        Args:
            tool: its name.
            arguments: as the model gave them.
            state: what the tools remember.
            show: is given new output while the call still runs; the result holds it again.
        """
        ...


class Change(Protocol):
    """What a gate judges: a commit of the agent, and a way to run commands on it."""

    @property
    def issue_key(self) -> str: ...
    @property
    def branch(self) -> str: ...
    @property
    def base(self) -> str: ...
    @property
    def commit(self) -> str: ...
    @property
    def tree(self) -> str: ...

    async def files(self) -> Mapping[str, bytes]:
        """Return paths and contents of the small settings files at the top of the base commit."""
        ...

    async def names(self) -> Sequence[str]:
        """Return the paths of all files of the commit."""
        ...

    async def base_names(self) -> Sequence[str]:
        """Return the paths of all files of the base commit."""
        ...

    async def changes(self) -> Sequence[FileChange]:
        """Return what the commit does to each file, against the base."""
        ...

    async def history(self) -> Sequence[FileChange] | None:
        """Return what each commit brings, whatever later ones took away; None: too many of them."""
        ...

    async def read(self, *paths: str) -> Mapping[str, bytes]:
        """Return files of the commit; one that is not there, or no regular file, is left out."""
        ...

    async def read_base(self, *paths: str) -> Mapping[str, bytes]:
        """Return files of the base commit, the same way."""
        ...

    async def available(self, probe: str) -> bool:
        """Tell whether a command succeeds in a sandbox of the same kind, without the checkout."""
        ...

    async def run(
        self, command: str, timeout_s: float, conditions: Conditions = PLAIN
    ) -> CommandRun:
        """Run a shell command in a fresh sandbox, on a clean checkout of the commit."""
        ...

    async def run_on_base(
        self, command: str, timeout_s: float, conditions: Conditions = PLAIN
    ) -> CommandRun:
        """Run a shell command the same way on the base commit."""
        ...


class CommandRun(Protocol):
    """What the host saw of a command."""

    @property
    def argv(self) -> tuple[str, ...]: ...
    @property
    def exit_status(self) -> int | None: ...
    @property
    def output(self) -> str: ...
    @property
    def duration_s(self) -> float: ...
    @property
    def reports(self) -> Mapping[str, bytes]:
        """Return what was asked for of its temporary folder, as far as it was left there."""
        ...


class Gate(Protocol):
    """Judges a change."""

    name: str

    async def judge(self, change: Change) -> Verdict:
        """Return the verdict; what could not be run is ``not_executed``, never ``passed``."""
        ...


class RunJournal(Protocol):
    """The journal of one run: all that resume needs."""

    async def append(self, *events: Event) -> None:
        """Record events together; when this returns they are on disk.

        Raises:
            LeaseLost: another process has taken the run over.
            JournalError: they cannot be recorded.
        """
        ...

    async def events(self) -> list[Event]:
        """Return all events in order."""
        ...


class EventSink(Protocol):
    """Is told of events and signals; must not raise, and cannot hold a run."""

    async def __call__(self, event: Event | Signal) -> None:
        """Take note of one event or signal."""
        ...


Clock = Callable[[], float]
"""Seconds, from any fixed point."""
