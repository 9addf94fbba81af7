"""Works through a night of many issues in one process, as ``orchestrate batch`` does.

    python bench/batch.py [--issues 40] [--turns 10] [--parallel 40] [--latency 1.0] [--json]

The model is the scripted one of ``scale.py``, a process of its own that takes its time over each
reply. Each issue is a whole run with a workspace, a sandbox and gates of its own, under one ceiling,
with the night's own journal. Prints the wall time against the ideal (so many waves of turns times
latency), what the night added to it before the first request and after the last reply, memory over
what an idle process takes, and processor time a turn.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import anyio
from scale import Memory, cpu, make_repository, memory_mb
from slowmodel import Model

GOAL_SHARE = 0.8
"""Of the wall time of 40 issues, 10 turns, 1 s, 40 at once that should be the ideal's."""


@dataclass(frozen=True)
class Figures:
    """What one night showed."""

    issues: int
    parallel: int
    done: int
    wall_s: float
    ideal_s: float
    memory_mb: float
    host_cpu_ms: float
    inside_cpu_ms: float
    usd: float

    @property
    def share(self) -> float:
        """Return the ideal's share of the wall time."""
        return self.ideal_s / self.wall_s


def measure(issues: int, turns: int, parallel: int, latency: float) -> Figures:
    """Work through one night."""
    from orchestrator import Limits, Night, Nights, Planned, Site, Wanted
    from orchestrator.repository import locate

    with tempfile.TemporaryDirectory(prefix="batch-") as folder:
        place = Path(folder)
        repo = make_repository(place, issues)
        model = Model(latency, turns, place / "gaps.json")
        os.environ["ANTHROPIC_BASE_URL"] = model.url
        os.environ["ANTHROPIC_API_KEY"] = "dummy"
        repo_id = locate(repo).id
        plan = tuple(Planned(repo_id, str(number)) for number in range(1, issues + 1))
        night = Night(
            night="",
            sites=(Site(repo_id, str(repo)),),
            wanted=Wanted(),
            plan=plan,
            ceiling=Limits(usd=1000.0 * issues),
            per_issue=Limits(usd=100.0, turns=turns + 5),
            parallel=parallel,
        )
        idle = memory_mb(model.pid)
        memory = Memory(model.pid)
        own, below = (
            resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
        )

        async def whole() -> tuple[float, int, float]:
            async with Nights(state=place / "state") as nights, nights.begun(night) as shift:
                started = time.monotonic()
                await shift.work()
                wall = time.monotonic() - started
                view = await nights.view()
                return wall, view.counts().get("done", 0), view.settled_usd

        wall, done, usd = anyio.run(whole)
        memory.stop()
        model.stop()
        own_after = resource.getrusage(resource.RUSAGE_SELF)
        below_after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return Figures(
        issues=issues,
        parallel=parallel,
        done=done,
        wall_s=wall,
        ideal_s=math.ceil(issues / parallel) * turns * latency,
        memory_mb=memory.peak_mb - idle,
        host_cpu_ms=(cpu(own_after) - cpu(own)) * 1000 / (issues * turns),
        inside_cpu_ms=(cpu(below_after) - cpu(below)) * 1000 / (issues * turns),
        usd=usd,
    )


def main() -> int:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--issues", type=int, default=40)
    parser.add_argument("--turns", type=int, default=10)
    parser.add_argument("--parallel", type=int, default=40)
    parser.add_argument("--latency", type=float, default=1.0)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        found = measure(options.issues, options.turns, options.parallel, options.latency)
        print(json.dumps(asdict(found)))
        return 0
    in_a_process(1, 4, 1, 0.0)  # the walls are probed, the modules compiled
    found = in_a_process(options.issues, options.turns, options.parallel, options.latency)
    if options.json:
        print(json.dumps(asdict(found) | {"share": found.share}))
        return 0
    print(f"{os.cpu_count()} cores, Python {sys.version.split()[0]}, load {os.getloadavg()[0]:.1f}")
    print(
        f"{found.issues} issues of {options.turns} turns, {found.parallel} at once:"
        f" {found.done} done, ${found.usd:.2f}"
    )
    print(
        f"wall {found.wall_s:.2f} s, ideal {found.ideal_s:.1f} s, share {found.share:.2f}"
        f" (goal {GOAL_SHARE:g})"
    )
    print(
        f"memory {found.memory_mb:.0f} MB over idle, {found.memory_mb / found.parallel:.1f} MB an"
        f" issue at work; CPU {found.host_cpu_ms:.1f} ms a turn here, {found.inside_cpu_ms:.1f}"
        " inside"
    )
    return 0


def in_a_process(issues: int, turns: int, parallel: int, latency: float) -> Figures:
    """Measure in a fresh process, so that nothing is left of what came before."""
    command = [sys.executable, __file__, "--one", "--issues", str(issues), "--turns", str(turns)]
    command += ["--parallel", str(parallel), "--latency", str(latency)]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True)
    return Figures(**json.loads(done.stdout.splitlines()[-1]))


if __name__ == "__main__":
    raise SystemExit(main())
