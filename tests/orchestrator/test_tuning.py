"""A process that is there for runs: what Python does in it, and who asks for that."""

from __future__ import annotations

import json
import resource
import subprocess
import sys

import pytest

PROGRAM = """
import gc, json, sys
gc.disable()
import orchestrator
before = (gc.get_freeze_count(), sys.getswitchinterval())
orchestrator.tune_process()
kept = [[] for _ in range(100)]
ring = []
ring.append(ring)
mark = id(ring)
del ring
found = gc.collect()
print(json.dumps({
    "before": before, "frozen": gc.get_freeze_count(), "on": gc.isenabled(),
    "seldom": gc.get_threshold()[0], "switch": sys.getswitchinterval(), "found": found,
}))
"""


def test_what_is_loaded_is_left_alone_and_the_rest_still_collected() -> None:
    """The collector is on, looks seldom, and finds what became garbage since."""
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, check=True)
    said = json.loads(done.stdout)
    assert said["before"][0] == 0 and said["frozen"] > 1000
    assert said["on"] and said["seldom"] == 20_000 and said["found"] >= 1
    assert said["switch"] < said["before"][1]


FILES = """
import resource, sys
import orchestrator
resource.setrlimit(resource.RLIMIT_NOFILE, (int(sys.argv[1]), int(sys.argv[2])))
orchestrator.tune_process()
print(*resource.getrlimit(resource.RLIMIT_NOFILE))
"""
MOST = resource.getrlimit(resource.RLIMIT_NOFILE)[1] % 2**31  # what is unlimited is -1


@pytest.mark.parametrize(
    ("soft", "hard", "wanted"),
    [(256, 2048, 2048), (1024, 1024, 1024), (1024, min(MOST, 70_000), min(MOST, 65_536))],
)
def test_as_many_files_as_the_machine_allows(soft: int, hard: int, wanted: int) -> None:
    """A hundred runs have a thousand open; the machine's own limit stays as it is."""
    done = subprocess.run(
        [sys.executable, "-c", FILES, str(soft), str(hard)], capture_output=True, check=True
    )
    assert done.stdout.split() == [str(wanted).encode(), str(hard).encode()]
