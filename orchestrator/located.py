"""The user's repository as it is found: where it is, of what kind, and whether work waits in it."""

from __future__ import annotations

import os
import re
from pathlib import Path

from orchestrator.errors import RepositoryRefused
from orchestrator.hostgit import environment, run_git
from orchestrator.objects import FULL_ID
from orchestrator.values import frozen

TRUSTING = re.compile(r"--add safe\.directory (\S.*)")
WRITTEN = ("objects", "objects/pack", "refs", "refs/heads", "refs/orchestrate")
"""Folders of a repository that runs write to, as far as they are there."""


@frozen
class Located:
    """Where a repository is and what kind it is."""

    common: Path
    """The real path of its common git directory: what it is known by."""
    top: Path | None
    """The top of the checkout one stands in; None for a bare repository."""
    shallow: bool
    object_format: str
    head: str
    """The commit that HEAD names."""
    branch: str = ""
    """The full name of the branch that HEAD is on; empty where it is on none."""


def found_at(folder: Path) -> Located:
    """Find the repository that a folder belongs to.

    Raises:
        RepositoryRefused: it is in none, or the repository has no commit yet.
        WorkspaceError: git is missing.
    """
    if not folder.is_dir():
        raise RepositoryRefused(f"{folder} is not a folder")
    # One call: git answers in order, and stops at the first question that has no answer. Paths
    # are last: what comes before them is a line each, whatever characters a path has.
    asked = ("--is-shallow-repository", "--show-object-format", "--is-bare-repository")
    more = ("HEAD^{commit}", "--symbolic-full-name", "HEAD", "--git-common-dir", "--show-toplevel")
    done = run_git(["rev-parse", *asked, *more], cwd=folder, check=False)
    lines = done.stdout.decode("utf-8", "surrogateescape").removesuffix("\n").split("\n")
    if len(lines) < len(asked):
        said = done.stderr.decode("utf-8", "replace").strip()
        if "dubious ownership" in said:
            # From a folder below it, git names the one that counts.
            named = TRUSTING.search(said)
            hint = f"run: git config --global --add safe.directory {named[1] if named else folder}"
            raise RepositoryRefused(f"git does not trust {folder}: another user owns it", hint=hint)
        raise RepositoryRefused(f"{folder} is not in a git repository", hint="run: git init")
    lines += [""] * (5 - len(lines))  # where there is no commit yet
    shallow, object_format, bare, head, branch, *paths = lines
    if not FULL_ID.fullmatch(head):
        raise RepositoryRefused(
            f"{folder} has no commit yet",
            hint="commit something first: an agent starts from a commit",
        )
    # The last question alone may have no answer, inside a git directory.
    if len(paths) != (1 if done.returncode else 2) or "\n" in str((folder / paths[0]).resolve()):
        raise RepositoryRefused(
            f"{folder} is in a repository whose path has a line break",
            hint="give the folder another name",
        )
    return Located(
        common=(folder / paths[0]).resolve(),
        top=Path(paths[1]) if len(paths) > 1 and bare == "false" else None,
        shallow=shallow == "true",
        object_format=object_format,
        head=head,
        branch=branch if branch.startswith("refs/heads/") else "",
    )


def require_writable(common: Path) -> None:
    """Refuse a repository that this user may read, but not write.

    Raises:
        RepositoryRefused: a folder where its objects or refs belong cannot be written.
    """
    for name in WRITTEN:
        folder = common / name
        if folder.is_dir() and not os.access(folder, os.W_OK | os.X_OK):
            raise RepositoryRefused(
                f"{folder} cannot be written, so no commit of an agent could be kept",
                hint="give this user write permission there, or work in a clone of your own",
            )


def has_changes(checkout: Path) -> bool:
    """Tell whether a checkout has changes that are not committed; no filter of its is run."""
    asked = ["status", "--porcelain", "--untracked-files=no", "--ignore-submodules=all"]
    env = environment(_no_filters(checkout))
    return bool(run_git(asked, cwd=checkout, env=env, check=False).stdout.strip())


def _no_filters(checkout: Path) -> dict[str, str]:
    """Return settings that switch off every filter which a checkout's settings name."""
    asked = ["config", "-z", "--name-only", "--get-regexp", "^filter[.]"]
    listed = run_git(asked, cwd=checkout, check=False)
    names = {
        key.split(".", 1)[1].rpartition(".")[0]
        for key in listed.stdout.decode("utf-8", "surrogateescape").split("\0")
        if key.count(".") > 1
    }
    off = {"clean": "", "smudge": "", "process": "", "required": "false"}
    return {f"filter.{name}.{part}": value for name in sorted(names) for part, value in off.items()}
