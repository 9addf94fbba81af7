"""The agents that a run can use, from every place that has some."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Mapping
from dataclasses import field, replace
from pathlib import Path

from orchestrator.definitions.definition import Checked, check, read
from orchestrator.definitions.remark import Remark
from orchestrator.errors import DefinitionError
from orchestrator.header import SIZE_LIMIT
from orchestrator.records import AgentDefinition
from orchestrator.values import frozen

REPOSITORY_FOLDERS = ("agents", ".claude/agents")
MOST_FILES = 2000


@frozen
class Source:
    """Agent files of one place, nearest place first in a list of them.

    Attributes:
        name: for people: ``command line``, ``repository``, ``user`` or ``bundled``.
        files: content by path.
        strict: whether a broken file stops everything; else it is left out with a notice.
        notices: what a person should know of files that are not among these.
    """

    name: str
    files: Mapping[str, bytes]
    strict: bool = True
    notices: tuple[str, ...] = ()


@frozen
class Roster:
    """The agents by name, and what a person should know of how they were found."""

    agents: Mapping[str, AgentDefinition]
    notices: tuple[str, ...] = ()
    places: Mapping[str, str] = field(default_factory=dict)
    """The name of the place that each agent comes from."""


def checked(path: Path) -> list[Checked]:
    """Check an agent file, or every one in a folder and below; of two with one name, both are bad.

    Args:
        path: the file or folder; what cannot be read is refused like what is broken.
    """
    try:
        folder = path.is_dir()
    except OSError:
        folder = False
    if not folder:
        return [_checked(path)]
    closed: list[OSError] = []
    found = [_checked(one) for one in _markdown_below(path, closed)]
    found += [_unreadable(str(error.filename), error) for error in closed]
    by_name: dict[str, list[str]] = {}
    for one in found:
        if one.definition is not None:
            by_name.setdefault(one.definition.name, []).append(one.file)
    return [_alone(one, by_name) for one in found]


def _checked(path: Path) -> Checked:
    """Check one path; a device or a pipe is not opened, since that may never end."""
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            told = Remark("unreadable", 0, 0, "cannot be read: it is not a file")
            return Checked(str(path), "refused", error=told)
        with path.open("rb") as stream:
            return check(stream.read(SIZE_LIMIT + 1), str(path))
    except (OSError, ValueError) as error:
        return _unreadable(str(path), error)


def _unreadable(path: str, error: OSError | ValueError) -> Checked:
    why = getattr(error, "strerror", None) or str(error)
    told = Remark("unreadable", 0, 0, f"cannot be read: {why}")
    return Checked(path, "refused", error=told)


def _alone(one: Checked, by_name: Mapping[str, list[str]]) -> Checked:
    files = by_name.get(one.definition.name, []) if one.definition is not None else []
    others = [file for file in files if file != one.file]
    if not others or one.definition is None:
        return one
    told = f"name: {one.definition.name!r} is also the name in {', '.join(others)}"
    return replace(one, status="refused", definition=None, error=Remark("name-twice", 0, 0, told))


def files_below(folder: Path, unread: list[str] | None = None) -> dict[str, bytes]:
    """Return the markdown files of a folder and all below it, by path.

    Args:
        folder: where to look; it need not be there.
        unread: is told of each file or folder that cannot be read; without it one is an error.

    Raises:
        DefinitionError: there are too many to be agent files, or one cannot be read.
    """
    found = {}
    failed: list[OSError] = []
    for path in _markdown_below(folder, failed):
        try:
            if path.is_file():
                found[str(path)] = path.read_bytes()
        except OSError as error:
            error.filename = str(path)
            failed.append(error)
    for one in failed:
        # A home that may not be looked into, as after `su`, has nothing for this user.
        if os.path.lexists(one.filename):
            _left_out(one, unread)
    return found


def _left_out(error: OSError, unread: list[str] | None) -> None:
    refusal = DefinitionError(
        f"{error.filename} cannot be read: {error.strerror}",
        hint="make it readable, or move it elsewhere",
    )
    if unread is None:
        raise refusal from None
    unread.append(f"{refusal}; what is in it is left out")


def _markdown_below(folder: Path, closed: list[OSError]) -> list[Path]:
    """Return what is named as markdown in a folder; folders that cannot be read are noted."""
    found: list[Path] = []
    for place, _, names in os.walk(folder, onerror=closed.append):
        found += [Path(place, name) for name in names if name.endswith(".md")]
        if len(found) > MOST_FILES:
            raise DefinitionError(f"{folder} holds more than {MOST_FILES} markdown files")
    return sorted(found)


def roster(sources: Iterable[Source]) -> Roster:
    """Load all agents; of one name in two places the nearer wins, with a notice.

    Raises:
        DefinitionError: a file of a strict place is broken, or two of one place share a name.
    """
    agents: dict[str, AgentDefinition] = {}
    places: dict[str, str] = {}
    notices: list[str] = []
    for source in sources:
        here: dict[str, AgentDefinition] = {}
        notices += source.notices
        for path, data in source.files.items():
            try:
                definition = read(data, path)
            except DefinitionError as error:
                if source.strict:
                    raise
                notices.append(f"{error}; this agent is left out")
                continue
            if definition is None:
                continue
            if definition.name in here:
                raise DefinitionError(
                    f"two agents are named {definition.name!r}: "
                    f"{here[definition.name].source} and {path}",
                    hint="rename one of them",
                )
            here[definition.name] = definition
        for name, definition in here.items():
            if name not in agents:
                agents[name] = definition
                places[name] = source.name
            elif agents[name].prompt != definition.prompt or source.name != "bundled":
                told = f"{definition.source} ({source.name})"
                notices.append(f"agent {name}: {agents[name].source} is used, not {told}")
    return Roster(agents=agents, notices=tuple(notices), places=places)
