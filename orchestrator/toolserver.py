"""The tool server of one sandbox, from the host's side: its lives, and what it says.

What it says comes from inside: it is matched, bounded, and never believed further than that.
"""

from __future__ import annotations

import dataclasses
import secrets
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import anyio
import anyio.abc

from orchestrator.channel import Channel
from orchestrator.errors import SandboxUnavailable, only
from orchestrator.hostgit import is_full
from orchestrator.ports import Sandbox, SandboxProcess
from orchestrator.records import SandboxSpec
from orchestrator_tools.contract import (
    LINE_LIMIT,
    LIVE_LIMIT,
    decode_line,
    encode_line,
    plain,
)

START_S = 30.0
CLOSE_S = 2.0
CALL_S = 90.0
ALONE_S = 8.0
MARGIN_S = 15.0
PULSE_S = 5.0
"""After this long without an answer the server is asked whether it still listens."""
PULSE_WAIT_S = 20.0
"""A server that has not even said that by then was stopped, or starved: it is started anew."""

NOISE_LIMIT = 2 * LINE_LIMIT
"""Bytes between two answers that are neither, after which the server is somebody else's."""
NOISE_LEAST = 1024
"""What a line of noise counts at least, however short: each costs a look."""
SHOW_EVERY_S = 0.1
"""Output of a running call that comes faster than this is not shown."""

Show = Callable[[str], None]
Ask = Callable[[Mapping[str, Any]], Awaitable[dict[str, Any]]]
Prepare = Callable[[Callable[[], Awaitable[Ask]]], Awaitable[None]]


class ServerGone(Exception):
    """The tool server ended, or no longer answers, while a call waited for it."""


class ToolServer:
    """The server inside one sandbox: started when needed, restarted when something ended it.

    Used as an async context manager; when the block ends, everything inside the sandbox ends.

    Args:
        sandbox: the walls.
        spec: tells what they show; asked anew at every start.
        argv: the command that starts the server inside.
        prepare: called with what starts the process, the first time; it makes the workspace.
    """

    def __init__(
        self,
        sandbox: Sandbox,
        spec: Callable[[], SandboxSpec],
        argv: Sequence[str],
        *,
        prepare: Prepare | None = None,
    ) -> None:
        self._sandbox = sandbox
        self._spec = spec
        self._argv = tuple(argv)
        self._prepare = prepare
        self._starting = anyio.Lock(fast_acquire=True)
        self._tasks: anyio.abc.TaskGroup | None = None
        self._session: _Session | None = None
        self._written: tuple[str, ...] = ()

    @asynccontextmanager
    async def open(self) -> AsyncIterator[ToolServer]:
        """Run the block with the server at hand."""
        try:
            async with anyio.create_task_group() as tasks:
                self._tasks = tasks
                try:
                    yield self
                finally:
                    self._tasks = None
                    with anyio.CancelScope(shield=True):
                        await self.stop()
                    tasks.cancel_scope.cancel()
        except BaseExceptionGroup as group:
            # The block's own error, as it was raised.
            raise only(group) from None

    async def stop(self) -> None:
        """End the server and everything inside its sandbox; the next request starts it anew."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def end_the_rest(self) -> bool:
        """End all that commands have left running inside, and keep the server.

        Returns:
            Whether nothing runs inside but the server; where not, only a fresh sandbox is sure to
            be free of it: ``stop``.
        """
        session = self._session
        if session is None or session.ended or not self._sandbox.own_processes:
            return False
        try:
            with anyio.fail_after(ALONE_S):
                answer = await session.ask({"op": "alone"})
        except (ServerGone, TimeoutError):
            return False
        return "error" not in answer

    def is_full(self) -> bool:
        """Tell whether no room is left where the latest sandbox can write."""
        return any(map(is_full, self._written))

    async def start(self) -> None:
        """Start the server ahead of the first call.

        Raises:
            SandboxUnavailable: it does not start.
        """
        await self._alive()

    async def ask(
        self, message: Mapping[str, Any], *, seconds: float, show: Show | None = None
    ) -> dict[str, Any]:
        """Send one message and return its answer.

        Args:
            message: the operation and what it needs.
            seconds: after which it is given up.
            show: is given what the operation says on the way; nothing further once it raises.

        Raises:
            ServerGone: the server ended, or did not answer in time; the next call restarts it.
            SandboxUnavailable: it cannot be started.
        """
        ended = self._session
        if ended is not None and ended.ended and ended.reason:
            # Between two calls: told once, so that what is missing now is no riddle.
            await self._drop(ended)
            raise ServerGone(ended.reason)
        session = await self._alive()
        try:
            with anyio.fail_after(seconds):
                answer = await session.ask(message, show)
            session.require_within_limits()
        except TimeoutError:
            await self._drop(session)
            raise ServerGone(f"no answer within {seconds:g} s") from None
        except ServerGone:
            await self._drop(session)
            raise
        return answer

    async def _drop(self, session: _Session) -> None:
        if self._session is session:
            self._session = None
        await session.close()

    async def _alive(self) -> _Session:
        async with self._starting:
            if self._session is None or self._session.ended:
                if self._prepare is None:
                    await self._launch()
                else:
                    try:
                        await self._prepare(self._launch)
                    except BaseException:
                        # A server over a workspace that is not whole must not serve anybody.
                        with anyio.CancelScope(shield=True):
                            await self.stop()
                        raise
                    self._prepare = None
            if self._session is None:
                raise SandboxUnavailable("the tool server did not start")
            return self._session

    async def _launch(self) -> Ask:
        if self._tasks is None:
            raise _outside()
        session = await self._begin()
        if self._tasks is None:  # the block has ended meanwhile
            with anyio.CancelScope(shield=True):
                await session.close()
            raise _outside()
        self._tasks.start_soon(session.read)
        self._session = session
        await session.wait_ready()
        return session.ask

    async def _begin(self) -> _Session:
        """Start the process with a channel of its own.

        The first process inside a sandbox holds the three standard streams, and a command could
        open them there: the channel is none of them.
        """
        ours, theirs = socket.socketpair()
        try:
            number = theirs.fileno()
            spec = self._spec()
            self._written = spec.written
            own = "1" if self._sandbox.own_processes else "0"
            told = (
                *spec.environment,
                ("ORCHESTRATE_CHANNEL", str(number)),
                ("ORCHESTRATE_OWN_PROCESSES", own),
            )
            spec = dataclasses.replace(spec, environment=told)
            process = await self._sandbox.start(self._argv, spec, pass_fds=(number,))
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()
        return _Session(process, Channel(ours))


def _outside() -> SandboxUnavailable:
    return SandboxUnavailable("the tools are used outside their `async with` block")


class _Question:
    """What waits for an answer, and who wants to hear of it on the way."""

    __slots__ = ("answer", "arrived", "show", "shown_at")

    def __init__(self, show: Show | None = None) -> None:
        self.show = show
        self.arrived = anyio.Event()
        self.answer: dict[str, Any] | None = None
        self.shown_at = 0.0


class _Session:
    """One life of the server process. What it says comes from inside, so nothing is assumed."""

    def __init__(self, process: SandboxProcess, channel: Channel) -> None:
        self._process = process
        self._channel = channel
        self._waiting: dict[str, _Question] = {}
        self._noise = 0
        self._ready = anyio.Event()
        self._sending = anyio.Lock(fast_acquire=True)
        self._read_out = anyio.Event()
        self.ended = False

    async def wait_ready(self) -> None:
        with anyio.move_on_after(START_S):
            await self._ready.wait()
        if not self._ready.is_set() or self.ended:
            said = await self._last_words()
            await self.close()
            raise SandboxUnavailable(f"the tool server did not start: {said or 'no answer'}")

    async def ask(self, message: Mapping[str, Any], show: Show | None = None) -> dict[str, Any]:
        number = secrets.token_hex(12)
        question = self._waiting[number] = _Question(show)
        arrived = question.arrived
        try:
            line = encode_line({**message, "id": number})
            if len(line) > LINE_LIMIT:
                raise ValueError("the arguments are too large")
            async with self._sending:
                await self._send(line)
            while not arrived.is_set():
                with anyio.move_on_after(PULSE_S):
                    await arrived.wait()
                if not arrived.is_set():
                    await self._feel_pulse()
        finally:
            self._waiting.pop(number, None)
        if question.answer is None:
            raise self._gone()
        return question.answer

    def require_within_limits(self) -> None:
        """Raise what tells that the sandbox used up too much, though the server still answered."""
        if self.reason:
            raise self._gone()

    @property
    def reason(self) -> str:
        """Return why the sandbox's limits ended it; empty where they did not."""
        return self._process.reason

    def _gone(self) -> ServerGone:
        return ServerGone(self.reason or "the tool server ended")

    async def _feel_pulse(self) -> None:
        """Have the server say that it listens: one that a command stopped would be waited for."""
        number = secrets.token_hex(12)
        question = self._waiting[number] = _Question()
        try:
            with anyio.fail_after(PULSE_WAIT_S):
                async with self._sending:
                    await self._send(encode_line({"op": "ping", "id": number}))
                await question.arrived.wait()
        except TimeoutError:
            raise ServerGone("it no longer listens") from None
        finally:
            self._waiting.pop(number, None)

    async def _send(self, line: bytes) -> None:
        if self.ended:
            raise self._gone()
        try:
            await self._channel.send(line)
        except (anyio.BrokenResourceError, anyio.ClosedResourceError):
            raise self._gone() from None

    async def read(self) -> None:
        """Read answers until the output ends; a line that is too long ends the session."""
        buffer = bytearray()
        try:
            while len(buffer) <= LINE_LIMIT and self._noise <= NOISE_LIMIT:
                start = len(buffer)
                buffer += await self._channel.receive()
                if buffer.find(b"\n", start) < 0:
                    continue
                *lines, rest = bytes(buffer).split(b"\n")
                buffer = bytearray(rest)
                for line in lines:
                    self._take(line)
        except (anyio.EndOfStream, anyio.ClosedResourceError, anyio.BrokenResourceError):
            pass
        finally:
            self._end()
            self._read_out.set()

    def _take(self, line: bytes) -> None:
        try:
            answer = decode_line(line)
        except ValueError:
            self._noise += max(len(line), NOISE_LEAST)
            return
        if answer.get("ready") is True and not self._ready.is_set():
            self._ready.set()
            return
        number = answer.get("id")
        question = self._waiting.get(number) if isinstance(number, str) else None
        if question is not None and question.answer is None and "output" not in answer:
            question.answer = answer
            question.arrived.set()
            self._noise = 0
        elif question is None or not _shown(question, answer.get("output")):
            self._noise += max(len(line), NOISE_LEAST)

    def _end(self) -> None:
        self.ended = True
        self._ready.set()
        for question in self._waiting.values():
            question.arrived.set()

    async def _last_words(self) -> str:
        data = b""
        if self._process.stderr is not None:
            with anyio.move_on_after(0.5):
                try:
                    while len(data) < 4096:
                        data += await self._process.stderr.receive()
                except (anyio.EndOfStream, anyio.ClosedResourceError):
                    pass
        return data.decode("utf-8", "replace").strip()[-400:]

    async def close(self) -> None:
        self._process.kill()
        self._end()
        await self._process.aclose()
        await self._channel.aclose()
        with anyio.move_on_after(CLOSE_S, shield=True):
            await self._read_out.wait()


def _shown(question: _Question, output: object) -> bool:
    """Show what a running call has said, in small pieces and not too often."""
    now = anyio.current_time()
    early = now - question.shown_at < SHOW_EVERY_S
    if question.show is None or question.arrived.is_set() or early or not isinstance(output, str):
        return False
    question.shown_at = now
    try:
        question.show(plain(output[-LIVE_LIMIT:]))
    except Exception:  # noqa: BLE001 - a fault of who looks on is not the call's
        question.show = None
    return True
