"""What has to be installed before an agent can work: done once for the same lock files, then kept.

The commands run in a workspace of their own, on the files of a commit; what they add to it is kept
and copied into every workspace that needs it. So neither run shares anything writable.
"""

from __future__ import annotations

import contextlib
import hashlib
import secrets
import time
from collections.abc import Callable, Sequence
from pathlib import Path, PurePosixPath

import anyio
import anyio.to_thread

from orchestrator.checkout import hand_over
from orchestrator.commands import FinishedCommand, run_command
from orchestrator.egress.opening import opened
from orchestrator.errors import WorkspaceError
from orchestrator.ports import Clock, Sandbox
from orchestrator.records import Mount, SandboxSpec
from orchestrator.removal import remove_tree
from orchestrator.repository import Repository
from orchestrator.toolcode import boot_argv
from orchestrator.values import frozen
from orchestrator.workspaces import Workspace

VERSION = 1
"""Of the form in which results are kept."""

KEPT_MOST = 4
"""Results that are kept of one repository; older ones are removed."""

NAMES_MOST = 2000
LEFT_S = 86_400
"""The age from which a half-made result is taken for what a killed process left."""

TOLD = 2000
COPY_S = 1800.0
RESULT = "/setup"

INPUTS = frozenset(
    {
        "uv.lock",
        "poetry.lock",
        "pdm.lock",
        "Pipfile",
        "Pipfile.lock",
        "pylock.toml",
        "pyproject.toml",
        "setup.py",
        "setup.cfg",
        "requirements.txt",
        "requirements.in",
        "constraints.txt",
        "environment.yml",
        ".python-version",
        "package.json",
        "package-lock.json",
        "npm-shrinkwrap.json",
        "pnpm-lock.yaml",
        "pnpm-workspace.yaml",
        "yarn.lock",
        "bun.lock",
        "bun.lockb",
        ".nvmrc",
        ".node-version",
        "Cargo.toml",
        "Cargo.lock",
        "rust-toolchain.toml",
        "go.mod",
        "go.sum",
        "go.work",
        "Gemfile",
        "Gemfile.lock",
        "composer.json",
        "composer.lock",
        "mix.exs",
        "mix.lock",
        "pom.xml",
        "build.gradle",
        "build.gradle.kts",
        "gradle.lockfile",
        "settings.gradle",
        "Makefile",
    }
)
"""Files by which it is told whether a kept result still fits, wherever they are in a tree."""

# What the commands added, folders as a whole: git lists what the commit does not have, ignored or
# not. The names go last, so that a result which was cut off has none.
TAKE = f"""set -e -o pipefail
git ls-files --others --directory --no-empty-directory -z >/tmp/names
mkdir {RESULT}/tree
xargs -0 -r -a /tmp/names cp -a --reflink=auto --parents -t {RESULT}/tree --
cp /tmp/names {RESULT}/names"""
WANTED = "/run/orchestrate/wanted"
PUT = f"""set -e
cd {RESULT}/tree
xargs -0 -r -a {WANTED} cp -a --reflink=auto --parents -t "$OLDPWD" --"""

Serve = Callable[[Path], contextlib.AbstractAsyncContextManager[Path]]


@frozen
class SetupPlan:
    """How workspaces are prepared.

    Attributes:
        commands: run in order; the first that fails ends it.
        inputs: names of the files that the result depends on.
        marks: what else it depends on: programs, versions.
        timeout_s: how long one command may take.
    """

    commands: tuple[str, ...]
    inputs: frozenset[str]
    marks: tuple[str, ...]
    timeout_s: float


@frozen
class SetupResult:
    """What the commands added to a commit's files.

    Attributes:
        folder: where it is.
        kept: whether it was there before.
    """

    folder: Path
    kept: bool
    duration_s: float

    def names(self) -> list[str]:
        """Return the paths that were added, folders as a whole; from inside, so looked at.

        Raises:
            WorkspaceError: there are too many.
        """
        listed = (self.folder / "names").read_bytes().split(b"\0")
        if len(listed) > NAMES_MOST:
            raise WorkspaceError(
                f"workspace.setup adds more than {NAMES_MOST} files and folders",
                hint="have them in a folder that git ignores",
            )
        found = [one.decode("utf-8", "surrogateescape").rstrip("/") for one in listed if one]
        return [one for one in found if _is_below(one)]


class Setups:
    """Prepares the workspaces of one repository.

    Args:
        store: where results are kept.
        plan: what has to be done.
        serve: opens the way out for the commands, in a folder, and gives its socket; None where
            they reach nothing.
    """

    def __init__(
        self,
        *,
        store: Path,
        plan: SetupPlan,
        repository: Repository,
        sandbox: Sandbox,
        clock: Clock,
        serve: Serve | None = None,
    ) -> None:
        self._store = store
        self._plan = plan
        self._repository = repository
        self._sandbox = sandbox
        self._clock = clock
        self._serve = serve
        self.commands = plan.commands

    async def kept(self, commit: str) -> SetupResult | None:
        """Return the result that is kept for a commit's files, if there is one."""
        folder = self._store / await anyio.to_thread.run_sync(self._key, commit)
        if not (folder / "names").is_file():
            return None
        with contextlib.suppress(OSError):
            folder.touch()  # used last: removed last
        return SetupResult(folder, kept=True, duration_s=0.0)

    async def made(self, commit: str) -> SetupResult:
        """Run the commands on a commit's files, and keep what they add.

        Raises:
            WorkspaceError: one of them failed.
        """
        key = await anyio.to_thread.run_sync(self._key, commit)
        self._store.mkdir(parents=True, exist_ok=True, mode=0o700)
        folder = self._store / f"new-{key}-{secrets.token_hex(4)}"
        try:
            result = await self.run(commit, folder)
            kept = self._store / key
            with contextlib.suppress(OSError):  # somebody else was faster: the same again
                folder.rename(kept)
            await anyio.to_thread.run_sync(self._forget, kept)
            return SetupResult(kept, kept=False, duration_s=result.duration_s)
        finally:
            with anyio.CancelScope(shield=True):
                await anyio.to_thread.run_sync(remove_tree, folder)

    async def run(self, commit: str, folder: Path) -> SetupResult:
        """Run the commands on a commit's files; what they add is in the folder, and nowhere else.

        Raises:
            WorkspaceError: one of them failed.
        """
        started = self._clock()
        workspace = Workspace(
            folder / "workspace",
            repository=self._repository,
            base=commit,
            branch="setup",
            sandbox=self._sandbox,
            identity="setup",
        )
        await anyio.to_thread.run_sync(remove_tree, folder)
        folder.mkdir(mode=0o700, parents=True)
        (folder / "result").mkdir(mode=0o700)
        await anyio.to_thread.run_sync(hand_over, folder / "result", self._sandbox.owner)
        await anyio.to_thread.run_sync(workspace.lay_out)
        await workspace.check_out_inside(commit)
        await self._run_commands(workspace.spec(), folder)
        taking = workspace.spec().adding((Mount(str(folder / "result"), RESULT, writable=True),))
        done = await self._run(TAKE, taking, COPY_S)
        if done.exit_status != 0:
            raise WorkspaceError(f"workspace.setup: its result cannot be taken: {_end(done)}")
        await anyio.to_thread.run_sync(remove_tree, folder / "workspace")
        for name in ("tree", "names"):
            (folder / "result" / name).rename(folder / name)
        return SetupResult(folder, kept=False, duration_s=self._clock() - started)

    async def put(self, result: SetupResult, workspace: Workspace) -> None:
        """Copy a result into a workspace; what its commit has itself is left alone.

        Raises:
            WorkspaceError: it cannot be copied.
        """
        names = await anyio.to_thread.run_sync(result.names)
        owned = await anyio.to_thread.run_sync(self._owned, workspace.base, names)
        wanted = [name for name in names if name not in owned]
        await anyio.to_thread.run_sync(workspace.furnish, wanted)
        if wanted:
            await self._copy(result, wanted, workspace)
        await anyio.to_thread.run_sync(workspace.is_furnished)

    async def _copy(self, result: SetupResult, wanted: list[str], workspace: Workspace) -> None:
        listed = result.folder / f"put-{secrets.token_hex(4)}"
        listed.write_bytes(b"\0".join(name.encode("utf-8", "surrogateescape") for name in wanted))
        try:
            shown = (
                Mount(str(result.folder / "tree"), f"{RESULT}/tree"),
                Mount(str(listed), WANTED),
            )
            done = await self._run(PUT, workspace.spec().adding(shown), COPY_S)
        finally:
            listed.unlink(missing_ok=True)
        if done.exit_status != 0:
            raise WorkspaceError(f"workspace.setup: its result cannot be copied: {_end(done)}")

    # -- inside ----------------------------------------------------------------------------

    async def _run_commands(self, spec: SandboxSpec, folder: Path) -> None:
        async with contextlib.AsyncExitStack() as stack:
            through: Sequence[str] = ()
            if self._serve is not None:
                spec = opened(spec, await stack.enter_async_context(self._serve(folder)))
                through = boot_argv(self._sandbox, "relay")
            for command in self._plan.commands:
                done = await self._run(command, spec, self._plan.timeout_s, through)
                if done.exit_status == 0:
                    continue
                how = "took too long" if done.exit_status is None else f"ended {done.exit_status}"
                raise WorkspaceError(
                    f"workspace.setup: `{command}` {how}: {_end(done)}",
                    hint="mend the command or the lock file; hosts that it has to reach belong "
                    "into workspace.setup_allow",
                )

    async def _run(
        self, command: str, spec: SandboxSpec, timeout_s: float, through: Sequence[str] = ()
    ) -> FinishedCommand:
        return await run_command(
            self._sandbox,
            spec,
            command,
            timeout_s=timeout_s,
            clock=self._clock,
            through=through,
        )

    # -- what is kept ----------------------------------------------------------------------

    def _key(self, commit: str) -> str:
        """Return the name under which the result for a commit is kept."""
        marks = [str(VERSION), self._repository.id, self._sandbox.name, *self._plan.marks]
        marks.append(str(self._sandbox.owner))
        marks += self._plan.commands
        for path, (mode, sha) in sorted(self._repository.entries(commit).items()):
            if PurePosixPath(path).name in self._plan.inputs or path in self._plan.inputs:
                marks += [path, mode, sha]
        text = "\0".join(marks).encode("utf-8", "surrogateescape")
        return hashlib.blake2b(text, digest_size=16).hexdigest()

    def _owned(self, commit: str, names: Sequence[str]) -> set[str]:
        """Return which of some paths a commit has something at or below."""
        if not names:
            return set()
        there = self._repository.names(commit, *names)
        return {
            name for name in names for one in there if one == name or one.startswith(f"{name}/")
        }

    def _forget(self, newest: Path) -> None:
        """Remove the results that were used longest ago, and what killed processes left."""
        ages = {one: time.time() - one.stat().st_mtime for one in self._store.iterdir()}
        half = {one for one in ages if one.name.startswith("new-")}
        whole = sorted(ages.keys() - half - {newest}, key=ages.__getitem__)
        for one in [*whole[KEPT_MOST - 1 :], *(one for one in half if ages[one] > LEFT_S)]:
            with contextlib.suppress(WorkspaceError):
                remove_tree(one)


def _is_below(name: str) -> bool:
    """Tell whether a path that was told from inside stays inside."""
    parts = PurePosixPath(name).parts
    return bool(parts) and not name.startswith("/") and ".." not in parts and ".git" not in parts


def _end(done: FinishedCommand) -> str:
    return done.output[-TOLD:].strip() or "it said nothing"
