"""The values of an agent file's header, and what its author should know of them."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Literal

from orchestrator.definitions.known import (
    COLOURS,
    DOCUMENTED,
    EFFORTS,
    ELSEWHERE,
    FOREIGN,
    RENAMED,
    TOOLS,
    nearest,
)
from orchestrator.definitions.remark import Remark, Skip
from orchestrator.errors import At, DefinitionError
from orchestrator.header import Header, Value
from orchestrator.permissions import parse_rule
from orchestrator.values import frozen

LONG_DESCRIPTION = 1024
KEBAB = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)*")
MOST_GUESSED = 100
COPILOT = ".agent.md"
UNUSED = (
    "permissionMode",
    "skills",
    "mcpServers",
    "hooks",
    "memory",
    "background",
    "initialPrompt",
)
"""Keys that are read and that nothing is done with yet."""


@dataclass
class Fields:
    """The header of one file, read key by key; remarks gather on the way.

    Attributes:
        remarks: what the author should know.
    """

    header: Header
    file: str
    remarks: list[Remark] = field(default_factory=list)

    def remark(self, code: str, key: str, message: str) -> None:
        """Note something about a key."""
        line, column = self.header.keys.get(key, (0, 0))
        if key in self.header.values:
            value = self.header.values[key]
            line, column = value.line, value.column
        self.remarks.append(Remark(code, line, column, message))

    def text(self, key: str) -> str:
        """Return a key's text, stripped; empty if it has none.

        Raises:
            DefinitionError: it is a list or a mapping.
        """
        value = self.header.values.get(key)
        if value is None or value.content is None:
            return ""
        if value.text is None:
            raise DefinitionError(f"{key}: expected text", at=self.header.at(key))
        return value.text.strip()

    def name(self) -> str:
        """Return the agent's name; a file without one is named for its file.

        Raises:
            Skip: there is neither name nor description.
            DefinitionError: it cannot be used as a name.
        """
        given = self.text("name")
        stem = file_stem(self.file)
        if not given:
            if not self.text("description"):
                raise Skip("no-name", "the header has neither name nor description")
            told = f"name: not given; the agent is named {stem!r}, as the file is"
            self.remark("name-from-filename", "name", told)
            given = stem
        at = self.header.at("name") if "name" in self.header.values else At(self.file, 1, 1)
        colon = ":" in given and not self.file.endswith(COPILOT)
        if given.startswith("-") or colon or not given.isprintable():
            raise DefinitionError(f"name: {given!r} cannot be used as a name", at=at)
        if not KEBAB.fullmatch(given):
            self.remark("name-form", "name", f"name: {given!r} is not lower-case-with-hyphens")
        elif given != stem:
            told = f"name: the agent is {given!r}, its file {stem!r}"
            self.remark("name-unlike-file", "name", told)
        return given

    def description(self) -> str:
        """Return the description.

        Raises:
            DefinitionError: there is none, or it is no text.
        """
        given = self.text("description")
        if not given:
            there = "description" in self.header.values
            at = self.header.at("description") if there else At(self.file, 1, 1)
            raise DefinitionError("description: must be given, as text", at=at)
        if len(given) > LONG_DESCRIPTION:
            told = (
                f"description: {len(given)} characters; over {LONG_DESCRIPTION} is much to route by"
            )
            self.remark("long-description", "description", told)
        return given

    def rules(self, key: Literal["tools", "disallowedTools"]) -> Rules:
        """Return the tools that a key names, in the file's order.

        Raises:
            Skip: it is a mapping of another program's.
            DefinitionError: it is of no form that means tools.
        """
        value = self.header.values.get(key)
        if value is None:
            return Rules(None)
        if isinstance(value.content, dict):
            return self._switches(key, value)
        names = list(dict.fromkeys(self._names(key, value)))
        if "*" in names:
            return Rules(None)
        for name in names:
            self._look_at_rule(key, name)
        return Rules(tuple(names))

    def denied(self) -> tuple[str, ...]:
        """Return the tools that the agent may not use; ``*`` is all of them.

        Raises:
            DefinitionError: it is of no form that means tools.
        """
        rules = self.rules("disallowedTools")
        if rules.names is None:
            return rules.denied or (("*",) if "disallowedTools" in self.header.values else ())
        return rules.names

    def _names(self, key: str, value: Value) -> list[str]:
        if value.content is None:
            return []
        texts = [value] if value.text is not None else value.content
        if not isinstance(texts, list) or any(one.text is None for one in texts):
            raise DefinitionError(
                f"{key}: expected names, by commas or as a list", at=self.header.at(key)
            )
        parts = [part for one in texts for part in split_rules(str(one.text))]
        return [part for part in (_unquoted(one) for one in parts) if part]

    def _switches(self, key: str, value: Value) -> Rules:
        """Read opencode's map of switches: what is off is denied, everything else inherited."""
        switches = {name: one.text for name, one in value.content.items()}
        if any(one not in {"true", "false"} for one in switches.values()):
            raise Skip("not-an-agent", f"{key}: a mapping of another program's")
        self.remark("foreign-form", key, f"{key}: a map of switches; what is off is denied")
        off = [name for name, one in switches.items() if one == "false"]
        proper = {one.lower(): one for one in TOOLS}
        return Rules(None, denied=tuple(proper.get(one.lower(), one) for one in off))

    def _look_at_rule(self, key: str, rule: str) -> None:
        name = parse_rule(rule).tool
        if name in TOOLS or name == "*":
            return
        if name.startswith("mcp__"):
            told = f"{key}: {rule!r} belongs to an MCP server, which agents here do not have yet"
            self.remark("no-mcp", key, told)
        elif name in RENAMED:
            told = f"{key}: {name!r} is now {RENAMED[name]!r}; write that if it is what you mean"
            self.remark("removed-tool", key, told)
        elif name in ELSEWHERE:
            self.remark("no-such-tool-here", key, f"{key}: there is no {name!r} here; left out")
        else:
            told = f"{key}: unknown tool {name!r}{self._nearest(name, TOOLS)}"
            self.remark("unknown-tool", key, told)

    def models(self) -> tuple[str, ...]:
        """Return the models as written: mostly one, none where it is not given.

        Raises:
            DefinitionError: it is neither text nor a list of texts.
        """
        value = self.header.values.get("model")
        if value is None or value.content is None:
            return ()
        if isinstance(value.content, list) and all(one.text for one in value.content):
            return tuple(str(one.text).strip() for one in value.content)
        text = self.text("model")
        return (text,) if text else ()

    def models_at(self) -> tuple[tuple[int, int], ...]:
        """Return line and column of each of the models."""
        if not self.models():
            return ()
        value = self.header.values["model"]
        several = value.content if isinstance(value.content, list) else [value]
        return tuple((one.line, one.column) for one in several)

    def choice(self, key: str, known: tuple[str, ...], code: str) -> str:
        """Return one of some words; another one is told and not used."""
        try:
            given = self.text(key)
        except DefinitionError:
            given = "a list or mapping"
        if given and given.lower() not in known:
            listed = ", ".join(known)
            self.remark(code, key, f"{key}: {given!r} is none of {listed}")
            return ""
        return given.lower()

    def effort(self) -> str:
        """Return how hard the model is asked to think; empty leaves it to the service."""
        return self.choice("effort", EFFORTS, "unknown-effort")

    def max_turns(self) -> int | None:
        """Return the most turns that the agent may take.

        Raises:
            DefinitionError: it is not a whole number from 1.
        """
        given = self.text("maxTurns")
        if not given:
            return None
        if not (given.isascii() and given.isdigit() and 0 < len(given) < 7 and int(given)):
            raise DefinitionError(
                f"maxTurns: expected a whole number from 1, not {given!r}",
                at=self.header.at("maxTurns"),
            )
        return int(given)

    def _nearest(self, word: str, known: tuple[str, ...]) -> str:
        """Look for what was meant, while that helps anyone: it takes time."""
        return nearest(word, known) if len(self.remarks) < MOST_GUESSED else ""

    def look_at_rest(self) -> None:
        """Note what else stands in the header: unknown keys, and what is not acted upon."""
        self.choice("color", COLOURS, "unknown-colour")
        isolation = self.choice("isolation", ("worktree",), "unknown-isolation")
        if isolation:
            self.remark("always-so", "isolation", "isolation: every run here has a private copy")
        for key in self.header.values:
            if key in UNUSED:
                self.remark("not-acted-upon", key, f"{key}: read, and not acted upon here yet")
            elif key == "permission":
                told = "permission: another program's; use disallowedTools"
                self.remark("not-acted-upon", key, told)
            elif key not in DOCUMENTED and key not in FOREIGN:
                line, column = self.header.keys[key]
                told = f"unknown key {key!r}{self._nearest(key, DOCUMENTED)}"
                self.remarks.append(Remark("unknown-key", line, column, told))
            elif key in {"allowedTools", "allowed-tools"}:
                told = f"{key}: means nothing here; did you mean 'tools'?"
                self.remark("unknown-key", key, told)

    def mistaken_rules(self) -> str:
        """Return a key that may have been meant to narrow the tools; empty if there is none.

        Who writes ``tols: Read`` must not get everything: such an agent is not put to work.
        """
        for key in self.header.values:
            if key not in DOCUMENTED and self._narrows(key) not in {"", *self.header.values}:
                return key
        return ""

    def _narrows(self, key: str) -> str:
        """Return the key for tools that a key may have been meant for; empty if none."""
        plain = key.lower().translate(JOINTS)
        said = next((meant for meant, words in MEANT.items() if plain in words), "")
        near = (meant for meant in MEANT if self._nearest(key, (meant,)))
        return said or next(near, "")


JOINTS = str.maketrans("", "", "-_ ")
MEANT = {
    "tools": {"tool", "tools", "allowedtools", "allowtools", "allowedtool", "toolset"},
    "disallowedTools": {"disallowedtools", "deniedtools", "denytools", "forbiddentools"},
}
"""What people write, less case and joints, for the keys that say what an agent may use."""


@frozen
class Rules:
    """Tools that are named; None means all of them."""

    names: tuple[str, ...] | None
    denied: tuple[str, ...] = ()


def file_stem(file: str) -> str:
    """Return a file's name without what agent files end with."""
    name = file.replace("\\", "/").rpartition("/")[2]
    for ending in (COPILOT, ".md"):
        if name.endswith(ending):
            return name.removesuffix(ending)
    return name


def split_rules(text: str) -> list[str]:
    """Split a list of tools at its commas, but for those inside brackets."""
    parts, depth, start = [], 0, 0
    for at, char in enumerate(text):
        if char == "(":
            depth += 1
        elif char == ")":
            depth = max(depth - 1, 0)
        elif char in ",\n" and not depth:
            parts.append(text[start:at])
            start = at + 1
    return [part.strip() for part in (*parts, text[start:]) if part.strip()]


def _unquoted(text: str) -> str:
    text = text.strip()
    if len(text) > 1 and text[0] == text[-1] and text[0] in "\"'`":
        return text[1:-1].strip()
    return text
