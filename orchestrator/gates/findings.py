"""What a gate that reads the change found, and the verdict that follows from it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import field

from orchestrator.gates.credentials import masked
from orchestrator.gates.paths import matches
from orchestrator.judgesettings import GateWaiver
from orchestrator.ports import Change
from orchestrator.records import FileChange, Verdict
from orchestrator.values import frozen

SHOWN = 60
"""Findings in a verdict's details."""
PATH_LIMIT = 160
TOO_LONG = "its changed lines are too many to be looked at"


@frozen
class Finding:
    """One thing that must not pass.

    Attributes:
        line: in the file; 0 means the file itself.
        what: in plain words; it never quotes a file's text.
        person: nothing that the agent may do mends it.
    """

    path: str
    line: int
    what: str
    person: bool = False


@frozen
class Reading:
    """What a gate saw.

    Attributes:
        clean: what is said where nothing was found.
        remarks: what was looked at less closely, or not at all, and why that is no finding.
        nothing: why there was nothing to judge; then the gate was not executed.
    """

    clean: str
    findings: Sequence[Finding] = ()
    remarks: Sequence[str] = ()
    nothing: str = ""


@frozen
class Waivers:
    """What a person lets pass at one gate, for one issue.

    Attributes:
        whole: why the gate is not to judge at all; empty: it judges.
        paths: files whose findings do not count.
    """

    whole: str = ""
    paths: tuple[str, ...] = field(default=())


def waivers_of(given: Iterable[GateWaiver], gate: str, issue: str) -> Waivers:
    """Return what of all waivers holds at a gate for an issue."""
    held = [one for one in given if one.gate == gate and one.issue in {"", issue}]
    whole = [one.reason or "no reason given" for one in held if not one.paths]
    return Waivers("; ".join(whole), tuple(path for one in held for path in one.paths))


def verdict_of_reading(
    gate: str, change: Change, reading: Reading, given: Iterable[GateWaiver]
) -> Verdict:
    """Return the verdict that follows from what was seen and what a person lets pass."""
    waived = waivers_of(given, gate, change.issue_key)
    if reading.nothing or waived.whole:
        said = reading.nothing or f"waived by the settings: {plain(waived.whole)}"
        return Verdict(gate, "not_executed", said, commit=change.commit, tree=change.tree)
    findings = [one for one in reading.findings if not matches(one.path, waived.paths)]
    dropped = len(reading.findings) - len(findings)
    remarks = [*reading.remarks, *([f"{dropped} waived by the settings"] if dropped else ())]
    lines = [told(one) for one in findings[:SHOWN]]
    if len(findings) > SHOWN:
        lines.append(f"... and {len(findings) - SHOWN} more")
    lines += [f"note: {one}" for one in remarks]
    return Verdict(
        gate=gate,
        state="failed" if findings else "passed",
        reason=_reason(findings) if findings else "; ".join([reading.clean, *remarks[:2]]),
        details="\n".join(lines),
        commit=change.commit,
        tree=change.tree,
        person=bool(findings) and all(one.person for one in findings),
    )


def _reason(findings: Sequence[Finding]) -> str:
    more = f", and {len(findings) - 1} more" if len(findings) > 1 else ""
    return f"{told(findings[0])}{more}"


def told(finding: Finding) -> str:
    """Return a finding as a line."""
    line = f":{finding.line}" if finding.line else ""
    return f"{shown(finding.path)}{line}: {masked(finding.what)}"


def shown(path: str) -> str:
    """Return a path as it can be printed and stored, whatever bytes it has."""
    text = masked(plain(path))
    return text if len(text) <= PATH_LIMIT else f"{text[: PATH_LIMIT - 3]}..."


def plain(text: str) -> str:
    """Return text on one line, without what a terminal or an encoder would stumble over."""
    sure = text.encode("utf-8", "backslashreplace").decode()
    return "".join(char if char.isprintable() else f"\\x{ord(char):02x}" for char in sure)


def new_lines(changes: Iterable[FileChange]) -> dict[str, list[tuple[int, str]]]:
    """Return the added lines of each file that are new: those only moved or indented are not.

    Whether a line was moved is told by its text, over all files of the change: one that is added
    again where it was removed is old. NULs are left out, so that UTF-16 can be read.
    """
    changes = list(changes)
    gone = Counter(
        stripped for one in changes for _, text in one.removed if (stripped := _bare(text).strip())
    )
    found: dict[str, list[tuple[int, str]]] = {}
    for change in changes:
        fresh = found.setdefault(change.path, [])
        for number, text in change.added:
            line = _bare(text)
            if gone[line.strip()] > 0:
                gone[line.strip()] -= 1
            else:
                fresh.append((number, line))
    return found


def rewritten_lines(changes: Iterable[FileChange]) -> dict[str, list[str]]:
    """Return the removed lines of each file that stand nowhere any more: edited, or gone."""
    changes = list(changes)
    there = {_bare(text).strip() for one in changes for _, text in one.added}
    return {
        one.path: [line for _, text in one.removed if (line := _bare(text)).strip() not in there]
        for one in changes
    }


def _bare(text: str) -> str:
    return text.replace("\0", "")
