"""The real command line in processes of its own: what people and programs get from it."""

from __future__ import annotations

import json
import os
import pty
import re
import shlex
import signal
import subprocess
import unicodedata
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.runs.conftest import BRANCH, ORCHESTRATE, PROJECT, CommandLine, git
from tests.runs.model_server import ModelServer, serve

DEADLINE_S = 60
REPLAY = f"replay:{PROJECT / 'examples' / 'replies.jsonl'}"
NASTY = "\x1b]0;owned\x07\x1b[31mred\x9b32m\u202egnp\u2066\x08\x00\rover"
HELPS: tuple[list[str], ...] = (
    [],
    ["issue"],
    ["runs"],
    ["runs", "list"],
    ["runs", "show"],
    ["runs", "resume"],
    ["init"],
    ["doctor"],
)


def recording(path: Path, *messages: Sequence[dict[str, Any]]) -> str:
    """Write a recording of replies and return how --model names it."""
    lines = []
    for turn, blocks in enumerate(messages, 1):
        calls = any(block["type"] == "tool_use" for block in blocks)
        data = {
            "session": "author",
            "turn": turn,
            "message": json.dumps({"role": "assistant", "content": blocks}, ensure_ascii=False),
            "stop_reason": "tool_use" if calls else "end_turn",
            "usage": {},
            "cost_usd": 0.0,
        }
        lines.append(json.dumps({"kind": "ModelReplied", "data": data}))
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return f"replay:{path}"


def text(said: str) -> dict[str, Any]:
    """Return a text block."""
    return {"type": "text", "text": said}


def use(number: int, tool: str, **arguments: object) -> dict[str, Any]:
    """Return a tool call."""
    return {"type": "tool_use", "id": f"toolu_{number}", "name": tool, "input": arguments}


def unsafe(shown: str) -> set[str]:
    """Return the characters that a terminal would act on."""
    kinds = {"Cc", "Cf", "Co", "Cs", "Zl", "Zp"}
    return {f"U+{ord(c):04X}" for c in shown if c != "\n" and unicodedata.category(c) in kinds}


@pytest.mark.parametrize("command", HELPS, ids=" ".join)
def test_help(command: list[str]) -> None:
    """Every command explains itself, in lines that fit, and ends with 0."""
    done = subprocess.run(
        [str(ORCHESTRATE), *command, "--help"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"Usage: orchestrate {' '.join(command)}".strip())
    assert max(len(line) for line in done.stdout.splitlines()) <= 100


def test_json_is_the_only_output(orchestrate: CommandLine) -> None:
    """With --json stdout is one Outcome object; progress stays on stderr."""
    done = orchestrate.run("issue", "1", "--json")
    assert done.returncode == 0, done.stderr
    outcome = json.loads(done.stdout)
    assert (outcome["status"], outcome["branch"], outcome["turns"]) == ("done", BRANCH, 8)
    assert outcome["commit"] == git(orchestrate.repo, "rev-parse", BRANCH)
    assert outcome["usage"]["output_tokens"] == 8 * 60
    assert outcome["cost_usd"] > 0
    assert outcome["diff"]["files"] == 4
    assert "turn 8" in done.stderr


def test_what_people_see(orchestrate: CommandLine) -> None:
    """Progress is on stderr, the result on stdout, without escape codes in a pipe."""
    done = orchestrate.run("issue", "1")
    assert done.returncode == 0
    assert not unsafe(done.stdout) and not unsafe(done.stderr)
    progress = done.stderr.splitlines()
    assert progress[0].startswith("issue 1 -> backend-engineer (description), claude-opus")
    assert [line[:6] for line in progress if line.startswith("turn")] == [
        f"turn {number}" for number in range(1, 9)
    ]
    assert "  Edit  shop/pricing.py" in progress
    assert f"branch {BRANCH}" in progress
    for shown in ("done: issue 1", f"branch    {BRANCH}", "change    4 files, ", "gate      tests"):
        assert shown in done.stdout
    assert "8 turns, " in done.stdout and "tokens in" in done.stdout and "$" in done.stdout
    report = done.stdout.rpartition("report    ")[2].strip()
    assert "## Gates" in Path(report).read_text(encoding="utf-8")


@pytest.mark.parametrize(("more", "styled"), [({}, True), ({"NO_COLOR": "1"}, False)])
def test_styles_only_on_a_terminal(
    orchestrate: CommandLine, more: dict[str, str], styled: bool
) -> None:
    """A terminal gets styles, unless NO_COLOR says no; the result has none either way."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        orchestrate.argv("issue", "1", "--model", REPLAY),
        cwd=orchestrate.repo,
        env=orchestrate.environment | {"TERM": "xterm"} | more,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=theirs,
    )
    os.close(theirs)
    shown = b""
    try:
        while chunk := os.read(ours, 65536):
            shown += chunk
    except OSError:  # how Linux says that the other end is closed
        pass
    os.close(ours)
    result, _ = process.communicate(timeout=DEADLINE_S)
    assert process.returncode == 0
    assert (b"\x1b[1m" in shown) is styled
    assert b"\x1b" not in result
    assert b"scripted replies: no model is asked" in shown
    assert b"no model was asked" in result


@pytest.fixture
def nasty(orchestrate: CommandLine, tmp_path: Path) -> str:
    """A recording, an issue and a gate's output full of control sequences."""
    # A title may hold directions; YAML itself refuses control characters.
    title = "".join(char for char in NASTY if unicodedata.category(char) != "Cc")
    header = f"---\ntitle: A {title} title\n---\nbody\n"
    (orchestrate.repo / "issues" / "2-x.md").write_text(header, encoding="utf-8")
    test = f"import sys\nsys.stderr.write({NASTY!r})\nraise SystemExit({NASTY!r})\n"
    return recording(
        tmp_path / "nasty.jsonl",
        [
            text(f"I {NASTY} look"),
            use(1, "Bash", command=f"printf '%s' '{NASTY}'", description=NASTY),
            use(2, NASTY, x=1),
            use(3, "Read", file_path=f"missing{NASTY}"),
            use(4, "Write", file_path="tests/test_pricing.py", content=test),
            use(5, "Read", file_path="tests/test_pricing.py"),
        ],
        [use(6, "Bash", command=f"cat > tests/test_pricing.py <<'EOF'\n{test}EOF\n")],
        [text(f"Done {NASTY}")],
        [text(f"Still {NASTY}")],
        [text(f"Still {NASTY}")],
    )


@pytest.mark.parametrize("how", [[], ["--json"]], ids=["people", "json"])
def test_no_control_sequence_reaches_the_terminal(
    orchestrate: CommandLine, nasty: str, how: list[str]
) -> None:
    """Escapes, C1 controls and directions of a model, a tool, a test or an issue are not shown."""
    done = orchestrate.run("issue", "2", "--agent", "qa-engineer", "--model", nasty, *how)
    assert done.returncode == 1, done.stderr
    assert "gate_failed" in done.stdout
    assert unsafe(done.stderr) == set()
    assert unsafe(done.stdout) == set()
    for command in (["list"], ["show", "2"]):
        shown = orchestrate.run("runs", *command, *how)
        assert shown.returncode == 0
        assert unsafe(shown.stdout + shown.stderr) == set()


def test_the_key_is_nowhere(
    orchestrate: CommandLine, tmp_path: Path, shop: Path, state: Path
) -> None:
    """The key goes to the service and to nothing else: no file, no output, no tool's environment."""
    look = "env; cat /proc/*/environ 2>/dev/null | tr '\\\\0' '\\\\n'; git config --list"
    messages = [
        {"content": [text("I look."), use(1, "Bash", command=look)]},
        {
            "content": [
                use(2, "Bash", command="env > env.txt; sed -i 's/> D/>= D/' shop/pricing.py")
            ]
        },
        {"content": [text("Done.")]},
    ]
    with serve(messages) as server:
        orchestrate.environment["ANTHROPIC_BASE_URL"] = server.url
        done = orchestrate.run("issue", "1")
        assert done.returncode == 0, done.stderr
        assert {one.headers["authorization"] for one in server.played} == {"Bearer sk-test-canary"}
        assert not [one for one in server.played if b"sk-test-canary" in one.body]
    assert "sk-test-canary" not in done.stdout + done.stderr
    assert "ORCHESTRATE" in git(shop, "show", f"{BRANCH}:env.txt")
    git(shop, "repack", "-adq")
    for folder in (shop, state):
        files = [path for path in folder.rglob("*") if path.is_file() and not path.is_symlink()]
        assert [path for path in files if b"sk-test-canary" in path.read_bytes()] == []
    everything = git(shop, "log", "-p", "--all")
    assert "sk-test-canary" not in everything


def test_sigterm_is_like_ctrl_c(orchestrate: CommandLine, server: ModelServer) -> None:
    """SIGTERM parks the run in order, ends with 130, and the run goes on by its id."""
    server.held.add(2)
    process = orchestrate.start("issue", "1")
    assert server.waiting.wait(DEADLINE_S)
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=DEADLINE_S)
    assert process.returncode == 130
    assert b"Traceback" not in errors
    assert orchestrate.events()[-1][0] == "RunParked"
    server.held.clear()
    (listed,) = json.loads(orchestrate.run("runs", "list", "--json").stdout)
    assert (listed["state"], listed["issue"]) == ("parked", "1")
    done = orchestrate.run("runs", "resume", listed["run"][:4], "--json")
    assert (done.returncode, json.loads(done.stdout)["run"]) == (0, listed["run"])


def test_runs_that_ended(orchestrate: CommandLine) -> None:
    """list, show and resume find a run by the beginning of its id, and tell its outcome again."""
    empty = orchestrate.run("runs", "list")
    assert (empty.returncode, empty.stdout) == (0, "no runs yet\n")
    outcome = json.loads(orchestrate.run("issue", "1", "--json", "--model", REPLAY).stdout)
    listed = orchestrate.run("runs", "list").stdout
    assert outcome["run"] in listed and "done" in listed and "backend-engineer" in listed
    shown = orchestrate.run("runs", "show", outcome["run"][:3], "--json")
    told = json.loads(shown.stdout)
    assert {name: told[name] for name in outcome} == outcome
    assert (told["state"], told["forks"], told["forked_from"]) == ("done", [], "")
    again = orchestrate.run("runs", "resume", outcome["run"], "--json")
    assert (again.returncode, json.loads(again.stdout)) == (0, outcome)
    for command in ("show", "resume"):
        missing = orchestrate.run("runs", command, "9-nothing")
        assert missing.returncode == 2
        assert missing.stderr.startswith("orchestrate: ") and missing.stderr.count("\n") == 1


def test_exit_codes_of_runs(orchestrate: CommandLine, tmp_path: Path) -> None:
    """A failed gate ends with 1, a question with 3, a limit with 4."""
    change = use(1, "Write", file_path="x", content="x")
    asks = recording(tmp_path / "asks", *[[text("Which one?")]] * 2)
    fails = recording(tmp_path / "fails", [change], *[[text("Done.")]] * 3)
    loops = recording(tmp_path / "loops", [change], [use(2, "Bash", command="true")])
    for key in "234":
        body = "---\ntitle: Wrong calculation in the Python service\n---\nbody\n"
        (orchestrate.repo / "issues" / f"{key}-x.md").write_text(body, encoding="utf-8")
    codes = [
        orchestrate.run("issue", key, "--model", model, "--limit-turns", "2" if key == "4" else "9")
        for key, model in (("2", asks), ("3", fails), ("4", loops))
    ]
    assert [one.returncode for one in codes] == [3, 1, 4], [one.stderr for one in codes]


def test_the_hint_of_a_parked_run_is_a_command_that_goes_on_with_it(
    orchestrate: CommandLine, tmp_path: Path
) -> None:
    """Followed to the letter from anywhere it is the same run: without its folder it began anew."""
    repo = str(orchestrate.repo)
    elsewhere = CommandLine(tmp_path, orchestrate.state, orchestrate.environment)
    for more in ((), ("--json",)):
        parked = elsewhere.run("issue", "1", "--repo", repo, "--limit-turns", "1", "--new", *more)
        assert parked.returncode == 4, parked.stderr
        hint = re.search(r"go on with: orchestrate ([^\"\n]*)", parked.stdout)
        assert hint is not None
        command = [str(ORCHESTRATE), *shlex.split(hint[1])]
        done = subprocess.run(
            [*command, "--limit-turns", "20", "--json"],
            cwd=tmp_path,
            env=orchestrate.environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        run = json.loads(done.stdout)["run"]
        assert run in parked.stdout
