"""A workspace in git, as the snapshot tests need it."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

CONFIG = """[core]
\trepositoryformatversion = 1
\tbare = false
\tfilemode = true
\tlogallrefupdates = true
\tautocrlf = false
\tworktree = {work}
\thooksPath = /dev/null
[gc]
\tauto = 0
\tpruneExpire = never
[commit]
\tgpgsign = false
[extensions]
\tobjectFormat = {form}
"""

DIVERGE = """
git switch -qc theirs; echo theirs >kept; git commit -qam theirs
git switch -q issue-1; echo ours >kept; git commit -qam ours
"""
"""Two branches that conflict, HEAD on the first."""

BASE = """
printf 'ignored/\\n*.log\\n' >.gitignore
mkdir folder; echo one >kept; echo two >gone; echo three >folder/deep; echo '#!' >run; chmod +x run
ln -s kept link
git add .; git commit -qm base
mkdir ignored; echo cache >ignored/cache; echo noise >a.log
"""


@dataclass(frozen=True)
class Repo:
    """A private git directory with its work tree, laid out as ``orchestrator.workspaces`` does."""

    work: Path
    git: Path

    def sh(self, script: str) -> str:
        """Run a script in the work tree, as an agent would; its last status must be 0."""
        done = subprocess.run(
            ["bash", "-c", script],
            cwd=self.work,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=60,
        )
        assert done.returncode == 0, done.stdout
        return done.stdout

    def files(self) -> dict[str, tuple[str, bytes]]:
        """Return every file of the work tree, the ignored ones included: its kind and content."""
        found: dict[str, tuple[str, bytes]] = {}
        for folder, folders, names in os.walk(self.work):
            for name in names + [one for one in folders if Path(folder, one).is_symlink()]:
                path = Path(folder, name)
                shown = str(path.relative_to(self.work))
                if path.is_symlink():
                    found[shown] = ("link", os.fsencode(path.readlink()))
                elif path.is_file() and shown != ".git":
                    found[shown] = (
                        "run" if os.access(path, os.X_OK) else "file",
                        path.read_bytes(),
                    )
        return found

    def state(self) -> dict[str, object]:
        """Return all that can be seen of the files and of git."""
        return {
            "files": self.files(),
            "index": self.sh("git ls-files --stage"),
            "refs": self.sh("git for-each-ref; git rev-parse HEAD; git symbolic-ref HEAD || true"),
            "logs": self.sh("git reflog; git stash list"),
            "status": self.sh("GIT_OPTIONAL_LOCKS=0 git status"),
        }


def make_repo(folder: Path, form: str) -> Repo:
    """Make a private git directory, its work tree and one commit; ``form`` names its hash."""
    repo = Repo(work=folder / "work", git=folder / "git")
    for name in ("objects/info", "objects/pack", "hooks", "refs/heads", "refs/tags", "info"):
        (repo.git / name).mkdir(parents=True)
    (repo.git / "orchestrate").mkdir()
    (repo.git / "HEAD").write_text("ref: refs/heads/issue-1\n")
    (repo.git / "config").write_text(CONFIG.format(work=repo.work, form=form))
    repo.work.mkdir()
    (repo.work / ".git").write_text(f"gitdir: {repo.git}\n")
    repo.sh(BASE)
    return repo
