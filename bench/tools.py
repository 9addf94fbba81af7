"""Measures the tools against what they stand on: bare system calls, ripgrep and bash.

    python bench/tools.py [--rounds 200] [--toolboxes 32] [--json]

Makes its own tree of 2,000 files. Ours and the bare counterpart run alternately, pair by pair, on
one machine in one go, so that a busy moment hits both. Figures are medians (minimum to maximum);
the tools are called through ``open_toolbox``, sandbox and all.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import orchestrator_tools
from orchestrator import OpenToolbox, open_toolbox

FILES = 2000
FOLDERS = 50
LINES = 40
NEEDLE = "needle_function"


@dataclass
class Figure:
    """One row of the table: ours, the bare counterpart, and what is aimed at.

    Attributes:
        goal: what the figure is held against, of the kind that ``of`` names.
        of: ``ours``, ``ratio`` (ours by bare) or ``extra`` (ours less bare).
    """

    name: str
    unit: str
    ours: list[float]
    bare: list[float]
    goal: float | None = None
    of: str = "ours"

    def held(self) -> float:
        """Return the value that the goal speaks of."""
        ours = statistics.median(self.ours)
        if not self.bare:
            return ours
        if self.of == "ratio":
            return ours / statistics.median(self.bare)
        return ours - statistics.median(self.bare) if self.of == "extra" else ours

    def goal_text(self) -> str:
        """Return the goal in a few signs."""
        if self.goal is None:
            return ""
        sign = {"ours": "<=", "ratio": "<= x", "extra": "<= bare +"}[self.of]
        return f"{sign} {self.goal:g}"


def main() -> int:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--rounds", type=int, default=200, help="pairs a figure")
    parser.add_argument("--toolboxes", type=int, default=32, help="opened at once")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    compile_tools()
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        figures = asyncio.run(measure(Path(folder).resolve(), options.rounds, options.toolboxes))
    report(figures, as_json=options.json)
    return 0


async def measure(place: Path, rounds: int, toolboxes: int) -> list[Figure]:
    """Measure everything."""
    tree, state = place / "tree", place / "state"
    plant(tree)
    opened = await starts(tree, state, max(rounds // 10, 5))
    async with open_toolbox(tree, state=state) as toolbox:
        figures = [
            await small_read(toolbox, tree, rounds),
            await small_write(toolbox, tree, rounds),
            await small_edit(toolbox, tree, rounds),
            *[
                await search(toolbox, tree, rounds, mode)
                for mode in ("files_with_matches", "content")
            ],
            await listing(toolbox, tree, rounds),
            await shell(toolbox, tree, rounds),
        ]
    return [*figures, *opened, await idle(place, state), *await many(place, state, toolboxes)]


def plant(tree: Path) -> None:
    """Make the tree: a needle in every fortieth file, and one folder that is ignored."""
    for number in range(FILES):
        folder = tree / f"package_{number % FOLDERS:02d}"
        folder.mkdir(parents=True, exist_ok=True)
        lines = [
            f"def function_{number}_{line}(a, b): return a + b + {line}" for line in range(LINES)
        ]
        if number % 40 == 0:
            lines[LINES // 2] = f"def {NEEDLE}(a): return a"
        (folder / f"module_{number:04d}.py").write_text("\n".join(lines) + "\n", encoding="utf-8")
    (tree / "small.txt").write_text("one\ntwo\nthree\n", encoding="utf-8")


async def pairs(
    rounds: int, ours: Callable[[int], Awaitable[None]], bare: Callable[[int], None]
) -> tuple[list[float], list[float]]:
    """Time ours and the bare way alternately, in milliseconds; the first pair is not counted."""
    first, second = [], []
    for number in range(rounds + 1):
        begun = time.perf_counter()
        await ours(number)
        between = time.perf_counter()
        bare(number)
        ended = time.perf_counter()
        first.append((between - begun) * 1000)
        second.append((ended - between) * 1000)
    return first[1:], second[1:]


async def call(toolbox: OpenToolbox, tool: str, **arguments: object) -> str:
    """Run one call that has to succeed."""
    result = await toolbox.call(tool, arguments)
    if result.is_error:
        raise SystemExit(f"{tool} failed: {result.text}")
    return result.text


async def small_read(toolbox: OpenToolbox, tree: Path, rounds: int) -> Figure:
    """Read a small file; bare: open, read, close."""

    async def ours(_: int) -> None:
        await call(toolbox, "Read", file_path="small.txt")

    def bare(_: int) -> None:
        (tree / "small.txt").read_bytes()

    return Figure("Read of a small file", "ms", *await pairs(rounds, ours, bare), 0.5)


async def small_write(toolbox: OpenToolbox, tree: Path, rounds: int) -> Figure:
    """Write a small file; bare: a temporary file, renamed."""

    async def ours(number: int) -> None:
        await call(toolbox, "Write", file_path="written.txt", content=f"text {number}\n")

    def bare(number: int) -> None:
        (tree / "bare.new").write_bytes(b"text %d\n" % number)
        (tree / "bare.new").replace(tree / "bare.txt")

    return Figure("Write of a small file", "ms", *await pairs(rounds, ours, bare), 0.5)


async def small_edit(toolbox: OpenToolbox, tree: Path, rounds: int) -> Figure:
    """Edit a small file; bare: read, replace, a temporary file, renamed."""
    await call(toolbox, "Write", file_path="edited.txt", content="number <0>\n" + "rest\n" * 50)
    (tree / "bare.txt").write_bytes(b"number <0>\n" + b"rest\n" * 50)

    async def ours(number: int) -> None:
        await call(
            toolbox,
            "Edit",
            file_path="edited.txt",
            old_string=f"<{number}>",
            new_string=f"<{number + 1}>",
        )

    def bare(number: int) -> None:
        old, new = b"<%d>" % number, b"<%d>" % (number + 1)
        data = (tree / "bare.txt").read_bytes().replace(old, new)
        (tree / "bare.new").write_bytes(data)
        (tree / "bare.new").replace(tree / "bare.txt")

    return Figure("Edit of a small file", "ms", *await pairs(rounds, ours, bare), 0.5)


async def search(toolbox: OpenToolbox, tree: Path, rounds: int, mode: str) -> Figure:
    """Grep; bare: ripgrep with the same flags, its output read and split."""
    flags = ["--no-config", "--color=never", "--hidden", "--glob=!.git"]
    flags += ["--files-with-matches"] if mode == "files_with_matches" else ["-n", "--sort=path"]
    argv = [ripgrep(), *flags, "--", NEEDLE, "."]

    async def ours(_: int) -> None:
        await call(toolbox, "Grep", pattern=NEEDLE, output_mode=mode)

    def bare(_: int) -> None:
        done = subprocess.run(argv, cwd=tree, capture_output=True, check=True)
        assert len(done.stdout.splitlines()) == FILES // 40

    name = f"Grep over {FILES} files, {mode}"
    return Figure(name, "ms", *await pairs(rounds // 2, ours, bare), 1.15, "ratio")


async def listing(toolbox: OpenToolbox, tree: Path, rounds: int) -> Figure:
    """Glob; bare: ripgrep's list of files, matched and ordered by time in one go."""
    argv = [ripgrep(), "--no-config", "--files", "--hidden", "--glob=!.git", "--glob=*_0*.py"]

    async def ours(_: int) -> None:
        await call(toolbox, "Glob", pattern="**/*_0*.py")

    def bare(_: int) -> None:
        done = subprocess.run(argv, cwd=tree, capture_output=True, check=True, text=True)
        sorted(done.stdout.splitlines(), key=lambda name: (tree / name).lstat().st_mtime_ns)

    name = f"Glob over {FILES} files"
    return Figure(name, "ms", *await pairs(rounds // 2, ours, bare))


async def shell(toolbox: OpenToolbox, tree: Path, rounds: int) -> Figure:
    """Bash; bare: ``bash -c`` from this process."""

    async def ours(_: int) -> None:
        await call(toolbox, "Bash", command="echo hello")

    def bare(_: int) -> None:
        subprocess.run(["bash", "-c", "echo hello"], cwd=tree, capture_output=True, check=True)

    return Figure("Bash: echo", "ms", *await pairs(rounds, ours, bare), 3.0, "extra")


async def starts(tree: Path, state: Path, rounds: int) -> list[Figure]:
    """Open a toolbox until its first Read has answered; bare: the interpreter alone."""
    cold = []

    @asynccontextmanager
    async def ready() -> AsyncIterator[float]:
        begun = time.perf_counter()
        async with open_toolbox(tree, state=state) as toolbox:
            await call(toolbox, "Read", file_path="small.txt")
            yield (time.perf_counter() - begun) * 1000

    async with ready() as took:
        cold.append(took)
    warm, bare = [], []
    for _ in range(rounds):
        async with ready() as took:
            warm.append(took)
        bare.append(interpreter_alone())
    return [
        Figure("sandbox ready (first answer), warm; bare: python3", "ms", warm, bare, 60.0),
        Figure("sandbox ready the very first time, self-test included", "ms", cold, []),
    ]


def interpreter_alone() -> float:
    """Return the milliseconds that starting and ending an interpreter takes, without walls."""
    begun = time.perf_counter()
    subprocess.run([system_python(), "-I", "-S", "-c", ""], check=True)
    return (time.perf_counter() - begun) * 1000


def system_python() -> str:
    """Return the interpreter that the sandbox prefers."""
    return shutil.which("python3", path="/usr/bin:/bin") or sys.executable


def compile_tools() -> None:
    """Compile the tools, as the installation of a package does; a checkout may not be."""
    folder = Path(orchestrator_tools.__file__).parent
    subprocess.run([system_python(), "-m", "compileall", "-q", str(folder)], check=False)


async def idle(place: Path, state: Path) -> Figure:
    """Memory of one idle toolbox: everything below this process, shared pages by their share."""
    folder = place / "idle"
    folder.mkdir()
    weights = []
    for _ in range(3):
        async with open_toolbox(folder, state=state) as toolbox:
            await call(toolbox, "Glob", pattern="*")
            weights.append(sum(map(pss_kb, below(os.getpid()))) / 1024)
    return Figure("idle toolbox, whole tree (PSS)", "MB", weights, [], 11.0)


async def many(place: Path, state: Path, count: int) -> list[Figure]:
    """Open many toolboxes at once: the time until all have answered, and what each weighs."""
    async with AsyncExitStack() as stack:
        boxes = []
        begun = time.perf_counter()
        for number in range(count):
            folder = place / f"many-{number}"
            folder.mkdir()
            boxes.append(await stack.enter_async_context(open_toolbox(folder, state=state)))
        await asyncio.gather(*(call(one, "Glob", pattern="*") for one in boxes))
        took = (time.perf_counter() - begun) * 1000
        weight = sum(map(pss_kb, below(os.getpid()))) / 1024
    return [
        Figure(f"{count} toolboxes at once: all have answered", "ms", [took], []),
        Figure(f"{count} toolboxes at once: each weighs (PSS)", "MB", [weight / count], [], 11.0),
    ]


def ripgrep() -> str:
    """Return the ripgrep that the project installs."""
    own = Path(sys.executable).parent / "rg"
    found = str(own) if own.exists() else shutil.which("rg")
    if found is None:
        raise SystemExit("ripgrep is not installed: pip install issue-orchestrator")
    return found


def below(pid: int) -> list[int]:
    """Return the descendants of a process."""
    found: list[int] = []
    waiting = [pid]
    while waiting:
        with contextlib.suppress(OSError):
            for task in Path(f"/proc/{waiting.pop()}/task").iterdir():
                children = [int(one) for one in (task / "children").read_text().split()]
                found += children
                waiting += children
    return found


def pss_kb(pid: int) -> int:
    """Return the proportional set size of one process."""
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1])
    return 0


def machine() -> str:
    """Return what was measured on, in one line."""
    uname = platform.uname()
    load = " ".join(f"{one:.1f}" for one in os.getloadavg())
    who = "root" if os.geteuid() == 0 else "a normal user"
    return (
        f"{uname.system} {uname.release} {uname.machine}, {os.cpu_count()} cores, load {load}, "
        f"Python {sys.version.split()[0]}, as {who}"
    )


def report(figures: list[Figure], *, as_json: bool) -> None:
    """Print the table."""
    if as_json:
        rows = [{**vars(one), "held": one.held()} for one in figures]
        print(json.dumps({"machine": machine(), "figures": rows}, indent=2))
        return
    print(machine())
    print(f"{'figure':<56} {'goal':>12}  {'here':<28} {'bare':<28} ratio")
    for one in figures:
        ratio = ""
        if one.bare:
            ratio = f"{statistics.median(one.ours) / statistics.median(one.bare):.2f}"
        missed = one.goal is not None and one.held() > one.goal
        row = f"{one.name:<56} {one.goal_text():>12}  {spread(one.ours, one.unit):<28}"
        print(f"{row} {spread(one.bare, one.unit):<28} {ratio:<6}{' missed' if missed else ''}")


def spread(values: list[float], unit: str) -> str:
    """Return the median of some values, and how far they lie apart."""
    if not values:
        return ""
    if len(values) == 1:
        return f"{values[0]:.2f} {unit}"
    return f"{statistics.median(values):.2f} {unit} ({min(values):.2f} to {max(values):.2f})"


if __name__ == "__main__":
    raise SystemExit(main())
