"""Marks that make checks more lenient: skipped tests, suppressed rules, lower thresholds."""

from __future__ import annotations

import re
from collections.abc import Iterator

from orchestrator.gates.paths import ending, name_of
from orchestrator.records import FileChange
from orchestrator.values import frozen

PYTHON_SKIPS = re.compile(
    r"\bmark\.(?:skip|xfail)\b|@(?:unittest\.)?(?:skip|expectedFailure)\b"
    r"|^\s*__test__\s*=\s*False\b|\bskip(?:if|If)\(\s*(?:True|1|not False)\b"
    r"|\bskipUnless\(\s*(?:False|0)\b"
)
PYTHON_CONDITIONS = re.compile(
    r"\bmark\.skipif\b|\bskip(?:If|Unless)\(|\bimportorskip\(|\bpytest\.(?:skip|xfail)\("
    r"|\.skipTest\(|\braise\s+(?:unittest\.)?SkipTest\b"
)
"""What skips under a condition: ordinary in a new test, not in an old one."""
SKIPS = {
    "js": re.compile(
        r"\b(?:describe|it|test|suite|context|specify)\.(?:skip|only|todo|fixme|failing)\b"
        r"|\b(?:xit|xdescribe|xtest|xcontext|fit|fdescribe)\s*\(|\bthis\.skip\(\)"
    ),
    "go": re.compile(r"\b[tb]\.Skip(?:f|Now)?\("),
    "rs": re.compile(r"#\[\s*ignore\b"),
    "java": re.compile(r"@(?:Disabled|Ignore)\b|\[Ignore\b|\bSkip\s*=\s*\""),
    "rb": re.compile(r"^\s*(?:xit|xdescribe|xcontext|skip|pending|fit|fdescribe)\b"),
}
SKIPS |= dict.fromkeys(["jsx", "mjs", "cjs", "ts", "tsx", "mts", "cts"], SKIPS["js"])
SKIPS |= dict.fromkeys(["kt", "scala", "cs"], SKIPS["java"])
EMPTY = {
    "js": re.compile(r"\bexpect\(\s*(true|1)\s*\)\.(?:toBe|toEqual|toBeTruthy)\(\s*(?:\1)?\s*\)"),
    "rs": re.compile(r"\bassert!\(\s*true\b|\bassert_eq!\(\s*(\w+)\s*,\s*\1\s*[,)]"),
    "java": re.compile(r"\bassertTrue\(\s*true\s*\)|\bassertEquals\(\s*(\w+)\s*,\s*\1\s*\)"),
    "go": re.compile(r"\b(?:assert|require)\.True\(\s*t\s*,\s*true\b"),
}
EMPTY |= dict.fromkeys(["jsx", "mjs", "cjs", "ts", "tsx", "mts", "cts"], EMPTY["js"])
HOOKS = re.compile(
    r"\bpytest_(?:collection_modifyitems|ignore_collect|collect_file|pycollect_makeitem"
    r"|runtest_\w+|pyfunc_call|report_teststatus|sessionfinish|deselected|cmdline_main"
    r"|load_initial_conftests|configure)\b|\bcollect_ignore(?:_glob)?\b|\bsys\.exit\(|\bos\._exit\("
)


@frozen
class Suppression:
    """A rule that is told to be quiet somewhere.

    Attributes:
        kind: as it is written.
        rule: whether it says which one.
    """

    kind: str
    rule: bool


IN_COMMENTS = [
    (kind, re.compile(pattern))
    for kind, pattern in (
        ("noqa", r"#\s*(?:(?:ruff|flake8)\s*[:=]\s*)?(?i:noqa)\b(\s*:\s*[A-Z]+[0-9]+)?"),
        ("type: ignore", r"#\s*type:\s*ignore\b(\[[\w, -]+\])?"),
        ("pyright: ignore", r"#\s*pyright:\s*(?:ignore|basic)\b(\[[\w, -]+\])?"),
        ("mypy: ignore-errors", r"#\s*mypy:\s*(?:ignore|disable|allow|no-)()"),
        ("pragma: no cover", r"(?i)pragma:?\s*no\s*-?(?:cover|branch)()"),
        ("pylint: disable", r"#\s*pylint:\s*(?:disable|skip-file)\S*?(=\s*[a-zA-Z][\w-]+)?(?!\w)"),
        ("nosec", r"#\s*nosec\b(\s*:?\s*B\d+)?"),
        ("eslint-disable", r"\b(?:es|ts|ox)lint-disable(?:-next)?(?:-line)?(\s+[@a-z][\w/@-]+)?"),
        ("@ts-ignore", r"@ts-(?:ignore|nocheck)()"),
        ("@ts-expect-error", r"@ts-expect-error(\s*:?\s*\w+)?"),
        ("coverage ignore", r"\b(?:istanbul|c8|v8|node:coverage)\s+(?:ignore|disable)()"),
        ("nolint", r"(?://\s*nolint|NOLINT(?:NEXTLINE|BEGIN)?)\b(?:(:\s*\w+|\(\w+))?"),
        ("biome-ignore", r"\bbiome-ignore(?:-all)?(\s+lint/\w+)?"),
        ("NOSONAR", r"\bNOSONAR\b()"),
        ("rubocop:disable", r"\brubocop:\s*disable(\s+[A-Z]\w+)?"),
        ("shellcheck disable", r"#\s*shellcheck\s+disable(=SC\d+)?"),
        ("phpstan-ignore", r"@phpstan-ignore(?:-next-line|-line)?(\s+\w+)?"),
    )
]
IN_CODE = [
    (kind, re.compile(pattern))
    for kind, pattern in (
        ("#[allow]", r"#!?\[\s*(?:cfg_attr\([^)\n]{0,200},\s*)?(?:allow|expect)\s*\(\s*(\w+)"),
        ("#[coverage(off)]", r"#\[\s*coverage\s*\(\s*off()"),
        ("@SuppressWarnings", r"@Suppress(?:Warnings)?\b(\s*\(\s*\"\w)?"),
        ("#pragma warning disable", r"^\s*#pragma\s+warning\s+disable(\s+\w+)?"),
        ("@no_type_check", r"@(?:typing\.)?no_type_check\b()"),
    )
]
CODE_ENDINGS = frozenset(["py", "rs", "java", "kt", "scala", "cs"])


def suppressions(path: str, comment: str, code: str) -> Iterator[Suppression]:
    """Yield the rules that a line tells to be quiet.

    Args:
        path: the file's.
        comment: of the line.
        code: the line without it.
    """
    for kind, pattern in IN_COMMENTS:
        for match in pattern.finditer(comment):
            yield Suppression(kind, bool(match[1]))
    if ending(path) in CODE_ENDINGS:
        for kind, pattern in IN_CODE:
            for match in pattern.finditer(code):
                # An attribute without an argument names no rule.
                yield Suppression(kind, bool(match[1]) and match[1] not in {"warnings", "clippy"})


THRESHOLDS = [
    re.compile(pattern)
    for pattern in (
        r"\b(fail[-_]under)[\"']?\s*[:= ]\s*[\"']?(\d{1,3}(?:\.\d+)?)",
        r"(?i)\b(min(?:imum)?[-_ ]?(?:score|coverage|quality))[\"']?\s*[:= ]\s*[\"']?(\d{1,3})",
    )
]
JEST = re.compile(r"\b(branches|functions|lines|statements)[\"']?\s*:\s*(\d{1,3}(?:\.\d+)?)")
JEST_FILES = re.compile(r"package\.json|(?:jest|vitest|vite)\.config\.\w+|\.(?:nycrc|c8rc)[\w.]*")


def lowered(change: FileChange) -> Iterator[tuple[int, str]]:
    """Yield line and name of thresholds that a change lowers or takes out."""
    after: dict[str, list[tuple[float, int]]] = {}
    for number, line in change.added:
        for name, value in _thresholds(change.path, line):
            after.setdefault(name, []).append((value, number))
    for _, line in change.removed:
        for name, value in _thresholds(change.path, line):
            now = after.get(name)
            if not now:
                yield 0, f"the threshold {name} is gone"
                continue
            least, number = min(now)
            if least < value:
                yield number, f"the threshold {name} is lowered from {value:g} to {least:g}"


def _thresholds(path: str, line: str) -> Iterator[tuple[str, float]]:
    patterns = [*THRESHOLDS, *([JEST] if JEST_FILES.fullmatch(name_of(path)) else [])]
    for pattern in patterns:
        for match in pattern.finditer(line):
            yield match[1].lower().replace("-", "_"), float(match[2])


def skip_in(path: str, code: str, *, conditions: bool) -> str:
    """Return how a line of a test keeps it from being run or from meaning anything, or nothing.

    Args:
        path: the test's file.
        code: the line, without comments.
        conditions: whether a skip under a condition counts too.
    """
    line, end = code, ending(path)
    if end == "py":
        if PYTHON_SKIPS.search(line) or (conditions and PYTHON_CONDITIONS.search(line)):
            return "a test is skipped, or expected to fail"
        return "a test ends the whole process" if re.search(r"\bos\._exit\(", line) else ""
    if end in SKIPS and SKIPS[end].search(line):
        return "a test is skipped, or others are left out"
    if end in EMPTY and EMPTY[end].search(line):
        return "an assert that always holds"
    return ""


def hook_in(path: str, code: str) -> bool:
    """Tell whether a line decides which tests run, or how they end."""
    names = ("conftest.py", "sitecustomize.py", "usercustomize.py")
    return name_of(path) in names and HOOKS.search(code) is not None
