"""Reports written back into an issue's own file."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.trackers.markdown import MarkdownTracker
from tests.builders import an_outcome

pytestmark = pytest.mark.asyncio

ISSUE = b"---\ntitle: A wish\n---\nDo it.\n"


async def reported(folder: Path, data: bytes, *, times: int = 1, later: bytes = b"") -> bytes:
    """Write an issue, report on it, and return what its file holds then.

    Args:
        later: what somebody adds to the file while the run goes on.
    """
    issues = folder / "issues"
    issues.mkdir()
    file = issues / "1-a-wish.md"
    file.write_bytes(data)
    file.chmod(0o640)
    tracker = MarkdownTracker(issues, write_back=True)
    issue = await tracker.fetch("1")
    file.write_bytes(data + later)
    for _ in range(times):
        await tracker.report(issue, an_outcome(issue="1", summary="Done.\nReally."))
    assert file.stat().st_mode & 0o777 == 0o640
    assert [one.name for one in issues.iterdir()] == ["1-a-wish.md"]
    return file.read_bytes()


async def test_a_report_is_appended_once(tmp_path: Path) -> None:
    """What was there stays byte for byte; a second report of the same run changes nothing."""
    data = await reported(tmp_path, ISSUE, times=3)
    assert data.startswith(ISSUE.rstrip()) and data.count(b"**done**") == 1
    assert data.endswith(b"Branch: `feature/7-totals-are-wrong`\n")


async def test_line_ends_are_kept(tmp_path: Path) -> None:
    """A file of CRLF lines, with a byte order mark, has only CRLF lines afterwards."""
    before = b"\xef\xbb\xbf" + ISSUE.replace(b"\n", b"\r\n")
    data = await reported(tmp_path, before)
    assert data.startswith(before.rstrip())
    assert data.count(b"\r\n") == data.count(b"\n") > before.count(b"\n")


async def test_bytes_that_are_no_text_are_kept(tmp_path: Path) -> None:
    """What somebody added in another encoding meanwhile is neither refused nor changed."""
    data = await reported(tmp_path, ISSUE, later=b"caf\xe9\n")
    assert b"caf\xe9\n\n<!-- orchestrate: " in data


async def test_nothing_is_written_unless_asked(tmp_path: Path) -> None:
    """Without ``write_back`` the file stays as it is."""
    file = tmp_path / "1-a-wish.md"
    file.write_bytes(ISSUE)
    tracker = MarkdownTracker(tmp_path)
    await tracker.report(await tracker.fetch("1"), an_outcome(issue="1"))
    assert file.read_bytes() == ISSUE
