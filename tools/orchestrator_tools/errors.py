"""What went wrong in a tool, said so that the model can mend it."""

from __future__ import annotations


class ToolError(Exception):
    """A call that the model can mend; becomes a result with ``is_error``."""


class NotUnique(ToolError):
    """The text to replace occurs more than once."""


class NotFound(ToolError):
    """The file or the text to replace is not there."""


class Changed(ToolError):
    """The file is not what the model last saw."""


class Exhausted(ToolError):
    """No process can be started inside any more; the host ends all that runs there."""

    def __init__(self) -> None:
        super().__init__(
            "no process could be started: too many are running. All of them, those in the "
            "background too, have been ended; files are kept"
        )
