"""The gate on migrations: changed models come with one, and there is one way to the last."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

from orchestrator.gates.aside import aside
from orchestrator.gates.findings import TOO_LONG, Finding, Reading, shown, verdict_of_reading
from orchestrator.gates.paths import ending, is_test, name_of
from orchestrator.gates.pysource import source_of
from orchestrator.gates.revisions import (
    Revision,
    alembic_revision,
    django_revision,
    faults,
    last_ones,
)
from orchestrator.gates.schemas import Kind, schema
from orchestrator.judgesettings import GateWaiver
from orchestrator.ports import Change
from orchestrator.records import FileChange, Verdict
from orchestrator.values import frozen

DJANGO = re.compile(r"(.*/)?migrations/(?!__init__)\w+\.py")
NOTHING = "no folder of migrations, Alembic's or Django's"


@frozen
class Folder:
    """A folder of migrations.

    Attributes:
        path: with a slash at its end.
        models: the folder whose models these are; empty means all.
    """

    path: str
    kind: Kind
    models: str = ""


@frozen
class Trees:
    """The migrations and changed Python files, on the base and now."""

    changes: Sequence[FileChange]
    before: Mapping[str, str]
    now: Mapping[str, str]


class MigrationsGate:
    """Asks for a migration where models change, and reads the graph of all migrations.

    Args:
        waivers: what a person lets pass.
    """

    name = "migrations"

    def __init__(self, *, waivers: Sequence[GateWaiver] = ()) -> None:
        self._waivers = waivers

    async def judge(self, change: Change) -> Verdict:
        """Compare models and migrations with the base."""
        old_names, names = await change.base_names(), await change.names()
        folders = sorted({*folders_of(old_names), *folders_of(names)}, key=lambda one: one.path)
        if not folders:
            reading = Reading("", nothing=NOTHING)
            return verdict_of_reading(self.name, change, reading, self._waivers)
        changes = await change.changes()
        changed = {one.path for one in changes if ending(one.path) == "py"}
        before = [one for one in old_names if one in changed or _in_any(one, folders)]
        now = [one for one in names if one in changed or _in_any(one, folders)]
        trees = Trees(
            changes, _texts(await change.read_base(*before)), _texts(await change.read(*now))
        )
        reading = await aside(lambda: _read(folders, trees), changes, trees.before, trees.now)
        return verdict_of_reading(self.name, change, reading, self._waivers)


def _texts(files: Mapping[str, bytes]) -> dict[str, str]:
    return {path: source_of(data).text for path, data in files.items()}


def folders_of(names: Sequence[str]) -> set[Folder]:
    """Return the folders of migrations that a list of files shows."""
    found: set[Folder] = set()
    known = set(names)
    for name in names:
        top = name.rpartition("/")[0]
        slash = f"{top}/" if top else ""
        if name_of(name) == "env.py" and f"{slash}script.py.mako" in known:
            found.add(Folder(f"{slash}versions/", "alembic"))
        elif DJANGO.fullmatch(name) and f"{slash}__init__.py" in known:
            found.add(Folder(slash, "django", slash.removesuffix("migrations/")))
    return found


def _in_any(path: str, folders: Sequence[Folder]) -> bool:
    return any(_is_in(path, folder) for folder in folders)


def _is_in(path: str, folder: Folder) -> bool:
    if not path.startswith(folder.path) or ending(path) != "py":
        return False
    rest = path.removeprefix(folder.path)
    return name_of(path) != "__init__.py" and (folder.kind == "alembic" or "/" not in rest)


def _read(folders: Sequence[Folder], trees: Trees) -> Reading:
    findings: list[Finding] = []
    remarks: list[str] = []
    for folder in folders:
        findings += _edited(folder, trees)
        findings += _graph(folder, trees, remarks)
    for one in trees.changes:
        unread = ending(one.path) == "py" and one.added and not trees.now.get(one.path)
        if unread and one.mode.startswith("100"):
            findings.append(Finding(one.path, 0, TOO_LONG, person=True))
    changed = 0
    for kind in ("alembic", "django"):
        own = [one for one in folders if one.kind == kind]
        if own:
            for path, names in _changed_models(kind, folders, trees, remarks):
                changed += 1
                findings += _lacking(path, names, own, trees)
    clean = f"{changed} changed models with migrations" if changed else "no model changed"
    findings = list(dict.fromkeys(findings))
    return Reading(f"{clean}; one head in each of {len(folders)} folders", findings, remarks)


def _edited(folder: Folder, trees: Trees) -> Iterator[Finding]:
    for one in trees.changes:
        if _is_in(one.path, folder) and one.state != "added":
            what = "a migration of the base may have been run already: write a new one"
            yield Finding(one.path, 0, f"{one.state}, but {what}")


def _revisions(folder: Folder, files: Mapping[str, str]) -> dict[str, Revision | None]:
    own = {path: text for path, text in files.items() if _is_in(path, folder)}
    if folder.kind == "alembic":
        return {path: alembic_revision(text) for path, text in own.items()}
    siblings = [name_of(path).removesuffix(".py") for path in own]
    return {path: django_revision(path, text, siblings) for path, text in own.items()}


def _graph(folder: Folder, trees: Trees, remarks: list[str]) -> Iterator[Finding]:
    before, now = (_revisions(folder, files) for files in (trees.before, trees.now))
    touched = {one.path for one in trees.changes}
    for path, one in now.items():
        if one is None and path in touched and not (folder.kind == "django" and path in before):
            yield Finding(path, 0, "it cannot be read as a migration")
        elif one is None:
            remarks.append(f"{shown(path)} is no migration that can be read")
    plain = {path: one for path, one in now.items() if one is not None}
    old = [one for one in before.values() if one is not None]
    heads = last_ones(plain.values())
    if len(heads) > max(1, len(last_ones(old))):
        yield Finding(
            folder.path, 0, f"{len(heads)} migrations are the last ones: there must be one"
        )
    elif plain and not heads:
        yield Finding(folder.path, 0, "the migrations follow each other in a circle")
    if folder.kind == "alembic":
        known = faults({path: one for path, one in before.items() if one is not None})
        for path, what in faults(plain).items():
            if path not in known:
                yield Finding(path, 0, what)


def _changed_models(
    kind: Kind, folders: Sequence[Folder], trees: Trees, remarks: list[str]
) -> Iterator[tuple[str, list[str]]]:
    """Yield the files whose models say something else of the database now, and what changed."""
    for one in trees.changes:
        path = one.path
        if ending(path) != "py" or is_test(path) or _in_any(path, folders):
            continue
        if kind == "django" and not re.search(r"(?:^|/)models(?:/.*)?\.py$|(?:^|/)models/", path):
            continue
        old = schema(trees.before.get(path, ""), kind)
        new = schema(trees.now.get(path, ""), kind)
        if old is None or new is None:
            remarks.append(f"{shown(path)} could not be parsed: its models were not compared")
            continue
        names = sorted(name for name in {*old, *new} if old.get(name) != new.get(name))
        if names and not _is_moved(names, old, new, kind, trees):
            yield path, names


def _is_moved(
    names: Sequence[str], old: Mapping[str, str], new: Mapping[str, str], kind: Kind, trees: Trees
) -> bool:
    """Tell whether all that differs stands the same way in another changed file, before or now."""
    elsewhere: tuple[set[tuple[str, str]], set[tuple[str, str]]] = (set(), set())
    for files, found in zip((trees.before, trees.now), elsewhere, strict=True):
        for text in files.values():
            found.update((schema(text, kind) or {}).items())
    was, now = elsewhere
    return all(
        (name not in old or (name, old[name]) in now)
        and (name not in new or (name, new[name]) in was)
        for name in names
    )


def _lacking(
    path: str, names: Sequence[str], folders: Sequence[Folder], trees: Trees
) -> Iterator[Finding]:
    mine = [one for one in folders if path.startswith(one.models)]
    if not mine:
        return
    # The nearest app's folder is meant.
    most = max(len(one.models) for one in mine)
    added = [
        (one.path, folder)
        for folder in mine
        if len(folder.models) == most
        for one in trees.changes
        if one.state == "added" and _is_in(one.path, folder)
    ]
    read = [_revisions(folder, trees.now).get(at) for at, folder in added]
    if any(one is not None and one.acts for one in read):
        return
    why = "the new migration does nothing" if added else "there is no new migration"
    more = f" and {len(names) - 1} more" if len(names) > 1 else ""
    yield Finding(path, 0, f"{names[0]}{more} changed, but {why}")
