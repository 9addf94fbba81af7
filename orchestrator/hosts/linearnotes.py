"""Notes that orchestrators leave for each other: comments under an issue in Linear."""

from __future__ import annotations

from collections.abc import Sequence

from orchestrator.forge.fields import text
from orchestrator.forge.linear import LinearTeam, marker_of, may_write


class LinearNotes:
    """Notes under the issues of one team.

    Args:
        team: whose issues they are.
    """

    def __init__(self, team: LinearTeam) -> None:
        self._team = team

    async def notes(self, issue: str) -> Sequence[tuple[str, str]]:
        """Return the notes of this account and of other members, oldest first."""
        found = []
        for one in await self._team.said(self._team.key_of(issue)):
            marker = marker_of(one)
            if marker and (may_write(one) or await self._team.is_ours(one)):
                found.append((marker, text(one, "body")))
        return found

    async def note(self, issue: str, marker: str, text: str) -> None:
        """Write a note, or edit ours that has the marker: it keeps its place."""
        await self._team.commented(self._team.key_of(issue), marker, text, edit=True)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._team.forge.aclose()
