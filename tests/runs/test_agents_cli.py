"""``orchestrate agents``: list, show and check through the real command line."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import tempfile
import unicodedata
from pathlib import Path
from typing import Any

import pytest

from tests.builders import an_agent_file
from tests.runs.conftest import ORCHESTRATE, PROJECT, git

KEYS = [
    *("path", "status", "name", "description", "tools", "model"),
    *("warnings", "error", "body_sha256"),
]
GOOD = an_agent_file(
    "name: good", "description: Helps", "tools: Read, Edit(docs/**)", "model: opus"
)
HOSTILE = "\x1b[31mred\x1b]0;title\x07\x9b2J\u202egnp\u2066\ue000\r"
BUNDLED = sorted(path.stem for path in (PROJECT / "agents").glob("*.md"))


class Agents:
    """The command, with a home of its own."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.environment = {"PATH": os.environ["PATH"], "HOME": str(home)}

    def run(self, *arguments: str | Path | bytes) -> subprocess.CompletedProcess[str]:
        """Run it to its end."""
        return subprocess.run(
            [str(ORCHESTRATE), "agents", *arguments],
            cwd=self.home,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            stdin=subprocess.DEVNULL,
        )

    def check(self, *paths: str | Path | bytes, code: int = 0) -> list[dict[str, Any]]:
        """Return what is told of files, for programs."""
        done = self.run("check", "--json", *paths)
        assert (done.returncode, done.stderr) == (code, "")
        rows: list[dict[str, Any]] = json.loads(done.stdout)
        assert all(list(row) == KEYS for row in rows)
        return rows

    def rows(self, *arguments: str | Path) -> dict[str, dict[str, Any]]:
        """Return the listed agents by name."""
        done = self.run("list", "--json", *arguments)
        assert done.returncode == 0, done.stderr
        return {row["name"]: row for row in json.loads(done.stdout)}


@pytest.fixture
def agents(tmp_path: Path) -> Agents:
    """The command, in an empty home."""
    home = tmp_path / "user"
    home.mkdir()
    return Agents(home)


def put(folder: Path, **files: bytes) -> Path:
    """Write agent files and return their folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in files.items():
        (folder / f"{name}.md").write_bytes(data)
    return folder


# -- check


def test_what_programs_are_told(agents: Agents, tmp_path: Path) -> None:
    """One array, an object a path in the order given, every key always there."""
    good = b"---\r\nname: good\r\ndescription: a: b\r\ntools: [Read, Raed]\r\n---\r\n\r\n  One\r\ntwo \r\n\r\n"
    folder = put(
        tmp_path / "x",
        good=good,
        bare=an_agent_file("description: b", "model: [opus, sonnet]"),
        bad=b"---\nname: bad\ntools: Read\ntools: Bash\n---\n",
        notes=b"# Notes\n",
    )
    paths = [folder / f"{name}.md" for name in ("good", "bare", "bad", "notes")]
    rows = agents.check(*paths, code=1)
    assert [row["path"] for row in rows] == [str(path) for path in paths]
    assert [row["status"] for row in rows] == ["repaired", "ok", "refused", "skipped"]
    first, second, third, fourth = rows
    assert [warning["code"] for warning in first["warnings"]] == ["yaml-repaired", "unknown-tool"]
    assert all(list(one) == ["code", "line", "column", "message"] for one in first["warnings"])
    assert (first["warnings"][0]["line"], first["warnings"][0]["column"]) == (3, 15)
    assert {key: first[key] for key in ("name", "description", "tools", "model", "error")} == {
        "name": "good",
        "description": "a: b",
        "tools": ["Read", "Raed"],
        "model": None,
        "error": None,
    }
    assert first["body_sha256"] == hashlib.sha256(b"One\ntwo").hexdigest()
    assert (second["name"], second["tools"], second["model"]) == ("bare", None, ["opus", "sonnet"])
    assert second["body_sha256"] == hashlib.sha256(b"You build things.").hexdigest()
    assert third["error"] == {
        "code": "refused",
        "line": 4,
        "column": 1,
        "message": "'tools' is given twice",
    }
    assert fourth["error"]["code"] == "no-header"
    for row in (third, fourth):
        nothing = ("name", "description", "tools", "model", "body_sha256")
        assert [row[key] for key in nothing] == [None] * 5
        assert row["warnings"] == []


def test_what_people_are_told(agents: Agents, tmp_path: Path) -> None:
    """Each finding has file, line and column; an error shows its line, and a caret under the place."""
    folder = put(
        tmp_path / "x",
        a=b"\xef\xbb\xbf\n  ---\n  name: a\n  description: b\n  tools: [Read,  &x Bash]\n  ---\n",
        b=an_agent_file("name: b", "description: b", "tols: Read"),
        c=b"# Notes\n",
    )
    done = agents.run("check", folder)
    assert (done.returncode, done.stderr) == (1, "")
    lines = done.stdout.splitlines()
    assert lines[0] == f"{folder}/a.md:5:18: error: anchors and aliases are not allowed here"
    assert lines[1] == "    tools: [Read,  &x Bash]"
    assert lines[2].index("^") == lines[1].index("&x")
    assert lines[3].startswith(
        f"{folder}/b.md:4:1: warning: unknown key 'tols'; did you mean 'tools'?"
    ) or ("did you mean 'tools'" in lines[3])
    assert lines[3].endswith("[unknown-key]")
    assert lines[4].startswith(f"{folder}/c.md: skipped: ")
    assert lines[5] == "3 files: 1 ok, 1 skipped, 1 refused"


def test_a_caret_far_to_the_right(agents: Agents, tmp_path: Path) -> None:
    """Of a long line the part about the place is shown."""
    line = f"hooks: {{a: {'x' * 300}, b: &here c}}"
    folder = put(tmp_path / "x", a=an_agent_file("name: a", "description: b", line))
    shown, caret = agents.run("check", folder).stdout.splitlines()[1:3]
    assert shown[caret.index("^") :].startswith("&here")
    assert len(shown) < 110


@pytest.mark.parametrize(
    ("data", "code"),
    [(GOOD, 0), (b"# Notes\n", 0), (b"", 0), (b"---\nname: a: b\ndescription: c\n---\n", 1)],
)
def test_exit_codes(agents: Agents, tmp_path: Path, data: bytes, code: int) -> None:
    """The command ends with 1 if a file is refused; one that is no agent is none that is broken."""
    assert agents.run("check", put(tmp_path / "x", good=data)).returncode == code


def test_two_files_of_one_name(agents: Agents, tmp_path: Path) -> None:
    """Both are refused, each naming the other."""
    folder = put(tmp_path / "x", good=GOOD, other=GOOD, third=an_agent_file("description: b"))
    rows = {Path(row["path"]).stem: row for row in agents.check(folder, code=1)}
    assert {name: row["status"] for name, row in rows.items()} == {
        "good": "refused",
        "other": "refused",
        "third": "ok",
    }
    assert str(folder / "other.md") in rows["good"]["error"]["message"]
    assert str(folder / "good.md") in rows["other"]["error"]["message"]
    assert rows["good"]["error"]["code"] == "name-twice"


def test_what_cannot_be_read(agents: Agents, tmp_path: Path) -> None:
    """A path that is missing, a link to nothing, a pipe or a device is refused, the rest is read."""
    folder = put(tmp_path / "x", good=GOOD)
    (folder / "link.md").symlink_to("nowhere")
    (folder / "loop.md").symlink_to("loop.md")
    os.mkfifo(folder / "pipe.md")
    rows = agents.check(tmp_path / "missing.md", folder, Path("/dev/zero"), code=1)
    assert {Path(row["path"]).name: row["status"] for row in rows} == {
        "missing.md": "refused",
        "good.md": "ok",
        "link.md": "refused",
        "loop.md": "refused",
        "pipe.md": "refused",
        "zero": "refused",
    }
    assert {row["error"]["code"] for row in rows if row["error"]} == {"unreadable"}
    assert agents.run("check", tmp_path / "missing.md").returncode == 1


def test_a_file_that_this_user_may_not_read(agents: Agents, tmp_path: Path) -> None:
    """A file or folder without permission is refused with the reason, wherever it lies."""
    folder = put(tmp_path / "x", good=GOOD)
    inner = put(folder / "inner", other=GOOD)
    script = (
        "import os, sys\n"
        "from orchestrator.cli import main\n"
        "import contextlib, io, shutil, textwrap\n"
        "for how in ([], ['--json']):\n"  # all that is imported late is there before root is left
        "    with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit):\n"
        "        main(['agents', 'check', '/nowhere.md', *how])\n"
        "if os.getuid() == 0: os.setgroups([]); os.setgid(65534); os.setuid(65534)\n"
        "main(['agents', 'check', '--json', *sys.argv[1:]])\n"
    )
    for open_folder in [folder, *list(folder.parents)]:
        if open_folder == Path(tempfile.gettempdir()):
            break
        open_folder.chmod(0o755)
    (folder / "good.md").chmod(0)
    inner.chmod(0)
    try:
        done = subprocess.run(
            [sys.executable, "-c", script, folder, folder / "good.md", inner / "other.md"],
            cwd="/",
            env=agents.environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    finally:
        inner.chmod(0o755)
    assert (done.returncode, done.stderr) == (1, "")
    rows = json.loads(done.stdout)
    assert [(row["path"], row["error"]["code"], row["error"]["message"]) for row in rows] == [
        (str(path), "unreadable", "cannot be read: Permission denied")
        for path in (folder / "good.md", inner, folder / "good.md", inner / "other.md")
    ]


def test_a_name_that_is_not_utf_8(agents: Agents, tmp_path: Path) -> None:
    """A file is told of whatever its name is."""
    folder = put(tmp_path / "x")
    Path(os.fsdecode(os.fsencode(folder) + b"/caf\xe9.md")).write_bytes(GOOD)
    (row,) = agents.check(folder)
    assert os.fsencode(row["path"]) == os.fsencode(folder) + b"/caf\xe9.md"
    done = agents.run("check", folder)
    assert (done.returncode, "1 file: 1 ok" in done.stdout) == (0, True)


def test_a_folder_without_files(agents: Agents, tmp_path: Path) -> None:
    """Nothing to check is said, and is no failure."""
    folder = put(tmp_path / "x")
    assert agents.check(folder) == []
    assert agents.run("check", folder).stdout == "no markdown files there\n"


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("model: opus", []),
        ("model: OPUS", []),
        ("model: inherit", []),
        ("model:", []),
        ("model: ''", []),
        ("color: red", []),
        ("model: claude-sonnet-4-20250514", []),
        ("model: GPT-4.1", [("unknown-model", 4, 8)]),
        ("model: Claude Sonnet 4.5 (copilot)", [("unknown-model", 4, 8)]),
        ("model: [opus, GPT-4.1]", [("unknown-model", 4, 15)]),
        ("model: claude-sonnet-99", [("unpriced-model", 4, 8)]),
    ],
)
def test_models_are_looked_up(
    agents: Agents, tmp_path: Path, line: str, told: list[tuple[str, int, int]]
) -> None:
    """A model that nobody knows, or whose price nobody knows, is a warning at its place."""
    folder = put(tmp_path / "x", a=an_agent_file("name: a", "description: b", line))
    (row,) = agents.check(folder)
    assert [(one["code"], one["line"], one["column"]) for one in row["warnings"]] == told
    assert row["status"] == "ok"


def hidden(text: str) -> set[str]:
    """Return the characters of a text that a terminal would act on."""
    found = {
        char for char in text if unicodedata.category(char) in {"Cc", "Cf", "Co", "Cs", "Zl", "Zp"}
    }
    return found - {"\n"}


def test_control_characters_stay_in_the_file(agents: Agents, tmp_path: Path) -> None:
    """Whatever a file holds, no character that a terminal acts on is printed."""
    inner = json.dumps(HOSTILE)
    folder = put(
        tmp_path / "x",
        a=an_agent_file("name: a", f"description: {inner}", body=f"Do {HOSTILE} it."),
        b=an_agent_file("name: b", "description: d", f"tools: [{inner}]", f"{inner}: x"),
        c=an_agent_file("name: c", "description: d", f"model: {inner}", f"color: {inner}"),
        d=an_agent_file(f"name: {inner}", "description: d"),
        e=an_agent_file("name: e", "description: d", f"hooks: [{HOSTILE.strip()}, &x y]"),
        f=an_agent_file("name: f", f"description: a: {HOSTILE.strip()}"),
    )
    for arguments in (("check", folder), ("check", "--json", folder)):
        done = agents.run(*arguments)
        assert done.returncode == 1 and done.stdout
        assert hidden(done.stdout + done.stderr) == set()
    for name in ("d", "e"):
        (folder / f"{name}.md").unlink()
    for command in (["list"], ["list", "--json"], *(["show", name] for name in "abcf")):
        done = agents.run(*command, "--agents", folder)
        assert done.returncode == 0, done.stderr
        assert hidden(done.stdout + done.stderr) == set()
    assert json.loads(agents.run("show", "a", "--agents", folder, "--json").stdout)[
        "description"
    ] == (HOSTILE.strip())


# -- list and show


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    """A repository with agents of its own, one of them named like a bundled one."""
    place = tmp_path / "repo"
    put(place / "agents", good=GOOD)
    reviewer = an_agent_file("name: reviewer", "description: Ours", "tools: Grep", body="Ours.")
    put(place / ".claude" / "agents", reviewer=reviewer)
    git(tmp_path, "init", "--quiet", str(place))
    git(place, "add", "--all")
    git(place, "commit", "--quiet", "--message", "base")
    return place


def test_the_list(agents: Agents, repo: Path, tmp_path: Path) -> None:
    """Each agent is told with its place and the tools that it really has, the bundled ones too."""
    put(
        agents.home / ".config" / "orchestrate" / "agents",
        mine=an_agent_file(
            "name: mine", "description: d", "disallowedTools: Bash, Edit(secret/**)"
        ),
    )
    near = put(tmp_path / "near", none=an_agent_file("name: none", "description: d", "tools: Raed"))
    rows = agents.rows("--repo", repo, "--agents", near)
    assert set(rows) >= {*BUNDLED, "good", "none", "mine"}
    assert (rows["good"]["from"], rows["good"]["tools"]) == (
        "repository",
        ["Read", "Edit(docs/**)"],
    )
    assert (rows["none"]["from"], rows["none"]["tools"]) == ("command line", [])
    assert rows["mine"]["from"] == "user"
    assert rows["mine"]["tools"] == [
        *("Read", "Write(not secret/**)", "Edit(not secret/**)", "Grep", "Glob"),
    ]
    assert rows["qa-engineer"]["from"] == "bundled"
    done = agents.run("list", "--repo", repo, "--agents", near)
    (line,) = [one for one in done.stdout.splitlines() if one.startswith("none ")]
    assert line.endswith("none: it cannot be run")


def test_the_nearer_agent_is_listed_with_a_note(agents: Agents, repo: Path) -> None:
    """Of two agents of one name the repository's is listed, and a note names the other."""
    done = agents.run("list", "--repo", repo)
    assert done.returncode == 0
    (line,) = [one for one in done.stdout.splitlines() if one.startswith("reviewer ")]
    assert line.split() == ["reviewer", "repository", "Grep"]
    assert "note: agent reviewer: .claude/agents/reviewer.md is used, not " in done.stderr
    assert "note" not in agents.run("list", "--repo", agents.home).stderr


def test_what_is_not_committed_is_not_listed(agents: Agents, repo: Path) -> None:
    """The list is of the agents that an issue would meet: those of the commit."""
    put(repo / "agents", later=an_agent_file("name: later", "description: d"))
    assert "later" not in agents.rows("--repo", repo)


def test_one_agent(agents: Agents, repo: Path) -> None:
    """One agent is shown with place, tools and prompt, for people and for programs."""
    done = agents.run("show", "good", "--repo", repo)
    assert done.returncode == 0, done.stderr
    told = dict(line.split(maxsplit=1) for line in done.stdout.split("\n\n")[0].splitlines())
    assert told == {
        "name": "good",
        "from": "repository",
        "file": "agents/good.md",
        "description": "Helps",
        "model": "opus",
        "tools": "Read, Edit(docs/**)",
    }
    assert done.stdout.endswith("\n\nYou build things.\n")
    row = json.loads(agents.run("show", "good", "--repo", repo, "--json").stdout)
    assert (row["prompt"], row["warnings"]) == ("You build things.", [])


def test_an_agent_that_is_not_there(agents: Agents, repo: Path) -> None:
    """A wrong name ends with 2, in one line that names the nearest."""
    done = agents.run("show", "qa-enginer", "--repo", repo)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("orchestrate: there is no agent 'qa-enginer'")
    assert "did you mean qa-engineer" in done.stderr and done.stderr.count("\n") == 1


def test_a_folder_that_is_not_there(agents: Agents, tmp_path: Path) -> None:
    """A folder of agents that is named must be there."""
    done = agents.run("list", "--agents", tmp_path / "nowhere")
    assert (done.returncode, done.stdout) == (2, "")
    assert "there is no folder" in done.stderr
