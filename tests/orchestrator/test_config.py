"""config.yaml: typed and strict, level by level."""

from __future__ import annotations

import os
import pwd
import subprocess
import sys
from pathlib import Path

import pytest

from orchestrator import config
from orchestrator.config import load
from orchestrator.errors import ConfigError
from orchestrator.judgesettings import GateWaiver
from orchestrator.records import Limits
from orchestrator.settings import Config
from tests.builders import write_files

PROJECT = Path(__file__).parents[2]


def loaded(tmp_path: Path, text: str) -> Config:
    """Load a user's settings."""
    path = tmp_path / "config.yaml"
    path.write_text(text, encoding="utf-8")
    return load(user=path, repository=None)


def refusal(tmp_path: Path, text: str) -> ConfigError:
    """Load a user's broken settings and return the refusal."""
    with pytest.raises(ConfigError) as caught:
        loaded(tmp_path, text)
    return caught.value


def in_repository(tmp_path: Path, text: str, user: str = "") -> Config:
    """Load a repository's settings over a user's."""
    write_files(tmp_path, {"repo/.orchestrate/config.yaml": text, "user.yaml": user})
    return load(user=tmp_path / "user.yaml", repository=tmp_path / "repo")


@pytest.mark.parametrize(
    ("text", "place", "said"),
    [
        ("model:\n  retries: many\n", "2:12", "model.retries: expected a whole number"),
        ("model:\n  retries: 1.5\n", "2:12", "model.retries: expected a whole number"),
        ("model:\n  retries: -1\n", "2:12", "not negative"),
        ("model:\n  retries: true\n", "2:12", "expected a whole number"),
        ("model:\n  retries: '3'\n", "2:12", "expected a whole number"),
        ("model:\n  retries: 0x10\n", "2:12", "expected a whole number"),
        ("model:\n  retries:\n", "2:11", "expected a whole number"),
        ("model:\n  silence_s: fast\n", "2:14", "model.silence_s: expected a number"),
        ("model:\n  silence_s: .inf\n", "2:14", "expected a number"),
        ("model:\n  silence_s: .nan\n", "2:14", "expected a number"),
        ("model:\n  default: true\n", "2:12", "model.default: expected text"),
        ("model:\n  default: [opus]\n", "2:12", "model.default: expected text"),
        ("model:\n  client: curl\n", "2:11", "model.client: expected one of messages"),
        ("model:\n  client: [messages]\n", "2:11", "model.client: expected one of"),
        ("model: 3\n", "1:8", "model: expected a mapping"),
        ("model:\n", "1:7", "model: expected a mapping"),
        ("model:\n  ? [a]\n  : b\n", "2:5", "a key must be text"),
        ("limits:\n  usd: lots\n", "2:8", "limits.usd: expected a number"),
        ("limits:\n  turns: -5\n", "2:10", "limits.turns: expected a whole number"),
        (
            "sandbox: {backend: docker}\n",
            "1:20",
            "expected one of auto, bubblewrap, landlock, container, external, none",
        ),
        ("gates:\n  branch_name: 1\n", "2:16", "gates.branch_name: expected true or false"),
        ("gates:\n  branch_name: yes\n", "2:16", "gates.branch_name: expected true or false"),
        ("gates:\n  commands: make\n", "2:13", "gates.commands: expected a list"),
        ("gates:\n  commands:\n    - make\n", "3:7", "expected a mapping"),
        ("gates:\n  commands:\n    - run: make\n", "3:7", "name must be given"),
        ("gates:\n  commands:\n    - {}\n", "3:7", "name, run must be given"),
        ("routing:\n  labels: [bug]\n", "2:11", "routing.labels: expected a mapping"),
        ("routing:\n  labels:\n    bug: true\n", "3:10", "routing.labels.bug: expected text"),
        ("models:\n  novel: {input: 1}\n", "2:10", "output must be given"),
        ("models:\n  novel: {input: 1, output: x}\n", "2:29", "output: expected a number"),
        ("orchestrate: one\n", "1:14", "orchestrate: expected a whole number"),
        ("orchestrate: 2\n", "1:14", "not a form this version knows"),
        ("[1]\n", "1:1", "expected a mapping"),
        ("model: {\n", "2:1", "not valid YAML"),
        ("model:\n\tdefault: a\n", "2:1", "not valid YAML"),
        ("model:\n  default: a\n  default: b\n", "3:3", "model.default: given twice"),
        ("orchestrate: 1\norchestrate: 1\n", "2:1", "orchestrate: given twice"),
        ("orchestrate: 1\n---\nmodel: {}\n", "2:1", "not valid YAML"),
    ],
)
def test_a_wrong_value_is_refused_at_its_place(
    tmp_path: Path, text: str, place: str, said: str
) -> None:
    """Every wrong value is refused with file, line and column, the key, and what was expected."""
    error = refusal(tmp_path, text)
    assert str(error).startswith(f"{tmp_path / 'config.yaml'}:{place}: ")
    assert said in str(error)


@pytest.mark.parametrize("data", [b"model: \xff\n", b"model: \0\n", b"model: \x1b\n"])
def test_bytes_that_are_no_text_are_refused(tmp_path: Path, data: bytes) -> None:
    """A file that is not text is refused by its name."""
    (tmp_path / "config.yaml").write_bytes(data)
    with pytest.raises(ConfigError, match=r"config\.yaml.*: not valid YAML"):
        load(user=tmp_path / "config.yaml", repository=None)


@pytest.mark.parametrize(
    ("text", "place", "hint"),
    [
        ("modle: {}\n", "1:1", "did you mean 'model'?"),
        ("model:\n  defualt: x\n", "2:3", "did you mean 'default'?"),
        ("gates:\n  commands:\n    - {name: a, rum: b}\n", "3:17", "did you mean 'run'?"),
        ("limits: {xyz: 1}\n", "1:10", "known keys: usd, turns, minutes, tokens, tools"),
    ],
)
def test_an_unknown_key_is_refused_with_the_nearest(
    tmp_path: Path, text: str, place: str, hint: str
) -> None:
    """An unknown key is an error at its place that names the key that may have been meant."""
    error = refusal(tmp_path, text)
    assert str(error).startswith(f"{tmp_path / 'config.yaml'}:{place}: ")
    assert "unknown key" in str(error)
    assert error.hint == hint


def test_deep_nesting_is_refused_and_does_not_end_the_process(tmp_path: Path) -> None:
    """A file that is nested beyond all reason is refused like any other broken file."""
    (tmp_path / "config.yaml").write_text(f"orchestrate: 1\nmodel: {'[' * 100_000}")
    program = (
        "import sys, pathlib; from orchestrator import config, errors\n"
        "try: config.load(user=None, repository=pathlib.Path(sys.argv[1]))\n"
        "except errors.ConfigError: print('refused')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)],
        cwd=PROJECT,
        env={"PYTHONPATH": f"{PROJECT}:{PROJECT / 'tools'}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "refused\n")


def test_values_are_typed(tmp_path: Path) -> None:
    """What is given is taken over by type, and all else keeps its default."""
    found = loaded(
        tmp_path,
        "model: {default: sonnet, silence_s: 30}\n"
        "models: {novel: {input: 1, output: 2.5, aliases: [n]}}\n"
        "limits: {usd: null, turns: 1_000}\n"
        "routing: {labels: {bug: fixer, 5: five}}\n"
        "gates: {commands: [{name: lint, run: make lint}]}\n",
    )
    assert (found.model.default, found.model.silence_s, found.model.retries) == ("sonnet", 30.0, 8)
    assert isinstance(found.model.silence_s, float)
    assert found.extra_models()["n"].id == "novel"
    assert (found.limits.usd, found.limits.turns, found.limits.minutes) == (None, 1000, 120.0)
    assert found.run_limits() == Limits(usd=None, turns=1000, wall_s=7200.0)
    assert found.routing.labels == {"bug": "fixer", "5": "five"}
    assert [(one.name, one.tests, one.timeout_s) for one in found.gates.commands] == [
        ("lint", False, 900.0)
    ]


def test_an_empty_or_absent_file_leaves_the_defaults(tmp_path: Path) -> None:
    """Without settings everything is as the defaults say."""
    assert loaded(tmp_path, "") == loaded(tmp_path, "# nothing\n") == Config()
    assert load(user=tmp_path / "absent.yaml", repository=tmp_path) == Config()


def test_the_projects_own_file_shows_the_defaults() -> None:
    """The config.yaml that is shipped says what holds without it."""
    assert config.repository_file(PROJECT) == PROJECT / "config.yaml"
    assert load(user=None, repository=PROJECT) == Config()


@pytest.mark.parametrize(
    "text",
    [
        "sandbox: {backend: none}\n",
        "sandbox: {}\n",
        "models: {opus: {input: 0, output: 0}}\n",
        "model: {client: anthropic_sdk}\n",
        "model: {fallback: opus}\n",
        "limits: {usd: 6}\n",
        "limits: {usd: null}\n",
        "limits: {turns: 201}\n",
        "limits: {minutes: null}\n",
    ],
)
def test_a_repository_cannot_loosen_anything(tmp_path: Path, text: str) -> None:
    """What weakens walls, raises limits or changes what money means is the user's to set."""
    with pytest.raises(ConfigError, match=r"config\.yaml:1:1: .*a repository may") as caught:
        in_repository(tmp_path, text)
    assert "~/.config/orchestrate/config.yaml" in caught.value.hint


def test_a_repository_may_tighten(tmp_path: Path) -> None:
    """A repository may lower limits, also where the user has none, and set its own gates."""
    found = in_repository(
        tmp_path,
        "limits: {usd: 1, turns: 200}\ngates: {rounds: 0}\ntracker: {folder: docs/issues}\n",
        user="limits: {usd: null}\nmodel: {default: haiku}\nsandbox: {backend: bubblewrap}\n",
    )
    assert (found.limits.usd, found.limits.turns, found.limits.minutes) == (1.0, 200, 120.0)
    assert (found.gates.rounds, found.tracker.folder) == (0, "docs/issues")
    assert (found.model.default, found.sandbox.backend) == ("haiku", "bubblewrap")


def test_a_lowered_limit_of_the_user_binds_the_repository(tmp_path: Path) -> None:
    """A repository cannot go back to the default that the user has lowered."""
    with pytest.raises(ConfigError, match=r"limits\.usd: a repository may lower"):
        in_repository(tmp_path, "limits: {usd: 5}\n", user="limits: {usd: 2}\n")


def test_the_users_own_levels_may_loosen(tmp_path: Path) -> None:
    """A file named on the command line counts as the user's."""
    path = tmp_path / "named.yaml"
    path.write_text("limits: {usd: 50}\nsandbox: {backend: none}\n")
    found = load(user=None, repository=None, explicit=path)
    assert (found.limits.usd, found.sandbox.backend) == (50.0, "none")
    with pytest.raises(ConfigError, match="no such file"):
        load(user=None, repository=None, explicit=tmp_path / "absent.yaml")


def test_a_named_file_that_is_none_is_told_as_what_it_is(tmp_path: Path) -> None:
    """A folder, a pipe or a device is there: it is told that it is no file."""
    os.mkfifo(tmp_path / "pipe")
    for path, what in (
        (tmp_path, "a folder"),
        (tmp_path / "pipe", "a device or a pipe"),
        (Path(os.devnull), "a device or a pipe"),
    ):
        with pytest.raises(ConfigError, match=f"{path} is {what}, not a file"):
            load(user=None, repository=None, explicit=path)
        with pytest.raises(ConfigError, match=f"{path} is {what}, not a file"):
            config.routing_file(path)


def test_settings_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    """The refusal says which file it is, and what to do; whoever's settings they are."""
    closed = tmp_path / "config.yaml"
    closed.symlink_to("/proc/self/mem")  # a file that nobody can read, not even root
    for user, repository, explicit in (
        (closed, None, None),
        (None, tmp_path, None),
        (None, None, closed),
    ):
        with pytest.raises(ConfigError, match=r"config\.yaml cannot be read: .+") as caught:
            load(user=user, repository=repository, explicit=explicit)
        assert "readable" in caught.value.hint


@pytest.mark.parametrize("text", ["model: [not ours]\n", "# orchestrate: 1\nname: x\n", "a: {"])
def test_a_config_file_of_another_program_is_ignored(tmp_path: Path, text: str) -> None:
    """A config.yaml without the key ``orchestrate`` belongs to something else."""
    write_files(tmp_path, {"config.yaml": text})
    assert config.repository_file(tmp_path) is None
    assert load(user=None, repository=tmp_path) == Config()


def test_the_hidden_file_comes_before_the_shared_one(tmp_path: Path) -> None:
    """Of a repository's two possible files the one that can only be ours counts."""
    write_files(
        tmp_path,
        {
            "config.yaml": "orchestrate: 1\ngates: {rounds: 1}\n",
            ".orchestrate/config.yaml": "gates: {rounds: 7}\n",
        },
    )
    assert load(user=None, repository=tmp_path).gates.rounds == 7
    (tmp_path / ".orchestrate" / "config.yaml").unlink()
    assert load(user=None, repository=tmp_path).gates.rounds == 1


def test_folders_follow_the_environment() -> None:
    """Settings and state are where the environment says, else below the home folder."""
    own = {"XDG_CONFIG_HOME": "/c", "XDG_STATE_HOME": "/s"}
    assert config.user_file(own) == Path("/c/orchestrate/config.yaml")
    assert config.state_folder(own) == Path("/s/orchestrate")
    assert config.user_file({"HOME": "/h"}) == Path("/h/.config/orchestrate/config.yaml")
    assert config.state_folder({"HOME": "/h"}) == Path("/h/.local/state/orchestrate")
    known = Path(pwd.getpwuid(os.getuid()).pw_dir)
    assert config.user_file({}) == known / ".config/orchestrate/config.yaml"
    assert config.state_folder({}) == known / ".local/state/orchestrate"


def test_gates_that_read_the_change(tmp_path: Path) -> None:
    """Bounds and waivers are read; a waiver says its gate and its reason."""
    text = (
        "gates:\n  docs: false\n  size: {lines: 10}\n  protected_paths: [deploy/**]\n"
        "  waivers:\n    - {gate: docs, reason: internal, issue: '12', paths: [shop/**]}\n"
    )
    gates = loaded(tmp_path, text).gates
    assert (gates.docs, gates.secrets) == (False, True)
    assert (gates.size.lines, gates.size.files) == (10, 200)
    assert gates.protected_paths == ("deploy/**",)
    assert gates.waivers == (GateWaiver("docs", "internal", "12", ("shop/**",)),)
    refused = refusal(tmp_path, "gates:\n  waivers:\n    - {gate: docs}\n")
    assert "gates.waivers: reason must be given" in str(refused)
