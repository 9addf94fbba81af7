"""Notes that orchestrators leave for each other on GitLab."""

from __future__ import annotations

import pytest

from orchestrator.forge.gitlab import DIALECT, GitLabProject
from orchestrator.forge.secret import Token
from orchestrator.hosts.gitlabnotes import GitLabNotes
from tests.forges import gitlab
from tests.forges.asking import Clock, asking
from tests.forges.server import Fault, serving


@pytest.mark.asyncio
async def test_notes_keep_their_place_and_strangers_leave_none() -> None:
    """A note is written once and edited in place; those of who may not push do not count."""
    async with serving(gitlab.GitLab) as server:
        service = server.service
        assert isinstance(service, gitlab.GitLab)
        service.issues[7] = gitlab.issue(7)
        url = f"{server.url}/api/v4"
        async with asking(url, DIALECT, Token(gitlab.TOKEN), Clock()) as forge:
            board = GitLabNotes(GitLabProject(forge, gitlab.PROJECT))
            service.say("issues/7", "eve", "<!-- orchestrate: claim/eve -->\nmine")
            service.say("issues/7", "ada", "<!-- orchestrate: claim/ada -->\nhers")
            server.faults.append(Fault("lost", "POST", "/notes"))
            await board.note("7", "claim/1", "one")
            service.say("issues/7", "ada", "no mark")
            await board.note("7", "claim/1", "two")
            assert server.faults[0].times == 0
            assert await board.notes("#7") == [
                ("claim/ada", "<!-- orchestrate: claim/ada -->\nhers"),
                ("claim/1", "<!-- orchestrate: claim/1 -->\ntwo"),
            ]
