"""Measures reading agent files: a thousand, most well formed, some of every other class.

    python bench/agents.py [--rounds 5] [--files 1000] [--json]

Generates its files in memory from a fixed seed. The figure is the time to read all of them once,
the median of some rounds; what came of them is counted, and must be what each class is meant for.
"""

from __future__ import annotations

import argparse
import json
import platform
import random
import statistics
import sys
import time
from collections import Counter
from collections.abc import Callable

from orchestrator.definitions.definition import check

GOAL_S = 1.5
WORDS = [
    "use",
    "this",
    "agent",
    "to",
    "mend",
    "review",
    "test",
    "plan",
    "write",
    "and",
    "run",
    "the",
    "code",
    "of",
    "a",
    "service",
]


def main() -> int:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--files", type=int, default=1000)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    files = [generated(number) for number in range(options.files)]
    times = [timed(files) for _ in range(options.rounds + 1)][1:]
    report(times, files, as_json=options.json)
    return 0


def timed(files: list[tuple[str, str, bytes]]) -> float:
    """Return the seconds in which all files are read."""
    begun = time.perf_counter()
    found = [check(data, name) for name, _, data in files]
    taken = time.perf_counter() - begun
    for one, (name, wanted, _) in zip(found, files, strict=True):
        if one.status != wanted:
            raise SystemExit(f"{name} is {one.status}, not {wanted}: {one.error}")
    return taken


def generated(number: int) -> tuple[str, str, bytes]:
    """Return a file's name, what is to come of it, and its bytes."""
    chance = random.Random(number)
    wanted, make = CLASSES[number % len(CLASSES)]
    name = f"agent-{number}"
    description = " ".join(chance.choices(WORDS, k=chance.choice([20, 40, 300])))
    body = "\n".join(" ".join(chance.choices(WORDS, k=14)) for _ in range(chance.randint(20, 200)))
    return f"{name}.md", wanted, make(name, description, body).encode()


def plain(name: str, description: str, body: str) -> str:
    """Return a well-formed file."""
    tools = "tools: Read, Write, Edit, Bash(git *), Grep"
    return f"---\nname: {name}\ndescription: {description}\n{tools}\nmodel: opus\n---\n{body}\n"


def listed(name: str, description: str, body: str) -> str:
    """Return one whose tools are a list, with keys that are not known."""
    tools = "tools:\n  - Read\n  - Raed\n  - WebFetch\ncolor: red\nzebra: 1\n"
    return f"---\nname: {name}\ndescription: >\n  {description}\n{tools}---\n{body}\n"


def colon(name: str, description: str, body: str) -> str:
    """Return one whose description is not YAML, with a dialogue in it."""
    said = f'{description}: "so"\n\n<example>\nuser: mend: it\n</example>'
    return plain(name, said, body)


def crlf(name: str, description: str, body: str) -> str:
    """Return one with other line ends."""
    return plain(name, description, body).replace("\n", "\r\n")


def flat(name: str, description: str, body: str) -> str:
    """Return one that was joined to one line."""
    return " ".join(plain(name, description, body).split("\n"))


def notes(_: str, description: str, body: str) -> str:
    """Return one without a header."""
    return f"# Notes\n\n{description}\n{body}\n"


def twice(name: str, description: str, body: str) -> str:
    """Return one with a key twice."""
    return plain(name, description, body).replace("model:", "tools: Bash\nmodel:")


CLASSES: list[tuple[str, Callable[[str, str, str], str]]] = [
    *[("ok", plain)] * 8,
    *[("ok", listed)] * 4,
    ("ok", crlf),
    *[("repaired", colon)] * 4,
    ("repaired", flat),
    ("skipped", notes),
    ("refused", twice),
]


def report(times: list[float], files: list[tuple[str, str, bytes]], *, as_json: bool) -> None:
    """Print the table."""
    held = statistics.median(times)
    size = sum(len(data) for _, _, data in files)
    machine = f"{platform.platform()}, Python {sys.version.split()[0]}"
    counts = dict(Counter(wanted for _, wanted, _ in files))
    name = f"{len(files):,} agent files ({size / 1e6:.1f} MB)"
    if as_json:
        figure = {
            "name": name,
            "unit": "s",
            "ours": times,
            "bare": [],
            "goal": GOAL_S,
            "held": held,
        }
        print(json.dumps({"machine": machine, "figures": [figure], "files": counts}, indent=2))
        return
    print(machine)
    print(f"{'figure':<56} {'goal':>12}  here")
    spread = f"{held:.2f} s ({min(times):.2f} to {max(times):.2f})"
    print(f"{name:<56} {f'<= {GOAL_S:g}':>12}  {spread}{' missed' if held > GOAL_S else ''}")
    print(", ".join(f"{number} {status}" for status, number in counts.items()))


if __name__ == "__main__":
    raise SystemExit(main())
