"""What the runs of one process share: what they may use up together."""

from __future__ import annotations

import time

from orchestrator.accounts import TOGETHER, Account
from orchestrator.records import Limits


def shared_account(together: Limits | Account | None) -> Account | None:
    """Return the account above all runs of a process; its time begins now."""
    if not isinstance(together, Limits):
        return together
    began = time.monotonic()
    return Account(together, elapsed_s=lambda: time.monotonic() - began, whose=TOGETHER)
