"""What an agent finds around it: what was installed, what is shared, and the network."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import anyio
import pytest

from orchestrator.errors import ConfigError
from orchestrator.events import GateJudged, Notice, ToolsReturned
from orchestrator.modelevents import RequestIntended
from orchestrator.testing import says
from orchestrator.wayoutevents import EgressDecided, EgressEnded, WorkspaceSetUp
from tests.egress.conftest import World, authority, far, world
from tests.egress.test_way_out import FETCH
from tests.runs.conftest import BRANCH, git
from tests.runs.stage import MEND, Stage, mended

__all__ = ["authority", "far", "world"]

pytestmark = pytest.mark.asyncio

MAKE = "python3 -m venv --without-pip .venv"
ADD = "cp deps/dep.py .venv/lib/python3*/site-packages/"
NEEDS_DEP = "import unittest, dep\nclass T(unittest.TestCase):\n    def test_it(self):\n        dep.check()\n"


@pytest.fixture
def needy(stage: Stage) -> Stage:
    """A repository whose tests need a module that has to be installed first."""
    repo = stage.repo
    (repo / "deps").mkdir()
    (repo / "deps" / "dep.py").write_text("def check(): pass\n", encoding="utf-8")
    (repo / "deps" / "requirements.txt").write_text("dep==1\n", encoding="utf-8")
    (repo / "tests" / "test_dep.py").write_text(NEEDS_DEP, encoding="utf-8")
    git(repo, "add", "--all")
    git(repo, "commit", "--quiet", "--message", "needs dep")
    return stage


def settings(*commands: str, more: str = "") -> str:
    """Return settings with these set-up commands."""
    listed = "".join(f"    - {command!r}\n" for command in commands)
    return f"workspace:\n  setup:\n{listed}{more}"


def files_of(stage: Stage, ref: str) -> set[str]:
    """Return the paths of a commit."""
    return set(git(stage.repo, "ls-tree", "-r", "--name-only", ref).splitlines())


SEE = ("Bash", {"command": "python3 -c 'import dep, sys; print(sys.prefix, dep.check)'"})


async def test_what_is_installed_is_there_for_agent_and_gates(needy: Stage) -> None:
    """It is installed before anything is paid for, first in PATH, private, and never committed."""
    needy.settings(settings(MAKE, ADD, "touch 'odd *name' '!x' '#y'"))
    outcome = await needy.play(says("See.", SEE, MEND), says("Mended."))
    assert outcome.status == "done", outcome
    assert "/workspace/.venv" in needy.results(1)[0][0]
    tests = next(one for one in outcome.verdicts if one.gate == "tests")
    assert (tests.state, tests.tests) == ("passed", 4)
    assert files_of(needy, BRANCH) == files_of(needy, "main")
    kinds = needy.kinds()
    assert kinds.index("WorkspaceSetUp") < kinds.index("RequestIntended")
    assert needy.only(WorkspaceSetUp).kept is False
    assert needy.only(WorkspaceSetUp).commands[0] == MAKE


async def test_it_is_installed_once_for_the_same_lock_files(needy: Stage) -> None:
    """A second run copies it; a lock file of another content installs anew."""
    needy.settings(settings(MAKE, ADD))
    await needy.play(*mended())
    (needy.repo / "README.md").write_text("other words\n", encoding="utf-8")
    git(needy.repo, "commit", "--quiet", "--all", "--message", "words")
    await needy.play(says("See.", SEE, MEND), says("Mended."), new=True)
    (needy.repo / "deps" / "requirements.txt").write_text("dep==2\n", encoding="utf-8")
    git(needy.repo, "commit", "--quiet", "--all", "--message", "another dep")
    await needy.play(*mended(), new=True)
    assert [one.kept for one in needy.all(WorkspaceSetUp)] == [False, True, False]
    assert all(one.verdict.state != "failed" for one in needy.all(GateJudged))
    tests = [one.verdict.state for one in needy.all(GateJudged) if one.verdict.gate == "tests"]
    assert tests == ["passed"] * len(tests) != []


async def test_one_run_cannot_poison_another(needy: Stage) -> None:
    """What an agent does to its copy is not seen by gates, nor by the next run."""
    needy.settings(settings(MAKE, ADD))
    poison = (
        "for f in .venv/lib/python3*/site-packages/dep.py; do echo 'raise SystemExit(0)' >$f; done"
    )
    outcome = await needy.play(says("Poison.", ("Bash", {"command": poison}), MEND), says("Done."))
    assert next(one for one in outcome.verdicts if one.gate == "tests").tests == 4
    await needy.play(says("See.", SEE, MEND), says("Mended."), new=True)
    assert b"function check" in needy.all(ToolsReturned)[-1].message


async def test_gates_install_what_the_agent_changed(needy: Stage) -> None:
    """A changed lock file is installed for the gates, and what that makes is kept for nobody."""
    needy.settings(settings(MAKE, ADD, "cat deps/requirements.txt"))
    change = "echo 'dep==3' >deps/requirements.txt; echo 'def check(): assert 0' >deps/dep.py"
    outcome = await needy.play(
        says("Change.", ("Bash", {"command": change}), MEND),
        *(says(f"Again {number}.") for number in range(3)),
    )
    assert outcome.status == "gate_failed"
    stores = [one for one in (needy.state / "setups").glob("*/*") if one.is_dir()]
    assert len(stores) == 1


async def test_tracked_files_are_as_committed(needy: Stage) -> None:
    """What the commands do to files of the commit stays in their own workspace."""
    needy.settings(settings("echo broken >>shop/pricing.py", "git commit -aqm mine", MAKE, ADD))
    outcome = await needy.play(*mended())
    assert outcome.status == "done"
    assert outcome.diff.files == 1


@pytest.mark.parametrize(
    ("command", "said"),
    [("echo the reason; exit 7", "`echo the reason; exit 7` ended 7: the reason"),
     ("sleep 1000", "took too long")],
)  # fmt: skip
async def test_a_set_up_that_fails_costs_nothing(needy: Stage, command: str, said: str) -> None:
    """The run is parked with the command's own words, before a reply was asked for."""
    more = "  setup_minutes: 0.01\n" if command.startswith("sleep") else ""
    needy.settings(settings(command, more=more))
    outcome = await needy.play(says("must not be asked"))
    assert outcome.status == "unavailable"
    assert said in outcome.error and "setup_allow" in outcome.hint
    assert needy.model.requests == [] and needy.all(RequestIntended) == []
    needy.settings(settings(MAKE, ADD))
    assert (await needy.play(*mended())).status == "done"


async def test_a_set_up_that_was_cut_off_is_done_again(needy: Stage) -> None:
    """An interruption while something is installed leaves nothing half-installed."""
    marker = needy.repo.parent / "begun"
    needy.settings(settings(MAKE, f"{ADD}; sleep 1000"))
    async with anyio.create_task_group() as tasks:

        async def run() -> None:
            await needy.play(*mended(), sinks=[hear])

        async def hear(event: object) -> None:
            if isinstance(event, Notice) and "setting the workspace up" in event.text:
                marker.touch()
                tasks.cancel_scope.cancel()

        tasks.start_soon(run)
    assert marker.exists()
    assert list((needy.state / "setups").glob("*/*")) == []
    needy.settings(settings(MAKE, ADD))
    assert (await needy.play(*mended())).status == "done"
    assert needy.only(WorkspaceSetUp).kept is False


async def test_set_up_commands_reach_what_they_may(needy: Stage, far: World) -> None:
    """Their network is their own: recorded, and closed to the agent."""
    (needy.repo / "fetch.py").write_text(FETCH, encoding="utf-8")
    far.authority.cert_pem.write_to_path(needy.repo / "ca.pem")
    git(needy.repo, "add", "--all")
    git(needy.repo, "commit", "--quiet", "--message", "a client")
    fetch = "python3 fetch.py https://a.example.org/x https://evil.net/"
    allow = "  setup_allow: ['a.example.org:443']\n"
    needy.settings(settings(MAKE, ADD, f"{fetch} >fetched", more=allow))
    outcome = await needy.play(
        says(
            "Try.",
            ("Bash", {"command": f"cat fetched; {fetch}; env | grep -c _proxy || true"}),
            MEND,
        ),
        says("Mended."),
    )
    assert outcome.status == "done"
    assert far.requests == ["GET a.example.org/x 0"]
    decided = [(one.host, one.allowed) for one in needy.all(EgressDecided)]
    assert decided == [("a.example.org", True), ("evil.net", False)]
    assert needy.only(EgressEnded).received > 0
    said = needy.results(1)[0][0].splitlines()
    assert said[0] == "from far away" and said[-1] == "0" and "FAILED" in said[-2]


async def test_an_agent_reaches_what_it_may(stage: Stage, far: World) -> None:
    """The agent is told what it may reach; what was refused is told it beside the results."""
    stage.settings("sandbox: {network: {allow: ['*.example.org:443']}}\n")
    (stage.repo / "fetch.py").write_text(FETCH, encoding="utf-8")
    far.authority.cert_pem.write_to_path(stage.repo / "ca.pem")
    git(stage.repo, "add", "--all")
    git(stage.repo, "commit", "--quiet", "--message", "a client")
    fetch = ("Bash", {"command": "python3 fetch.py https://a.example.org/x https://evil.net/"})
    outcome = await stage.play(says("Fetch.", fetch, MEND), says("Mended."))
    assert outcome.status == "done"
    assert "*.example.org:443" in stage.prompts("issue")[0]
    assert stage.results(1)[0][0].startswith("from far away")
    (told,) = stage.notices()
    assert "evil.net:443 was refused" in told
    # Neither gates nor what runs for them has a network.
    assert [one.host for one in stage.all(EgressDecided)] == ["a.example.org", "evil.net"]


# -- what is shared ------------------------------------------------------------------------


@pytest.fixture
def installed(needy: Stage) -> Stage:
    """A checkout in which the user has installed what the tests need."""
    subprocess.run(
        ["bash", "-c", f"/usr/bin/{MAKE}; {ADD}"], cwd=needy.repo, check=True, capture_output=True
    )
    script = needy.repo / ".venv" / "bin" / "told"
    script.write_text(f"#!{needy.repo}/.venv/bin/python\nimport dep; print('told', dep)\n")
    script.chmod(0o755)
    (needy.repo / ".venv" / "secret").write_text("theirs\n", encoding="utf-8")
    return needy


async def test_what_is_shared_is_seen_and_not_changed(installed: Stage) -> None:
    """Programs of the user's own environment run inside; nothing can be written there."""
    if not Path("/usr/bin/python3").exists():
        pytest.skip("NOT TESTED: no interpreter in /usr")
    installed.settings("workspace: {share: [.venv]}\n")
    before = sorted((one, one.lstat().st_mtime_ns) for one in (installed.repo / ".venv").rglob("*"))
    tries = "told; touch .venv/x; rm -rf .venv/secret; mv .venv other; cat .venv/secret"
    outcome = await installed.play(says("Use.", ("Bash", {"command": tries}), SEE, MEND), says("!"))
    assert outcome.status == "done"
    said = installed.results(1)[0][0]
    assert said.startswith("told <module 'dep'") and said.endswith("theirs")
    assert said.count("Read-only file system") >= 1
    assert next(one for one in outcome.verdicts if one.gate == "tests").tests == 4
    assert files_of(installed, BRANCH) == files_of(installed, "main")
    after = sorted((one, one.lstat().st_mtime_ns) for one in (installed.repo / ".venv").rglob("*"))
    assert after == before


@pytest.mark.parametrize(
    ("name", "why"),
    [("shop", "part of the commit"), ("absent", "not there"), ("link", "leads elsewhere"),
     ("link/inner", "leads elsewhere")],
)  # fmt: skip
async def test_what_is_not_shared_is_told(stage: Stage, name: str, why: str) -> None:
    """A path that the commit has, that is not there, or that leads out is not shown."""
    outside = stage.repo.parent / "private"
    (outside / "inner").mkdir(parents=True)
    (outside / "inner" / "canary").write_text("secret", encoding="utf-8")
    (stage.repo / "link").symlink_to(outside)
    (stage.repo / ".git" / "info" / "exclude").write_text("link\n", encoding="utf-8")
    stage.settings(f"workspace: {{share: [{name}]}}\n")
    look = ("Bash", {"command": "cat link/canary link/inner/canary; ls"})
    outcome = await stage.play(says("Look.", look, MEND), says("Mended."))
    assert outcome.status == "done"
    assert any(why in one.text for one in stage.all(Notice))
    assert "secret" not in stage.results(1)[0][0]


@pytest.mark.parametrize("name", ["../private", "/etc", ".git", "a/../../b", ""])
async def test_a_path_that_leaves_the_checkout_is_refused(stage: Stage, name: str) -> None:
    """The setting itself is wrong, and is told before anything is paid for."""
    stage.settings(f"workspace: {{share: ['{name}']}}\n")
    with pytest.raises(ConfigError, match=r"workspace\.share"):
        await stage.play(says("must not be asked"))


# -- who decides ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "sandbox: {network: {allow: ['evil.net:443']}}",
        "workspace: {share: [.env]}",
        "workspace: {setup_allow: ['evil.net:443']}",
        "workspace: {setup_minutes: 100}",
        "workspace: {pack_limit_mb: 9000}",
    ],
)
async def test_a_repository_opens_nothing(stage: Stage, text: str) -> None:
    """What may be reached and what is shown is the user's to say."""
    (stage.repo / ".orchestrate").mkdir()
    (stage.repo / ".orchestrate" / "config.yaml").write_text(f"{text}\n", encoding="utf-8")
    with pytest.raises(ConfigError, match="a repository may not set this"):
        await stage.play(says("must not be asked"))


async def test_a_repository_says_how_it_is_set_up(needy: Stage) -> None:
    """The commands run inside, so a repository may name them."""
    (needy.repo / ".orchestrate").mkdir()
    text = settings(MAKE, ADD, "cat /etc/shadow ~/.ssh/* >stolen 2>&1 || true")
    (needy.repo / ".orchestrate" / "config.yaml").write_text(text, encoding="utf-8")
    git(needy.repo, "add", "--all")
    git(needy.repo, "commit", "--quiet", "--message", "settings")
    look = ("Bash", {"command": "cat stolen"})
    outcome = await needy.play(says("See.", look, MEND), says("Mended."))
    assert outcome.status == "done"
    assert needy.results(1)[0][0].count("No such file") == 2


@pytest.mark.parametrize(
    "text",
    [
        "sandbox: {backend: none, network: {allow: ['a.org:443']}}\n",
        "sandbox: {backend: none}\nworkspace: {setup: ['true']}\n",
        "sandbox: {backend: none}\nworkspace: {share: [.venv]}\n",
        "sandbox: {network: {allow: ['a.org']}}\n",
        "workspace: {setup_allow: ['1.2.3.4:443']}\n",
    ],
)
async def test_what_cannot_be_kept_is_refused(stage: Stage, text: str) -> None:
    """A setting that these walls cannot hold, or that is broken, stops before anything begins."""
    stage.settings(text)
    with pytest.raises(ConfigError):
        await stage.play(says("must not be asked"))
    assert os.listdir(stage.state / "runs") == []  # noqa: PTH208 - names are compared
