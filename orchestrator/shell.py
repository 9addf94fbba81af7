"""The commands that a line of shell would start, found without running any of it."""

from __future__ import annotations

import re
from functools import cache
from typing import Any

from orchestrator.values import frozen

TRANSPARENT = frozenset(
    {
        "program",
        "list",
        "command_name",
        "pipeline",
        "subshell",
        "compound_statement",
        "negated_command",
        "comment",
    }
    | {"if_statement", "elif_clause", "else_clause", "for_statement", "while_statement", "do_group"}
    | {"c_style_for_statement", "case_statement", "case_item", "redirected_statement"}
    | {"command_substitution", "process_substitution", "string", "string_content", "raw_string"}
    | {"ansi_c_string", "translated_string", "concatenation", "word", "number", "expansion"}
    | {"simple_expansion", "special_variable_name", "variable_name", "arithmetic_expansion"}
    | {"binary_expression", "unary_expression", "ternary_expression", "parenthesized_expression"}
    | {"postfix_expression", "test_command", "test_operator", "extglob_pattern", "regex"}
    | {"heredoc_redirect", "heredoc_start", "heredoc_body", "heredoc_content", "heredoc_end"}
    | {"herestring_redirect", "file_descriptor", "subscript", "brace_expression", "array"}
)
"""Kinds of syntax that start nothing by themselves; whatever is not here is not let through."""

LITERAL = frozenset({"word", "number", "string", "string_content", "raw_string", "concatenation"})
PLAIN_NAME = re.compile(r"[a-z_][a-z0-9_]*")
"""Variables that programs and the shell itself lean on have other names: PATH, IFS, GIT_PAGER."""

STRANGE = re.compile(r"[^\S \t\n]|[\x00-\x08\x0e-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\ufeff]")
"""Parsers differ in what they take for a blank."""

CONTINUED = re.compile(r"(?<!\\)((?:\\\\)*)\\\n")
"""The end of a line that goes on in the next one."""

GOES_ON = re.compile(r"#[^\n]*\\\n")
"""A comment does not go on, whatever stands at its end."""

LEADING = re.compile(r"^[ \t]*\\", re.MULTILINE)

EXPANDS = re.compile(r"[{}*?\[\]~]")
"""What the shell may make something else of, even without a dollar sign."""

DEPTH = 200


class NotTold(ValueError):
    """It cannot be told what the line would start."""


@frozen
class Command:
    """A command that would be started.

    Attributes:
        words: its words without quotes; where a word holds an expansion, as it is written.
        named: whether its first word is plain text, so that it is known what is started.
    """

    words: tuple[str, ...]
    named: bool

    @property
    def text(self) -> str:
        """Return the words, joined by blanks."""
        return " ".join(self.words)


@frozen
class Line:
    """What a line of shell would do.

    Attributes:
        commands: everything that it would start, substitutions included.
        writes: the files that its redirections would write.
    """

    commands: tuple[Command, ...]
    writes: tuple[str, ...]


def parsed(script: str) -> Line:
    """Find out what a line of shell would do.

    Raises:
        NotTold: it is not valid, or it changes what its words mean: functions, aliases by
            variables, declarations.
    """
    if STRANGE.search(script):
        raise NotTold(
            "it holds control characters, or blanks that the shell does not take for some"
        )
    if GOES_ON.search(script):
        raise NotTold("a line with a # goes on in the next one")
    joined = CONTINUED.sub(r"\1", script)
    if LEADING.search(joined):
        raise NotTold("a line of it begins with a backslash")
    source = joined.encode("utf-8", "replace")
    root = _parser().parse(source).root_node
    if root.has_error:
        raise NotTold("it is not valid shell")
    found = _Found(source, [], [])
    found.walk(root, 0)
    return Line(tuple(found.commands), tuple(found.writes))


@cache
def _parser() -> Any:
    import tree_sitter
    import tree_sitter_bash

    return tree_sitter.Parser(tree_sitter.Language(tree_sitter_bash.language()))


@frozen
class _Found:
    """What a walk through the syntax has met."""

    source: bytes
    commands: list[Command]
    writes: list[str]

    def walk(self, node: Any, depth: int) -> None:
        if depth > DEPTH:
            raise NotTold("it is nested too deep")
        if node.type == "command":
            self.commands.append(_command(node))
        elif node.type == "file_redirect":
            self.writes.extend(_written(node))
        elif node.type in {"variable_assignment", "for_statement"}:
            _refuse_assignment(node)
        elif node.type == "comment":
            # The shell takes it for one only where a word could begin.
            if node.start_byte and self.source[node.start_byte - 1] not in b" \t\n;&|()":
                raise NotTold("a # stands within a word")
        elif node.type not in TRANSPARENT:
            raise NotTold(f"{node.type.replace('_', ' ')} is not allowed in it")
        for child in node.named_children:
            self.walk(child, depth + 1)


def _command(node: Any) -> Command:
    words: list[str] = []
    named = False
    for child in node.named_children:
        if child.type == "command_name":
            inner = child.named_children[0]
            words.append(_plain(inner))
            named = _is_literal(inner) and not EXPANDS.search(words[0])
        elif child.type not in {"variable_assignment", "file_redirect", "herestring_redirect"}:
            words.append(_plain(child))
    return Command(tuple(words), named)


def _is_literal(node: Any) -> bool:
    return node.type in LITERAL and all(_is_literal(one) for one in node.named_children)


def _plain(node: Any) -> str:
    """Return a word as the shell would pass it, where it is plain; else as it is written."""
    text = node.text.decode("utf-8", "replace")
    if not _is_literal(node):
        return str(text)
    if node.type == "raw_string":
        return str(text[1:-1])
    if node.type == "concatenation":
        return "".join(_plain(one) for one in node.children)
    text = text.replace("\\\n", "")
    if node.type == "string":
        return re.sub(r'\\([$`"\\])', r"\1", text[1:-1])
    return re.sub(r"\\(.)", r"\1", text, flags=re.DOTALL)


def _refuse_assignment(node: Any) -> None:
    name = node.named_children[0].text.decode("utf-8", "replace")
    if not PLAIN_NAME.fullmatch(name):
        raise NotTold(f"it sets {name}, which other programs go by")


def _written(node: Any) -> list[str]:
    operator = next((one.type for one in node.children if not one.is_named), "")
    targets = [one for one in node.named_children if one.type != "file_descriptor"]
    if len(targets) > 1:
        raise NotTold("words stand behind a redirection")
    if not targets:
        return []
    target = targets[0]
    text = _plain(target)
    if operator in {"<", "<&", "<&-", ">&-"}:
        return []
    if operator == ">&" and text in {"1", "2", "-"}:
        return []
    return [] if text == "/dev/null" else [text]
