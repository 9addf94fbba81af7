"""Git with one remote, in a directory of its own that has no settings but ours.

It reads the repository's objects: nothing that the repository's settings name is started. A secret
goes to git through a pipe that is read once; it is in no argument, environment, file, event or
error.
"""

from __future__ import annotations

import base64
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import anyio
import anyio.abc

from orchestrator.errors import RemoteUnavailable
from orchestrator.hostgit import environment
from orchestrator.remoteurls import Login, RemoteUrl, may_carry_secrets
from orchestrator.repository import Repository
from orchestrator.values import frozen

TIMEOUT_S = 300.0
OUTPUT_LIMIT = 64 * 1024
SILENCE = {"http.lowSpeedLimit": "1", "http.lowSpeedTime": "60"}
"""Less than a byte a second for a minute counts as no answer."""
PASSED_ON = (
    *("SSH_AUTH_SOCK", "SSL_CERT_FILE", "SSL_CERT_DIR", "GIT_SSL_CAINFO", "GIT_SSL_CAPATH"),
    *("http_proxy", "https_proxy", "all_proxy", "no_proxy"),
    *("HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"),
)
"""What reaching a remote depends on, and git on the host does not get otherwise."""


@frozen
class Said:
    """How a git command ended."""

    status: int
    output: str
    errors: str

    @property
    def all(self) -> str:
        return f"{self.output}\n{self.errors}"


class RemoteGit:
    """Runs git commands that speak with one remote.

    Args:
        repository: whose objects are read.
        url: where the remote is.
        shown: the remote as it may be told.
        scratch: a folder for private directories.
        login: gives name and secret for scheme, host and port of the address; None leaves it to
            the user's own git.
        variables: the environment that proxies and certificates are taken from.
        timeout_s: how long one command may take.
    """

    def __init__(  # noqa: PLR0913 - every collaborator is passed in
        self,
        repository: Repository,
        url: RemoteUrl,
        *,
        shown: str,
        scratch: Path,
        login: Callable[[str], Awaitable[Login | None]] | None = None,
        variables: Mapping[str, str] | None = None,
        timeout_s: float = TIMEOUT_S,
    ) -> None:
        self._repository = repository
        self._url = url
        self._shown = shown
        self._scratch = scratch
        self._login = login
        self._variables = {k: v for k, v in (variables or {}).items() if k in PASSED_ON}
        self._timeout_s = timeout_s

    async def run(self, *arguments: str, checked: bool = False) -> Said:
        """Run one git command.

        Args:
            arguments: of git.
            checked: whether what comes in is checked, object by object.

        Raises:
            RemoteUnavailable: it gave no answer in time, or no secret can be sent there.
        """
        login = await self._secret()
        self._scratch.mkdir(parents=True, exist_ok=True, mode=0o700)
        folder = Path(tempfile.mkdtemp(prefix="remote-", dir=self._scratch))
        reader: int | None = None
        try:
            self._make_directory(folder)
            settings = dict(SILENCE)
            if checked:
                settings["fetch.fsckObjects"] = "true"
            if login is not None:
                reader = _piped(f"username={login.user}\npassword={login.secret}\n")
                settings |= {
                    "http.followRedirects": "false",  # it goes where the user said, nowhere else
                    "credential.helper": "",  # the user's own are not told of our secret
                    f"credential.{self._url.origin}.helper": (
                        f'!f() {{ test "$1" = get && cat /dev/fd/{reader}; }}; f'
                    ),
                }
            env = environment(
                settings,
                GIT_DIR=str(folder),
                GIT_OBJECT_DIRECTORY=str(self._repository.common / "objects"),
                GIT_ALLOW_PROTOCOL=":".join(KINDS_OF[self._url.kind]),
            )
            pass_fds = () if reader is None else (reader,)
            said = await self._ran(arguments, folder, env | self._variables, pass_fds)
        finally:
            if reader is not None:
                os.close(reader)
            shutil.rmtree(folder, ignore_errors=True)
        return _without(login, said)

    async def _secret(self) -> Login | None:
        login = self._url.login
        if login is None and self._login is not None and self._url.kind in {"http", "https"}:
            login = await self._login(self._url.origin)
        if login is None:
            return None
        if any(char in text for text in (login.user, login.secret) for char in "\r\n\0"):
            raise RemoteUnavailable(
                f"the credentials for {self._shown} hold a line break",
                hint="give the token alone",
            )
        if not may_carry_secrets(self._url):
            raise RemoteUnavailable(
                f"{self._shown} is reached over plain http, and no credentials are sent there",
                hint="use its https address",
            )
        return login

    def _make_directory(self, folder: Path) -> None:
        """Make a git directory by hand: no template, no hook, no setting."""
        (folder / "refs").mkdir()
        (folder / "objects").mkdir()
        (folder / "HEAD").write_text("ref: refs/heads/none\n", encoding="ascii")
        hashed = self._repository.located.object_format
        lines = ["[core]", "repositoryformatversion = 0", "bare = true"]
        if hashed != "sha1":
            lines = [lines[0], "repositoryformatversion = 1", "bare = true", "[extensions]"]
            lines.append(f"objectformat = {hashed}")
        (folder / "config").write_text("\n".join([*lines, ""]), encoding="ascii")
        shallow = self._repository.common / "shallow"
        if shallow.is_file():
            shutil.copyfile(shallow, folder / "shallow")

    async def _ran(
        self, arguments: Sequence[str], folder: Path, env: Mapping[str, str], fds: Sequence[int]
    ) -> Said:
        # A session of its own has no terminal that ssh or git could ask on.
        with anyio.CancelScope(shield=True):  # started half way its pipes would stay open
            process = await anyio.open_process(
                ["git", *arguments],
                cwd=folder,
                env=dict(env),
                stdin=subprocess.DEVNULL,
                start_new_session=True,
                pass_fds=fds,
            )
        kept: dict[str, bytes] = {}

        async def read(name: str, stream: anyio.abc.ByteReceiveStream | None) -> None:
            data = b""
            if stream is not None:
                async for part in stream:
                    data += part[: max(OUTPUT_LIMIT * 64 - len(data), 0)]
            kept[name] = data

        try:
            with anyio.fail_after(self._timeout_s):
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(read, "output", process.stdout)
                    tasks.start_soon(read, "errors", process.stderr)
                status = await process.wait()
        except TimeoutError:
            raise RemoteUnavailable(
                f"{self._shown} gave no answer within {self._timeout_s:g} s",
                hint="nothing is lost: try again later",
            ) from None
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            with anyio.CancelScope(shield=True):
                await process.aclose()
        output, errors = (kept[one].decode("utf-8", "replace") for one in ("output", "errors"))
        return Said(status, output, errors)


KINDS_OF = {
    "https": ("https",),
    "http": ("http", "https"),
    "ssh": ("ssh",),
    "file": ("file",),
}
"""What git may speak with a remote of a kind; the user's own rewriting goes no further."""


def _piped(text: str) -> int:
    """Return the reading end of a pipe that holds a text, and then ends."""
    reader, writer = os.pipe()
    try:
        os.write(writer, text.encode())
    finally:
        os.close(writer)
    return reader


def _without(login: Login | None, said: Said) -> Said:
    """Return what was said without a secret, should a server have sent it back."""
    if login is None or not login.secret:
        return said
    pair = f"{login.user}:{login.secret}".encode()
    forms = (login.secret, base64.b64encode(pair).decode())

    def clean(text: str) -> str:
        for form in forms:
            text = text.replace(form, "***")
        return text

    return Said(said.status, clean(said.output), clean(said.errors))
