"""The comments of a source file, and its code without them."""

from __future__ import annotations

import io
import re
import tokenize
from collections.abc import Iterator

from orchestrator.gates.paths import ending, name_of
from orchestrator.values import frozen

HASH = (
    "py pyi sh bash zsh fish rb pl pm r yaml yml toml cfg ini conf properties tf hcl mk cmake "
    "nix jl ex exs dockerfile gd ps1"
)
SLASH = (
    "js jsx mjs cjs ts tsx mts cts go rs java kt kts scala swift c h cc cpp cxx hpp hh cs m mm "
    "php dart groovy gradle proto scss less jsonc json5 zig v sol vue svelte"
)
DASH = "sql lua hs elm ads adb vhd vhdl"
BLOCK = "css"
NAMES = {"dockerfile": "hash", "makefile": "hash", "gnumakefile": "hash", "justfile": "hash"}
NAMES |= dict.fromkeys(("gemfile", "rakefile", "vagrantfile", "procfile"), "hash")
NAMES |= {"jenkinsfile": "slash", "containerfile": "hash"}


@frozen
class Syntax:
    """How a language writes comments.

    Attributes:
        line: what begins a comment that ends with its line.
        blocks: what begins and ends one that does not.
        quotes: what begins and ends a string.
    """

    line: tuple[str, ...]
    blocks: tuple[tuple[str, str], ...] = ()
    quotes: str = "\"'"


SYNTAXES = {
    "hash": Syntax(("#",)),
    "slash": Syntax(("//",), (("/*", "*/"),), "\"'`"),
    # A tick may begin a lifetime.
    "rust": Syntax(("//",), (("/*", "*/"),), '"'),
    "dash": Syntax(("--",), (("/*", "*/"), ("--[[", "]]"), ("{-", "-}"))),
    "block": Syntax((), (("/*", "*/"),)),
}


def syntax_of(path: str, first_line: str = "") -> Syntax | None:
    """Tell how a file's comments are written; None where it is not known to have any.

    Args:
        path: the file's.
        first_line: of its text; one that names an interpreter says that it is a script.
    """
    end = ending(path)
    kinds = (("hash", HASH), ("slash", SLASH), ("dash", DASH), ("block", BLOCK))
    kind = next(
        (kind for kind, ends in kinds if end in ends.split()), NAMES.get(name_of(path).lower())
    )
    if kind is None and not end and first_line.startswith("#!"):
        kind = "hash"
    return SYNTAXES["rust" if end == "rs" else kind] if kind else None


def first_line(text: str) -> str:
    """Return the beginning of a text's first line."""
    return text[:200].partition("\n")[0]


def comments(text: str, syntax: Syntax) -> list[tuple[int, str]]:
    """Return line and text of every comment, one row for each line of a long one.

    A line that begins as a comment counts as one wherever it stands: in a long string it may be
    told too often, but no odd quote earlier in a file hides it.
    """
    found: dict[int, str] = {}
    number, at = 1, 0
    for start, end in spans(text, syntax):
        number += text.count("\n", at, start)
        at = start
        for row, line in enumerate(text[start:end].split("\n"), number):
            found[row] = f"{found[row]} {line}" if row in found else line
    for row, line in enumerate(text.split("\n"), 1):
        if row not in found and syntax.line and line.lstrip().startswith(syntax.line):
            found[row] = line
    return sorted(found.items())


def without_comments(text: str, syntax: Syntax) -> str:
    """Return a text whose comments are blanks."""
    parts, at = [], 0
    for start, end in spans(text, syntax):
        parts += [text[at:start], re.sub(r"[^\n]", " ", text[start:end])]
        at = end
    return "".join([*parts, text[at:]])


def spans(text: str, syntax: Syntax) -> Iterator[tuple[int, int]]:
    """Yield where comments begin and end. A quote that nothing closes is an ordinary character.

    Every character is looked at a bounded number of times, whatever the text is.
    """
    closing = dict(syntax.blocks)
    starts = [*syntax.line, *closing, *syntax.quotes]
    token = re.compile("|".join(re.escape(one) for one in sorted(starts, key=len, reverse=True)))
    unclosed: dict[str, int] = {}
    at = 0
    while (match := token.search(text, at)) is not None:
        begin, word = match.start(), match[0]
        at = match.end()
        if word in closing:
            end = text.find(closing[word], at)
            at = len(text) if end < 0 else end + len(closing[word])
            yield begin, at
        elif word in syntax.line:
            if word == "#" and begin and not text[begin - 1].isspace():
                continue
            at = _line_end(text, begin)
            yield begin, at
        elif unclosed.get(word, -1) < begin:
            limit = len(text) if word == "`" else _line_end(text, begin)
            end = _closed(text, word, at, limit)
            if end < 0:
                unclosed[word] = limit
            else:
                at = end


def _line_end(text: str, at: int) -> int:
    end = text.find("\n", at)
    return len(text) if end < 0 else end


def _closed(text: str, quote: str, at: int, limit: int) -> int:
    """Return where a string is over, or -1 where it is not closed before the limit."""
    for match in re.compile(rf"\\.|{quote}", re.DOTALL).finditer(text, at, limit):
        if match[0] == quote:
            return match.end()
    return -1


def python_comments(text: str) -> list[tuple[int, str]] | None:
    """Return line and text of every comment of a Python file; None where it cannot be read."""
    tokens = _tokens(text)
    if tokens is None:
        return None
    return [(one.start[0], one.string) for one in tokens if one.type == tokenize.COMMENT]


def python_code(text: str) -> list[str] | None:
    """Return the lines of a Python file, comments and strings blank; None as above."""
    tokens = _tokens(text)
    if tokens is None:
        return None
    lines = text.split("\n")
    for one in tokens:
        if one.type not in {tokenize.COMMENT, tokenize.STRING}:
            continue
        (first, start), (last, end) = one.start, one.end
        for number in range(first, min(last, len(lines)) + 1):
            line = lines[number - 1]
            left = start if number == first else 0
            right = end if number == last else len(line)
            lines[number - 1] = line[:left] + " " * (right - left) + line[right:]
    return lines


def _tokens(text: str) -> list[tokenize.TokenInfo] | None:
    try:
        return list(tokenize.generate_tokens(io.StringIO(text).readline))
    except (tokenize.TokenError, SyntaxError, ValueError, RecursionError, MemoryError):
        return None
