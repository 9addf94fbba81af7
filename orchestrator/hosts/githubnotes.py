"""Notes that orchestrators leave for each other: marked comments under an issue on GitHub."""

from __future__ import annotations

from collections.abc import Sequence

from orchestrator.forge.fields import rows, text
from orchestrator.forge.github import MOST, GitHubProject
from orchestrator.forge.marks import markers


class GitHubNotes:
    """Notes under the issues of one project.

    Args:
        project: whose issues they are.
    """

    def __init__(self, project: GitHubProject) -> None:
        self._project = project

    async def notes(self, issue: str) -> Sequence[tuple[str, str]]:
        """Return the notes of this account and of others that may write, oldest first."""
        number = self._project.number_of(issue)
        path = f"{self._project.path}/issues/{number}/comments"
        self._project.look_anew()
        found = []
        for one in rows(await self._project.forge.pages(path, {"per_page": 100}, most=MOST)):
            body = text(one, "body")
            marks = markers(body)
            if marks and await self._may_leave(one):
                found.append((marks[0], body))
        return found

    async def note(self, issue: str, marker: str, text: str) -> None:
        """Write a note, or edit ours that has the marker."""
        await self._project.commented(self._project.number_of(issue), marker, text)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._project.forge.aclose()

    async def _may_leave(self, comment: object) -> bool:
        login = text(comment, "user", "login")
        if login == await self._project.own_login():
            return True
        return await self._project.may_write(login, text(comment, "author_association"))
