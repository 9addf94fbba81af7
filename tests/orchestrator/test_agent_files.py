"""Every class of agent file that people have: what is read, mended, passed over and refused."""

from __future__ import annotations

import pytest

from orchestrator.header import SIZE_LIMIT
from tests.orchestrator.agent_texts import LAUGHS, REST, agent_of, header, look, refusal, remarks

# -- read as they stand

PLAIN = "---\nname: helper\ndescription: Helps people\n"


@pytest.mark.parametrize(
    "text",
    [
        PLAIN + REST,
        (PLAIN + REST).replace("\n", "\r\n"),
        (PLAIN + REST).replace("\n", "\r"),
        PLAIN + 'tools: ["Read", "Bash"]\nmodel: opus\n---\nMend it.\n',
        PLAIN + "tools: [Read, Bash, Read]\nmodel: opus\n---\n\n\nMend it.",
        PLAIN + "tools:\n  - Read\n  - Bash\nmodel: opus\n---   \nMend it.\n",
        PLAIN + "tools:\n- Read\n- Bash\nmodel: 'opus'\n---\nMend it.\n",
        "---\nname: helper\ndescription: >-\n  Helps\n  people\n" + REST,
        "---\nname: helper\ndescription: |\n  Helps people\n" + REST,
        "---\n# a comment\nmodel: opus\ntools: 'Read', \"Bash\"\n".replace(
            "'Read', \"Bash\"", "Read,Bash,"
        )
        + "description: Helps people\nname: helper\n---\nMend it.\n",
    ],
    ids=[
        "plain",
        "crlf",
        "cr",
        "json",
        "twice",
        "block",
        "flush-block",
        "folded",
        "literal",
        "order",
    ],
)
def test_well_formed(text: str) -> None:
    """All spellings of one agent are the same agent, and nothing is said of them."""
    one = look(text)
    agent = agent_of(one)
    assert (one.status, remarks(one)) == ("ok", [])
    assert (agent.name, agent.description) == ("helper", "Helps people")
    assert (agent.tools, agent.denied) == (("Read", "Bash"), ())
    assert (agent.model, one.models, agent.prompt, one.body) == (
        "opus",
        ("opus",),
        "Mend it.",
        "Mend it.",
    )


def test_text_that_yaml_might_take_for_something_else() -> None:
    """Numbers, truths and dates are text; backslashes stay as they are."""
    one = look("---\nname: 7\ndescription: no\nmodel: 2026-01-01\nversion: 1.10\n---\n", "7.md")
    agent = agent_of(one)
    assert (agent.name, agent.description, agent.model) == ("7", "no", "2026-01-01")
    assert agent_of(look(header("vibe: x").replace("Helps", r"a\nb"))).description == r"a\nb"


# -- mended

DIALOGUE = (
    "Helps.\n\n<example>\nContext: a bug\nuser: \"mend: it\"\nassistant: 'I do: so'\n</example>"
)


@pytest.mark.parametrize(
    ("description", "place"),
    [
        ("Use it: always", (3, 20)),
        ('user: it\'s "so": yes', (3, 18)),
        (DIALOGUE, (6, 1)),
        ("Helps.\n\nAnd more, with a\nfew: lines: of it", (6, 1)),
        ("**Bold** words", (3, 15)),
        ("@home words", (3, 14)),
        ("`code` words", (3, 14)),
        ('"quoted" words', (3, 23)),
        ("'quoted' words: more", (3, 23)),
        ("%percent", (3, 14)),
        ("[bracket] words", (3, 24)),
        ("{brace", (4, 1)),
    ],
)
def test_a_description_that_is_not_yaml(description: str, place: tuple[int, int]) -> None:
    """The text is kept whole, tools and model are as they were, and a warning shows the place."""
    one = look(f"---\nname: helper\ndescription: {description}\n{REST}")
    agent = agent_of(one)
    assert (one.status, remarks(one)[0][0]) == ("repaired", "yaml-repaired")
    assert agent.description == description
    assert (agent.tools, agent.model, agent.prompt) == (("Read", "Bash"), "opus", "Mend it.")
    assert [code for code, _, _ in remarks(one)] == ["yaml-repaired"]
    assert remarks(one)[0][1:] == place


@pytest.mark.parametrize(
    ("lines", "tools", "told"),
    [
        (("tools: *", "model: opus"), None, ("yaml-repaired", 4, 9)),
        (("tools:", "\t- Read", "\t- Bash", "model: opus"), ("Read", "Bash"), ("tabs", 4, 1)),
        (("...", "tools: Read", "model: opus"), ("Read",), ("yaml-repaired", 5, 1)),
        (("vibe:", "\tx: y", "tools: Read", "model: opus"), ("Read",), ("tabs", 4, 1)),
        (("tools: `Read`, Bash", "model: opus"), ("Read", "Bash"), ("yaml-repaired", 4, 8)),
        (("tools:", "  - Read", "  - @x", "model: opus"), ("Read", "@x"), ("yaml-repaired", 6, 5)),
    ],
)
def test_other_values_that_are_not_yaml(
    lines: tuple[str, ...], tools: tuple[str, ...] | None, told: tuple[str, int, int]
) -> None:
    """Tools mean what was plainly meant, and a warning shows the place."""
    one = look(header(*lines))
    agent = agent_of(one)
    assert one.status == "repaired"
    assert (agent.tools, agent.model, agent.description) == (tools, "opus", "Helps")
    assert remarks(one)[0] == told


FLAT = "--- name: helper description: Helps people tools: Read, Bash model: opus --- Mend it.\n"
INDENTED = "".join(f"  {line}\n" for line in (PLAIN + REST).splitlines())


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (b"\xef\xbb\xbf" + (PLAIN + REST).encode(), [("bom", 1, 1)]),
        ("\n \n" + PLAIN + REST, [("leading-blank", 1, 1)]),
        (INDENTED, [("indented", 1, 1)]),
        ("\n" + INDENTED, [("leading-blank", 1, 1), ("indented", 2, 1)]),
        ((PLAIN + REST).replace("opus\n---", "opus\n------"), [("odd-fence", 6, 1)]),
        (FLAT, [("flattened", 1, 1)]),
        ("\n" + FLAT, [("flattened", 2, 1)]),
    ],
    ids=["bom", "blank", "indented", "blank-indented", "dashes", "flattened", "blank-flattened"],
)
def test_what_editors_do_to_files(text: str | bytes, told: list[tuple[str, int, int]]) -> None:
    """The agent is the one that was written, with a warning."""
    one = look(text)
    agent = agent_of(one)
    assert (one.status, remarks(one)) == ("repaired", told)
    assert (agent.name, agent.description) == ("helper", "Helps people")
    assert (agent.tools, agent.model, agent.prompt) == (("Read", "Bash"), "opus", "Mend it.")


@pytest.mark.parametrize(
    "text",
    [
        FLAT.replace("model:", "tools: Edit model:"),
        FLAT.replace("people", "people --- and others"),
        FLAT.replace("tools: Read", "tools:Read"),
        FLAT.replace("tools: Read", "tools : Read"),
        FLAT.replace("tools: Read", '"tools": Read'),
        FLAT.replace("tools: Read", "tools: title: a"),
        FLAT.replace(" --- Mend it.", ""),
    ],
    ids=["key-twice", "end-twice", "no-blank", "blank", "quoted", "inner", "unclosed"],
)
def test_one_line_that_has_two_meanings(text: str) -> None:
    """A header on one line is taken apart in one way only, or refused."""
    line, _, told = refusal(look(text))
    assert line == 1
    assert "on one line" in told or "on this line" in told


def test_empty_tools_on_one_line_stay_none() -> None:
    """No tool at all does not become every tool when lines are joined."""
    assert agent_of(look("--- name: helper description: Helps tools: --- Mend.")).tools == ()


# -- passed over


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("", "empty"),
        (" \n\t\n", "empty"),
        (b"\xef\xbb\xbf", "empty"),
        ("# Read me\n\n---\nname: a\n---\n", "no-header"),
        ("name: helper\ndescription: Helps\n", "no-header"),
        (header("on: push"), "workflow"),
        (header("on:", "  push:", "    branches: [main]"), "workflow"),
        ("---\ntitle: x\ntools: Read\n---\n", "no-name"),
        ("---\n---\n", "no-name"),
        ("---\n# nothing\n---\nbody\n", "no-name"),
        (header("tools:", "  github:", "    toolsets: [all]"), "not-an-agent"),
    ],
)
def test_what_is_no_agent(text: str | bytes, code: str) -> None:
    """A file that does not mean to be an agent is listed with the reason, and gives none."""
    one = look(text)
    assert (one.status, one.definition) == ("skipped", None)
    assert one.error is not None
    assert one.error.code == code


# -- refused


@pytest.mark.parametrize(
    ("text", "line", "column", "told"),
    [
        ("---\nname: helper\ndescription: b\n", 1, 1, "never closed"),
        ("\n  ---\n  name: helper\n", 2, 3, "never closed"),
        ("---\nname: helper\n...\n", 1, 1, "never closed"),
        (header("tools: Read", "tools: Bash"), 5, 1, "'tools' is given twice"),
        (header("tools: Read", '"tools": Bash'), 5, 1, "'tools' is given twice"),
        (header("vibe: a: b", "tools: Read", "tools: Bash"), 6, 1, "'tools' is given twice"),
        (header("tools: Read", "tools: Bash", "vibe: a: b"), 5, 1, "'tools' is given twice"),
        (header("tools: *all"), 4, 8, "anchors and aliases"),
        (header("vibe: a: b", "tools: *all"), 5, 8, "anchors and aliases"),
        (header("tools: &all [Read]"), 4, 8, "anchors and aliases"),
        (header("model: !!str opus"), 4, 8, "tags are not allowed"),
        (header("model: !ruby/object opus"), 4, 8, "tags are not allowed"),
        (header("<<: {tools: Bash}", "<<: {}"), 5, 1, "given twice"),
        ("---\n- name: helper\n- description: b\n---\n", 2, 1, "not a mapping"),
        ("---\njust text\n---\n", 2, 1, "not a mapping"),
        (b"---\nname: helper\ndescription: caf\xe9\n---\n", 3, 17, "not UTF-8"),
        (b"---\nname: helper\ndescription: b\n---\n\nx\xff", 6, 2, "not UTF-8"),
        ("---\nname: helper\ndescription: a\0b\n---\n", 3, 15, "NUL"),
        ("---\nname: helper\ntools: Read\n---\n", 1, 1, "description: must be given"),
        ("---\nname: helper\ndescription: ''\n---\n", 3, 14, "description: must be given"),
        ("---\nname: a:b\ndescription: b\n---\n", 2, 7, "cannot be used as a name"),
        ("---\nname: -rf\ndescription: b\n---\n", 2, 7, "cannot be used as a name"),
        (header("hooks:", "  pre: [a", "vibe: x"), 6, 1, "not valid YAML"),
        (header("hooks: a: b"), 4, 9, "not valid YAML"),
        (header("mcpServers: {a: b", "tools: Read"), 5, 1, "not valid YAML"),
        (header("permission: {a: b", "tools: Read"), 5, 1, "not valid YAML"),
        (header("tools: [[Read]]"), 4, 8, "expected names"),
        (header("tools: [{a: b}]"), 4, 8, "expected names"),
    ],
)
def test_what_is_broken(text: str | bytes, line: int, column: int, told: str) -> None:
    """A broken file is refused at line and column; nothing that matters is guessed."""
    where = refusal(look(text))
    assert where[:2] == (line, column)
    assert told in where[2]


@pytest.mark.parametrize("turns", ["0", "-1", "many", "1.5", "1000000", "[1]", "٣"])
def test_turns_that_are_no_number(turns: str) -> None:
    """The most turns are a whole number from 1."""
    line, column, told = refusal(look(header(f"maxTurns: {turns}")))
    assert (line, column) == (4, 11)
    assert "maxTurns" in told


LOST = [
    (("vibe: a: b", "tools : Read"), 5),
    (("vibe: a: b", '"tools": Read'), 5),
    (("vibe: a: b", "'disallowedTools': Bash"), 5),
    ((" tools: Read",), 4),
    (("\ttools: Read",), 4),
    (("version: '", "tools: Read", "vibe: x'"), 5),
    (('version: "', "disallowedTools: Bash", 'vibe: x"'), 5),
    (("---", "tools: Read"), 5),
    (("---", "", "tools:", "  - Read"), 6),
    (("tools: Read", "---", "disallowedTools: Bash(rm *)"), 6),
]


@pytest.mark.parametrize(("lines", "line"), LOST)
def test_a_line_about_tools_is_never_lost(lines: tuple[str, ...], line: int) -> None:
    """Where the line that narrows the tools ends up in another value, the file is refused there."""
    where = refusal(look(header(*lines)))
    assert where[0] == line
    assert "is not read as a key" in where[2]


@pytest.mark.parametrize(
    "lines",
    [
        ("tools: Read", "You may, Bash, do more"),
        ("tools:", "  - Read", "", "- Bash"),
        ("tools:", "  - Read", "Bash"),
        ("tools: Read", "- Bash"),
    ],
)
def test_a_list_of_tools_takes_up_no_stray_line(lines: tuple[str, ...]) -> None:
    """Text that follows the tools, and need not be of them, does not become tools."""
    assert "not valid YAML" in refusal(look(header(*lines)))[2]


def test_tools_may_be_spoken_of() -> None:
    """A description in which the word stands is no line about tools."""
    text = "---\nname: helper\ndescription: |\n  tools: all of them\n---\nMend.\ntools: x\n"
    assert (agent_of(look(text)).tools, look(text).status) == (None, "ok")


# -- bombs


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (header(end="---\n" + "x" * SIZE_LIMIT), "larger than"),
        (header("vibe: " + "[" * 100_000), "nested deeper"),
        (header("vibe: " + "{a: " * 100_000), "nested deeper"),
        (header("vibe: " + "[" * 33 + "]" * 33), "nested deeper"),
        (header("hooks:", *(" " * n + "a:" for n in range(1, 60))), "nested deeper"),
        (header("a0: &a0 [x]", LAUGHS), "anchors and aliases"),
        (header("vibe: a: b", LAUGHS), "anchors and aliases"),
        (header().encode() + b"\xf0\x9f\x98", "not UTF-8"),
        (header().encode() + b"\xed\xa0\x80", "not UTF-8"),
        (header().encode() + b"\xc0\xaf", "not UTF-8"),
        (header().encode("utf-16"), "not UTF-8"),
        ("\0" * 1000, "NUL"),
    ],
    ids=[
        *("size", "lists", "maps", "just-too-deep", "block", "laughs", "laughs-mended", "cut"),
        *("surrogate", "overlong", "utf-16", "nul"),
    ],
)
def test_bombs(text: str | bytes, told: str) -> None:
    """What is made to exhaust a reader is refused."""
    assert told in refusal(look(text))[2]
