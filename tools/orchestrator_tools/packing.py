"""The commits of the workspace as one pack, told to the host in parts.

The host takes a part at a time and bounds how many: nothing is kept on a disk in between, and git
waits at its pipe until the next part is asked for.
"""

from __future__ import annotations

import binascii
import contextlib
import subprocess
import threading

from orchestrator_tools.contract import PACK_PART
from orchestrator_tools.errors import ToolError
from orchestrator_tools.snapshot import environment

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import IO, Any

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
        self._process = subprocess.Popen(
            ["git", "pack-objects", "--revs", "--thin", "--stdout", "-q"],
            cwd=workspace,
            env=environment(git, workspace, None),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        self._errors = bytearray()
        # A flood of complaints must not hold up what is read beside it.
        self._listening = threading.Thread(target=self._listen, daemon=True)
        self._listening.start()
        revisions = "".join(f"{one}\n" for one in (head, *(f"^{one}" for one in without)))
        with contextlib.suppress(BrokenPipeError), _given(self._process.stdin) as stdin:
            stdin.write(revisions.encode())

    def part(self) -> dict[str, Any]:
        """Return the next bytes, and whether more follow.

        Raises:
            ToolError: git failed.
        """
        data = _given(self._process.stdout).read(PACK_PART)
        more = len(data) == PACK_PART
        if not more and self._process.wait():
            self._listening.join()
            said = self._errors.decode("utf-8", "replace").strip()[-500:]
            raise ToolError(said or "it does not say why")
        return {"data": binascii.b2a_base64(data, newline=False).decode("ascii"), "more": more}

    def close(self) -> None:
        """End what is still being made."""
        self._process.kill()
        self._process.wait()

    def _listen(self) -> None:
        with _given(self._process.stderr) as stderr:
            while chunk := stderr.read1(ERRORS_LIMIT):  # type: ignore[attr-defined]
                self._errors += chunk
                del self._errors[:-ERRORS_LIMIT]


def _given(stream: IO[bytes] | None) -> IO[bytes]:
    assert stream is not None  # noqa: S101 - all three are pipes
    return stream
