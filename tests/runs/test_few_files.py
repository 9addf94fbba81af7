"""Too few files may be open: a run is parked by that, never failed, and goes on later."""

from __future__ import annotations

import itertools
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from orchestrator.errors import OrchestratorError
from orchestrator.records import Outcome
from tests.runs.stage import Stage, mended

pytestmark = pytest.mark.asyncio

ENOUGH = 120
"""More files than one run ever has open."""


@contextmanager
def room_for(files: int) -> Iterator[None]:
    """Let this process open no more than so many further files within the block."""
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    used = {int(one.name) for one in Path("/proc/self/fd").iterdir()}
    free = (number for number in itertools.count() if number not in used)
    most = next(itertools.islice(free, files, None))  # a limit on numbers, not on how many
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)


async def played(stage: Stage, files: int) -> Outcome | OrchestratorError | OSError:
    """Run the issue with room for so many files, and return how that ends."""
    try:
        with room_for(files):
            return await stage.play(*mended())
    except (OrchestratorError, OSError) as error:
        return error


@pytest.mark.parametrize("files", range(2, 30, 3))
async def test_a_run_that_may_open_too_few_files_goes_on_later(stage: Stage, files: int) -> None:
    """Wherever it is that files run out: nothing is failed, nothing is done twice."""
    ended = await played(stage, files)
    if isinstance(ended, Outcome):
        assert ended.status in {"unavailable", "done"}, ended
    again = await played(stage, ENOUGH)
    assert isinstance(again, Outcome) and again.status == "done", again
