"""The gate on size: what is too large to be read by whoever reviews it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from orchestrator.amounts import counted as amount
from orchestrator.gates.findings import Finding, Reading, verdict_of_reading
from orchestrator.gates.paths import UNCOUNTED, matches
from orchestrator.judgesettings import GateWaiver, SizeSettings
from orchestrator.ports import Change
from orchestrator.records import FileChange, Verdict


class SizeGate:
    """Bounds the lines and files of a change, and the size of files that are no text.

    Args:
        bounds: how much may pass.
        waivers: what a person lets pass.
    """

    name = "size"

    def __init__(self, bounds: SizeSettings, *, waivers: Sequence[GateWaiver] = ()) -> None:
        self._bounds = bounds
        self._waivers = waivers

    async def judge(self, change: Change) -> Verdict:
        """Count lines and files, and weigh what is no text."""
        changes = await change.changes()
        binary = [one.path for one in changes if one.binary and one.state != "removed"]
        contents = await change.read(*binary)
        sizes = {path: len(contents.get(path, b"")) for path in binary}
        reading = self._read(changes, sizes)
        return verdict_of_reading(self.name, change, reading, self._waivers)

    def _read(self, changes: Sequence[FileChange], sizes: dict[str, int]) -> Reading:
        bounds = self._bounds
        patterns = (*UNCOUNTED, *bounds.not_counted)
        counted = [one for one in changes if not matches(one.path, patterns)]
        text = [one for one in counted if not one.binary]
        lines = sum(len(one.added) + len(one.removed) for one in text)
        findings = list(self._large(changes, counted, sizes))
        if bounds.lines and lines > bounds.lines:
            what = f"{lines} changed lines are more than {bounds.lines}: a person must agree"
            findings.append(Finding(".", 0, what, person=True))
        if bounds.files and len(counted) > bounds.files:
            what = f"{len(counted)} changed files are more than {bounds.files}: a person must agree"
            findings.append(Finding(".", 0, what, person=True))
        left = len(changes) - len(counted)
        remarks = [f"{left} lock or generated files not counted"] if left else []
        return Reading(
            f"{amount(lines, 'line')} in {amount(len(counted), 'file')}", findings, remarks
        )

    def _large(
        self, changes: Sequence[FileChange], counted: Sequence[FileChange], sizes: dict[str, int]
    ) -> Iterator[Finding]:
        limit = self._bounds.binary_kb * 1024
        for one in changes:
            size = sizes.get(one.path)
            if one.cut and one in counted:
                yield Finding(one.path, 0, "its changed lines are too many to be counted", True)
            elif size == 0 and limit:
                yield Finding(one.path, 0, "no text, and too large to be weighed")
            elif size is not None and limit and size > limit:
                kb = self._bounds.binary_kb
                what = f"no text, and {size // 1024} KiB: more than {kb} KiB"
                yield Finding(one.path, 0, what)
