"""What is said of an agent file: a code for programs, a place and a sentence for people."""

from __future__ import annotations

from orchestrator.values import frozen


@frozen
class Remark:
    """One thing that an author should know; line and column count from 1, 0 is the whole file."""

    code: str
    line: int
    column: int
    message: str

    def told(self, file: str) -> str:
        """Return it as a compiler would say it."""
        place = ":".join(str(part) for part in (file, self.line, self.column) if part)
        return f"{place}: {self.message}"


class Skip(Exception):
    """The file is no agent definition, and does not mean to be one."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
