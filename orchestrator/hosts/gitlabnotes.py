"""Notes that orchestrators leave for each other: marked notes under an issue on GitLab."""

from __future__ import annotations

from collections.abc import Sequence

from orchestrator.forge.fields import rows, text
from orchestrator.forge.gitlab import MOST, GitLabProject
from orchestrator.forge.marks import markers


class GitLabNotes:
    """Notes under the issues of one project.

    Args:
        project: whose issues they are.
    """

    def __init__(self, project: GitLabProject) -> None:
        self._project = project

    async def notes(self, issue: str) -> Sequence[tuple[str, str]]:
        """Return the notes of accounts that may push, oldest first."""
        path = f"{self._project.path}/issues/{self._project.number_of(issue)}/notes"
        params: dict[str, str | int] = {"per_page": 100, "sort": "asc", "order_by": "created_at"}
        self._project.look_anew()
        found = []
        for one in rows(await self._project.forge.pages(path, params, most=MOST)):
            body, author = text(one, "body"), text(one, "author", "id")
            marks = markers(body)
            if marks and await self._may_leave(author):
                found.append((marks[0], body))
        return found

    async def note(self, issue: str, marker: str, text: str) -> None:
        """Write a note, or edit ours that has the marker: it keeps its place."""
        await self._project.noted(f"/issues/{self._project.number_of(issue)}", marker, text)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._project.forge.aclose()

    async def _may_leave(self, author: str) -> bool:
        return author == await self._project.own_id() or await self._project.may_write(author)
