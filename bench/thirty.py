"""Plays the 30-turn work through the real command line against a scripted model server.

    python bench/thirty.py --shared ../shared/bench [--runs 5] [--long]

Prints a table: process start to first request, gaps between reply and next request, peak memory
of the whole process tree, bytes and dollars; with ``--long`` also the growth over 200 turns. The
figures are medians over the runs; the model is instant, so all that is measured is ours.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from least import Asked, Prices, least_usd, read_share

SAMPLE_S = 0.1
LONG_TURNS = 200
LONG_SCRIPT = """\
turns:
  - repeat: {turns}
    calls: [{{op: read, path: "{{cwd}}/notes.txt"}}]
  - text: Read it all.
"""


@dataclass
class Sample:
    """What one run showed."""

    start_ms: float
    gap_mean_ms: float
    gap_median_ms: float
    peak_pss_mb: float
    megabytes: float
    dollars: float
    cached: float
    read_share: float
    over_least: float
    wall_s: float
    requests: int
    by_op: dict[str, float] = field(default_factory=dict)


def main() -> int:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--shared", type=Path, required=True, help="folder of fakeapi.py")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--long", action="store_true", help="also 200 turns")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    shared = options.shared.resolve()
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        place = Path(folder)
        samples = [
            thirty(shared, place / f"run-{number}", place / "state")
            for number in range(options.runs + 1)
        ]
        growth = long_run(shared, place / "long", place / "state") if options.long else None
    report(samples[1:], growth, as_json=options.json)
    return 0


def thirty(shared: Path, place: Path, state: Path) -> Sample:
    """Play the 30 turns once in a fresh repository."""
    repo = place / "repo"
    subprocess.run(
        [sys.executable, str(shared / "make_workspace.py"), str(repo)],
        check=True,
        stdout=subprocess.DEVNULL,
    )
    prompt = (shared / "thirty.prompt.txt").read_text().strip()
    write_issue(repo, f"{prompt}\n\n[[cwd:/workspace]]")
    with Server(shared, shared) as server:
        started, wall, pss = run(repo, state, server.url)
        stats, log = server.stats(), server.log()
    subprocess.run(["git", "-C", str(repo), "checkout", "-q", "feature/1-bench"], check=True)
    subprocess.run(
        [sys.executable, str(shared / "make_workspace.py"), str(repo), "--check"],
        check=True,
        stdout=subprocess.DEVNULL,
    )
    asked = [
        Asked(
            one["prompt_tokens"],
            one["usage"]["cache_read_input_tokens"],
            one["usage"]["output_tokens"],
        )
        for one in log
        if one.get("usage")
    ]
    return Sample(
        start_ms=(log[0]["wall"] - started) * 1000,
        gap_mean_ms=stats["gap_all"]["mean_ms"],
        gap_median_ms=stats["gap_all"]["median_ms"],
        peak_pss_mb=pss,
        megabytes=stats["model_bytes_in"] / 1e6,
        dollars=stats["usd"],
        cached=stats["cache_read_fraction"],
        read_share=read_share(asked),
        over_least=stats["usd"] / least_usd(asked, Prices()),
        wall_s=wall,
        requests=stats["model_requests"],
        by_op={name: row["median_ms"] for name, row in stats["gap_by_op"].items()},
    )


def long_run(shared: Path, place: Path, state: Path) -> dict[str, float]:
    """Play 200 turns of 2 kB reads; compare the gap around turn 10 with the one at the end."""
    repo, scripts = place / "repo", place / "scripts"
    scripts.mkdir(parents=True)
    repo.mkdir()
    (scripts / "long.yaml").write_text(LONG_SCRIPT.format(turns=LONG_TURNS))
    (repo / "notes.txt").write_text(
        "".join(f"line {n:03d} of a text of two thousand bytes\n" for n in range(50))
    )
    git = ["git", "-C", str(repo), "-c", "user.name=b", "-c", "user.email=b@b"]
    for arguments in (["init", "-q"], ["add", "."], ["commit", "-qm", "base"]):
        subprocess.run([*git, *arguments], check=True)
    write_issue(repo, "[[script:long]] Read the notes. [[cwd:/workspace]]")
    with Server(shared, scripts) as server:
        run(repo, state, server.url, "--limit-turns", "300", "--limit-usd", "50", ends=(0, 3))
        log = server.log()
    gaps = [
        (after["t_arrival"] - before["t_done"]) * 1000 for before, after in itertools.pairwise(log)
    ]
    early, late = statistics.median(gaps[5:15]), statistics.median(gaps[-10:])
    return {"turn_10_ms": early, "turn_200_ms": late, "ratio": late / early}


def write_issue(repo: Path, body: str) -> None:
    """Put the issue where the command line finds it."""
    (repo / "issues").mkdir()
    (repo / "issues" / "1-bench.md").write_text(
        f"---\ntitle: Bench\nassignee: backend-engineer\n---\n{body}\n"
    )


def run(
    repo: Path, state: Path, url: str, *more: str, ends: tuple[int, ...] = (0,)
) -> tuple[float, float, float]:
    """Run the command line; return when it started, how long it took, and its peak memory."""
    environment = dict(os.environ, ANTHROPIC_BASE_URL=url, ANTHROPIC_API_KEY="dummy")
    environment.pop("PYTHONDONTWRITEBYTECODE", None)  # an installed package is compiled
    command = [
        shutil.which("orchestrate", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
        or "orchestrate"
    ]
    command += ["issue", "1", "--repo", str(repo), "--state", str(state), *more]
    started = time.time()
    process = subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    peak = Peak(process.pid)
    output, _ = process.communicate()
    wall = time.time() - started
    peak.stop()
    if process.returncode not in ends:
        sys.stderr.buffer.write(output[-2000:])
        raise SystemExit(f"orchestrate ended with {process.returncode}")
    return started, wall, peak.megabytes


class Peak:
    """Samples the proportional set size of a process and all below it."""

    def __init__(self, pid: int) -> None:
        self.megabytes = 0.0
        self._pid = pid
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def _watch(self) -> None:
        while not self._ended.wait(SAMPLE_S):
            self.megabytes = max(self.megabytes, sum(map(pss_kb, tree(self._pid))) / 1024)

    def stop(self) -> None:
        """Stop sampling."""
        self._ended.set()
        self._thread.join()


def tree(pid: int) -> list[int]:
    """Return a process and its descendants."""
    found = [pid]
    for one in found:
        try:
            for task in (entry.name for entry in Path(f"/proc/{one}/task").iterdir()):
                children = Path(f"/proc/{one}/task/{task}/children").read_text()
                found += [int(child) for child in children.split()]
        except OSError:
            continue
    return found


def pss_kb(pid: int) -> int:
    """Return the proportional set size of one process."""
    try:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1])
    except OSError:
        pass
    return 0


class Server:
    """The scripted model server."""

    def __init__(self, shared: Path, scripts: Path) -> None:
        self._log = Path(tempfile.mkstemp(suffix=".jsonl")[1])
        command = [
            sys.executable,
            str(shared / "fakeapi.py"),
            "--port",
            "0",
            "--scripts",
            str(scripts),
            "--log",
            str(self._log),
        ]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        self.url = self._process.stdout.readline().split(" on ")[1].split()[0]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.send_signal(signal.SIGTERM)
        self._process.wait()
        self._log.unlink()

    def stats(self) -> dict:  # type: ignore[type-arg]
        """Return the server's own account."""
        with urllib.request.urlopen(f"{self.url}/__stats") as answer:
            return json.load(answer)  # type: ignore[no-any-return]

    def log(self) -> list[dict]:  # type: ignore[type-arg]
        """Return a record a request."""
        return [json.loads(line) for line in self._log.read_text().splitlines()]


ROWS = (
    ("process start to first request, ms", "start_ms", 250),
    ("reply to next request, mean of 29 gaps, ms", "gap_mean_ms", 35),
    ("reply to next request, median, ms", "gap_median_ms", 6),
    ("peak memory of the tree (PSS), MB", "peak_pss_mb", 90),
    ("bytes sent, MB", "megabytes", 1.0),
    ("dollars at the server's prices", "dollars", 0.25),
    ("read from the cache, of what could be", "read_share", 0.97),
    ("dollars against the least for these bytes", "over_least", 1.05),
)


def report(samples: list[Sample], growth: dict[str, float] | None, *, as_json: bool) -> None:
    """Print the table."""
    if as_json:
        print(json.dumps({"samples": [vars(one) for one in samples], "growth": growth}, indent=2))
        return
    print(f"{len(samples)} runs, {os.cpu_count()} cores, Python {sys.version.split()[0]}")
    print(f"{'figure':<45} {'median':>9} {'min':>9} {'max':>9} {'goal':>8}")
    for name, attribute, goal in ROWS:
        values = [getattr(one, attribute) for one in samples]
        print(
            f"{name:<45} {statistics.median(values):9.3f} {min(values):9.3f} {max(values):9.3f} {goal:>8}"
        )
    if growth is not None:
        print(
            f"gap at turn 200 against turn 10: {growth['turn_200_ms']:.2f} / {growth['turn_10_ms']:.2f} ms = {growth['ratio']:.2f} (goal 1.3)"
        )
    print(
        "median gap by tool, ms:",
        ", ".join(f"{name} {value:.1f}" for name, value in samples[0].by_op.items()),
    )


if __name__ == "__main__":
    raise SystemExit(main())
