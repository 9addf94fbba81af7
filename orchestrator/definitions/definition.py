"""One agent definition file, read into one value, with all that its author should know of it."""

from __future__ import annotations

from typing import Literal

from orchestrator.definitions.fence import Fenced, fenced
from orchestrator.definitions.fields import Fields
from orchestrator.definitions.remark import Remark, Skip
from orchestrator.definitions.repair import refuse_lost, repaired
from orchestrator.errors import At, DefinitionError
from orchestrator.header import BrokenYaml, Header, decoded, read_header
from orchestrator.records import AgentDefinition
from orchestrator.values import frozen

BOM = b"\xef\xbb\xbf"
REPAIRS = frozenset(
    {"bom", "leading-blank", "indented", "odd-fence", "flattened", "yaml-repaired", "tabs"}
)
"""Codes of what was mended to read a file at all."""

Status = Literal["ok", "repaired", "skipped", "refused"]


@frozen
class Checked:
    """What came of reading one file.

    Attributes:
        definition: None where the file was skipped or refused.
        models: as written.
        models_at: line and column of each.
        error: why it was skipped or refused.
    """

    file: str
    status: Status
    definition: AgentDefinition | None = None
    models: tuple[str, ...] = ()
    body: str = ""
    remarks: tuple[Remark, ...] = ()
    error: Remark | None = None
    models_at: tuple[tuple[int, int], ...] = ()


def check(data: bytes, file: str) -> Checked:
    """Read an agent definition file, and never fail.

    Args:
        data: the file's bytes.
        file: its name.
    """
    try:
        return _read(data, file)
    except Skip as skip:
        return Checked(file, "skipped", error=Remark(skip.code, 0, 0, str(skip)))
    except DefinitionError as error:
        at = error.at or At(file)
        said = str(error).removeprefix(f"{at}: ")
        if error.hint:
            said += f" ({error.hint})"
        return Checked(file, "refused", error=Remark("refused", at.line, at.column, said))


def read(data: bytes, file: str) -> AgentDefinition | None:
    """Read an agent definition file.

    Returns:
        The definition; None for a file that is none and does not mean to be.

    Raises:
        DefinitionError: the file is broken; the error says where.
    """
    try:
        return _read(data, file).definition
    except Skip:
        return None


def _read(data: bytes, file: str) -> Checked:
    remarks = [Remark("bom", 1, 1, "a byte order mark")] if data.startswith(BOM) else []
    found = fenced(decoded(data, file), file)
    remarks += found.remarks
    header, mended = _header(found, file)
    if "on" in header.values:
        raise Skip("workflow", "the header has 'on': it is a workflow, not an agent")
    fields = Fields(header, file, [*remarks, *mended])
    definition = _definition(fields)
    status: Status = "repaired" if any(one.code in REPAIRS for one in fields.remarks) else "ok"
    return Checked(
        file=file,
        status=status,
        definition=definition,
        models=fields.models(),
        body=found.body,
        remarks=tuple(fields.remarks),
        models_at=fields.models_at(),
    )


def _header(found: Fenced, file: str) -> tuple[Header, tuple[Remark, ...]]:
    place = {"first_line": found.first_line, "indent": found.indent}
    try:
        values, keys = read_header(found.header, file, **place)
        mended: tuple[Remark, ...] = ()
        refuse_lost(found, file, values, strict=True)
    except BrokenYaml as broken:
        whole = repaired(found.header, file, broken=broken, **place)
        values, keys, mended = whole.values, whole.keys, whole.remarks
        refuse_lost(found, file, values, strict=False)
    return Header(file=file, values=values, body=found.body, keys=keys), mended


def _definition(fields: Fields) -> AgentDefinition:
    name = fields.name()
    description = fields.description()
    allowed = fields.rules("tools")
    models = fields.models()
    effort, turns = fields.effort(), fields.max_turns()
    fields.look_at_rest()
    return AgentDefinition(
        name=name,
        description=description,
        tools=allowed.names,
        denied=(*fields.denied(), *allowed.denied),
        model=models[0] if models else None,
        effort=effort,
        max_turns=turns,
        mistaken=fields.mistaken_rules(),
        prompt=fields.header.body,
        source=fields.file,
        warnings=tuple(one.told(fields.file) for one in fields.remarks),
    )
