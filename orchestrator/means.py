"""What a run is done with: everything that is the same for all of its rounds."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator.accounts import Account
from orchestrator.asking import Fallback, Patience
from orchestrator.care import CareMeans
from orchestrator.governor import Governor
from orchestrator.pacing import Pacing
from orchestrator.ports import Clock, Gate, ModelClient, Sandbox
from orchestrator.preparation import Needs
from orchestrator.prices import Model
from orchestrator.repository import Repository
from orchestrator.values import frozen
from orchestrator.workspaces import Shared

if TYPE_CHECKING:
    from orchestrator.publishing import Delivery
    from orchestrator.review import ReviewMeans


@frozen
class Judges:
    """What judges the work.

    Attributes:
        gates: gives fresh gates for one judging, in order; asked when there is work to judge.
        names: gives their names, in order, at no cost.
        rounds: how often a failed gate goes back to the agent.
        parallel: how many gates judge at once; 0 leaves it to the machine.
        require_tests: whether a gate must have executed a test.
        follow_base: whether the user's branch is merged in where it has moved.
        review: how a second agent reviews the change; None where none does.
    """

    gates: Callable[[], Sequence[Gate]]
    names: Callable[[], Sequence[str]]
    rounds: int
    parallel: int = 0
    require_tests: bool = False
    follow_base: bool = True
    review: ReviewMeans | None = None


@frozen
class Means:
    """What a run is done with.

    Attributes:
        folder: the run's own folder in the state directory.
        delivery: what becomes of work beyond this machine; None where nothing leaves it.
        pacing: lets a few runs at a time start, or hand in their work.
        together: the account of all runs of this process; None where each is alone.
        governor: has the lanes of models, for all runs of this process.
        fallback: the model that a session goes on with where its own is not to be had.
    """

    folder: Path
    repository: Repository
    sandbox: Sandbox
    client: ModelClient
    model: Model
    judges: Judges
    delivery: Delivery | None
    patience: Patience
    pack_limit: int
    needs: Needs
    care: CareMeans
    shared: Shared
    guidance: str
    notes: tuple[str, ...]
    clock: Clock
    dice: random.Random
    pacing: Pacing
    together: Account | None = None
    governor: Governor | None = None
    fallback: Fallback | None = None
