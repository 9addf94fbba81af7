"""What the command line says when it cannot go on: one line, what to do, and the exit code."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.runs.conftest import BRANCH, ORCHESTRATE, PROJECT, CommandLine, git
from tests.runs.model_server import ModelServer

REPLAY = f"replay:{PROJECT / 'examples' / 'replies.jsonl'}"
HEAVY = {"httpx2", "anthropic", "pydantic", "git", "structlog", "yaml", "anyio"}


def refused(done: subprocess.CompletedProcess[str], code: int) -> str:
    """Check that a command ended with one line, and return the line."""
    assert done.returncode == code, done.stderr
    assert done.stdout == ""
    assert done.stderr.startswith("orchestrate: ") and done.stderr.count("\n") == 1, done.stderr
    return done.stderr


def test_no_key(orchestrate: CommandLine) -> None:
    """Without a key the run is refused before it begins, with the way to try it without one."""
    said = refused(orchestrate.run("issue", "1", ANTHROPIC_API_KEY=""), 2)
    assert "ANTHROPIC_API_KEY" in said and "--model replay:" in said
    assert orchestrate.events() == []


@pytest.mark.parametrize("client", ["messages", "anthropic_sdk"])
@pytest.mark.parametrize("key", ["sk-canary\u00fc", "sk-canary\nx: y", "sk-\x1bcanary"])
def test_a_key_that_no_header_can_hold_is_not_repeated(
    orchestrate: CommandLine, tmp_path: Path, key: str, client: str
) -> None:
    """A mangled key is refused before anything is begun, in words that do not hold it."""
    config = tmp_path / "settings.yaml"
    config.write_text(f"model: {{client: {client}}}\n", encoding="utf-8")
    done = orchestrate.run("issue", "1", "--config", str(config), ANTHROPIC_API_KEY=key)
    said = refused(done, 2)
    assert "ANTHROPIC_API_KEY" in said and "canary" not in said
    assert orchestrate.events() == []


@pytest.mark.parametrize("client", ["messages", "anthropic_sdk"])
@pytest.mark.parametrize("url", ["localhost:8787", "ftp://x", "http://x:99999", "http://[::1"])
def test_an_address_that_is_none(
    orchestrate: CommandLine, tmp_path: Path, client: str, url: str
) -> None:
    """A mangled address is refused before anything is begun, as a mangled key is."""
    config = tmp_path / "settings.yaml"
    config.write_text(f"model: {{client: {client}}}\n", encoding="utf-8")
    arguments = ("issue", "1", "--new", "--config", str(config))
    said = refused(orchestrate.run(*arguments, ANTHROPIC_BASE_URL=url), 2)
    assert "ANTHROPIC_BASE_URL is not an address" in said
    assert orchestrate.events() == []


@pytest.mark.parametrize(
    ("wrong", "environment"),
    [
        ((), {"ANTHROPIC_API_KEY": ""}),
        ((), {"ANTHROPIC_BASE_URL": "localhost:8787"}),
        (("--model", "gpt"), {}),
        (("--agent", "nobody"), {}),
        (("--sandbox", "container"), {}),
    ],
)
def test_an_unfinished_run_is_not_given_up_for_one_that_cannot_be_begun(
    orchestrate: CommandLine, wrong: tuple[str, ...], environment: dict[str, str]
) -> None:
    """With ``--new`` what is wrong is told while the old run can still be gone on with."""
    assert orchestrate.run("issue", "1", "--limit-turns", "1").returncode == 4
    refused(orchestrate.run("issue", "1", "--new", *wrong, **environment), 2)
    shown = orchestrate.run("runs", "list").stdout
    assert "parked" in shown and "abandoned" not in shown
    again = orchestrate.run("issue", "1", "--new", "--limit-turns", "1")
    assert again.returncode == 4
    assert "abandoned" in orchestrate.run("runs", "list").stdout


def test_a_proxy_that_is_none(orchestrate: CommandLine) -> None:
    """So is the address of a proxy, where one would be used."""
    proxied = {"ANTHROPIC_BASE_URL": "https://service.example", "HTTPS_PROXY": "ftp://x"}
    said = refused(orchestrate.run("issue", "1", **proxied), 2)
    assert "HTTPS_PROXY is not an address" in said
    assert orchestrate.events() == []


def test_no_home_directory(orchestrate: CommandLine) -> None:
    """A user whose home nobody knows is told how to name a place, and can name one."""
    if os.getuid() != 0:
        pytest.skip("NOT TESTED: only root can become a user that no file knows")
    environment = {"PATH": orchestrate.environment["PATH"]}
    script = (
        "from orchestrator.config import state_folder, user_file\n"
        "from orchestrator.errors import ConfigError\n"
        "import os; os.setuid(61337)\n"
        "print(user_file({}))\n"
        "try: state_folder({})\n"
        "except ConfigError as error: print(error, error.hint)\n"
        "print(state_folder({'XDG_STATE_HOME': '/s'}))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True
    )
    first, second, third = done.stdout.splitlines()
    assert first.startswith("/nonexistent/")
    assert "no home directory" in second and "--state" in second
    assert third == "/s/orchestrate"


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("issue", "99"), 2, "there are 1"),
        (("issue", "../1"), 2, "is not an issue's key"),
        (("issue", "1", "--agent", "backend-enginer"), 2, "did you mean backend-engineer"),
        (("issue", "1", "--model", "gpt"), 2, "unknown model 'gpt'"),
        (("issue", "1", "--model", "replay:/nowhere"), 2, "/nowhere cannot be read"),
        (("issue", "1", "--config", "/nowhere"), 2, "no such file: /nowhere"),
        (("issue", "1", "--agents", "/nowhere"), 2, "there is no folder /nowhere"),
        (("issue", "1", "--repo", "/nowhere"), 2, "/nowhere is not a folder"),
        (("runs", "show", "9"), 2, "no runs in"),
        (("runs", "resume", "9"), 2, "9"),
    ],
)
def test_wrong_usage(
    orchestrate: CommandLine, arguments: tuple[str, ...], code: int, said: str
) -> None:
    """What the user named and is not there is named back, with what there is."""
    assert said in refused(orchestrate.run(*arguments), code)
    assert orchestrate.events() == []


@pytest.mark.parametrize(
    ("closed", "command"),
    [
        ("agents/mine.md", ("issue", "1")),
        ("agents/mine.md", ("route", "1")),
        ("agents/mine.md", ("agents", "list")),
        ("config.yaml", ("issue", "1")),
        ("config.yaml", ("route", "1")),
    ],
)
def test_a_file_of_the_users_that_cannot_be_read(
    orchestrate: CommandLine, closed: str, command: tuple[str, ...]
) -> None:
    """The file is named, with what to do, and it is the user's to mend."""
    path = Path(orchestrate.environment["HOME"], ".config", "orchestrate", closed)
    path.parent.mkdir(parents=True)
    path.symlink_to("/proc/self/mem")  # not even root can read it
    state = ("--state", str(orchestrate.state)) if command[0] == "issue" else ()
    done = subprocess.run(
        [str(ORCHESTRATE), *command, *state],
        cwd=orchestrate.repo,
        env=orchestrate.environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    said = refused(done, 2)
    assert f"{path} cannot be read: " in said
    assert "make it readable" in said


@pytest.mark.parametrize(
    "arguments", [("isue", "1"), ("issue",), ("issue", "1", "--limit-usd", "-1")]
)
def test_usage_errors(orchestrate: CommandLine, arguments: tuple[str, ...]) -> None:
    """Arguments that make no sense end with 2 and no traceback."""
    done = orchestrate.run(*arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert "Error: " in done.stderr and "Traceback" not in done.stderr


def test_no_issues_folder(orchestrate: CommandLine) -> None:
    """Without a folder of issues the line says where the issue's file belongs."""
    (orchestrate.repo / "issues").rename(orchestrate.repo / "elsewhere")
    assert "issues/1-what-to-do.md" in refused(orchestrate.run("issue", "1"), 2)


def test_a_broken_issue(orchestrate: CommandLine) -> None:
    """A broken header is pointed at, by file, line and column."""
    path = orchestrate.repo / "issues" / "2-x.md"
    path.write_text("---\ntitle: x\nlabels: [a\nstate: open\n---\nbody\n", encoding="utf-8")
    said = refused(orchestrate.run("issue", "2"), 2)
    place = said.removeprefix("orchestrate: ").partition(": ")[0]
    file, line, column = place.rsplit(":", 2)
    assert Path(file) == path
    assert int(line) in {3, 4} and int(column) >= 1


def test_an_issue_in_two_files(orchestrate: CommandLine) -> None:
    """Two files of one key are a person's to mend, not the machine's."""
    (orchestrate.repo / "issues" / "1-again.md").write_text("Again.\n", encoding="utf-8")
    said = refused(orchestrate.run("issue", "1"), 2)
    assert "1-again.md" in said and "rename one of them" in said


def test_closed_and_blocked(orchestrate: CommandLine) -> None:
    """An issue that a person has to decide about ends with 3."""
    for key, line in (("2", "state: closed"), ("3", "blocked_by: [1]")):
        (orchestrate.repo / "issues" / f"{key}-x.md").write_text(f"---\ntitle: x\n{line}\n---\n")
    assert "reopen it" in refused(orchestrate.run("issue", "2"), 3)
    assert "resolve issue 1 first" in refused(orchestrate.run("issue", "3"), 3)


def test_no_agent_fits(orchestrate: CommandLine) -> None:
    """An issue that says too little to be routed ends with 3 and the ways to decide."""
    (orchestrate.repo / "issues" / "2-x.md").write_text("---\ntitle: qwertz\n---\nuiop\n")
    assert "--agent" in refused(orchestrate.run("issue", "2"), 3)


def test_repositories_that_cannot_be_worked_on(orchestrate: CommandLine, tmp_path: Path) -> None:
    """Bare, empty, and none at all: each is refused with what to do."""
    bare, empty, none = (tmp_path / name for name in ("bare.git", "empty", "none"))
    git(tmp_path, "clone", "--quiet", "--bare", str(orchestrate.repo), str(bare))
    git(tmp_path, "init", "--quiet", str(empty))
    none.mkdir()
    for repo, said in ((bare, "run it in a checkout"), (empty, "commit"), (none, "git init")):
        assert said in refused(orchestrate.run("issue", "1", "--repo", str(repo)), 2)


def test_settings_that_reach_too_far(orchestrate: CommandLine) -> None:
    """A repository's file that weakens the walls is refused, at its line and column."""
    path = orchestrate.repo / "config.yaml"
    path.write_text("orchestrate: 1\nsandbox:\n  backend: none\n", encoding="utf-8")
    assert f"{path}:2:1: sandbox" in refused(orchestrate.run("issue", "1"), 2)
    path.write_text("orchestrate: 1\ngatez: {}\n", encoding="utf-8")
    assert "did you mean 'gates'" in refused(orchestrate.run("issue", "1"), 2)


def test_a_state_directory_that_is_a_file(orchestrate: CommandLine, tmp_path: Path) -> None:
    """A state directory that cannot be used ends with 5 and names the flag."""
    orchestrate.state = tmp_path / "file"
    orchestrate.state.write_text("x")
    assert "--state" in refused(orchestrate.run("issue", "1"), 5)


def test_debug_shows_a_traceback(orchestrate: CommandLine) -> None:
    """--debug shows where it went wrong."""
    done = orchestrate.run("--debug", "issue", "99")
    assert done.returncode != 0
    assert "Traceback" in done.stderr and "IssueNotFound" in done.stderr


@pytest.mark.parametrize("left_kb", [4, 64, 200, 320])
def test_full_disk(orchestrate: CommandLine, tmp_path: Path, left_kb: int) -> None:
    """A disk that is full, or fills up on the way, ends with 5 and one line, never a traceback."""
    mount = tmp_path / "small"
    mount.mkdir()
    if os.geteuid() or subprocess.run(["unshare", "-m", "true"], check=False).returncode:
        pytest.skip("NOT TESTED: a full disk needs root and a private mount namespace")
    script = (
        f"mount -t tmpfs -o size=1m tmpfs {mount} && cp -R {orchestrate.state}/sandbox {mount}/ && "
        f"head -c 2M /dev/zero > {mount}/filler; truncate -s -{left_kb}K {mount}/filler; "
        f'exec "$@" --state {mount}'
    )
    argv = ["unshare", "-m", "bash", "-c", script, "bash", str(ORCHESTRATE), "issue", "1"]
    done = subprocess.run(
        argv,
        cwd=orchestrate.repo,
        env=orchestrate.environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    errors = [line for line in done.stderr.splitlines() if "head: " not in line]
    assert done.returncode == 5, (errors, done.stdout)
    assert "Traceback" not in done.stderr
    said = [line for line in errors if line.startswith("orchestrate: ")] + [
        line for line in done.stdout.splitlines() if line.startswith("  problem")
    ]
    assert len(said) == 1
    assert any(word in said[0].lower() for word in ("full", "no space", "space left"))


# -- where it can be started from ----------------------------------------------------------


def test_a_dirty_checkout(orchestrate: CommandLine) -> None:
    """Open changes are no hindrance, are no part of the run, and that is said."""
    readme = orchestrate.repo / "README.md"
    readme.write_text("my open change\n", encoding="utf-8")
    done = orchestrate.run("issue", "1", "--model", REPLAY)
    assert done.returncode == 0, done.stderr
    assert "uncommitted changes are not part of this run" in done.stderr
    assert "uncommitted changes are not part of this run" in done.stdout
    assert readme.read_text(encoding="utf-8") == "my open change\n"
    assert "my open change" not in git(orchestrate.repo, "show", f"{BRANCH}:README.md")


def test_from_a_subfolder(orchestrate: CommandLine) -> None:
    """Any folder of the checkout will do."""
    orchestrate.repo /= "shop"
    assert orchestrate.run("issue", "1", "--model", REPLAY).returncode == 0
    assert git(orchestrate.repo, "rev-parse", "--verify", BRANCH)


def test_from_a_linked_worktree(orchestrate: CommandLine, tmp_path: Path) -> None:
    """In a linked worktree its own branch is the base, and its own issues are read."""
    top = tmp_path / "linked"
    git(orchestrate.repo, "worktree", "add", "--quiet", "-b", "other", str(top))
    (top / "OTHER.md").write_text("other\n")
    git(top, "add", "OTHER.md")
    git(top, "commit", "--quiet", "--message", "other")
    orchestrate.repo = top
    done = orchestrate.run("issue", "1", "--model", REPLAY, "--json")
    assert done.returncode == 0, done.stderr
    assert git(top, "rev-parse", f"{BRANCH}^") == git(top, "rev-parse", "other")
    assert git(top, "status", "--porcelain") == ""
    assert git(top, "symbolic-ref", "HEAD") == "refs/heads/other"


def test_init_and_a_run_right_after_it(orchestrate: CommandLine, tmp_path: Path) -> None:
    """init writes settings, agents and a first issue, keeps what is there, and a run works."""
    issues = orchestrate.repo / "issues"
    issues.rename(tmp_path / "issues")
    (orchestrate.repo / "agents").mkdir()
    (orchestrate.repo / "agents" / "qa-engineer.md").write_text("mine\n")

    def init(*more: str) -> str:
        argv = [str(ORCHESTRATE), "init", *more]
        done = subprocess.run(
            argv, cwd=orchestrate.repo, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    said = init()
    assert "wrote  config.yaml" in said and "kept   agents/qa-engineer.md" in said
    assert (orchestrate.repo / "agents" / "backend-engineer.md").is_file()
    assert (orchestrate.repo / "agents" / "qa-engineer.md").read_text() == "mine\n"
    (first,) = issues.iterdir()
    first.write_text((tmp_path / "issues" / "1-discount-at-the-boundary.md").read_text())
    assert "wrote" not in init()
    done = orchestrate.run("issue", "1", "--model", REPLAY)
    assert done.returncode == 0, done.stderr


def test_the_first_issue_as_it_is(orchestrate: CommandLine) -> None:
    """The example issue that init writes is found and read; nothing in it is broken."""
    for path in (orchestrate.repo / "issues").iterdir():
        path.unlink()
    (orchestrate.repo / "issues").rmdir()
    subprocess.run([str(ORCHESTRATE), "init"], cwd=orchestrate.repo, check=True)
    done = orchestrate.run("issue", "1", "--model", REPLAY, "--agent", "backend-engineer")
    assert done.returncode == 0, done.stderr


def test_doctor(orchestrate: CommandLine) -> None:
    """doctor tells what works for people and for programs, and ends with 5 if a need is not met."""
    shown = orchestrate.run("doctor")
    assert shown.returncode == 0, shown.stdout
    found = json.loads(orchestrate.run("doctor", "--json").stdout)
    names = [one["name"] for one in found]
    assert names[:6] == ["python", "git", "state", "sandbox", "rg", "key"]
    assert set(names[6:]) == {
        *("bwrap", "users", "proc", "seccomp", "run_as", "pids", "memory"),
        *("landlock", "docker", "podman"),
    }
    assert all(one["works"] for one in found if one["needed"] or one["name"] == "key")
    assert all(one["fix"] for one in found if not one["works"])
    assert all(one["name"] in shown.stdout for one in found)
    keyless = orchestrate.run("doctor", ANTHROPIC_API_KEY="")
    assert keyless.returncode == 0 and "export ANTHROPIC_API_KEY" in keyless.stdout
    orchestrate.state = orchestrate.state / "sandbox" / "file"
    orchestrate.state.write_text("x")
    broken = orchestrate.run("doctor")
    assert broken.returncode == 5 and "Traceback" not in broken.stderr
    assert "FAIL" in broken.stdout and "fix: " in broken.stdout


# -- what start-up loads -------------------------------------------------------------------


def loaded_by(code: str, cwd: Path, environment: dict[str, str]) -> set[str]:
    """Run Python code in a process of its own and return the modules it says are loaded."""
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert "LOADED " in done.stdout, done.stderr
    names: str = done.stdout.partition("LOADED ")[2].partition("\n")[0]
    return set(names.split())


def test_help_loads_nothing_heavy(orchestrate: CommandLine) -> None:
    """--help loads neither clients, nor validators, nor YAML, nor the event loop."""
    code = (
        "import sys\nfrom orchestrator.cli import main\n"
        "try:\n main(['--help'])\nexcept SystemExit: pass\nprint('LOADED', *sys.modules)"
    )
    assert loaded_by(code, orchestrate.repo, orchestrate.environment) & HEAVY == set()


def test_the_first_request_waits_for_nothing_heavy(
    orchestrate: CommandLine, server: ModelServer
) -> None:
    """What the first request does not need is not loaded before it is sent."""
    code = f"""
import os, sys
from orchestrator.cli import main
from orchestrator.models.messages import MessagesClient
async def reply(self, request):
    print("LOADED", *list(sys.modules), flush=True)
    os._exit(0)
MessagesClient.reply = reply
main(["issue", "1", "--state", {str(orchestrate.state)!r}])
"""
    loaded = loaded_by(code, orchestrate.repo, orchestrate.environment)
    assert loaded & {"pydantic", "git", "structlog", "anthropic"} == set()
