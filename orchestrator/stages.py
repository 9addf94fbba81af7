"""The stages of a run's work, and what was seen of each."""

from __future__ import annotations

from typing import Literal

from orchestrator.values import frozen

StageName = Literal["read", "plan", "implement", "test", "gates", "review", "deliver"]


@frozen
class Evidence:
    """What the runtime saw of one stage of the workflow.

    Attributes:
        seen: whether there is evidence.
        required: whether a run without it is never done.
        what: the evidence, or what is missing.
    """

    stage: StageName
    seen: bool
    required: bool
    what: str
