"""Agent definition files, and the roster made of them from every place."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.assembly.launching import require_tools
from orchestrator.definitions import folder
from orchestrator.definitions.definition import read
from orchestrator.definitions.folder import Source, files_below, roster
from orchestrator.errors import DefinitionError
from orchestrator.toolbox import permissions_of
from orchestrator_tools import specs
from tests.builders import an_agent_file, write_files

BUNDLED = Path(__file__).parents[2] / "agents"


def tools_of(line: str) -> tuple[str, ...] | None:
    """Return the tools of an agent whose header has this line about them."""
    definition = read(an_agent_file("name: a", "description: b", line), "a.md")
    assert definition is not None
    return definition.tools


def refusal(*lines: str) -> DefinitionError:
    """Read a broken agent file and return the refusal."""
    with pytest.raises(DefinitionError) as caught:
        read(an_agent_file(*lines), "a.md")
    return caught.value


def test_a_file_becomes_a_definition() -> None:
    """Name, description, tools, model and body become one value that knows its source."""
    definition = read(
        an_agent_file(
            "name: builder",
            "description: Builds",
            "tools: Read, Bash",
            "model: opus",
            body="Build.",
        ),
        "agents/builder.md",
    )
    assert definition is not None
    assert (definition.name, definition.description) == ("builder", "Builds")
    assert (definition.tools, definition.model) == (("Read", "Bash"), "opus")
    assert (definition.prompt, definition.source) == ("Build.", "agents/builder.md")


@pytest.mark.parametrize(
    "data", [b"", b"# Notes\n", an_agent_file("title: x"), an_agent_file("tools: Read")]
)
def test_what_is_no_agent_is_passed_over(data: bytes) -> None:
    """A file without a header, or with neither name nor description, is not an agent."""
    assert read(data, "a.md") is None


@pytest.mark.parametrize(
    ("line", "tools"),
    [
        ("color: red", None),
        ("tools: '*'", None),
        ("tools: [Read, '*']", None),
        ("tools:", ()),
        ("tools: []", ()),
        ("tools: ''", ()),
        ("tools: Read", ("Read",)),
        ("tools: Read, Grep,Glob ,", ("Read", "Grep", "Glob")),
        ("tools: [Write, Read, Write]", ("Write", "Read")),
        ("tools:\n  - Edit\n  - Bash", ("Edit", "Bash")),
    ],
)
def test_tools_mean_what_is_written(line: str, tools: tuple[str, ...] | None) -> None:
    """Absent or a star means all tools, an empty value none, names mean those names."""
    assert tools_of(line) == tools


def test_an_unknown_tool_is_kept_as_written_and_told() -> None:
    """A tool of another program stays in the file's order, and a warning stands at its place."""
    definition = read(b"---\nname: a\ndescription: b\ntools: Read, WebFetch\n---\n", "a.md")
    assert definition is not None
    assert definition.tools == ("Read", "WebFetch")
    assert definition.warnings == ("a.md:4:8: tools: there is no 'WebFetch' here; left out",)
    assert permissions_of(definition).names == ("Read",)


@pytest.mark.parametrize("line", ["tools: Raed", "tools: Read Write", "tools: read", "tools: []"])
def test_an_agent_without_a_tool_is_not_put_to_work(line: str) -> None:
    """A typo never widens, nor takes all tools away unseen: such an agent is refused at the start."""
    definition = read(an_agent_file("name: a", "description: b", line), "a.md")
    assert definition is not None and permissions_of(definition).names == ()
    with pytest.raises(DefinitionError, match=r"^a\.md: agent a has no tool") as refused:
        require_tools(definition)
    assert all(name in refused.value.hint for name in specs.names())


@pytest.mark.parametrize(
    "key", ["tols", "Tools", "tool", "allowedTools", "allowed-tools", "allowed_tools", "toolz",
            "disallowed-tools", "dissallowedTools", "denied_tools"],
)  # fmt: skip
def test_no_typo_gives_every_tool(key: str) -> None:
    """A key that may have been meant to narrow the tools is told, and the agent is not run."""
    definition = read(an_agent_file("name: a", "description: b", f"{key}: Read"), "a.md")
    assert definition is not None and definition.tools is None
    with pytest.raises(DefinitionError, match=f"has a key '{key}'") as refused:
        require_tools(definition)
    assert "tools:" in refused.value.hint
    also = "disallowedTools: Bash" if "is" in key or "den" in key else "tools: Read"
    named = read(an_agent_file("name: a", "description: b", f"{key}: x", also), "a.md")
    assert named is not None
    require_tools(named)


@pytest.mark.parametrize("key", ["color", "version", "hooks", "title", "models", "skills"])
def test_other_keys_stop_nobody(key: str) -> None:
    """A key that nobody would write for the tools is told at most."""
    definition = read(an_agent_file("name: a", "description: b", f"{key}: x"), "a.md")
    assert definition is not None
    require_tools(definition)


@pytest.mark.parametrize("line", ["tools: [[Read]]", "tools: [{a: b}]"])
def test_tools_of_another_shape_are_refused(line: str) -> None:
    """Tools that are neither text nor a list of names are refused."""
    assert "expected names" in str(refusal("name: a", "description: b", line))


@pytest.mark.parametrize(
    ("lines", "place"),
    [
        (("name: a",), "a.md:1:1"),
        (("name: a", "description:"), "a.md:3:13"),
        (("name: a", "description: '  '"), "a.md:3:14"),
        (("name: [a]", "description: b"), "a.md:2:7"),
        (("name: a", "description: {b: c}"), "a.md:3:14"),
        (("name: a", "description: b", "model: {a: b}"), "a.md:4:8"),
        (("name: a", "description: b", "maxTurns: many"), "a.md:4:11"),
        (("name: a", "name: b", "description: c"), "a.md:3:1"),
    ],
)
def test_what_is_missing_or_wrong_is_refused(lines: tuple[str, ...], place: str) -> None:
    """An agent needs a name and a description, as text; the refusal points at the place."""
    assert str(refusal(*lines)).startswith(f"{place}: ")


@pytest.mark.parametrize("name", ["-rf", "a:b", '"a\\tb"', '"a\\u202eb"'])
def test_a_name_that_could_mislead_is_refused(name: str) -> None:
    """A name cannot look like a flag or a plugin's, nor hold what is not seen."""
    assert "cannot be used as a name" in str(refusal(f"name: {name}", "description: b"))


@pytest.mark.parametrize("name", ["7", "true", "Python Expert", "résumé", "a.b"])
def test_other_names_are_taken_as_they_stand(name: str) -> None:
    """A name is text, whatever YAML might take it for."""
    definition = read(an_agent_file(f"name: {name}", "description: b"), "a.md")
    assert definition is not None
    assert definition.name == name


def source(name: str, **agents: str) -> Source:
    """Build a place whose agents have these prompts."""
    files = {
        f"{name}/{agent}.md": an_agent_file(f"name: {agent}", "description: d", body=prompt)
        for agent, prompt in agents.items()
    }
    return Source(name=name, files=files)


def test_the_nearer_agent_wins_with_a_notice() -> None:
    """Of one name in two places the nearer is used, and a notice says so."""
    found = roster([source("repository", a="near"), source("user", a="far", b="other")])
    assert {name: one.prompt for name, one in found.agents.items()} == {"a": "near", "b": "other"}
    (notice,) = found.notices
    assert "repository/a.md is used, not user/a.md (user)" in notice


def test_a_copy_of_a_bundled_agent_is_no_news() -> None:
    """An agent that is the same as the bundled one gives no notice; one that differs does."""
    assert roster([source("repository", a="same"), source("bundled", a="same")]).notices == ()
    assert roster([source("repository", a="own"), source("bundled", a="same")]).notices != ()


def test_two_agents_of_one_name_in_one_place_are_refused() -> None:
    """Which of two files counts is not left to chance: both are named."""
    files = {path: an_agent_file("name: a", "description: b") for path in ("x/1.md", "x/2.md")}
    with pytest.raises(DefinitionError, match=r"x/1\.md and x/2\.md"):
        roster([Source("repository", files)])


def test_files_that_are_no_agents_are_left_out() -> None:
    """A roster holds agents only, whatever else lies beside them."""
    found = roster([Source("repository", {"README.md": b"# Read me", "empty.md": b""})])
    assert dict(found.agents) == {}


def test_one_broken_file_is_not_lost_silently() -> None:
    """A roster with a broken file is refused, at the file's place."""
    files = {"x/bad.md": b"---\nname: a\n"}
    with pytest.raises(DefinitionError, match=r"^x/bad\.md:1:1: "):
        roster([Source("repository", files)])


def test_markdown_files_are_found_at_every_depth(tmp_path: Path) -> None:
    """All markdown files below a folder are read, and nothing else."""
    write_files(tmp_path, {"agents/a.md": "A", "agents/b/c.md": "C", "agents/d.txt": "D"})
    (tmp_path / "agents" / "folder.md").mkdir()
    found = files_below(tmp_path / "agents")
    assert {Path(path).name: data for path, data in found.items()} == {"a.md": b"A", "c.md": b"C"}
    assert files_below(tmp_path / "nowhere") == {}


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    """The refusal says which file it is; where others' files are looked at, it is left out."""
    closed = tmp_path / "closed.md"
    closed.symlink_to("/proc/self/mem")  # a file that nobody can read, not even root
    write_files(tmp_path, {"open.md": "A"})
    with pytest.raises(DefinitionError, match=r"closed\.md cannot be read: .+") as caught:
        files_below(tmp_path)
    assert caught.value.hint
    unread: list[str] = []
    files = files_below(tmp_path, unread)
    assert list(files.values()) == [b"A"]
    found = roster([Source("user, ~/.claude", files, strict=False, notices=tuple(unread))])
    assert [str(closed) in one for one in found.notices] == [True]


def test_a_folder_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    """It is not taken for one that holds no agents; where others' are looked at, it is left out."""
    closed = tmp_path / "agents"
    closed.symlink_to(closed)  # a folder that nobody can read, not even root
    with pytest.raises(DefinitionError, match=r"/agents cannot be read: .+") as caught:
        files_below(closed)
    assert caught.value.hint
    unread: list[str] = []
    assert files_below(closed, unread) == {}
    assert [str(closed) in one for one in unread] == [True]


def test_a_folder_that_this_user_cannot_get_to_is_not_there(tmp_path: Path) -> None:
    """The home of somebody else, as after `su`, has nothing for this user, and stops nothing."""
    (tmp_path / "another").write_text("no folder: nobody can look below it, not even root")
    assert files_below(tmp_path / "another" / "agents") == {}


def test_a_folder_full_of_markdown_is_refused(tmp_path: Path) -> None:
    """More files than any set of agents has are refused rather than read."""
    for number in range(folder.MOST_FILES + 1):
        (tmp_path / f"{number}.md").touch()
    with pytest.raises(DefinitionError, match="more than 2000"):
        files_below(tmp_path)


def test_the_bundled_agents_are_whole() -> None:
    """Every bundled agent loads, is named like its file and uses tools that there are."""
    found = roster([Source("bundled", files_below(BUNDLED))])
    assert len(found.agents) == len(list(BUNDLED.glob("*.md")))
    for name, agent in found.agents.items():
        assert Path(agent.source).stem == name
        assert agent.tools is not None
        assert agent.prompt
