"""The user's repository: every git command that runs on the host, hardened.

Host git never looks at an agent's tree. It reads the base commit, checks in what came out of a
sandbox, and moves refs. The user's checkout, index, HEAD, configuration and hooks stay as they are.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator.ancestry import Ancestry
from orchestrator.comparing import AS_PLAIN, COUNTED, PATCHED, Comparing
from orchestrator.errors import RepositoryRefused, WorkspaceError
from orchestrator.hostgit import NO_INDEX, environment, run_git
from orchestrator.located import Located, found_at, has_changes
from orchestrator.objects import FULL_ID, Entry, Found, Listings, ObjectReader
from orchestrator.quarantine import take_in
from orchestrator.records import DiffStat
from orchestrator.refs import Refs
from orchestrator.sharedanswer import SharedAnswer
from orchestrator.trees import Trees

if TYPE_CHECKING:
    from git.cmd import Git

PLAIN_BRANCH = re.compile(r"(?!HEAD$)(?:feature/)?[A-Za-z0-9_]+(?:-[a-z0-9]+)*")
"""Names of this form are valid refs whatever they hold; only others have to be asked about."""
HEADS = "refs/heads/"
BLOB_LIMIT = 4 * 1024 * 1024


class Repository:
    """The user's repository.

    Args:
        located: what ``locate`` found.
    """

    def __init__(self, located: Located) -> None:
        self.located = located
        self.common = located.common
        self.top = located.top
        self.id = str(located.common)
        self._objects = ObjectReader(located.common)
        self._listings = Listings()
        self._trees = Trees(self._objects)
        self._ancestry = Ancestry(located.common, self._objects)
        self._refs = Refs(located.common)
        self._patches = Comparing(located.common, *PATCHED, settings=AS_PLAIN)
        self._counts = Comparing(located.common, *COUNTED)
        self._dirty = SharedAnswer(self._look)
        self._command: Git | None = None

    def close(self) -> None:
        """End what was started to read objects; it starts again when it is needed."""
        for one in (self._objects, self._refs, self._patches, self._counts):
            one.close()

    # -- reading ---------------------------------------------------------------------------

    def commit(self, name: str) -> str:
        """Return the id of the commit that a name means.

        Raises:
            RepositoryRefused: it names no commit.
        """
        # HEAD is that of the checkout one stands in, which may be a linked one.
        if name == "HEAD" or name.startswith(("HEAD~", "HEAD^")):
            name = f"{self.located.head}{name.removeprefix('HEAD')}"
        # What people name may be anything that git can be asked, and end the process that stays.
        asked = ("rev-parse", "--verify", "--quiet", "--end-of-options", f"{name}^{{commit}}")
        found = self._git(*asked, check=False).stdout.decode().strip()
        if not FULL_ID.fullmatch(found):
            raise RepositoryRefused(f"{name!r} names no commit of this repository")
        return found

    def tree(self, commit: str) -> str:
        """Return the id of a commit's tree."""
        found = self._object(f"{commit}^{{tree}}")
        if found is None:
            raise WorkspaceError(f"commit {commit} is missing from the repository")
        return found.sha

    def names(self, commit: str, *paths: str) -> list[str]:
        """Return the paths of all files of a commit, at or below some paths if given."""
        return list(self.entries(commit, *paths))

    def entries(self, commit: str, *paths: str) -> dict[str, Entry]:
        """Return mode and object id of the files of a commit at or below some paths."""
        known = self._listings.find(commit, paths)
        if known is not None:
            return known
        told = self._trees.files(commit, paths) if FULL_ID.fullmatch(commit) else None
        if told is not None:
            if not paths:
                self._listings.keep(commit, (), told)
            return told
        output = self._git("ls-tree", "-r", "-z", "--full-tree", commit, "--", *paths).stdout
        found: dict[str, Entry] = {}
        for entry in output.split(b"\0"):
            if entry:
                about, _, name = entry.partition(b"\t")
                mode, _, sha = about.decode().split(" ", 2)
                found[os.fsdecode(name)] = (mode, sha)
        self._listings.keep(commit, paths, found)
        return found

    def blobs(self, shas: Sequence[str]) -> list[bytes]:
        """Return the contents of objects, in order; one that is too large comes back empty."""
        found = self._objects.read(shas, largest=BLOB_LIMIT)
        for sha, one in zip(shas, found, strict=True):
            if one is None:
                raise WorkspaceError(f"object {sha} is missing from the repository")
        return [one.data or b"" for one in found if one is not None]

    def has(self, name: str) -> bool:
        """Tell whether a commit is there, by its id or a ref."""
        return self._object(f"{name}^{{commit}}") is not None

    def is_ancestor(self, older: str, newer: str) -> bool:
        """Tell whether one commit is reachable from another."""
        known = self._ancestry.holds(newer, older)
        if known is not None:
            return known
        done = self._git("merge-base", "--is-ancestor", older, newer, check=False)
        return done.returncode == 0

    def merge_base(self, one: str, other: str) -> str:
        """Return the commit that two have in common, or an empty string."""
        done = self._git("merge-base", "--end-of-options", one, other, check=False)
        return done.stdout.decode().strip()

    def is_dirty(self) -> bool:
        """Tell whether the checkout has changes that are not committed."""
        return self.top is not None and self._dirty.answer()

    def _look(self) -> bool:
        return self.top is not None and has_changes(self.top)

    def object_folders(self) -> list[Path]:
        """Return every folder of objects that this repository reads: its own, and borrowed ones."""
        found: list[Path] = []
        waiting = [self.common / "objects"]
        while waiting and len(found) < 16:
            folder = waiting.pop(0).resolve()
            if folder in found or not folder.is_dir():
                continue
            found.append(folder)
            listed = folder / "info" / "alternates"
            if listed.is_file():
                lines = listed.read_text(errors="surrogateescape").splitlines()
                waiting += [folder / line for line in lines if line and not line.startswith("#")]
        return found

    def require_complete(self, commit: str) -> None:
        """Refuse a partial clone that lacks objects of a commit's tree.

        Raises:
            RepositoryRefused: objects are missing.
        """
        settings = (self.common / "config").read_bytes().lower()
        if b"partialclone" not in settings and b"promisor" not in settings:
            return
        listed = self._git("rev-list", "--objects", "--no-walk", "--missing=print", commit)
        if any(line.startswith(b"?") for line in listed.stdout.splitlines()):
            raise RepositoryRefused(
                "this is a partial clone that lacks files of the base commit",
                hint="run: git fetch --refetch --filter=blob:limit=1g origin",
            )

    def diff_stat(self, base: str, commit: str) -> DiffStat:
        """Count what a commit changes against another.

        Raises:
            WorkspaceError: git cannot tell.
        """
        output = self._between(self._counts, base, commit)
        if output is None:
            output = self._counted(["git", "diff-tree", *COUNTED, base, commit, "--"])
        files = added = removed = 0
        for entry in output.split(b"\0"):
            words = entry.split(b"\t", 2)
            if len(words) == 3:
                files += 1
                added += int(words[0]) if words[0].isdigit() else 0
                removed += int(words[1]) if words[1].isdigit() else 0
        return DiffStat(files=files, added=added, removed=removed)

    def patch(self, base: str, commit: str) -> bytes:
        """Return what a commit changes against another: ``--raw`` with NULs, a NUL, a patch.

        Args:
            base: the commit or tree before.
            commit: the commit or tree after.

        Raises:
            WorkspaceError: git cannot tell.
        """
        told = self._between(self._patches, base, commit)
        if told is not None:
            return told
        env = environment(AS_PLAIN, GIT_DIR=str(self.common), GIT_INDEX_FILE=NO_INDEX)
        asked = ["diff-tree", *PATCHED, base, commit, "--"]
        return run_git(asked, cwd=self.common, env=env).stdout

    def _between(self, comparing: Comparing, one: str, other: str) -> bytes | None:
        trees = self._objects.read([f"{one}^{{tree}}", f"{other}^{{tree}}"], largest=0)
        shas = [tree.sha for tree in trees if tree is not None]
        return comparing.between(*shas) if len(shas) == 2 else None

    def line(self, newest: str, base: str) -> list[str] | None:
        """Return the commits after a base, newest first, where each is the next one's only parent.

        Returns:
            None where they do not stand in such a line, or are many: only git tells then.
        """
        return self._ancestry.line(newest, base)

    def _counted(self, asked: list[str]) -> bytes:
        """Ask by GitPython's command, for what the git that stays does not tell."""
        # Its import costs 40 ms, and it is rarely needed.
        import git

        if self._command is None:
            self._command = git.cmd.Git(str(self.common))
        env = environment(GIT_DIR=str(self.common), GIT_INDEX_FILE=NO_INDEX)
        try:
            told: bytes = self._command.execute(asked, env=env, stdout_as_string=False)
        except git.GitError as error:
            raise WorkspaceError(f"git diff-tree failed: {str(error)[-400:]}") from None
        return told

    # -- remotes ---------------------------------------------------------------------------

    def remote_address(self, name: str) -> str:
        """Return where a remote is pushed to, as the settings have it; empty where it has none."""
        for key in ("pushurl", "url"):
            done = self._git("config", "--get-all", f"remote.{name}.{key}", check=False)
            lines = done.stdout.decode("utf-8", "surrogateescape").splitlines()
            if lines:
                return lines[0]
        return ""

    def was_fetched(self, remote: str, commit: str) -> bool:
        """Tell whether a branch of the remote, as it was last seen, holds a commit."""
        prefix = f"refs/remotes/{remote}/"
        asked = ("for-each-ref", "--count=1", f"--contains={commit}", prefix)
        return bool(self._git(*asked, check=False).stdout.strip())

    # -- refs ------------------------------------------------------------------------------

    def ref(self, name: str) -> str:
        """Return what a full ref name points at, or an empty string."""
        # Git takes a name that is no ref for other things, as x-g1a2b3c4 for commit 1a2b3c4.
        found = self._object(name) if self._refs.has(name) else None
        return found.sha if found is not None else ""

    def set_ref(self, name: str, commit: str, *, expected: str | None = None) -> None:
        """Set a ref; with ``expected`` only if it still is that (empty: if it does not exist).

        Raises:
            WorkspaceError: it is something else by now, or cannot be written.
        """
        self._refs.set(name, commit, expected=expected)

    def delete_refs(self, prefix: str) -> None:
        """Delete all refs below a prefix of ours."""
        if not prefix.startswith("refs/orchestrate/"):
            raise WorkspaceError(f"{prefix} is not ours to delete")
        self._refs.delete(prefix)

    def free_branch(self, wanted: str, base: str, there: Mapping[str, str] | None = None) -> str:
        """Return the branch name to use: as wanted, or with the first suffix that is free.

        A branch that exists is taken only if it would move forward and nobody has it checked out.

        Args:
            wanted: the name.
            base: the commit that the work starts from.
            there: branches of the remote that it will be pushed to, and their commits.

        Raises:
            RepositoryRefused: git does not accept the name.
        """
        self.require_branch_name(wanted)
        for number in range(1, 100):
            name = wanted if number == 1 else f"{wanted}-{number}"
            there_already = self._refs.below(f"{HEADS}{name}")
            if set(there_already) - {HEADS + name} or self._is_below(name):
                continue
            if not self._continues(base, (there or {}).get(name, "")):
                continue
            if not there_already:
                return name
            forward = self.is_ancestor(self.ref(HEADS + name), base)
            if forward and not self.is_checked_out(name):
                return name
        raise RepositoryRefused(f"no free branch name near {wanted!r}", hint="delete old branches")

    def require_branch_name(self, name: str) -> None:
        """Refuse a name that git does not take for a branch.

        Raises:
            RepositoryRefused: it is none.
        """
        if PLAIN_BRANCH.fullmatch(name) is not None:
            return
        known = b""
        if name and "\0" not in name:
            known = self._git("check-ref-format", "--branch", name, check=False).stdout
        if os.fsdecode(known).rstrip("\n") != name or not name:  # what stands for another is none
            raise RepositoryRefused(f"{name!r} is not a possible branch name")

    def _is_below(self, name: str) -> bool:
        """Tell whether a branch is in the way of one whose name goes on after its own."""
        parts = name.split("/")
        above = ("/".join(parts[:count]) for count in range(1, len(parts)))
        return any(self._refs.has(HEADS + one) for one in above)

    def _continues(self, commit: str, old: str) -> bool:
        return not old or (self.has(old) and self.is_ancestor(old, commit))

    def is_checked_out(self, branch: str) -> bool:
        """Tell whether some work tree has a branch out."""
        if not self._refs.may_be_out(branch):
            return False
        listed = self._text("worktree", "list", "--porcelain")
        return f"branch {HEADS}{branch}" in listed.splitlines()

    # -- what comes out of a sandbox -------------------------------------------------------

    def import_pack(self, pack: Path, *, base: str, head: str, limit: int) -> str:
        """Check a pack in quarantine and take its objects in; return the commit to judge.

        A head that does not descend from the base becomes one commit of its tree on the base.

        Args:
            pack: a thin pack, as ``git pack-objects --thin`` writes it.
            base: the commit the agent started from.
            head: the commit that the pack is said to bring.
            limit: the largest pack that is accepted, in bytes.

        Raises:
            WorkspaceError: the pack is broken, too large, or does not hold what it must.
        """
        take_in(self.common, pack, base=base, head=head, limit=limit)
        found = self._object(f"{head}^{{commit}}")
        if found is None:
            raise WorkspaceError(f"commit {head} is missing from the repository")
        head = found.sha
        if head == base or self.is_ancestor(base, head):
            return head
        return self._flattened(head, base)

    def _flattened(self, head: str, base: str) -> str:
        tree = self.tree(head)
        asked = ("log", "-1", "--format=%B", "--no-show-signature", head)
        message = self._git(*asked).stdout or b"Work of an agent\n"
        who = {
            "GIT_AUTHOR_NAME": "orchestrate",
            "GIT_AUTHOR_EMAIL": "orchestrate@localhost",
            "GIT_COMMITTER_NAME": "orchestrate",
            "GIT_COMMITTER_EMAIL": "orchestrate@localhost",
        }
        env = environment(GIT_DIR=str(self.common)) | who
        done = run_git(["commit-tree", tree, "-p", base], cwd=self.common, env=env, stdin=message)
        return done.stdout.decode().strip()

    # -- running git -----------------------------------------------------------------------

    def _git(
        self, *arguments: str, stdin: bytes | None = None, check: bool = True
    ) -> subprocess.CompletedProcess[bytes]:
        # A path is a name, whatever characters it begins with.
        env = environment(
            GIT_DIR=str(self.common), GIT_LITERAL_PATHSPECS="1", GIT_INDEX_FILE=NO_INDEX
        )
        return run_git(arguments, cwd=self.common, env=env, stdin=stdin, check=check)

    def _object(self, name: str) -> Found | None:
        return self._objects.read([name], largest=0)[0]

    def _text(self, *arguments: str) -> str:
        return self._git(*arguments).stdout.decode("utf-8", "surrogateescape")


def locate(folder: Path) -> Repository:
    """Find the repository that a folder belongs to.

    Raises:
        RepositoryRefused: it is in none, or the repository has no commit yet.
        WorkspaceError: git is missing.
    """
    return Repository(found_at(folder))
