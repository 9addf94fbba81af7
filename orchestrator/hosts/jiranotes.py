"""Notes that orchestrators leave for each other: comments under an issue in Jira."""

from __future__ import annotations

from collections.abc import Sequence

from orchestrator.forge.fields import text
from orchestrator.forge.jira import JiraProject, markers_of


class JiraNotes:
    """Notes under the issues of one project.

    Args:
        project: whose issues they are.
    """

    def __init__(self, project: JiraProject) -> None:
        self._project = project

    async def notes(self, issue: str) -> Sequence[tuple[str, str]]:
        """Return the notes of this account and of others that work in the project, oldest first."""
        key = self._project.key_of(issue)
        self._project.look_anew()
        found = []
        said = await self._project.all_said(key)
        for one in sorted(said, key=lambda one: _counted(text(one, "id"))):
            marks = markers_of(one)
            if marks and not one.get("visibility") and await self._may_leave(key, one):
                found.append((marks[0], text(one, "body")))
        return found

    async def note(self, issue: str, marker: str, text: str) -> None:
        """Write a note, or edit ours that has the marker: it keeps its place."""
        await self._project.commented(self._project.key_of(issue), marker, text, edit=True)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._project.forge.aclose()

    async def _may_leave(self, key: str, comment: dict[str, object]) -> bool:
        ours = await self._project.is_ours(comment)
        return ours or await self._project.is_known(key, comment)


def _counted(identity: str) -> int:
    """Return a comment's id as the number that it is: later ones have higher ones."""
    plain = identity.isascii() and identity.isdigit() and len(identity) < 20
    return int(identity) if plain else 10**20
