"""The gate on docs: what changes for others is said somewhere."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

from orchestrator.gates.aside import aside
from orchestrator.gates.findings import TOO_LONG, Finding, Reading, shown, verdict_of_reading
from orchestrator.gates.paths import ending, is_doc, is_vendored
from orchestrator.gates.publicnames import Public, is_public_module, public_names
from orchestrator.gates.pysource import parsed, source_of
from orchestrator.judgesettings import GateWaiver
from orchestrator.ports import Change
from orchestrator.records import FileChange, Verdict

NO_DOCS = "the base has neither a folder of docs nor a README"
NO_PYTHON = "no public Python file changed; other languages are not judged"
NOWHERE = "neither the docs, a README, a CHANGELOG nor its docstring was touched"


class DocsGate:
    """Asks that changed public names of Python come with changed docs or docstrings.

    Args:
        waivers: what a person lets pass.
    """

    name = "docs"

    def __init__(self, *, waivers: Sequence[GateWaiver] = ()) -> None:
        self._waivers = waivers

    async def judge(self, change: Change) -> Verdict:
        """Compare public names, signatures and options with the base."""
        changes = await change.changes()
        judged = [one for one in changes if _is_judged(one)]
        if not any(map(is_doc, await change.base_names())):
            reading = Reading("", nothing=NO_DOCS)
        elif not judged:
            reading = Reading("", nothing=NO_PYTHON)
        else:
            paths = [one.path for one in judged]
            before, now = await change.read_base(*paths), await change.read(*paths)
            told = any(_says_more(one) for one in changes)
            pages = await change.read_base(*_docs(await change.base_names()))
            reading = await aside(
                lambda: _read(judged, before, now, pages, told), judged, before, now, pages
            )
        return verdict_of_reading(self.name, change, reading, self._waivers)


def _is_judged(change: FileChange) -> bool:
    path = change.path
    return ending(path) == "py" and is_public_module(path) and not is_vendored(path)


def _says_more(change: FileChange) -> bool:
    """Tell whether documentation gained words."""
    words = re.compile(r"\w{2,}")
    return is_doc(change.path) and any(words.search(text) for _, text in change.added)


def _docs(names: Sequence[str]) -> list[str]:
    return [name for name in names if is_doc(name)][:200]


def _read(
    judged: Sequence[FileChange],
    before: Mapping[str, bytes],
    now: Mapping[str, bytes],
    pages: Mapping[str, bytes],
    told: bool,
) -> Reading:
    findings: list[Finding] = []
    remarks: list[str] = []
    old, new = _all_names(before, remarks), _all_names(now, remarks)
    words = set(re.findall(rb"[\w-]+", b" ".join(pages.values())))
    changed = 0
    for change in judged:
        path = change.path
        if change.added and not now.get(path) and change.mode.startswith("100"):
            findings.append(Finding(path, 0, TOO_LONG, person=True))
            continue
        if None in (old.get(path, {}), new.get(path, {})):
            continue
        for name, what, line, said in _differences(path, old, new):
            changed += 1
            gone = line == 0
            # What is taken out and was written of nowhere needs no word.
            silent = gone and name.rpartition(".")[2].removeprefix("option ").encode() not in words
            if not (told or said or silent):
                findings.append(Finding(path, line, f"{name} {what}: {NOWHERE}"))
    count = f"changed public names: {changed}, and that is told"
    clean = count if changed else "no public name changed"
    return Reading(clean, findings, remarks)


def _all_names(
    files: Mapping[str, bytes], remarks: list[str]
) -> dict[str, dict[str, Public] | None]:
    found: dict[str, dict[str, Public] | None] = {}
    for path, data in files.items():
        tree = parsed(source_of(data).text)
        found[path] = public_names(tree) if tree is not None else None
        if tree is None:
            remarks.append(f"{shown(path)} could not be parsed: its names were not compared")
    return found


def _differences(
    path: str,
    old: Mapping[str, dict[str, Public] | None],
    new: Mapping[str, dict[str, Public] | None],
) -> Iterator[tuple[str, str, int, bool]]:
    """Yield name, what happened to it, its line now, and whether its docstring tells."""
    was, now = old.get(path) or {}, new.get(path) or {}
    moved_from = {name for names in old.values() for name in names or ()}
    moved_to = {name for names in new.values() for name in names or ()}
    for name in sorted({*was, *now}):
        before, after = was.get(name), now.get(name)
        if after is None:
            if name not in moved_to:
                yield name, "is gone", 0, False
        elif before is None:
            if name not in moved_from:
                yield name, "is new", after.line, bool(after.said.strip())
        elif before.signature != after.signature:
            said = bool(after.said.strip()) and after.said != before.said
            yield name, "has other arguments", after.line, said
