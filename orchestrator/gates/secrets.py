"""The gate against secrets. What it found is told by file, line, kind and length: never quoted."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from orchestrator.amounts import counted
from orchestrator.gates.aside import aside
from orchestrator.gates.credentials import (
    PRIVATE_KEY,
    begins_private_key,
    in_line,
    is_key_body,
    is_secret_file,
    shapes,
)
from orchestrator.gates.findings import (
    TOO_LONG,
    Finding,
    Reading,
    new_lines,
    verdict_of_reading,
)
from orchestrator.gates.paths import is_test
from orchestrator.judgesettings import GateWaiver
from orchestrator.ports import Change
from orchestrator.records import SECRETS_GATE, FileChange, Verdict

KEY_LINES = 4
"""Lines after the first one of a private key in which its body must begin."""
TOO_MANY = "its commits are too many to be looked at"
EARLIER = "in an earlier commit of the branch: rewrite it, a later commit does not take it out"


class SecretsGate:
    """Finds keys, tokens and passwords in all that the branch would bring along.

    Earlier commits of the branch are looked at too: what a later one removed is still in it.

    Args:
        waivers: what a person lets pass.
    """

    name = SECRETS_GATE

    def __init__(self, *, waivers: Sequence[GateWaiver] = ()) -> None:
        self._waivers = waivers

    async def judge(self, change: Change) -> Verdict:
        """Read every added line of the change, and of each commit in it."""
        changes = await change.changes()
        history = await change.history()
        added = [one.path for one in changes if one.state == "added"]
        now = await change.read(*added)
        reading = await aside(
            lambda: _read(changes, history, now), (*changes, *(history or ())), now
        )
        return verdict_of_reading(self.name, change, reading, self._waivers)


def _read(
    changes: Sequence[FileChange],
    history: Sequence[FileChange] | None,
    now: Mapping[str, bytes],
) -> Reading:
    fresh = new_lines(changes)
    findings = [hit for one in changes for hit in _in_change(one, fresh[one.path], now)]
    if history is None:
        findings.append(Finding(".", 0, TOO_MANY, person=True))
    else:
        findings += _in_history(changes, history, findings)
    lines = sum(len(one.added) for one in changes)
    return Reading(f"no secret in {counted(lines, 'added line')}", findings)


def _in_history(
    changes: Sequence[FileChange], history: Sequence[FileChange], found: Sequence[Finding]
) -> Iterator[Finding]:
    """Yield what earlier commits brought, and the last one has no more."""
    known = {(one.path, one.what) for one in found}
    old = {text.strip() for one in changes for _, text in one.removed}
    for change in history:
        bare = [(number, text.replace("\0", "")) for number, text in change.added]
        lines = [(number, text) for number, text in bare if text.strip() not in old]
        for one in _in_change(change, lines, {}):
            if (one.path, one.what) not in known:
                known.add((one.path, one.what))
                yield Finding(one.path, 0, f"{one.what}, {EARLIER}", one.person)


def _in_change(
    change: FileChange, lines: Sequence[tuple[int, str]], now: Mapping[str, bytes]
) -> Iterator[Finding]:
    path = change.path
    if change.state == "removed":
        return
    if change.state == "added" and is_secret_file(path, _content(change, now)):
        yield Finding(path, 0, "a file of this name holds secrets, and does not belong here")
    for hit in shapes(path):
        yield Finding(path, 0, f"its name holds {hit.kind} ({hit.length} characters)")
    if change.cut:
        yield Finding(path, 0, TOO_LONG, person=True)
    yield from _in_lines(path, lines)


def _content(change: FileChange, now: Mapping[str, bytes]) -> bytes:
    told = "\n".join(text for _, text in change.added)
    return now.get(change.path) or told.encode("utf-8", "replace")


def _in_lines(path: str, lines: Sequence[tuple[int, str]]) -> Iterator[Finding]:
    test = is_test(path)
    for at, (number, line) in enumerate(lines):
        for hit in in_line(line, path, test=test):
            yield Finding(path, number, f"{hit.kind} ({hit.length} characters)")
        if begins_private_key(line):
            rest = PRIVATE_KEY.sub(" ", line)
            near = (text for _, text in lines[at + 1 : at + 1 + KEY_LINES])
            if is_key_body(rest) or any(is_key_body(text) for text in near):
                yield Finding(path, number, "a private key")
