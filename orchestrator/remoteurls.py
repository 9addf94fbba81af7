"""Addresses of remotes: which ones are pushed to, and what of them may be told."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import field
from pathlib import Path
from urllib.parse import unquote, urlsplit, urlunsplit

from orchestrator.errors import ConfigError
from orchestrator.values import frozen

SCP = re.compile(r"(?:(?P<user>[A-Za-z0-9._-]+)@)?(?P<host>[A-Za-z0-9._-]+):(?P<path>(?!//)\S.*)")
"""``git@example.org:team/project.git``, which means ssh."""
KINDS = ("https", "http", "ssh", "file")
DEFAULT_PORTS = {"https": 443, "http": 80}


@frozen
class Login:
    """A name and a secret for one remote; the secret is in no ``repr``."""

    user: str
    secret: str = field(repr=False)


@frozen
class RemoteUrl:
    """Where a remote is.

    Attributes:
        kind: ``https``, ``http``, ``ssh`` or ``file``.
        address: what git is given; no secret is in it.
        login: what stood in the address, and was taken out of it.
    """

    kind: str
    address: str
    host: str = ""
    path: str = ""
    login: Login | None = None

    @property
    def origin(self) -> str:
        """Return scheme, host and port: what a secret is given to, and nothing else."""
        parts = urlsplit(self.address)
        return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"


def remote_url(text: str, *, folder: Path) -> RemoteUrl:
    """Take an address apart.

    Args:
        text: as git's settings have it.
        folder: what a relative path begins at.

    Raises:
        ConfigError: git would start a program of the address's choice, or it is no address.
    """
    if not text or text.startswith("-") or any(ord(char) < 32 for char in text):
        raise ConfigError("the remote's address is none", hint="look at: git remote -v")
    if "::" in text.partition("/")[0]:
        raise ConfigError(
            f"a remote of the kind {text.partition('::')[0]!r} starts a program, and is not used",
            hint=f"delivery goes to {', '.join(KINDS)} remotes",
        )
    if "://" in text:
        return _of_url(text, folder)
    found = SCP.fullmatch(text)
    if found and "/" not in text.partition(":")[0]:
        return RemoteUrl("ssh", text, found["host"], found["path"])
    path = (folder / text).resolve()
    return RemoteUrl("file", str(path), path=str(path))


def _of_url(text: str, folder: Path) -> RemoteUrl:
    try:
        parts = urlsplit(text)
        host = parts.hostname or ""
        _ = parts.port
    except ValueError:
        raise ConfigError("the remote's address is no URL", hint="look at: git remote -v") from None
    if parts.scheme not in KINDS:
        raise ConfigError(
            f"a remote of the kind {parts.scheme!r} is not pushed to",
            hint=f"delivery goes to {', '.join(KINDS)} remotes",
        )
    if parts.scheme == "file":
        path = (folder / unquote(parts.path)).resolve()
        return RemoteUrl("file", str(path), path=str(path))
    if not host:
        raise ConfigError("the remote's address names no host", hint="look at: git remote -v")
    if parts.scheme == "ssh":
        kept = parts.netloc
        if parts.password is not None:
            kept = f"{parts.username}@{kept.rpartition('@')[2]}"
        return RemoteUrl("ssh", urlunsplit((*parts[:1], kept, *parts[2:])), host, parts.path)
    login = None
    if parts.password is not None or parts.username:
        user, secret = unquote(parts.username or ""), unquote(parts.password or "")
        # A name without a password may be a token as well: neither stays in the address.
        login = Login(user, secret) if secret else Login("x-access-token", user)
    bare = urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))
    return RemoteUrl(parts.scheme, bare, host, parts.path, login)


def may_carry_secrets(url: RemoteUrl) -> bool:
    """Tell whether a secret may be sent there: over TLS, or not beyond this machine."""
    if url.kind == "https":
        return True
    if url.kind != "http":
        return False
    try:
        return ipaddress.ip_address(url.host).is_loopback
    except ValueError:
        return url.host == "localhost"
