"""The user that everything inside runs as, where root has chosen one."""

from __future__ import annotations

import os
import pwd
import shutil
from pathlib import Path

from orchestrator.errors import ConfigError
from orchestrator.values import frozen

CAPABILITIES = ("CAP_SETUID", "CAP_SETGID", "CAP_SETPCAP")
"""What the change of user needs; nothing of it is left afterwards."""


@frozen
class User:
    """A user of the host, by number."""

    uid: int
    gid: int

    def may_write(self, folder: Path) -> bool:
        """Tell whether the user can make files in a folder, by its mode alone."""
        status = folder.stat()
        if status.st_uid == self.uid:
            needed = 0o300
        elif status.st_gid == self.gid:
            needed = 0o030
        else:
            needed = 0o003
        return status.st_mode & needed == needed


def chosen(name: str) -> User | None:
    """Return the user that ``sandbox.run_as`` names; None where it names nobody.

    Raises:
        ConfigError: there is no such user, it is root, or only root could change to it.
    """
    if not name:
        return None
    if os.geteuid() != 0:
        raise ConfigError(
            f"sandbox.run_as: only root can run agents as another user, and you are {os.geteuid()}",
            hint="leave it out: as a normal user everything inside runs as you",
        )
    try:
        entry = pwd.getpwuid(int(name)) if name.isdigit() else pwd.getpwnam(name)
        user = User(entry.pw_uid, entry.pw_gid)
    except KeyError:
        if not name.isdigit():
            raise ConfigError(
                f"sandbox.run_as: there is no user {name!r}",
                hint="name an existing user, or any number above 0",
            ) from None
        user = User(int(name), int(name))
    if not 0 < user.uid < 2**32 - 1 or not user.gid:
        raise ConfigError(
            f"sandbox.run_as: {name} is root, or in root's group",
            hint="name a user without rights, such as nobody",
        )
    return user


def changing_to(user: User | None, command: list[str]) -> list[str]:
    """Return the command that starts another one as a user, without any privilege left."""
    if user is None:
        return command
    return [
        setpriv() or "setpriv",
        f"--reuid={user.uid}",
        f"--regid={user.gid}",
        "--clear-groups",
        "--inh-caps=-all",
        "--ambient-caps=-all",
        "--bounding-set=-all",
        "--no-new-privs",
        "--",
        *command,
    ]


def setpriv() -> str | None:
    """Return the program that changes the user, of the system's own folders."""
    return shutil.which("setpriv", path="/usr/bin:/bin:/usr/sbin:/sbin")
