"""The commits of the workspace as one pack, told to the host in parts.

The host takes a part at a time and bounds how many: nothing is kept on a disk in between, and git
waits at its pipe until the next part is asked for.
"""

from __future__ import annotations

import _thread
import binascii
import os

from orchestrator_tools import children
from orchestrator_tools.contract import PACK_PART
from orchestrator_tools.errors import ToolError
from orchestrator_tools.snapshot import environment

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

ERRORS_LIMIT = 8192


class Packing:
    """A thin pack that is being made.

    Args:
        git: the private git directory.
        workspace: the work tree.
        head: the commit that comes out.
        without: commits that are known outside, with all that leads to them.
    """

    def __init__(self, git: str, workspace: str, head: str, without: list[str]) -> None:
        ends: list[int] = []
        try:
            for _ in range(3):
                ends += os.pipe()
            stdin, told, output, stdout, errors, stderr = ends
            self._process = children.start(
                ["git", "pack-objects", "--revs", "--thin", "--stdout", "-q"],
                {0: stdin, 1: stdout, 2: stderr},
                cwd=workspace,
                environment=environment(git, workspace, None),
            )
        except OSError:
            for end in ends:
                os.close(end)
            raise
        for end in (stdin, stdout, stderr):
            os.close(end)
        self._output = os.fdopen(output, "rb")
        self._errors = bytearray()
        # A flood of complaints must not hold up what is read beside it.
        self._listening = _thread.allocate_lock()
        self._listening.acquire()
        _thread.start_new_thread(self._listen, (errors,))
        revisions = "".join(f"{one}\n" for one in (head, *(f"^{one}" for one in without)))
        try:
            with os.fdopen(told, "wb") as stream:
                stream.write(revisions.encode())
        except BrokenPipeError:
            pass  # git has ended, and says why

    def part(self) -> dict[str, Any]:
        """Return the next bytes, and whether more follow.

        Raises:
            ToolError: git failed.
        """
        data = self._output.read(PACK_PART)
        more = len(data) == PACK_PART
        if not more and self._process.wait():
            with self._listening:  # until all of it was heard
                said = self._errors.decode("utf-8", "replace").strip()[-500:]
            raise ToolError(said or "it does not say why")
        return {"data": binascii.b2a_base64(data, newline=False).decode("ascii"), "more": more}

    def close(self) -> None:
        """End what is still being made."""
        self._process.kill()
        self._process.wait()
        self._output.close()

    def _listen(self, errors: int) -> None:
        try:
            with os.fdopen(errors, "rb", buffering=0) as stderr:
                while chunk := stderr.read(ERRORS_LIMIT):
                    self._errors += chunk
                    del self._errors[:-ERRORS_LIMIT]
        finally:
            self._listening.release()
