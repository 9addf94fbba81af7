"""``orchestrate batch`` as a real process: worked on, stopped, killed, gone on with, reported."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import shutil
import signal
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from orchestrator.cli.night import exit_code
from tests.batch_server import Answer, BatchServer, Refusal, serve_batches
from tests.batches.nights_of import a_report
from tests.batches.test_onend import a_hook
from tests.runs.conftest import PROJECT, CommandLine, git

KEY = re.compile(r"wish number (\d+)")
SETTINGS = "model: {retries: 1, backoff_s: 0.01}\ngates: {rounds: 1, detect_tests: false}\n"


@dataclass
class Wishes:
    """What the service answers: an issue's number decides what becomes of it.

    Attributes:
        broken: issues whose agents write what a gate does not let through.
        held: issue and turn whose reply is held back until ``go``.
        asked: issue and turn of each request that was answered.
    """

    broken: set[str] = field(default_factory=set)
    held: set[tuple[str, int]] = field(default_factory=set)
    asked: list[tuple[str, int]] = field(default_factory=list)
    waiting: threading.Event = field(default_factory=threading.Event)
    go: threading.Event = field(default_factory=threading.Event)

    def __call__(self, body: dict[str, Any]) -> Answer | Refusal:
        """Answer a request: a file is written, then another one, then that is all."""
        found = KEY.search(json.dumps(body["messages"][0]))
        key = found[1] if found else "?"
        turn = sum(one["role"] == "assistant" for one in body["messages"]) + 1
        if (key, turn) in self.held:
            self.waiting.set()
            self.go.wait(60)
        self.asked.append((key, turn))
        if turn > 2:
            return {"content": [{"type": "text", "text": f"Wish {key} is fulfilled."}]}
        text = "ghp_" + "a1B2c3D4e5F6g7H8i9J0k1L2m3N4o5P6q7R8" if key in self.broken else "a note"
        arguments = {"file_path": f"notes/{key}-{turn}.md", "content": f"{text}\n"}
        call = {"type": "tool_use", "id": f"toolu_{turn}", "name": "Write", "input": arguments}
        return {"content": [{"type": "text", "text": f"Turn {turn}"}, call]}


@pytest.fixture
def wishes() -> Wishes:
    """What the service answers."""
    return Wishes()


@pytest.fixture
def service(wishes: Wishes) -> Iterator[BatchServer]:
    """The service."""
    with serve_batches(answer=wishes) as running:
        yield running
        wishes.go.set()


@pytest.fixture
def night(orchestrate: CommandLine, service: BatchServer, shop: Path) -> CommandLine:
    """The command line of somebody who has three wishes."""
    orchestrate.environment["ANTHROPIC_BASE_URL"] = service.url
    place = Path(orchestrate.environment["HOME"]) / ".config" / "orchestrate"
    place.mkdir(parents=True)
    (place / "config.yaml").write_text(SETTINGS, encoding="utf-8")
    for number in (11, 12, 13):
        text = f"---\ntitle: Wish {number}\nlabels: [ready]\n---\nFulfil wish number {number}.\n"
        (shop / "issues" / f"{number}-wish.md").write_text(text, encoding="utf-8")
    git(shop, "add", "--all")
    git(shop, "commit", "--quiet", "--message", "wishes")
    return orchestrate


ALL = ("batch", "--label", "ready", "--agent", "backend-engineer")


def report(night: CommandLine) -> dict[str, Any]:
    """Return the report of the latest batch."""
    done = night.run("batch", "report", "--json")
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def branches(night: CommandLine) -> list[str]:
    """Return the branches that were delivered."""
    listed = git(night.repo, "for-each-ref", "--format=%(refname:short)", "refs/heads/feature")
    return listed.split()


def test_all_done_is_zero_and_is_told_in_every_form(
    night: CommandLine, wishes: Wishes, tmp_path: Path
) -> None:
    """Three issues become three branches; lines while it runs, a summary, three forms of report."""
    done = night.run(*ALL, "--limit-usd", "5", "--parallel", "2")
    assert done.returncode == 0, done.stderr
    assert len(branches(night)) == 3
    assert sorted(wishes.asked) == [(key, turn) for key in ("11", "12", "13") for turn in (1, 2, 3)]
    assert "3 of 3 issues, 2 at once" in done.stderr
    assert re.search(
        r"^\d\d:\d\d:\d\d 11 begins: backend-engineer, run 11-", done.stderr, re.MULTILINE
    )
    assert "\x1b" not in done.stderr + done.stdout
    assert re.match(r"batch [\w-]+: 3 done\n", done.stdout)
    assert re.search(r"  11 +done, \$0\.\d+: feature/11-wish-11", done.stdout)
    found = report(night)
    assert found["standing"] == "complete"
    assert found["totals"]["usd"] > 0
    assert {one["fate"] for one in found["issues"]} == {"done"}
    assert found["issues"][0]["gates"][0]["state"] == "passed"
    page = tmp_path / "night.html"
    assert night.run("batch", "report", "--output", str(page)).returncode == 0
    assert "<!DOCTYPE html>" in page.read_text(encoding="utf-8")
    assert night.run("batch", "report").stdout.startswith("# Night ")
    assert "ended" in night.run("batch", "list").stdout
    again = night.run(*ALL)
    assert again.returncode == 0
    assert "nothing to do" in again.stdout
    assert "done already: run 11-" in again.stdout


def test_some_not_done_is_one(night: CommandLine, wishes: Wishes) -> None:
    """A gate that fails stops no other issue; the exit code is 1, and JSON alone is on stdout."""
    wishes.broken.add("12")
    done = night.run(*ALL, "--json")
    assert done.returncode == 1, done.stderr
    found = json.loads(done.stdout)
    fates = {one["issue"]: one["fate"] for one in found["issues"]}
    assert fates == {"11": "done", "12": "not_done", "13": "done"}
    told = next(one for one in found["issues"] if one["issue"] == "12")
    assert told["outcome"].startswith("not done: ")
    assert any(gate["state"] == "failed" for gate in told["gates"])
    assert len(branches(night)) == 2


def test_a_machine_without_walls_begins_no_night(night: CommandLine, wishes: Wishes) -> None:
    """What is missing on the machine is told at once with a 5; no batch is recorded."""
    place = Path(night.environment["HOME"]) / ".config" / "orchestrate" / "config.yaml"
    place.write_text(f"{SETTINGS}sandbox: {{image: debian, engine: podman}}\n", encoding="utf-8")
    git_only = night.repo.parent / "git-only"
    git_only.mkdir()
    (git_only / "git").symlink_to(shutil.which("git") or "git")
    night.environment["PATH"] = str(git_only)
    done = night.run(*ALL, "--sandbox", "container")
    assert done.returncode == 5, done.stderr
    assert "orchestrate: podman is not installed" in done.stderr
    assert "there is no batch yet" in night.run("batch", "report").stderr
    assert wishes.asked == []


@pytest.mark.parametrize("more", [(), ("--lane", "batches")])
def test_a_batch_whose_models_nobody_can_ask_begins_no_night(
    night: CommandLine, wishes: Wishes, more: tuple[str, ...]
) -> None:
    """A missing key is told at once with a 2, as for one issue; no batch is recorded."""
    night.environment["ANTHROPIC_API_KEY"] = ""
    done = night.run(*ALL, *more)
    assert done.returncode == 2, done.stderr
    assert "orchestrate: no key for the model's service (set ANTHROPIC_API_KEY" in done.stderr
    assert "there is no batch yet" in night.run("batch", "report").stderr
    unknown = night.run(*ALL, *more, "--model", "gpt")
    assert unknown.returncode == 2 and "gpt" in unknown.stderr
    assert wishes.asked == [] and night.events() == []


def test_a_model_that_nobody_knows_stops_no_other_agent(night: CommandLine) -> None:
    """Its issues are not planned, with why; an agent that leaves the model to the settings works."""
    text = (PROJECT / "agents" / "backend-engineer.md").read_text(encoding="utf-8")
    folder = night.repo / ".claude" / "agents"
    folder.mkdir(parents=True, exist_ok=True)
    for name, model in (("odd-engineer", "gpt"), ("calm-engineer", "Inherit")):
        header = f"name: {name}\nmodel: {model}\n"
        kept = re.sub(r"^(name|model): .*\n", "", text, flags=re.MULTILINE)
        made = kept.replace("---\n", f"---\n{header}", 1)
        (folder / f"{name}.md").write_text(made, encoding="utf-8")
    for key, agent in (("11", "calm-engineer"), ("12", "odd-engineer")):
        issue = night.repo / "issues" / f"{key}-wish.md"
        header = issue.read_text(encoding="utf-8").replace(
            "title:", f"assignee: {agent}\ntitle:", 1
        )
        issue.write_text(header, encoding="utf-8")
    git(night.repo, "add", "--all")
    git(night.repo, "commit", "--quiet", "--message", "odd")
    done = night.run("batch", "--issues", "11,12")
    assert done.returncode == 1, done.stderr
    assert re.search(r"^ *11 +done, ", done.stdout, re.MULTILINE), done.stdout
    assert re.search(r"^ *12 +not planned: unknown model 'gpt' \(known", done.stdout, re.MULTILINE)


@pytest.mark.parametrize(
    ("others", "code"), [((), 5), (("done",), 1), (("parked",), 1), (("not_done",), 1)]
)
def test_nothing_but_faults_of_the_machine_are_five(others: tuple[str, ...], code: int) -> None:
    """A night whose every issue failed by the machine or the service ends as one run of it would."""
    wanted = {"infrastructure", *others}
    found = a_report(10)
    issues = tuple(one for one in found.issues if one.fate in wanted)
    found = replace(found, issues=issues, hit_ceiling=False, stopped_by="")
    assert exit_code(found, was_stopped=False) == code
    assert exit_code(found, was_stopped=True) == 130


def test_what_cannot_be_begun_is_passed_over_and_told(night: CommandLine) -> None:
    """Circles, blockers that are open elsewhere, and what waits for a failed one stop nobody else."""
    folder = night.repo / "issues"
    for key, blockers in (("14", "[15]"), ("15", "[14]"), ("16", "[1]"), ("17", "[11]")):
        text = f"---\ntitle: Wish {key}\nlabels: [ready]\nblocked_by: {blockers}\n---\n"
        (folder / f"{key}-wish.md").write_text(f"{text}Fulfil wish number {key}.\n", "utf-8")
    done = night.run(*ALL, "--json")
    assert done.returncode == 1, done.stderr
    found = {one["issue"]: one for one in json.loads(done.stdout)["issues"]}
    fates = {key: one["fate"] for key, one in found.items()}
    assert fates == {
        **dict.fromkeys(("11", "12", "13", "17"), "done"),
        **dict.fromkeys(("14", "15", "16"), "passed_over"),
    }
    assert all(found[key]["why"] for key in ("14", "15", "16"))
    assert "is blocked by 1" in found["16"]["why"]


def test_the_ceiling_is_four(night: CommandLine, wishes: Wishes) -> None:
    """What the ceiling cannot cover is not begun, and the exit code says so; more money goes on."""
    done = night.run(*ALL, "--limit-usd", "0.0001")
    assert done.returncode == 4, done.stderr
    found = report(night)
    assert found["hit_ceiling"]
    assert found["totals"]["usd"] <= 0.0001
    assert f"orchestrate batch resume {found['night']}" in done.stdout
    again = night.run("batch", "resume", "--limit-usd", "5")
    assert again.returncode == 0, again.stderr
    assert len(branches(night)) == 3
    assert report(night)["night"] == found["night"]


def test_ctrl_c_finishes_the_turns_in_flight(night: CommandLine, wishes: Wishes) -> None:
    """The first signal lets the reply come and be kept; a resume asks for nothing twice."""
    wishes.held.add(("11", 2))
    process = night.start(*ALL, "--parallel", "1")
    try:
        assert wishes.waiting.wait(60)
        process.send_signal(signal.SIGINT)
        assert process.stderr is not None
        told = b""
        while b"stopping: turns in flight" not in told:
            told += os.read(process.stderr.fileno(), 4096)
        wishes.held.clear()
        wishes.go.set()
        _, errors = process.communicate(timeout=60)
    finally:
        process.kill()
        process.communicate()
    assert process.returncode == 130, errors
    assert b"Traceback" not in told + errors
    assert ("11", 2) in wishes.asked
    fates = {one["issue"]: one["fate"] for one in report(night)["issues"]}
    assert fates == {"11": "parked", "12": "passed_over", "13": "passed_over"}
    done = night.run("batch", "resume")
    assert done.returncode == 0, done.stderr
    assert sorted(wishes.asked) == [(key, turn) for key in ("11", "12", "13") for turn in (1, 2, 3)]
    assert "goes on" in done.stderr


def test_ctrl_c_twice_stops_now(night: CommandLine, wishes: Wishes) -> None:
    """The second signal parks what runs without waiting for its reply."""
    wishes.held.add(("11", 2))
    process = night.start(*ALL, "--parallel", "1")
    try:
        assert wishes.waiting.wait(60)
        assert process.stderr is not None
        told = b""
        for words in (b"stopping: turns", b"stopping now"):
            process.send_signal(signal.SIGINT)
            while words not in told:
                told += os.read(process.stderr.fileno(), 4096)
        _, errors = process.communicate(timeout=60)
    finally:
        process.kill()
        process.communicate()
    assert process.returncode == 130, errors
    assert b"Traceback" not in told + errors
    wishes.held.clear()
    wishes.go.set()
    done = night.run("batch", "resume")
    assert done.returncode == 0, done.stderr
    assert len(branches(night)) == 3


def test_a_killed_batch_is_told_and_gone_on_with(night: CommandLine, wishes: Wishes) -> None:
    """After kill -9 the report says what stands, and a resume does the rest once."""
    wishes.held.add(("12", 2))
    process = night.start(*ALL, "--parallel", "1")
    try:
        assert wishes.waiting.wait(60)
        refused = night.run("batch", "resume", report(night)["night"])
        assert refused.returncode == 5
        assert "is being worked on by another process" in refused.stderr
    finally:
        process.kill()
        process.communicate()
    found = report(night)
    assert found["standing"] == "cut_off"
    assert [one["fate"] for one in found["issues"]] == ["done", "open", "open"]
    assert "cut off" in night.run("batch", "list").stdout
    wishes.held.clear()
    wishes.go.set()
    done = night.run("batch", "resume")
    assert done.returncode == 0, done.stderr
    assert len(branches(night)) == 3
    once = {one for one in wishes.asked if one != ("12", 2)}
    assert all(wishes.asked.count(one) == 1 for one in once)
    nothing = night.run("batch", "resume")
    assert nothing.returncode == 2
    assert "no unfinished batch" in nothing.stderr


def test_who_wants_to_know_is_told_at_the_end(
    night: CommandLine, wishes: Wishes, tmp_path: Path
) -> None:
    """Command and webhook get the same JSON; a failure is a notice, and changes no exit code."""
    out = tmp_path / "told.json"
    user = Path(night.environment["HOME"]) / ".config" / "orchestrate" / "config.yaml"
    with a_hook(status=500) as hook:
        user.write_text(
            SETTINGS + "batch:\n  on_end:\n"
            f"    command: [sh, -c, 'cat > {out}; env > {out}.env']\n"
            f"    webhook: {hook.url}/k3y\n",
            encoding="utf-8",
        )
        done = night.run(*ALL)
        assert done.returncode == 0, done.stderr
        assert "notice: batch.on_end.webhook answered with 500" in done.stderr
        assert "k3y" not in done.stderr
        told = json.loads(out.read_text(encoding="utf-8"))
        assert json.loads(hook.bodies[0]) == told
    assert told["counts"] == {"done": 3}
    assert told["exit_code"] == 0
    assert "canary" not in out.read_text() + Path(f"{out}.env").read_text()


def on_a_terminal(night: CommandLine, *arguments: str, **environment: str) -> tuple[int, str]:
    """Run the command with a terminal for its standard error; return exit code and what it drew."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        night.argv(*arguments),
        cwd=night.repo,
        env={**night.environment, "TERM": "xterm-256color", "COLUMNS": "120", **environment},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=theirs,
    )
    os.close(theirs)
    drawn = b""
    while True:
        if not select.select([ours], [], [], 120)[0]:
            break
        try:
            piece = os.read(ours, 65536)
        except OSError:
            break
        if not piece:
            break
        drawn += piece
    os.close(ours)
    return process.wait(timeout=60), drawn.decode(errors="replace")


def test_on_a_terminal_there_is_a_table(night: CommandLine) -> None:
    """Rows, totals and a bar stay in place; lines of what happened stay above."""
    code, drawn = on_a_terminal(night, *ALL)
    assert code == 0, drawn
    assert "last event" in drawn
    assert "being worked on" in drawn
    assert "11 begins: backend-engineer" in drawn
    assert "\x1b[" in drawn
    assert "\x1b[?25h" in drawn  # the cursor is back


def test_no_colour_is_heeded(night: CommandLine) -> None:
    """With NO_COLOR nothing is coloured."""
    code, drawn = on_a_terminal(night, *ALL, NO_COLOR="1")
    assert code == 0, drawn
    assert not re.search(r"\x1b\[[0-9;]*(?:3[0-9]|4[0-9]|38;[25];[0-9;]+)m", drawn)
