"""What comes out of a sandbox is checked in quarantine before the repository has it."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO

from orchestrator.errors import WorkspaceError
from orchestrator.hostgit import environment, path_list, run_git
from orchestrator.objects import FULL_ID

SMALL = 1024 * 1024
"""Bytes of a pack below which more than one thread costs more than it saves."""


def take_in(common: Path, pack: Path, *, base: str, head: str, limit: int) -> None:
    """Check a pack, and move its objects into a repository.

    Args:
        common: the repository's common git directory.
        pack: a thin pack, as ``git pack-objects --thin`` writes it.
        base: the commit the agent started from.
        head: the commit, or a tag of it, that the pack is said to bring.
        limit: the largest pack that is accepted, in bytes.

    Raises:
        WorkspaceError: the pack is broken, too large, or does not hold what it must.
    """
    if not FULL_ID.fullmatch(head):
        raise WorkspaceError("the workspace names no commit")
    objects = common / "objects"
    quarantine = Path(tempfile.mkdtemp(prefix="orchestrate-quarantine-", dir=objects))
    try:
        (quarantine / "pack").mkdir()
        env = environment(
            {"transfer.fsckObjects": "true", "fetch.fsckObjects": "true"},
            GIT_DIR=str(common),
            GIT_OBJECT_DIRECTORY=str(quarantine),
            GIT_ALTERNATE_OBJECT_DIRECTORIES=path_list([objects]),
        )
        size = pack.stat().st_size
        if size:
            arguments = ["index-pack", "--stdin", "--fix-thin", "--strict"]
            arguments += ["--threads=1"] if size < SMALL else []
            with pack.open("rb") as file:
                _index_pack(common, [*arguments, f"--max-input-size={limit}"], file, env)
        _require_whole(objects, head, base, env)
        _move_pack(quarantine / "pack", objects / "pack")
    finally:
        _remove(quarantine)


def _index_pack(common: Path, arguments: list[str], data: BinaryIO, env: Mapping[str, str]) -> None:
    try:
        run_git(arguments, cwd=common, env=env, stdin=data)
    except WorkspaceError as error:
        raise WorkspaceError(
            f"what the agent committed was refused: {error}",
            hint="its work tree is kept with the run",
        ) from None


def _require_whole(objects: Path, head: str, base: str, env: Mapping[str, str]) -> None:
    """Refuse a head that is no commit, or that lacks something of all it needs beyond the base."""
    commit = f"{head}^{{commit}}"
    try:
        asked = ["rev-list", "--objects", "--quiet", commit, "--not", base, "--"]
        run_git(asked, cwd=objects, env=env)
    except WorkspaceError:
        named = ["rev-parse", "--verify", "--quiet", "--end-of-options", commit]
        done = run_git(named, cwd=objects, env=env, check=False)
        if not FULL_ID.fullmatch(done.stdout.decode().strip()):
            raise WorkspaceError("what came out of the workspace is no commit") from None
        raise


def _move_pack(source: Path, target: Path) -> None:
    """Move a pack in; its index comes last, since that is what makes it visible."""
    target.mkdir(exist_ok=True)
    order = {".pack": 0, ".rev": 1, ".idx": 2}
    files = [one for one in source.iterdir() if one.suffix in order]
    for file in sorted(files, key=lambda one: order[one.suffix]):
        file.replace(target / file.name)


def _remove(quarantine: Path) -> None:
    """Remove a quarantine; where all went well nothing is left in it but a folder."""
    try:
        (quarantine / "pack").rmdir()
        quarantine.rmdir()
    except OSError:
        shutil.rmtree(quarantine, ignore_errors=True)
