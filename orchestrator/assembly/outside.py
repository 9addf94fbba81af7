"""Whom one process talks to: the tracker, the code host, a board of notes; closed together."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from orchestrator.assembly.tracking import close_all, host_of, notes_of, tracker_of
from orchestrator.claims import FileClaims, NoteClaims, SharedClaims
from orchestrator.journals.owners import is_alive, owner_of
from orchestrator.ports import Claims, CodeHost, IssueStates, IssueTracker
from orchestrator.repository import Repository
from orchestrator.settings import Config, MoveSettings
from orchestrator.tending import Notes, Tending

RENEWALS = 4
"""How often a claim is renewed in the time that it holds."""

LEAST_HOURS = 0.1
"""A claim that holds for less would end before it is renewed."""

T = TypeVar("T")


class Outside:
    """Makes what talks to other machines when it is asked for, and closes what it made.

    Args:
        repository: whose issues and pull requests they are.
        config: the settings.
        state: the state directory.
        environment: holds credentials.
        tracker: is used instead of one of the settings', and left open: it is its giver's.
        host: likewise.
        claims: likewise.
    """

    def __init__(  # noqa: PLR0913 - what an embedder may choose
        self,
        repository: Repository,
        config: Config,
        *,
        state: Path,
        environment: Mapping[str, str],
        tracker: IssueTracker | None = None,
        host: CodeHost | None = None,
        claims: Claims | None = None,
    ) -> None:
        self._repository = repository
        self._config = config
        self._state = state
        self._environment = environment
        self._tracker = tracker
        self._host = host
        self._claims = claims
        self._made: list[object] = []

    def tracker(self) -> IssueTracker:
        """Return where issues are.

        Raises:
            ConfigError: a setting or the credential is missing, or does not fit.
        """
        if self._tracker is None:
            config = self._config
            if self._comments():
                # Its one comment tells the end; a report beside it would say it twice.
                config = replace(config, tracker=replace(config.tracker, write_back=False))
            self._tracker = self._keep(tracker_of(self._repository, config, self._environment))
        return self._tracker

    def host(self) -> CodeHost | None:
        """Return where pull requests are, where anything is delivered to it.

        Raises:
            ConfigError: a setting or the credential is missing, or does not fit.
        """
        delivery = self._config.delivery
        if self._host is None and (delivery.pull_request != "none" or delivery.push):
            found = host_of(self._repository, self._config, self._environment)
            self._host = self._keep(found) if found is not None else None
        return self._host

    def claims(self) -> Claims | None:
        """Return what marks issues as taken; None where that is not wanted.

        Raises:
            ConfigError: a setting or the credential is missing, or does not fit.
        """
        if self._claims is None and self._config.delivery.claim:
            hours = max(self._config.delivery.claim_hours, LEAST_HOURS)
            here = FileClaims(
                self._state / "claims",
                repo=self._repository.id,
                hours=hours,
                clock=time.time,
                owner=owner_of(os.getpid()),
                is_alive=is_alive,
            )
            board = notes_of(self._repository, self._config, self._environment)
            self._claims = here
            if board is not None:
                self._keep(board)
                self._claims = SharedClaims(here, NoteClaims(board, hours=hours, clock=time.time))
        return self._claims

    def tending(self) -> Tending:
        """Return what sees to issues while runs work on them.

        Raises:
            ConfigError: a setting or the credential is missing, or does not fit.
        """
        tracker = self.tracker()
        moves = self._config.tracker.moves != MoveSettings()
        host = self.host() if self._comments() else None
        notes = None
        if host is not None:
            from orchestrator.gates.credentials import masked

            notes = Notes(host, masked)
        return Tending(
            tracker,
            claims=self.claims(),
            states=tracker if moves and isinstance(tracker, IssueStates) else None,
            notes=notes,
            renew_s=self._config.delivery.claim_hours * 3600 / RENEWALS,
        )

    def _comments(self) -> bool:
        """Tell whether an issue gets a comment: where the code host has the issues."""
        delivery = self._config.delivery
        delivered = delivery.push and delivery.pull_request != "none"
        return delivery.comment and delivered and self._config.tracker.kind in {"github", "gitlab"}

    def _keep(self, made: T) -> T:
        self._made.append(made)
        return made

    async def aclose(self) -> None:
        """Close every connection of what was made here."""
        made, self._made = self._made, []
        await close_all(*made)
