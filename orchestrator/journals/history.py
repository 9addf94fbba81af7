"""What the journal tells of runs together: how long they were worked on."""

from __future__ import annotations

import sqlite3

from orchestrator.journals.database import Database

WORKED = """
select run, sum(gap) from (
  select run, kind, at - lag(at) over (partition by run order by seq) as gap from events
  where run in (select run from runs order by started desc limit ?))
where kind != 'RunResumed' and gap > 0 group by run
"""
"""Time between events, but for that before a run is taken up again."""


async def worked_s(database: Database, most: int) -> dict[str, float]:
    """Return how many seconds the newest runs were worked on, without the time they were parked.

    Args:
        database: the journal's file.
        most: how many runs.
    """

    def select(connection: sqlite3.Connection) -> dict[str, float]:
        return {str(run): float(gaps) for run, gaps in connection.execute(WORKED, (most,))}

    return await database.read(select)
