"""The user's branch has moved: it is merged in here, inside, where the agent's tree is."""

from __future__ import annotations

from orchestrator_tools.committing import head, remove_locks
from orchestrator_tools.errors import ToolError
from orchestrator_tools.snapshot import run_git, try_git

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

MOST_CONFLICTS = 200
"""Files that are named; there may be more."""

PLAIN = ("-c", "merge.conflictStyle=merge", "-c", "rerere.enabled=false", "-c", "merge.stat=false")


def merge(git: str, workspace: str, commit: str, base: str, message: str) -> dict[str, Any]:
    """Merge a commit into the one that was brought out; where both conflict, leave it half done.

    Whatever an earlier try has left is undone first: all that counts is in the commit.

    Args:
        git: the private git directory.
        workspace: the work tree.
        commit: what was brought out of this workspace.
        base: what is merged into it.
        message: of the merge commit.

    Raises:
        ToolError: git cannot merge them, and the workspace is at the commit again.
    """
    remove_locks(git)
    _start_over(git, workspace, commit)
    arguments = ("merge", "--no-ff", "--no-edit", "--no-verify", "--no-gpg-sign", "-m", message)
    status, said = try_git(git, workspace, (*PLAIN, *arguments, base))
    if status == 0:
        return {"head": head(git, workspace), "conflicts": []}
    listed = run_git(git, workspace, "diff", "--name-only", "--diff-filter=U", "-z")
    conflicts = [one for one in listed.split("\0") if one]
    if not conflicts:
        _start_over(git, workspace, commit)
        raise ToolError(f"git merge failed: {said.strip()[-500:] or 'it does not say why'}")
    return {"head": "", "conflicts": conflicts[:MOST_CONFLICTS]}


def _start_over(git: str, workspace: str, commit: str) -> None:
    """Have the workspace at a commit, with no merge under way."""
    run_git(git, workspace, "reset", "--quiet", "--hard", commit)
    run_git(git, workspace, "clean", "-ffdq")
