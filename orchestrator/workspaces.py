"""A private git directory and work tree for one run.

The agent's git directory borrows the repository's objects read-only. No ref, config, hook, index
or lock of the user's repository is writable from it, and no two runs share anything.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

from orchestrator.checkout import check_out, hand_over
from orchestrator.errors import WorkspaceError
from orchestrator.gitinside import GitInside
from orchestrator.ownplaces import OwnPlaces
from orchestrator.ports import Sandbox
from orchestrator.records import Mount, SandboxSpec
from orchestrator.removal import copy_tree, remove_tree
from orchestrator.repository import Repository
from orchestrator.toolcode import tool_environment, tool_mounts
from orchestrator.values import frozen

WORKSPACE, GIT, HOME, TMP = "/workspace", "/git", "/home/agent", "/tmp"
INSIDE_ID = 1000
"""The user and group that files have inside, whoever they belong to on the host."""


@frozen
class Shared:
    """What a workspace shows of the user's own checkout, read-only.

    Attributes:
        names: paths from the top of the checkout, seen at the same place in the workspace.
        mounts: where they are, and what they lean on.
    """

    names: tuple[str, ...] = ()
    mounts: tuple[Mount, ...] = ()


SPECIAL, ESCAPED = re.compile(r"([*?\[!# \\])"), r"\\\1"
"""What would be a pattern in a list of ignored files, and what makes it plain."""

PROGRAMS = {".venv": "bin", "venv": "bin", "node_modules": ".bin"}
"""Where installed folders have their programs; they come first in PATH."""


@frozen
class Layout:
    """Where the parts of a workspace are, as they are seen inside."""

    workspace: str
    git: str
    home: str
    tmp: str
    bases: tuple[str, ...]


class Workspace:
    """One private copy of a repository at a commit.

    Args:
        container: the run's own folder. The parts are made in a place of their own below it: what
            a killed process left running (a checkout, say) never writes where a later one works.
        repository: what to borrow objects from.
        base: the commit to start from.
        branch: the name of the branch that HEAD starts on.
        sandbox: tells whether paths inside differ from those on the host.
        identity: the name that commits are made under.
        shared: what is shown of the user's own checkout.
    """

    def __init__(  # noqa: PLR0913 - every collaborator is passed in
        self,
        container: Path,
        *,
        repository: Repository,
        base: str,
        branch: str,
        sandbox: Sandbox,
        identity: str,
        shared: Shared | None = None,
    ) -> None:
        self._shared = shared or Shared()
        self._expected: tuple[str, ...] = ()
        self.base = base
        self._repository = repository
        self._branch = branch
        self._sandbox = sandbox
        self._identity = identity
        self._objects = repository.object_folders()
        self._places = OwnPlaces(container, fixed=not sandbox.maps_paths)
        self.folder = self._places.current() or self._places.unused()

    def leave(self, epoch: int) -> None:
        """Work in no place that was made before an epoch: another process may still write there."""
        self._places.leave(epoch)
        self.folder = self._places.current() or self._places.unused()

    def move(self) -> None:
        """Go on in a copy of the place that was left, where one was.

        Raises:
            WorkspaceError: it cannot be copied.
        """
        self._guarded(lambda: setattr(self, "folder", self._places.moved() or self.folder))

    @property
    def is_seeded(self) -> bool:
        """Tell whether this is a fork's that has not been put back to its parent's state yet."""
        return self._places.seed.is_dir()

    def is_put_back(self) -> None:
        """Note that the workspace is as it has to be; what a fork began with is dropped."""
        if self.is_seeded:
            remove_tree(self._places.seed)

    @property
    def layout(self) -> Layout:
        """Return where the parts are, as they are seen inside."""
        if self._sandbox.maps_paths:
            bases = tuple(f"/base/{number}" for number in range(len(self._objects)))
            return Layout(WORKSPACE, GIT, HOME, TMP, bases)
        names = ("work", "git", "home", "tmp")
        work, git, home, tmp = (f"{self.folder}/{name}" for name in names)
        return Layout(work, git, home, tmp, tuple(map(str, self._objects)))

    @property
    def work(self) -> Path:
        """Return the host path of the work tree; host git never runs there after ``create``."""
        return self.folder / "work"

    # -- making ----------------------------------------------------------------------------

    def create(self) -> None:
        """Make the workspace whole, or leave it as it is where it is whole already.

        Raises:
            WorkspaceError: it cannot be made.
        """
        if self.lay_out():
            self.check_out()

    def lay_out(self) -> bool:
        """Make all but the files of the base; a sandbox for it can be started from then on.

        Returns:
            Whether the files are still to come, by ``check_out`` or ``check_out_inside``.

        Raises:
            WorkspaceError: it cannot be made.
        """
        if (self.folder / "ready").exists():
            self._guarded(self._settle_owner)
            return False
        self.clear()
        self._guarded(self._make)
        kept = self._places.seed / "git"
        if kept.is_dir():
            self._guarded(lambda: self._take_up(kept))
            return False
        self._guarded(lambda: hand_over(self.folder, self._sandbox.owner))
        return True

    def _settle_owner(self) -> None:
        """Have all files belong to whom things run as: it may have been another one before."""
        wanted = self._sandbox.owner or (os.geteuid(), os.getegid())
        if self.work.stat().st_uid != wanted[0]:
            hand_over(self.folder, wanted)

    def check_out(self) -> None:
        """Put the files of the base in place, by host git, before anything runs inside.

        Raises:
            WorkspaceError: they cannot be written.
        """
        self._guarded(self._check_out)
        self._guarded(self._complete)

    def _guarded(self, step: Callable[[], None]) -> None:
        try:
            step()
        except OSError as error:
            raise WorkspaceError(
                f"the workspace cannot be made in {self.folder}: {error.strerror}",
                hint="free some disk space, or choose another folder with --state",
            ) from None

    def _complete(self) -> None:
        """Say where borrowed objects are: from here on no host git may run in this directory."""
        bases = "".join(f"{base}\n" for base in self.layout.bases)
        alternates = self.folder / "git" / "objects" / "info" / "alternates"
        alternates.write_text(bases, encoding="utf-8")
        hand_over(alternates, self._sandbox.owner)
        (self.folder / "ready").touch()
        self._places.choose(self.folder)

    def clear(self) -> None:
        """Give the workspace up; the next one is made in another place."""
        self._places.clear()
        self.folder = self._places.unused()

    def _take_up(self, kept: Path) -> None:
        """Begin with a private git directory that was kept: its snapshots hold all files."""
        git = self.folder / "git"
        config = (git / "config").read_bytes()
        remove_tree(git)
        copy_tree(kept, git)
        (git / "config").write_bytes(config)
        hand_over(self.folder, self._sandbox.owner)
        self._complete()

    def _make(self) -> None:
        for name in ("work", "home", "tmp", "git/objects/info", "git/objects/pack", "git/hooks"):
            (self.folder / name).mkdir(parents=True, mode=0o700)
        git = self.folder / "git"
        for name in ("refs/heads", "refs/tags", "info", "logs", "orchestrate"):
            (git / name).mkdir(parents=True)
        (git / "HEAD").write_text(f"ref: refs/heads/{self._branch}\n", encoding="utf-8")
        head = git / "refs/heads" / self._branch
        head.parent.mkdir(parents=True, exist_ok=True)
        head.write_text(f"{self.base}\n", encoding="ascii")
        (git / "config").write_text(self._config(), encoding="utf-8")
        excluded = self._repository.common / "info" / "exclude"
        if excluded.is_file():
            shutil.copyfile(excluded, git / "info" / "exclude")
        self._exclude(self._shared.names)
        shallow = self._repository.common / "shallow"
        if shallow.is_file():
            shutil.copyfile(shallow, git / "shallow")
        (self.folder / "empty").touch()
        (self.folder / "work" / ".git").write_text(f"gitdir: {self.layout.git}\n", encoding="utf-8")

    def expect(self, names: Sequence[str]) -> None:
        """Say what will be installed: a sandbox that is started before that finds its programs."""
        self._expected = tuple(names)

    def furnish(self, names: Sequence[str]) -> None:
        """Note what is about to be installed in the work tree: it is never part of a commit.

        Raises:
            WorkspaceError: it cannot be noted.
        """
        self._guarded(lambda: self._furnish(names))

    def _furnish(self, names: Sequence[str]) -> None:
        self._exclude(names)
        self._installed.write_bytes(b"\0".join(map(os.fsencode, names)))

    @property
    def furnished(self) -> bool:
        """Tell whether everything that had to be installed here has been."""
        return (self.folder / "furnished").exists()

    def is_furnished(self) -> None:
        """Note that everything is installed."""
        self._guarded((self.folder / "furnished").touch)

    @property
    def _installed(self) -> Path:
        return self.folder / "installed"

    def _exclude(self, names: Sequence[str]) -> None:
        lines = [f"/{SPECIAL.sub(ESCAPED, name)}\n" for name in names]
        with (self.folder / "git" / "info" / "exclude").open("ab") as file:
            file.write(b"\n" + b"".join(map(os.fsencode, lines)) if lines else b"")

    def _path(self) -> tuple[str, ...]:
        """Return the folders of programs that were installed or are shared."""
        names = [*self._shared.names, *self._expected]
        if self._installed.exists():
            names += [os.fsdecode(one) for one in self._installed.read_bytes().split(b"\0")]
        there = [name for name in PROGRAMS if name in names]
        return tuple(f"{self.layout.workspace}/{name}/{PROGRAMS[name]}" for name in there)

    def _config(self) -> str:
        lines = [
            "[core]",
            f"\trepositoryformatversion = {self._format_version}",
            "\tbare = false",
            "\tfilemode = true",
            "\tlogallrefupdates = true",
            "\tautocrlf = false",
            f"\tworktree = {self.layout.workspace}",
            "\thooksPath = /dev/null",
            "[gc]\n\tauto = 0\n\tpruneExpire = never",
            "[maintenance]\n\tauto = false",
            "[commit]\n\tgpgsign = false",
            "[tag]\n\tgpgsign = false",
            "[advice]\n\tdetachedHead = false",
            "[index]\n\tskipHash = false",
        ]
        if self._format_version:
            lines.append(f"[extensions]\n\tobjectFormat = {self._repository.located.object_format}")
        return "\n".join(lines) + "\n"

    @property
    def _format_version(self) -> int:
        return 1 if self._repository.located.object_format != "sha1" else 0

    def _check_out(self) -> None:
        """Fill the work tree; the only time that host git touches it."""
        git = self.folder / "git"
        check_out(
            git,
            self.work,
            self.base,
            borrowed=self._objects,
            owner=self._owner_inside,
            given_to=self._sandbox.owner,
            object_format=self._repository.located.object_format,
        )
        # Snapshots keep an index of their own, which begins as clean as the agent's.
        shutil.copyfile(git / "index", git / "orchestrate" / "index")
        hand_over(git, self._sandbox.owner)

    @property
    def _owner_inside(self) -> tuple[int, int] | None:
        """Return whom files seem to belong to inside; None where that is as on the host."""
        if self._sandbox.owner is None and self._sandbox.maps_paths:
            return (INSIDE_ID, INSIDE_ID)
        return None

    # -- what is seen inside ---------------------------------------------------------------

    def spec(self) -> SandboxSpec:
        """Return what a sandbox for this workspace shows."""
        return SandboxSpec(
            mounts=(*self._mounts(), *tool_mounts()),
            cwd=self.layout.workspace,
            environment=(
                ("HOME", self.layout.home),
                ("TMPDIR", self.layout.tmp),
                ("ORCHESTRATE_WORKSPACE", self.layout.workspace),
                ("ORCHESTRATE_GIT", self.layout.git),
                *tool_environment(self._sandbox),
                *git_identity(self._identity),
            ),
            path=self._path(),
        )

    def _mounts(self) -> list[Mount]:
        folder = str(self.folder)
        mounts = [
            Mount(str(objects), base)
            for objects, base in zip(self._objects, self.layout.bases, strict=True)
        ]
        for objects, base in zip(self._objects, self.layout.bases, strict=True):
            if (objects / "info" / "alternates").is_file():
                mounts.append(Mount(f"{folder}/empty", f"{base}/info/alternates"))
        mounts.append(Mount(f"{folder}/git", GIT, writable=True))
        mounts += [
            Mount(f"{folder}/git/{name}", f"{GIT}/{name}") for name in ("config", "hooks", "info")
        ]
        # A mount point of its own: what is mounted below it cannot be moved away with it.
        mounts.append(Mount(f"{folder}/git/objects", f"{GIT}/objects", writable=True))
        mounts.append(Mount(f"{folder}/git/objects/info", f"{GIT}/objects/info"))
        mounts += [
            Mount(f"{folder}/work", WORKSPACE, writable=True),
            Mount(f"{folder}/work/.git", f"{WORKSPACE}/.git"),
            *private_mounts(self.folder),
            *self._shared.mounts,
        ]
        return mounts

    # -- the gates' checkout ---------------------------------------------------------------

    async def check_out_inside(self, commit: str) -> None:
        """Fill an empty work tree by a git that runs inside.

        Raises:
            WorkspaceError: git inside fails or takes too long.
        """
        self._guarded(self._complete)
        await self._git_inside().check_out(commit)

    async def take_inside(self, commit: str, paths: Sequence[str]) -> None:
        """Make files of the checkout as they are in another commit, before anything runs there.

        Raises:
            WorkspaceError: git inside fails or takes too long.
        """
        await self._git_inside().take(commit, paths)

    def _git_inside(self) -> GitInside:
        return GitInside(self._sandbox, self.spec(), self.layout.workspace)


def private_mounts(folder: Path) -> list[Mount]:
    """Return the mounts of a private home and a private temporary folder below ``folder``."""
    return [
        Mount(f"{folder}/tmp", TMP, writable=True),
        Mount(f"{folder}/tmp", "/var/tmp", writable=True),
        Mount(f"{folder}/home", HOME, writable=True),
    ]


def git_identity(name: str) -> list[tuple[str, str]]:
    """Return the environment that gives every git inside a name, in any repository there."""
    settings = {
        "user.name": name,
        "user.email": f"{name}@orchestrate.invalid",
        "safe.directory": "*",
        "init.defaultBranch": "main",
        "gc.auto": "0",
    }
    values = [("GIT_CONFIG_COUNT", str(len(settings)))]
    for number, (key, value) in enumerate(settings.items()):
        values += [(f"GIT_CONFIG_KEY_{number}", key), (f"GIT_CONFIG_VALUE_{number}", value)]
    return values
