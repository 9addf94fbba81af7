"""However an agent file is disfigured: the same agent, or none; never one that may do more."""

from __future__ import annotations

from dataclasses import dataclass, replace

from hypothesis import example, given, settings
from hypothesis import strategies as st

from orchestrator.definitions.definition import BOM, Checked, check
from orchestrator.permissions import parse_rule
from orchestrator.records import AgentDefinition
from orchestrator.toolbox import every_tool

FILE = "helper.md"
ODD = "abc XYZ 09 :#'\"`*&!|>%@{}[],-?~\\é中😀"
NAMES = st.from_regex(r"[a-z][a-z0-9]{0,8}(-[a-z0-9]{1,5}){0,2}", fullmatch=True)
WORDS = st.text(ODD, min_size=1, max_size=60).map(lambda text: " ".join(text.split())).filter(bool)
TOOLS = st.lists(
    st.sampled_from(
        [
            "Read",
            "Write",
            "Edit",
            "Bash",
            "Grep",
            "Glob",
            "Bash(git *)",
            "Edit(docs/**)",
            "WebFetch",
        ]
    ),
    max_size=5,
    unique=True,
)
MODELS = st.sampled_from(["opus", "sonnet", "inherit", "claude-sonnet-4-20250514"])
BODIES = st.lists(
    st.one_of(WORDS, st.sampled_from(["", "# Title", "- Bash", "* all", "Bash, Write", "---"])),
    max_size=5,
)
STRAY = st.one_of(
    WORDS,
    st.text(max_size=20),
    st.sampled_from(
        [
            *("---", "...", "- Bash", "* x", "x: '", 'vibe: "', "vibe: 'x", "foo: [", "foo: {"),
            *("foo: |", "foo: >-", "description:", "model: x: y", "name: x", "? x", "%YAML 1.1"),
            *("&a", "*a", "!!str", "user: hello", "hooks:", "on: push", "Bash", "\tx", "  x: y"),
            *("mode: 'x", "title: x'", "<<: *a", "----", "# tools: Bash", "\u2028", "\ufeff"),
        ]
    ),
)
SETTINGS = settings(max_examples=100, deadline=None)


@dataclass(frozen=True)
class Written:
    """A well-formed file, line by line, and where its lines about tools are."""

    lines: tuple[str, ...]
    about_tools: range
    description: str

    def data(self) -> bytes:
        """Return its bytes."""
        return "\n".join(self.lines).encode()

    def agent(self) -> AgentDefinition:
        """Return the agent it is."""
        one = check(self.data(), FILE)
        assert one.status == "ok", one
        assert one.definition is not None
        return one.definition


def quoted(text: str) -> str:
    """Quote a text as YAML does."""
    return "'" + text.replace("'", "''") + "'"


@st.composite
def written(draw: st.DrawFn) -> Written:
    """Draw a well-formed agent file that says which tools it may use."""
    description = draw(WORDS)
    tools = draw(TOOLS)
    form = draw(st.sampled_from(["commas", "list", "block", "flush"]))
    if not tools:
        about = [draw(st.sampled_from(["tools:", "tools: []", "tools: ''"]))]
    elif form == "commas":
        about = [f"tools: {', '.join(tools)}"]
    elif form == "list":
        about = [f"tools: [{', '.join(map(quoted, tools))}]"]
    else:
        indent = "  " if form == "block" else ""
        about = ["tools:", *(f"{indent}- {tool}" for tool in tools)]
    if draw(st.booleans()):
        about.append("disallowedTools: Write, Bash(rm *)")
    named = [f"name: {draw(NAMES)}", f"description: {quoted(description)}"]
    more = draw(
        st.lists(
            st.sampled_from(
                ["model: opus", "color: red", "vibe: it's", "maxTurns: 9", "title: 'y'"]
            ),
            unique=True,
            max_size=3,
        )
    )
    groups = draw(st.permutations([[one] for one in [*named, *more]] + [about]))
    before = groups[: groups.index(about)]
    start = 1 + sum(map(len, before))
    header = [line for group in groups for line in group]
    return Written(
        ("---", *header, "---", "", *draw(BODIES), ""),
        range(start, start + len(about)),
        description,
    )


def same(one: AgentDefinition, other: AgentDefinition) -> bool:
    """Tell whether two agents are one, but for what their authors are told."""
    return replace(one, warnings=()) == replace(other, warnings=())


def never_wider(one: Checked, original: AgentDefinition) -> bool:
    """Tell whether nothing may be called that the original may not call."""
    found = one.definition
    if found is None:
        return True
    assert original.tools is not None
    if found.tools is None:
        return False
    here = {rule for rule in found.tools if parse_rule(rule).tool in every_tool()}
    within = here <= set(original.tools)
    return within and set(found.denied) >= set(original.denied)


@SETTINGS
@given(written())
def test_other_line_ends(file: Written) -> None:
    """A copy with other line ends is the same agent."""
    for ends in (b"\r\n", b"\r"):
        one = check(file.data().replace(b"\n", ends), FILE)
        assert one.status == "ok"
        assert one.definition == file.agent()


@SETTINGS
@given(written())
def test_a_byte_order_mark(file: Written) -> None:
    """A copy that begins with a byte order mark is the same agent, and the mark is told."""
    one = check(BOM + file.data(), FILE)
    assert one.definition is not None
    assert same(one.definition, file.agent())
    assert (one.status, one.remarks[0].code) == ("repaired", "bom")


@SETTINGS
@given(written(), st.integers(1, 3))
def test_an_indented_copy(file: Written, by: int) -> None:
    """A copy that is indented as a whole is the same agent."""
    text = "\n".join(" " * by + line if line else "" for line in file.lines)
    one = check(text.encode(), FILE)
    assert one.definition is not None
    assert same(one.definition, file.agent())
    assert "indented" in [remark.code for remark in one.remarks]


@SETTINGS
@given(written(), st.from_regex(r"[a-z]{1,8}", fullmatch=True), WORDS)
def test_an_unquoted_colon(file: Written, first: str, more: str) -> None:
    """A colon in a bare description is mended: the text whole, tools and model as they were."""
    description = f"{first}: {first}: {more.replace('#', '')}".strip()
    lines = [
        f"description: {description}" if line.startswith("description: ") else line
        for line in file.lines
    ]
    one = check("\n".join(lines).encode(), FILE)
    assert one.status == "repaired", one
    assert one.definition is not None
    assert same(one.definition, replace(file.agent(), description=description))


@SETTINGS
@given(written())
def test_on_one_line(file: Written) -> None:
    """All lines joined to one are the same agent, or refused; never one that may do more."""
    original = file.agent()
    one = check(" ".join(file.lines).encode(), FILE)
    assert never_wider(one, original)
    assert one.status in {"repaired", "refused", "skipped"}


@SETTINGS
@given(written())
def test_without_its_fence(file: Written) -> None:
    """Without its first line a file is no agent."""
    assert check("\n".join(file.lines[1:]).encode(), FILE).definition is None


@settings(max_examples=800, deadline=None)
@given(written(), st.data())
def test_mutations(file: Written, data: st.DataObject) -> None:
    """A line deleted, doubled or put in gives no agent that may do more."""
    lines = list(file.lines)
    original = file.agent()
    how = data.draw(st.sampled_from(["delete", "double", "insert", "swap"]), label="how")
    at = data.draw(st.integers(0, len(lines) - 1), label="at")
    touched = file.about_tools
    if how == "delete":
        if at in touched:
            return
        del lines[at]
    elif how == "double":
        lines.insert(at, lines[at])
    elif how == "swap":
        if at in touched or at + 1 in touched or at + 1 == len(lines):
            return
        lines[at], lines[at + 1] = lines[at + 1], lines[at]
    else:
        stray = data.draw(STRAY, label="stray")
        # What follows the tools and may be of their list is a change of the tools.
        ours = at in range(touched.start + 1, touched.stop + 1)
        if ours and (not stray.strip() or stray[0] in " \t-," or "\n" in stray):
            return
        if "\n" in stray or "\r" in stray:
            return
        lines.insert(at, stray)
    one = check("\n".join(lines).encode("utf-8", "surrogatepass"), FILE)
    assert never_wider(one, original), one


@settings(max_examples=300, deadline=None)
@given(st.one_of(st.binary(max_size=300), st.text(max_size=200).map(lambda t: t.encode())))
@example(b"---\n\xef\xbb\xbf\n---\n")
@example(b"--- name: ")
@example(b"---\n%YAML 9\n---\n")
@example(b'---\nname: "\\ud800"\ndescription: b\n---\n')
def test_any_bytes(data: bytes) -> None:
    """Whatever bytes a file holds, one of four answers comes back, with a reason where it is none."""
    for prefix in (b"", b"---\n", b"---\nname: a\ndescription: b\n", b"--- name: "):
        for suffix in (b"", b"\n---\n", b" --- "):
            one = check(prefix + data + suffix, FILE)
            assert (one.definition is None) == (one.status in {"skipped", "refused"})
            assert (one.error is None) == (one.definition is not None)


@settings(max_examples=500, deadline=None)
@given(written(), st.data())
def test_bytes_changed(file: Written, data: st.DataObject) -> None:
    """A byte changed anywhere but in the tools' lines gives no agent that may do more."""
    raw = bytearray(file.data())
    starts = [0]
    for line in file.lines:
        starts.append(starts[-1] + len(line.encode()) + 1)
    tools = range(starts[file.about_tools.start] - 1, starts[file.about_tools.stop])
    at = data.draw(st.integers(0, len(raw) - 1).filter(lambda one: one not in tools))
    raw[at] = data.draw(
        st.one_of(st.sampled_from(b"'\"[]{}:#&*!|>%@- \t\r\x00"), st.integers(0, 255))
    )
    one = check(bytes(raw), FILE)
    assert never_wider(one, file.agent()), one


def test_the_measure_can_fail() -> None:
    """What the other tests hold against each other does differ where tools do."""
    narrow = check(b"---\nname: a\ndescription: b\ntools: Read\n---\n", FILE).definition
    assert narrow is not None
    wide = b"---\nname: a\ndescription: b\ntools: Read, Bash\n---\n"
    assert not never_wider(check(wide, FILE), narrow)
