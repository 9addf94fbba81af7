"""The agents that a run can use, from every place that has some."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from orchestrator.definitions.definition import read
from orchestrator.errors import DefinitionError
from orchestrator.records import AgentDefinition

REPOSITORY_FOLDERS = ("agents", ".claude/agents")
MOST_FILES = 2000


@dataclass(frozen=True, slots=True)
class Source:
    """Agent files of one place, nearest place first in a list of them.

    Attributes:
        name: for people: ``command line``, ``repository``, ``user`` or ``bundled``.
        files: content by path.
        strict: whether a broken file stops everything; else it is left out with a notice.
    """

    name: str
    files: Mapping[str, bytes]
    strict: bool = True


@dataclass(frozen=True, slots=True)
class Roster:
    """The agents by name, and what a person should know of how they were found."""

    agents: Mapping[str, AgentDefinition]
    notices: tuple[str, ...] = ()


def files_below(folder: Path) -> dict[str, bytes]:
    """Return the markdown files of a folder and all below it, by path.

    Raises:
        DefinitionError: there are too many to be agent files.
    """
    found: dict[str, bytes] = {}
    if not folder.is_dir():
        return found
    for path in sorted(folder.rglob("*.md")):
        if len(found) >= MOST_FILES:
            raise DefinitionError(f"{folder} holds more than {MOST_FILES} markdown files")
        if path.is_file():
            found[str(path)] = path.read_bytes()
    return found


def roster(sources: Iterable[Source]) -> Roster:
    """Load all agents; of one name in two places the nearer wins, with a notice.

    Raises:
        DefinitionError: a file of a strict place is broken, or two of one place share a name.
    """
    agents: dict[str, AgentDefinition] = {}
    notices: list[str] = []
    for source in sources:
        here: dict[str, AgentDefinition] = {}
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
                notices += definition.warnings
            elif agents[name].prompt != definition.prompt or source.name != "bundled":
                told = f"{definition.source} ({source.name})"
                notices.append(f"agent {name}: {agents[name].source} is used, not {told}")
    return Roster(agents=agents, notices=tuple(notices))
