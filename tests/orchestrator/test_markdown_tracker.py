"""Reports written back into an issue's own file."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from orchestrator.errors import DefinitionError, IssueNotFound
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


@pytest.mark.parametrize("write_back", [True, False])
async def test_a_link_is_not_followed(tmp_path: Path, write_back: bool) -> None:
    """An issue that leads to a file of the user's tells nothing of it, and changes nothing."""
    private = tmp_path / "key"
    private.write_bytes(b"# A title\nprivate\n")
    issues = tmp_path / "issues"
    issues.mkdir()
    (issues / "1-a-wish.md").symlink_to(private)
    (issues / "2-closed.md").symlink_to(private)
    (issues / "3-own.md").write_bytes(ISSUE)
    tracker = MarkdownTracker(issues, write_back=write_back)
    with pytest.raises(DefinitionError, match="symbolic link") as caught:
        await tracker.fetch("1")
    assert "private" not in str(caught.value) and caught.value.exit_code == 2
    assert [one.key for one in await tracker.candidates((), 10)] == ["3"]
    assert await tracker.solved(10) == []
    assert await tracker.unreadable() == ["1", "2"]
    issue = replace(await tracker.fetch("3"), key="1")
    if write_back:
        with pytest.raises(DefinitionError, match="symbolic link"):
            await tracker.report(issue, an_outcome(issue="1"))
    assert (issues / "1-a-wish.md").is_symlink()
    assert private.read_bytes() == b"# A title\nprivate\n"


async def test_the_hint_names_issues_that_there_are(tmp_path: Path) -> None:
    """Keys come in the order of numbers; folders, broken links and other files are not told."""
    for name in ("10-b.md", "2-a.md", "1.md", "README me.md", "2-again.md", "abc.md"):
        (tmp_path / name).write_bytes(ISSUE)
    (tmp_path / "15-folder.md").mkdir()
    (tmp_path / "3-gone.md").symlink_to("nowhere.md")
    with pytest.raises(IssueNotFound, match="no issue 15") as caught:
        await MarkdownTracker(tmp_path).fetch("15")
    assert caught.value.hint == "there are 1, 2, 10, abc"


async def test_the_hint_is_short(tmp_path: Path) -> None:
    """Of many issues the first dozen is told; of none, that there is none."""
    for number in range(1, 40):
        (tmp_path / f"{number}.md").write_bytes(ISSUE)
    with pytest.raises(IssueNotFound) as caught:
        await MarkdownTracker(tmp_path).fetch("99")
    assert caught.value.hint == f"there are {', '.join(map(str, range(1, 13)))} and more"
    (tmp_path / "empty").mkdir()
    with pytest.raises(IssueNotFound) as caught:
        await MarkdownTracker(tmp_path / "empty").fetch("1")
    assert caught.value.hint == "there is no issue in it"
