"""Secrets for services: where they come from, and what keeps them out of everything else."""

from __future__ import annotations

import base64
import os
import select
import shlex
import signal
import stat
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Literal, Protocol, cast

import anyio.to_thread

from orchestrator.errors import ConfigError
from orchestrator.values import frozen

COMMAND_S = 30.0
POLL_S = 0.05
SIZE_LIMIT = 16 * 1024
Style = Literal["bearer", "private", "plain", "basic"]


class Credential(Protocol):
    """Gives the headers that a request is let in with."""

    async def headers(self) -> Mapping[str, str]:
        """Return the headers; they hold the secret."""
        ...

    async def secret(self) -> str:
        """Return the secret itself, for git."""
        ...

    async def renewed(self) -> bool:
        """Forget a secret that was refused; False where there is no other."""
        ...

    async def aclose(self) -> None:
        """Close what secrets are asked of."""
        ...


@dataclass(frozen=True, slots=True, repr=False)
class Token:
    """A token that stays the same.

    Attributes:
        style: how its service wants it: ``Authorization: Bearer``, GitLab's ``PRIVATE-TOKEN``,
            alone in ``Authorization`` (Linear), or with a name as Basic (Jira Cloud).
        name: who it belongs to, for Basic.
    """

    value: str
    style: Style = "bearer"
    name: str = ""

    def __repr__(self) -> str:
        """Return nothing of the secret."""
        return f"Token(style={self.style!r})"

    async def headers(self) -> Mapping[str, str]:
        """Return the headers; they hold the secret."""
        match self.style:
            case "bearer":
                return {"authorization": f"Bearer {self.value}"}
            case "private":
                return {"private-token": self.value}
            case "plain":
                return {"authorization": self.value}
            case "basic":
                pair = base64.b64encode(f"{self.name}:{self.value}".encode()).decode()
                return {"authorization": f"Basic {pair}"}

    async def secret(self) -> str:
        """Return the secret itself, for git."""
        return self.value

    async def renewed(self) -> bool:
        """Return False: there is no other."""
        return False

    async def aclose(self) -> None:
        """Do nothing: nobody is asked."""


class RenewedToken:
    """A token that is looked for again where it is refused: in a long watch it may run out.

    Args:
        look: reads it, from a command or a file.
        style: how its service wants it.
        name: who it belongs to, for Basic.

    Raises:
        ConfigError: it could not be had.
    """

    def __init__(self, look: Callable[[], str], style: Style = "bearer", name: str = "") -> None:
        self._look = look
        self._token = Token(look(), style, name)

    def __repr__(self) -> str:
        """Return nothing of the secret."""
        return f"RenewedToken(style={self._token.style!r})"

    async def headers(self) -> Mapping[str, str]:
        """Return the headers; they hold the secret."""
        return await self._token.headers()

    async def secret(self) -> str:
        """Return the secret itself, for git."""
        return self._token.value

    async def renewed(self) -> bool:
        """Look for it again; False where it is the same, or cannot be had any more."""
        try:
            fresh = await anyio.to_thread.run_sync(self._look)
        except ConfigError:
            return False
        before, self._token = self._token, replace(self._token, value=fresh)
        return fresh != before.value

    async def aclose(self) -> None:
        """Do nothing: nobody is asked."""


@frozen
class Places:
    """Where a secret may be; the first that is there counts.

    Attributes:
        variables: names in the environment, where nothing else is set.
        command: a command that prints it; it is started without a shell.
        file: a file that holds it, readable by its owner alone.
    """

    variables: Sequence[str]
    command: str = ""
    file: str = ""


def found(places: Places, environment: Mapping[str, str], *, service: str) -> str:
    """Return a service's secret: from the command or file of the settings, else the environment.

    Raises:
        ConfigError: there is none, or it could not be had. What was read is never repeated.
    """
    if places.command:
        return _sendable(_printed(places.command, environment), service, "tracker.token_command")
    if places.file:
        text = private_text(Path(places.file).expanduser(), "tracker.token_file")
        return _sendable(text.strip(), service, "tracker.token_file")
    for name in places.variables:
        value = environment.get(name, "").strip()
        if value:
            return _sendable(value, service, name)
    raise ConfigError(
        f"no credential for {service}",
        hint=f"set {places.variables[0]}, or tracker.token_command in your own config.yaml",
    )


def private_text(path: Path, key: str) -> str:
    """Return what a file of secrets holds.

    Raises:
        ConfigError: it cannot be read, or others may read it too.
    """
    try:
        # Not to wait for whoever may write into a pipe of that name.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            if not stat.S_ISREG(mode):
                raise ConfigError(f"{key}: {path} is no regular file")
            if mode & 0o077:
                raise ConfigError(f"{key}: others may read {path}", hint=f"chmod 600 {path}")
            data = file.read(SIZE_LIMIT + 1)
    except OSError as error:
        raise ConfigError(f"{key}: {path} cannot be read: {error.strerror}") from None
    if len(data) > SIZE_LIMIT:
        raise ConfigError(f"{key}: {path} is too long for a secret")
    try:
        return data.decode("ascii")
    except UnicodeDecodeError:
        raise ConfigError(f"{key}: {path} holds what is no text") from None


def _printed(command: str, environment: Mapping[str, str]) -> str:
    try:
        argv = shlex.split(command)
    except ValueError:
        argv = []
    if not argv:
        raise ConfigError("tracker.token_command is no command")
    try:
        process = subprocess.Popen(
            argv,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
    except OSError:
        raise ConfigError(f"tracker.token_command cannot start: {argv[0]}") from None
    with process:
        try:
            printed = _read(process, time.monotonic() + COMMAND_S)
        except TimeoutError:
            _stop(process)
            raise ConfigError(f"tracker.token_command took too long: {argv[0]}") from None
        if len(printed) > SIZE_LIMIT:
            _stop(process)
            raise ConfigError(f"tracker.token_command prints more than a secret: {argv[0]}")
    if process.returncode:
        raise ConfigError(
            f"tracker.token_command ended with status {process.returncode}: {argv[0]}",
            hint="run it yourself to see what it says",
        )
    return printed.decode("utf-8", "replace").strip()


def _read(process: subprocess.Popen[bytes], until: float) -> bytes:
    """Return what a command prints until it ends; of too much, enough to see that it is.

    Raises:
        TimeoutError: it has not ended by then.
    """
    printed = b""
    pipe = cast("IO[bytes]", process.stdout)
    while len(printed) <= SIZE_LIMIT:
        if time.monotonic() > until:
            raise TimeoutError
        ended = process.poll() is not None
        if select.select([pipe], [], [], 0 if ended else POLL_S)[0]:
            more = os.read(pipe.fileno(), SIZE_LIMIT)
            printed += more
            if more:
                continue
            with suppress(subprocess.TimeoutExpired):
                process.wait(POLL_S)  # it has closed the pipe, and may still do something
        if ended:
            break  # what it left running may hold the pipe for ever
    return printed


def _stop(process: subprocess.Popen[bytes]) -> None:
    """Kill a command and what it started."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _sendable(value: str, service: str, source: str) -> str:
    """Return a secret that can stand in a header; what cannot would be quoted in errors."""
    if not value or len(value) > SIZE_LIMIT or not value.isascii() or not value.isprintable():
        raise ConfigError(
            f"the credential for {service} from {source} is empty, or holds what none does",
            hint=f"look at {source}: one line, no quotes",
        )
    return value
