"""``orchestrate watch`` as a real process, and what it does with real runs."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestrator.assembly.watch import Watch
from orchestrator.errors import ConfigError
from orchestrator.records import Issue
from orchestrator.testing import MemoryTracker, ScriptedModel, says
from tests.git_server import GitServer, git_server
from tests.runs.conftest import BRANCH, CommandLine, git
from tests.runs.delivery_scene import SETTINGS, served
from tests.runs.model_server import ModelServer
from tests.runs.stage import MEND, NOTE, Stage

LABELS = "tracker: {labels: [agent]}\n"


@pytest.fixture
def labelled(orchestrate: CommandLine) -> CommandLine:
    """The command line of somebody whose issue 1 carries the label."""
    place = Path(orchestrate.environment["HOME"]) / ".config" / "orchestrate"
    place.mkdir(parents=True)
    (place / "config.yaml").write_text(LABELS, encoding="utf-8")
    (path,) = (orchestrate.repo / "issues").glob("1-*.md")
    text = path.read_text(encoding="utf-8")
    assert "labels: [bug]" in text
    text = text.replace("labels: [bug]", "labels: [bug, agent]")
    path.write_text(text, encoding="utf-8")
    return orchestrate


def test_once_works_on_what_is_labelled(labelled: CommandLine) -> None:
    """One look: the labelled issue is delivered; a second look finds nothing to do."""
    done = labelled.run("watch", "--once")
    assert done.returncode == 0, done.stderr
    assert "issue 1: done feature/1-" in done.stderr
    assert git(labelled.repo, "rev-parse", "--verify", BRANCH)
    events = labelled.events()
    again = labelled.run("watch", "--once")
    assert again.returncode == 0, again.stderr
    assert labelled.events() == events


@pytest.mark.parametrize("stop", [signal.SIGTERM, signal.SIGINT])
def test_stopped_in_order(labelled: CommandLine, server: ModelServer, stop: signal.Signals) -> None:
    """A signal parks what runs, the process ends with 0, and the next start goes on with it."""
    server.held.add(3)
    process = labelled.start("watch")
    try:
        assert server.waiting.wait(60)
        process.send_signal(stop)
        _, errors = process.communicate(timeout=60)
    finally:
        process.kill()
        process.communicate()
    assert process.returncode == 0, errors
    assert b"Traceback" not in errors
    assert labelled.events()[-1][0] == "RunParked"
    server.held.clear()
    done = labelled.run("watch", "--once")
    assert done.returncode == 0, done.stderr
    assert [kind for kind, _ in labelled.events()].count("RunStarted") == 1


def test_stopped_at_once(labelled: CommandLine, server: ModelServer) -> None:
    """A second Ctrl-C ends it without a traceback; the next start goes on with the same run."""
    server.held.add(3)
    process = labelled.start("watch")
    try:
        assert server.waiting.wait(60)
        process.send_signal(signal.SIGINT)
        assert process.stderr is not None
        told = b""
        while b"stopping" not in told:
            told += process.stderr.readline()
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    finally:
        process.kill()
        process.communicate()
    assert process.returncode in {0, 130}, errors
    assert b"Traceback" not in errors and b"Exception" not in errors
    server.held.clear()
    done = labelled.run("watch", "--once")
    assert done.returncode == 0, done.stderr
    assert [kind for kind, _ in labelled.events()].count("RunStarted") == 1


def test_one_look_without_its_tracker(labelled: CommandLine) -> None:
    """Where issues cannot be read, one look says so, and does not end as if nothing waited."""
    place = Path(labelled.environment["HOME"]) / ".config" / "orchestrate" / "config.yaml"
    place.write_text("tracker: {kind: github, project: a/b, labels: [agent]}\n", encoding="utf-8")
    done = labelled.run("watch", "--once")
    assert done.returncode == 2
    assert done.stderr.startswith("orchestrate: ") and "Traceback" not in done.stderr


def test_without_labels_nothing_is_watched(orchestrate: CommandLine) -> None:
    """No label set would mean every open issue: that is refused."""
    done = orchestrate.run("watch", "--once")
    assert done.returncode == 2
    assert "tracker.labels" in done.stderr


class Watching:
    """A project on a server, a host, and what watches them."""

    def __init__(self, stage: Stage, server: GitServer) -> None:
        self.stage = stage
        self.server = server
        self.host = served(stage, server)
        stage.settings(f"{SETTINGS}{LABELS}")
        title = "A cart of exactly 100 gets no discount"
        self.tracker = MemoryTracker([Issue("1", title, "Mend it.", labels=("agent",))])
        self.models: list[ScriptedModel] = []
        self.said: list[str] = []

    async def look(self, *script: tuple[str, str | tuple[str, dict[str, str]]]) -> list[str]:
        """Look once, with a script of words and calls; return what was said."""
        replies = [
            says(text, call) if isinstance(call, tuple) else says(text) for text, call in script
        ]

        def client() -> ScriptedModel:
            self.models.append(ScriptedModel(replies))
            return self.models[-1]

        watch = Watch(
            self.stage.config,
            repo=self.stage.repo,
            state=self.stage.state,
            tracker=self.tracker,
            host=self.host,
            client=client,
        )
        self.said.clear()
        await watch.watcher(self.said.append).once()
        return self.said


@pytest.fixture
def watching(stage: Stage, tmp_path: Path) -> Iterator[Watching]:
    """A project that is watched."""
    with git_server(tmp_path / "served") as server:
        yield Watching(stage, server)


@pytest.mark.asyncio
async def test_from_label_to_answer(watching: Watching) -> None:
    """A labelled issue becomes a pull request, and what is said of it its next commit."""
    said = await watching.look(("I mend it.", MEND), ("Mended.", ""))
    assert said == ["issue 1: done https://host.example/pull/1"]
    first = watching.server.head(BRANCH)
    thread = watching.host.says("1", "A note, please.")
    await watching.look(("I write.", NOTE), ("Noted.", ""))
    assert git(watching.stage.repo, "rev-parse", f"{BRANCH}^") == first
    assert watching.server.head(BRANCH) == git(watching.stage.repo, "rev-parse", BRANCH)
    assert len(watching.host.answers(thread)) == 1
    acts = list(watching.host.acts)
    await watching.look()
    assert watching.host.acts == acts
    assert watching.models[-1].requests == []


@pytest.mark.asyncio
async def test_what_a_person_has_to_see_to_is_not_begun_anew(watching: Watching) -> None:
    """A run that ended in front of a person is not paid for again by itself."""
    await watching.look(("I have a question.", ""))
    said = await watching.look(("Again.", ""))
    assert watching.models[-1].requests == []
    assert "nothing new was said" in said[0]


@pytest.mark.asyncio
async def test_a_tracker_that_cannot_tell_is_refused(watching: Watching) -> None:
    """Without a way to ask for candidates nothing can be watched."""

    class Mute:
        fetch = watching.tracker.fetch
        report = watching.tracker.report

    watch = Watch(
        watching.stage.config, repo=watching.stage.repo, state=watching.stage.state, tracker=Mute()
    )
    with pytest.raises(ConfigError, match="cannot tell"):
        watch.watcher(watching.said.append)
