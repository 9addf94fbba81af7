"""The calls that an agent's rules allow, and that the shell does what was foreseen."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from orchestrator.permissions import Permissions, parse_rule

EVERY = ("Read", "Write", "Edit", "Bash", "Grep", "Glob")


def permissions(*allowed: str, denied: tuple[str, ...] = ()) -> Permissions:
    """Return permissions; without a rule everything is allowed that is not denied."""
    return Permissions(allowed or None, denied, every=EVERY)


def runs(command: str, *allowed: str, denied: tuple[str, ...] = ()) -> bool:
    """Tell whether a command is allowed."""
    return not permissions(*allowed, denied=denied).refusal("Bash", {"command": command})


# -- which tools there are


def test_without_rules_all_tools_are_there() -> None:
    """An absent list inherits everything; an empty one gives nothing."""
    assert permissions().names == EVERY
    assert Permissions((), every=EVERY).names == ()


@pytest.mark.parametrize(
    ("allowed", "denied", "names"),
    [
        (("Read", "Bash(git *)"), (), ("Read", "Bash")),
        (("Read", "Bash"), ("Bash",), ("Read",)),
        (("Read", "Bash"), ("Bash(rm *)",), ("Read", "Bash")),
        ((), ("Write", "Edit"), ("Read", "Bash", "Grep", "Glob")),
        ((), ("*",), ()),
        (("mcp__x__*", "read", "WebFetch"), (), ()),
        (("Bash", "Read"), (), ("Read", "Bash")),
    ],
)
def test_tools_are_narrowed(
    allowed: tuple[str, ...], denied: tuple[str, ...], names: tuple[str, ...]
) -> None:
    """A rule for some calls gives the tool, a denial of all calls takes it, denials win."""
    assert permissions(*allowed, denied=denied).names == names


@pytest.mark.parametrize("text", ["Bash", "Bash(*)", "Bash()", " Bash ( * ) ", "Bash(:*)"])
def test_a_rule_for_everything_is_the_tool(text: str) -> None:
    """These spellings mean the whole tool."""
    rule = parse_rule(text)
    assert (rule.tool, rule.only) == ("Bash", None)


# -- commands


@pytest.mark.parametrize(
    "command",
    [
        "git status",
        "git",
        "git log --oneline | git shortlog",
        "git add -A && git commit -m 'two words; rm -rf x'",
        'git commit -m "$(git log -1)"',
        "if git diff --quiet; then git status; fi",
        "for file in a b; do git add $file; done",
        "(git status) 2>&1 >/dev/null",
        "git status; # rm -rf /",
        "git log <<< text",
        "branch=$(git branch --show-current); git push origin $branch",
        "git show HEAD:file &",
        "! git diff --quiet",
    ],
)
def test_commands_of_a_rule_run(command: str) -> None:
    """Every command of the line is one that the rule names."""
    assert runs(command, "Bash(git *)")


@pytest.mark.parametrize(
    "command",
    [
        "rm -rf x",
        "git status; rm x",
        "git status && rm x",
        "git status | tee x",
        "git log $(rm x)",
        "git log `rm x`",
        'git log "$(rm x)"',
        "git log ${a:-$(rm x)}",
        "git log <(rm x)",
        "git log <<E\n$(rm x)\nE",
        "git status\nrm x",
        "git status &\nrm x",
        "/tmp/git status",
        "./git status",
        "gitk",
        "git-x",
        "$git status",
        "$(echo rm) x",
        "{rm,x}",
        "ev''al 'rm x'",
        "bash -c 'git status'",
        "env git status",
        "PATH=. git status",
        "GIT_PAGER='rm x' git log",
        "export PATH=.; git status",
        "for PATH in .; do git status; done",
        "git() { rm x; }; git status",
        "function git { rm x; }; git status",
        "alias git=rm; git x",
        "git status > out",
        "git status >> out",
        "git status &> out",
        "git status >| out",
        "git status 2> out",
        "git status >& out",
        "git 'status",
        "git status )",
        "declare -x PATH=.",
        "time rm x",
        "! rm x",
        "coproc rm x",
        "case x in *) rm x;; esac",
        "while rm x; do git status; done",
        "[[ -n $(rm x) ]] && git status",
        "a[$(rm x)]=1 git status",
        "git status; exec 3>out",
        ". ./script",
        "source script",
        "trap 'rm x' EXIT",
        # Found by running what was let through: parsers differ from the shell here.
        "<<<\r rm",
        "git >& f 1",
        "git >a=1 /dev/null",
        "git \n\\r''m\n",
        "git \n\\\nrm x",
        "git $X2>&1#if",
        "git #\\\nrm x",
        "git \\\\\nrm x",
        "git\u00a0x; git \u2028rm",
    ],
)
def test_other_commands_do_not(command: str) -> None:
    """Whatever way another command is put, or the file system written, the call is refused."""
    assert not runs(command, "Bash(git *)")


@pytest.mark.parametrize(
    ("rule", "command", "allowed"),
    [
        ("Bash(npm run test:*)", "npm run test", True),
        ("Bash(npm run test:*)", "npm run test --watch", True),
        ("Bash(npm run test:*)", "npm run test:unit", True),
        ("Bash(npm run test:*)", "npm run tests", False),
        ("Bash(npm run test:*)", "npm run test-all", False),
        ("Bash(npm test)", "npm test", True),
        ("Bash(npm test)", "npm test x", False),
        ("Bash(git * main)", "git push origin main", True),
        ("Bash(git * main)", "git push origin other", False),
        ("Bash(git log *)", "git log", True),
        ("Bash(git log *)", "git logx", False),
        ("Bash(python3 -m pytest *)", "python3 -m pytest -q 'tests/a b.py'", True),
        ("Bash(python3 -m pytest *)", "python3 -c 'x'", False),
    ],
)
def test_rules_mean_what_they_say(rule: str, command: str, allowed: bool) -> None:
    """A star stands for anything, a trailing one for nothing too; a prefix ends at a word."""
    assert runs(command, rule) is allowed


@pytest.mark.parametrize(
    "command",
    [
        "rm x",
        "/bin/rm x",
        "rm",
        "ls; rm x",
        "\\rm x",
        "'rm' x",
        'r"m" x',
        "env A=1 rm x",
        "command rm x",
        "timeout 5 rm x",
        "nice -n 5 rm x",
        "find . -name x -exec rm {} +",
        "ls | xargs rm",
        "sudo rm x",
        "bash -c 'ls; rm x'",
        "sh -ec 'rm x'",
        "timeout 5 bash -c 'rm x'",
        "bash -c \"bash -c 'rm x'\"",
        "eval rm x",
        "eval 'rm x'",
        "$cmd x",
        "{rm,x}",
        "bash script.sh",
        "bash <<< 'rm x'",
        "bash -c $script",
        "f() { rm x; }; f",
        "echo $(rm x)",
    ],
)
def test_denied_commands_are_found(command: str) -> None:
    """A denied command is refused behind what would start it; what cannot be seen is refused."""
    refused = not runs(command, denied=("Bash(rm *)",))
    assert refused or command == "bash script.sh"


@pytest.mark.parametrize(
    "command",
    ["ls -la", "git commit -m 'rm x'", "echo rm x", "rmdir x", "bash -c 'ls'", "env A=1 ls",
     "ls > out", "grep -r rm ."],
)  # fmt: skip
def test_other_commands_are_not_denied(command: str) -> None:
    """A word that only looks like a denied command is none."""
    assert runs(command, denied=("Bash(rm *)",))


def test_a_refusal_tells_what_may_be_done() -> None:
    """The model learns which command was refused and what its agent may run."""
    said = permissions("Bash(git *)", "Bash(ls)").refusal("Bash", {"command": "git x; curl y"})
    assert "`curl y`" in said and "git *, ls" in said


TOKENS = (
    *("git", "git ", "git log", "rm", "rm x", " ", " ", "\n", ";", "&&", "||", "|", "&", "!"),
    *("$(", "`", ")", "(", "{ ", "; }", '"', "'", "\\", "\\\n", "$'", '$"', "$X", "${X:-", "}"),
    *("<(", ">", "<", "<<E\n", "\nE\n", "<<<", "f", "x", "1", ">&", "2>&1", "/dev/null", "*", "~"),
    *("if ", "; then ", "; fi", "for a in ", "; do ", "; done", "case x in x) ", ";; esac"),
    *("time ", "eval ", "exec ", "env ", "command ", "builtin ", "coproc ", "function ", "()"),
    *("PATH=. ", "a=", "a=1 ", "export ", "[[ ", " ]]", "[ ", " ]", "((", "))", "#", "\t", "\r"),
    *("{rm,x}", "r''m", "\u00a0", "\u2028", "xargs ", "bash -c ", "sh", "$((", "a[$(rm x)]"),
)


@pytest.fixture(scope="module")
def stubs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A PATH on which every program only says that it was started."""
    folder = tmp_path_factory.mktemp("stubs")
    for name in ("git", "rm", "env", "xargs", "bash", "sh", "f", "x", "curl"):
        stub = folder / name
        stub.write_text(f"#!/bin/sh\necho {name} >>$STARTED\n", encoding="utf-8")
        stub.chmod(0o755)
    return folder


SCRIPTS = st.tuples(
    st.sampled_from(["git ", "git log", ""]),
    st.lists(st.sampled_from(TOKENS), min_size=1, max_size=8).map("".join),
).map("".join)


@settings(max_examples=1500, deadline=None, suppress_health_check=list(HealthCheck))
@given(script=SCRIPTS)
def test_a_real_shell_starts_nothing_else(stubs: Path, script: str) -> None:
    """What is let through is run by a real bash: nothing but git is started, nothing written."""
    if not runs(script, "Bash(git *)"):
        return
    here = stubs / "here"
    here.mkdir(exist_ok=True)
    started = stubs / "started"
    started.unlink(missing_ok=True)
    subprocess.run(
        ["/bin/bash", "-c", script],
        env={"PATH": str(stubs), "STARTED": str(started), "HOME": str(here)},
        cwd=here,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=30,
        check=False,
    )
    names = started.read_text().split() if started.exists() else []
    assert set(names) <= {"git"}, script
    assert os.listdir(here) == [], script  # noqa: PTH208 - names are compared


# -- paths


@pytest.mark.parametrize(
    ("rule", "path", "allowed"),
    [
        ("Edit(docs/**)", "/workspace/docs/a/b.md", True),
        ("Edit(docs/**)", "/workspace/docs", False),
        ("Edit(docs)", "/workspace/docs/a.md", True),
        ("Edit(docs/)", "/workspace/x/docs/a.md", True),
        ("Edit(docs/**)", "/workspace/src/docs/a.md", False),
        ("Edit(/docs/*.md)", "/workspace/docs/a.md", True),
        ("Edit(/docs/*.md)", "/workspace/docs/b/a.md", False),
        ("Edit(*.md)", "/workspace/deep/down/a.md", True),
        ("Edit(*.md)", "/workspace/a.mdx", False),
        ("Edit(src/**/test_*.py)", "/workspace/src/test_a.py", True),
        ("Edit(src/**/test_*.py)", "/workspace/src/b/test_a.py", True),
        ("Edit(//etc/**)", "/etc/passwd", True),
        ("Edit(~/x)", "/home/agent/x", True),
        ("Edit(docs/**)", "/etc/passwd", False),
        ("Edit(docs/**)", "/workspace/docs/../src/a.py", False),
    ],
)
def test_paths_are_narrowed(rule: str, path: str, allowed: bool) -> None:
    """Patterns begin at the work tree, one without a slash fits anywhere; the path is the real one."""
    real = os.path.normpath(path)
    assert (not permissions(rule).refusal("Edit", {}, real)) is allowed


def test_a_denied_path_binds_tools_that_are_alike() -> None:
    """Who may not edit a file may not write it; who may not read it may not search it."""
    narrowed = permissions(denied=("Edit(secret/**)", "Read(private)"))
    for tool in ("Edit", "Write"):
        assert narrowed.asks_for_path(tool)
        assert narrowed.refusal(tool, {}, "/workspace/secret/x")
        assert not narrowed.refusal(tool, {}, "/workspace/other")
    for tool in ("Read", "Grep", "Glob"):
        assert narrowed.refusal(tool, {}, "/workspace/private/x")
    assert not narrowed.asks_for_path("Bash")
    assert not permissions("Edit").asks_for_path("Edit")


@given(st.text(max_size=30), st.text(max_size=30))
def test_any_pattern_and_path_give_an_answer(pattern: str, path: str) -> None:
    """No rule and no path break the matching."""
    said = permissions(f"Edit({pattern})").refusal("Edit", {}, f"/workspace/{path}")
    assert isinstance(said, str)
