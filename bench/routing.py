"""Measures the router: how often it is right, and what 1,000 issues against 50 agents cost.

    python bench/routing.py [--shared ../shared/routing] [--rounds 5] [--json]

Accuracy is counted on the labelled issues of tests/routing (three sets, written by three hands for
this project) and, with ``--shared``, on one more roster and set that is not part of the project.
Each set is routed with every roster. The cost is measured in a process of its own.
"""

from __future__ import annotations

import argparse
import json
import platform
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from orchestrator.definitions.folder import Source, files_below, roster
from orchestrator.records import AgentDefinition, Issue
from orchestrator.routing.listed import listed_issues
from orchestrator.routing.route import Router, Rules

SETS = Path(__file__).parents[1] / "tests" / "routing"
ISSUES, AGENTS = 1000, 50


def main() -> int:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--shared", type=Path, help="A folder with agents/, routes.yaml, dev.yaml.")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--cost", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.cost:
        print(json.dumps(cost()))
        return 0
    rows = accuracy(options.shared)
    costs = [measured() for _ in range(options.rounds)]
    if options.json:
        print(json.dumps({"accuracy": rows, "cost": costs, "python": platform.python_version()}))
        return 0
    for row in rows:
        print(
            f"{row['set']:<8} roster {row['roster']:<8} text {row['first']:.3f}"
            f"  first three {row['three']:.3f}  nobody {row['nobody']:<7}"
            f"  rules {row['rules']:<7}  score {row['score']:.2f}"
        )
    for key, unit in (("ready_ms", "ms"), ("issue_ms", "ms"), ("longest_ms", "ms"), ("mb", "MB")):
        values = [one[key] for one in costs]
        print(f"{key:<12} {statistics.median(values):8.2f} {unit} (least {min(values):.2f})")
    return 0


def accuracy(shared: Path | None) -> list[dict[str, Any]]:
    """Route every set with every roster."""
    rosters: dict[str, tuple[Mapping[str, AgentDefinition], dict[str, str]]] = {}
    sets: dict[str, Path] = {}
    for folder in sorted(SETS.iterdir()):
        if (folder / "issues.yaml").is_file():
            names = yaml.safe_load((folder / "names.yaml").read_text())
            rosters[folder.name] = (agents_of(folder), {new: old for old, new in names.items()})
            sets[folder.name] = folder / "issues.yaml"
    rules = Rules()
    if shared is not None:
        rosters["shared"] = (agents_of(shared), {})
        sets["shared"] = shared / "dev.yaml"
        rules = Rules(labels=yaml.safe_load((shared / "routes.yaml").read_text())["labels"])
    return [
        counted(name, file, other, agents, old, rules if other == "shared" else Rules())
        for name, file in sets.items()
        for other, (agents, old) in rosters.items()
    ]


def agents_of(folder: Path) -> Mapping[str, AgentDefinition]:
    """Return the agents of a folder."""
    return roster([Source("bench", files_below(folder / "agents"))]).agents


def counted(
    name: str,
    file: Path,
    other: str,
    agents: Mapping[str, AgentDefinition],
    old: Mapping[str, str],
    rules: Rules,
) -> dict[str, Any]:
    """Route one set with one roster and count."""
    data = file.read_bytes()
    expected = yaml.safe_load(data)
    router = Router(agents, rules)
    text = first = three = nobody = nobodies = ruled = rights = 0
    scores = []
    for issue, item in zip(listed_issues(data, str(file)), expected, strict=True):
        if item["kind"] in {"assign", "label"} and not rules.labels:
            continue  # its rules are of another roster
        decision = router.decide(issue)
        ranked = [old.get(one, one) for one, _ in decision.ranked]
        right = bool(ranked) and decision.agent is not None and ranked[0] in item["agents"]
        if item["kind"] == "text":
            text, first = text + 1, first + right
            three += any(one in item["agents"] for one in ranked[:3])
            scores.append(decision.score if decision.agent else 0.0)
        elif item["kind"] == "none":
            nobodies, nobody = nobodies + 1, nobody + (decision.agent is None)
        else:
            rights, ruled = rights + 1, ruled + right
    return {
        "set": name,
        "roster": other,
        "first": round(first / text, 4),
        "three": round(three / text, 4),
        "nobody": f"{nobody}/{nobodies}",
        "rules": f"{ruled}/{rights}",
        "score": round(statistics.mean(scores), 4),
    }


def measured() -> dict[str, float]:
    """Return the cost, measured in a fresh process."""
    argv = [sys.executable, __file__, "--cost"]
    done = subprocess.run(argv, capture_output=True, text=True, check=True)
    found: dict[str, float] = json.loads(done.stdout)
    return found


def cost() -> dict[str, float]:
    """Route 1,000 issues among 50 agents with bodies."""
    agents, issues = many()
    before = resident()
    begun = time.perf_counter()
    router = Router(agents, Rules())
    router.decide(issues[0])
    ready = time.perf_counter()
    times = []
    for issue in issues:
        at = time.perf_counter()
        router.decide(issue)
        times.append(time.perf_counter() - at)
    return {
        "ready_ms": round((ready - begun) * 1000, 3),
        "issue_ms": round(sum(times) / len(times) * 1000, 3),
        "longest_ms": round(max(times) * 1000, 3),
        "mb": round((resident() - before) / 2**20, 2),
    }


def resident() -> int:
    """Return the bytes of memory that this process holds."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def many() -> tuple[dict[str, AgentDefinition], list[Issue]]:
    """Return 50 agents and 1,000 issues, made of those of the sets over and over."""
    folders = [one for one in sorted(SETS.iterdir()) if (one / "issues.yaml").is_file()]
    every = [agent for one in folders for agent in agents_of(one).values()]
    every += list(agents_of(Path(__file__).parents[1]).values())
    agents = {f"{every[n % len(every)].name}-{n}": every[n % len(every)] for n in range(AGENTS)}
    listed = [
        issue
        for one in folders
        for issue in listed_issues((one / "issues.yaml").read_bytes(), str(one))
    ]
    return agents, [listed[number % len(listed)] for number in range(ISSUES)]


if __name__ == "__main__":
    sys.exit(main())
