"""Plays many runs side by side in one process against a scripted model that takes its time.

    python bench/scale.py [--runs 1,8,32,100] [--turns 10] [--latency 1.0] [--long 400] [--profile FILE]

Each run is a whole one: an issue of its own, a workspace and a sandbox of its own, every event
journaled. Turns read, search, edit, run a command, and the last one ends the work. The walls are
proved before the clock runs, as they are on a machine in use. Prints, for each number of runs, the wall time against the ideal (turns times latency), the processor time a turn
(of this process, and of everything inside the sandboxes), memory a run over what an idle
process takes, and the gap between a reply and the next request. ``--long`` plays one run of so many
turns and compares the gap at turn 10, 100 and the last ones.

The server is a process of its own; its processor time is not counted, but it shares the machine.
"""

from __future__ import annotations

import argparse
import contextlib
import cProfile
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio
from slowmodel import Model

GOALS = {"wall": 13.0, "memory": 12.0, "cpu": 8.0, "gap": 5.0}
"""For 100 runs of 10 turns at one second: s, MB a run, ms of the host a turn, ms of one run."""
SAMPLE_S = 4.0
"""A look at the memory of hundreds of processes costs 100 ms of a core: not more often."""
PAGE = os.sysconf("SC_PAGESIZE")


# -- what is measured ------------------------------------------------------------------------


@dataclass
class Figures:
    """What one number of runs showed."""

    runs: int
    wall_s: float
    ideal_s: float
    host_cpu_ms: float
    inside_cpu_ms: float
    memory_mb: float
    gap_ms: float
    per_turn: dict[int, float]


class Memory:
    """Samples the memory of this process and of all below it, the model's server left out."""

    def __init__(self, leaving_out: int) -> None:
        self.peak_mb = 0.0
        self._out = leaving_out
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def _watch(self) -> None:
        while not self._ended.wait(SAMPLE_S):
            self.peak_mb = max(self.peak_mb, memory_mb(self._out))

    def stop(self) -> None:
        """Stop sampling."""
        self._ended.set()
        self._thread.join()


def memory_mb(leaving_out: int) -> float:
    """Return the proportional set size of this process and those below it."""
    found = [os.getpid()]
    for one in found:
        with contextlib.suppress(OSError):
            for task in Path(f"/proc/{one}/task").iterdir():
                children = (task / "children").read_text()
                found += [int(child) for child in children.split()]
    total = 0
    for one in found:
        if one == leaving_out:
            continue
        with contextlib.suppress(OSError):
            for line in Path(f"/proc/{one}/smaps_rollup").read_text().splitlines():
                if line.startswith("Pss:"):
                    total += int(line.split()[1])
    return total / 1024


def make_repository(place: Path, runs: int) -> Path:
    """Make a small repository with one issue for each run."""
    repo = place / "repo"
    (repo / "pkg").mkdir(parents=True)
    (repo / "issues").mkdir()
    for number in range(20):
        text = "".join(f"value = {line}\n" for line in range(40))
        (repo / "pkg" / f"m{number}.py").write_text(text)
    (repo / "README.md").write_text("# Sample\n\nSome files to work on.\n")
    git = ["git", "-C", str(repo), "-c", "user.name=b", "-c", "user.email=b@b"]
    for arguments in (["init", "-qb", "main"], ["add", "."], ["commit", "-qm", "base"]):
        subprocess.run([*git, *arguments], check=True)
    for number in range(1, runs + 1):
        (repo / "issues" / f"{number}-note.md").write_text(
            f"---\ntitle: Note {number}\nassignee: backend-engineer\n---\n[[run {number:05d}]] Write the notes.\n"
        )
    return repo


def prove_walls(state: Path) -> None:
    """Let the walls be proved before the clock runs."""
    from orchestrator import open_toolbox

    async def once() -> None:
        async with open_toolbox(state.parent / "repo", state=state):
            pass

    anyio.run(once)


def told_of(outcome: Any) -> str:
    """Tell of a run that did not end as the others do."""
    failed = [f"{one.gate}: {one.reason}" for one in outcome.verdicts if one.state != "passed"]
    return f"{outcome.issue}: {outcome.status} {outcome.error} ({outcome.turns} turns) {failed}"


def measure(
    runs: int, turns: int, latency: float, profile: Path | None, folder: str | None = None
) -> Figures:
    """Play so many runs at once; what they leave in a given folder stays there."""
    from orchestrator import Orchestrator, tune_process

    with contextlib.ExitStack() as stack:
        if folder is None:
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="scale-"))
        place = Path(tempfile.mkdtemp(dir=folder))
        repo = make_repository(place, runs)
        prove_walls(place / "state")
        model = Model(latency, turns, place / "gaps.json")
        os.environ["ANTHROPIC_BASE_URL"] = model.url
        os.environ["ANTHROPIC_API_KEY"] = "dummy"
        idle = memory_mb(model.pid)
        memory = Memory(model.pid)
        own, below = (
            resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
        )
        odd: list[str] = []

        async def all_of_them() -> float:
            async with Orchestrator.from_config(repo=repo, state=place / "state") as orchestrator:
                tune_process()
                started = time.monotonic()

                async def one(key: str) -> None:
                    outcome = await orchestrator.run_issue(
                        key, limit_turns=turns + 5, limit_usd=1000
                    )
                    if outcome.status != "done" or outcome.turns != turns:
                        odd.append(told_of(outcome))

                async with anyio.create_task_group() as tasks:
                    for number in range(1, runs + 1):
                        tasks.start_soon(one, str(number))
                return time.monotonic() - started

        profiler = cProfile.Profile(time.thread_time) if profile else None
        if profiler:
            profiler.enable()
        wall = anyio.run(all_of_them)
        own_after, below_after = (
            resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
        )
        if profiler and profile:
            profiler.disable()
            profiler.dump_stats(profile)
        memory.stop()
        gaps = model.stop()
    if odd:
        raise SystemExit("not all runs were done in their turns:\n" + "\n".join(odd))
    per_turn: dict[int, list[float]] = defaultdict(list)
    for turn, gap in gaps:
        per_turn[turn].append(gap)
    return Figures(
        runs=runs,
        wall_s=wall,
        ideal_s=turns * latency,
        host_cpu_ms=(cpu(own_after) - cpu(own)) * 1000 / (runs * turns),
        inside_cpu_ms=(cpu(below_after) - cpu(below)) * 1000 / (runs * turns),
        memory_mb=(memory.peak_mb - idle) / runs,
        gap_ms=statistics.median(gap for turn, gap in gaps if turn > 2),
        per_turn={turn: statistics.median(found) for turn, found in per_turn.items()},
    )


def cpu(usage: resource.struct_rusage) -> float:
    """Return seconds of processor time."""
    return usage.ru_utime + usage.ru_stime


def in_a_process(
    folder: str, runs: int, turns: int, latency: float, profile: Path | None
) -> Figures:
    """Measure in a fresh process, so that nothing is left of the number before.

    Only its files are: some file systems are slow where thousands of them were just removed.
    """
    command = [sys.executable, __file__, "--one", str(runs), "--folder", folder]
    command += ["--turns", str(turns), "--latency", str(latency)]
    command += ["--profile", str(profile)] if profile else []
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True)
    found = json.loads(done.stdout.splitlines()[-1])
    found["per_turn"] = {int(turn): gap for turn, gap in found["per_turn"].items()}
    return Figures(**found)


def main() -> int:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--runs", default="1,8,32,100")
    parser.add_argument("--turns", type=int, default=10)
    parser.add_argument("--latency", type=float, default=1.0)
    parser.add_argument("--long", type=int, default=0, help="also one run of so many turns")
    parser.add_argument("--profile", type=Path, help="profile the last number of runs into FILE")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--folder", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        one = measure(options.one, options.turns, options.latency, options.profile, options.folder)
        print(json.dumps(vars(one)))
        return 0
    with tempfile.TemporaryDirectory(prefix="scale-") as folder:
        return all_numbers(folder, options)


def all_numbers(folder: str, options: argparse.Namespace) -> int:
    """Measure one number of runs after the other."""
    numbers = [int(number) for number in options.runs.split(",") if number]
    in_a_process(folder, 1, 4, 0.0, None)  # the walls are probed, the modules compiled
    found = [
        in_a_process(
            folder,
            number,
            options.turns,
            options.latency,
            options.profile if number == numbers[-1] else None,
        )
        for number in numbers
    ]
    long = in_a_process(folder, 1, options.long, 0.02, None) if options.long else None
    report(found, long, as_json=options.json)
    return 0


def report(found: list[Figures], long: Figures | None, *, as_json: bool) -> None:
    """Print the tables."""
    if as_json:
        print(json.dumps({"runs": [vars(one) for one in found], "long": long and vars(long)}))
        return
    print(f"{os.cpu_count()} cores, Python {sys.version.split()[0]}, load {os.getloadavg()[0]:.1f}")
    print("runs   wall s  ideal s  share  CPU ms/turn host  inside  MB/run  gap ms")
    for one in found:
        print(
            f"{one.runs:4}  {one.wall_s:7.2f}  {one.ideal_s:7.1f}  {one.ideal_s / one.wall_s:5.2f}"
            f"  {one.host_cpu_ms:16.1f}  {one.inside_cpu_ms:6.1f}  {one.memory_mb:6.1f}  {one.gap_ms:6.1f}"
        )
    print(
        f"goals for 100 runs of 10 turns: {GOALS['wall']:g} s, {GOALS['cpu']:g} ms a turn,"
        f" {GOALS['memory']:g} MB a run, gap {GOALS['gap']:g} ms"
    )
    if long is not None:
        last = max(long.per_turn)
        for turn in (10, 100, last):
            near = [gap for at, gap in long.per_turn.items() if abs(at - turn) <= 10]
            if near:
                print(f"one long run, gap about turn {turn}: {statistics.median(near):.2f} ms")
        print(f"one long run, CPU ms a turn: {long.host_cpu_ms:.1f}")


if __name__ == "__main__":
    raise SystemExit(main())
