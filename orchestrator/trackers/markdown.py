"""Issues as markdown files: ``issues/123-title.md``, read from the user's files as they are."""

from __future__ import annotations

import errno
import os
import re
import tempfile
from collections.abc import Sequence
from pathlib import Path

import anyio.to_thread

from orchestrator.errors import DefinitionError, IssueAmbiguous, IssueNotFound, TrackerError
from orchestrator.header import Header, parse
from orchestrator.records import CLOSED, Issue, Outcome

KEY = re.compile(r"[A-Za-z0-9][A-Za-z0-9_]{0,39}")
TITLE_LIMIT = 200
BODY_LIMIT = 200_000
SOLVED_LOOKED_AT = 500
HINTED = 12
"""Keys that are told where another one was asked for."""
HEADER_LIMIT = 4096
STATE = re.compile(rb"^state:\s*[\"']?(?:closed|done|resolved)\b", re.MULTILINE | re.IGNORECASE)


class MarkdownTracker:
    """A folder of issues.

    Args:
        folder: where the files are.
        write_back: whether a report is appended to the issue's own file.
    """

    def __init__(self, folder: Path, *, write_back: bool = False) -> None:
        self._folder = folder
        self._write_back = write_back

    async def fetch(self, key: str) -> Issue:
        """Return the issue whose file name begins with the key.

        Raises:
            IssueNotFound: there is none.
            IssueAmbiguous: two files share the key.
            TrackerError: the file cannot be read.
            DefinitionError: its header is broken, or it is a link.
        """
        path = self._path(key)
        try:
            data = _own_data(path)
        except OSError as error:
            raise TrackerError(f"{path} cannot be read: {error.strerror}") from None
        return issue_of(data, key, str(path))

    async def solved(self, most: int) -> Sequence[Issue]:
        """Return closed issues that had an assignee, those of the highest numbers first."""
        return await anyio.to_thread.run_sync(self._solved, most)

    def _solved(self, most: int) -> list[Issue]:
        if not self._folder.is_dir():
            return []
        found: list[Issue] = []
        names = [one for one in self._folder.iterdir() if one.suffix == ".md" and one.is_file()]
        for path in sorted(names, key=_newest_first)[:SOLVED_LOOKED_AT]:
            try:
                data = _own_data(path)
                if not STATE.search(data[:HEADER_LIMIT]):
                    continue  # the most are not worth parsing
                issue = issue_of(data, path.stem.partition("-")[0], str(path))
            except (OSError, DefinitionError):
                continue  # who wants this one is told; it says nothing of others
            if issue.state.lower() in CLOSED and issue.assignees:
                found.append(issue)
            if len(found) == most:
                break
        return found

    async def candidates(self, labels: Sequence[str], most: int) -> Sequence[Issue]:
        """Return open issues that carry all of the labels, those of the lowest numbers first."""
        return await anyio.to_thread.run_sync(self._candidates, labels, most)

    def _candidates(self, labels: Sequence[str], most: int) -> list[Issue]:
        if not self._folder.is_dir():
            return []
        found: list[Issue] = []
        names = [one for one in self._folder.iterdir() if one.suffix == ".md" and one.is_file()]
        for path in sorted(names, key=_oldest_first):
            try:
                issue = issue_of(_own_data(path), path.stem.partition("-")[0], str(path))
            except (OSError, DefinitionError):
                continue  # who wants this one is told; it says nothing of others
            is_open = issue.state.lower() not in CLOSED
            if is_open and KEY.fullmatch(issue.key) and set(labels) <= set(issue.labels):
                found.append(issue)
            if len(found) >= most:
                break
        return found

    async def unreadable(self) -> Sequence[str]:
        """Return the keys of files that cannot be read, those of the lowest numbers first."""
        return await anyio.to_thread.run_sync(self._unreadable)

    def _unreadable(self) -> list[str]:
        if not self._folder.is_dir():
            return []
        found: dict[str, None] = {}
        names = [one for one in self._folder.iterdir() if one.suffix == ".md" and one.is_file()]
        for path in sorted(names, key=_oldest_first):
            key = path.stem.partition("-")[0]
            try:
                issue_of(_own_data(path), key, str(path))
            except (OSError, DefinitionError, TrackerError):
                if KEY.fullmatch(key):
                    found[key] = None
        return list(found)

    async def report(self, issue: Issue, outcome: Outcome) -> None:
        """Append a short report to the issue's file, if that was asked for."""
        if not self._write_back:
            return
        path = self._path(issue.key)
        marker = f"<!-- orchestrate: {outcome.run} -->"
        try:
            data = _own_data(path)
        except OSError as error:
            raise TrackerError(f"{path} cannot be read: {error.strerror}") from None
        if marker.encode() in data:
            return
        lines = [marker, f"**{outcome.status}** by {outcome.agent}", outcome.summary.strip()]
        if outcome.branch:
            lines.append(f"Branch: `{outcome.branch}`")
        added = "\n\n".join(["", *(line for line in lines if line)]) + "\n"
        if b"\r\n" in data:
            added = added.replace("\r\n", "\n").replace("\n", "\r\n")
        _replace(path, data.rstrip() + added.encode())

    def _path(self, key: str) -> Path:
        if not KEY.fullmatch(key):
            raise IssueNotFound(f"{key!r} is not an issue's key", hint="keys are like 123 or ABC_7")
        if not self._folder.is_dir():
            raise IssueNotFound(
                f"no issue {key}: there is no folder {self._folder}",
                hint=f"write the issue as {self._folder.name}/{key}-what-to-do.md",
            )
        # As text, not as paths: a folder may hold thousands, and each run of a batch looks for one.
        names = [one for one in os.listdir(self._folder) if one.endswith(".md")]  # noqa: PTH208
        own = [one for one in names if one == f"{key}.md" or one.startswith(f"{key}-")]
        found = [path for path in map(self._folder.joinpath, own) if path.is_file()]
        if not found:
            raise IssueNotFound(f"no issue {key} in {self._folder}", hint=self._told(names))
        if len(found) > 1:
            both = " and ".join(sorted(one.name for one in found)[:2])
            raise IssueAmbiguous(f"issue {key} is in two files: {both}", hint="rename one of them")
        return found[0]

    def _told(self, names: Sequence[str]) -> str:
        """Return which issues there are, as a hint: the first few, in the order of numbers."""
        keys: dict[str, None] = {}
        for path in sorted(map(self._folder.joinpath, names), key=_numbers_first):
            key = path.stem.partition("-")[0]
            if KEY.fullmatch(key) and path.is_file():
                keys.setdefault(key)
            if len(keys) > HINTED:
                break
        if not keys:
            return "there is no issue in it"
        more = " and more" if len(keys) > HINTED else ""
        return f"there are {', '.join(list(keys)[:HINTED])}{more}"


def _own_data(path: Path) -> bytes:
    """Return what a file holds; a link could lead to anything that the user may read.

    Raises:
        OSError: it cannot be read.
        DefinitionError: it is a link.
    """
    # A pipe would be waited for.
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        descriptor = os.open(path, flags)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise DefinitionError(
                f"{path} is a symbolic link, which could lead out of the repository",
                hint="put a file in its place",
            ) from None
        raise
    with os.fdopen(descriptor, "rb") as file:
        return file.read()


def issue_of(data: bytes, key: str, file: str) -> Issue:
    """Read an issue from a markdown file; without a header the first heading is the title.

    Raises:
        DefinitionError: the header is broken.
    """
    header = parse(data, file)
    if header is None:
        text = data.decode("utf-8", "replace").replace("\r\n", "\n").strip()
        header = Header(file=file, values={}, body=text)
    title = _one(header, "title") or _heading(header.body) or _words_of(file, key)
    return Issue(
        key=key,
        title=" ".join(title.split())[:TITLE_LIMIT],
        body=shortened(header.body),
        labels=_many(header, "labels"),
        state=_one(header, "state") or "open",
        priority=_one(header, "priority"),
        author=_one(header, "author"),
        assignees=_many(header, "assignee") or _many(header, "assignees"),
        blocked_by=_many(header, "blocked_by"),
        url=file,
    )


def shortened(body: str) -> str:
    """Cut a body that is too long for any model, and say so in it."""
    if len(body) <= BODY_LIMIT:
        return body
    rest = len(body) - BODY_LIMIT
    return f"{body[:BODY_LIMIT]}\n[cut here: the issue goes on for {rest} characters]"


def _newest_first(path: Path) -> tuple[int, str]:
    number = path.stem.partition("-")[0]
    return (-int(number) if number.isascii() and number.isdigit() else 0, path.name)


def _oldest_first(path: Path) -> tuple[int, str]:
    return (-_newest_first(path)[0], path.name)


def _numbers_first(path: Path) -> tuple[bool, int, str]:
    number, name = _oldest_first(path)
    return (number == 0, number, name)


def _one(header: Header, key: str) -> str:
    value = header.values.get(key)
    return value.text.strip() if value is not None and value.text else ""


def _many(header: Header, key: str) -> tuple[str, ...]:
    value = header.values.get(key)
    if value is None or value.content is None:
        return ()
    if value.text is not None:
        return tuple(part.strip() for part in value.text.split(",") if part.strip())
    if isinstance(value.content, list):
        return tuple(one.text.strip() for one in value.content if one.text)
    return ()


def _heading(body: str) -> str:
    for line in body.splitlines():
        if line.startswith("#"):
            return line.lstrip("#").strip()
    return ""


def _words_of(file: str, key: str) -> str:
    words = Path(file).stem.removeprefix(key).strip("-").replace("-", " ")
    return words or f"Issue {key}"


def _replace(path: Path, data: bytes) -> None:
    """Put a file in place in one step, with the mode it had."""
    mode = path.stat().st_mode & 0o777
    descriptor, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
        Path(temporary).chmod(mode)
        Path(temporary).replace(path)
    except OSError as error:
        Path(temporary).unlink(missing_ok=True)
        raise TrackerError(f"{path} cannot be written: {error.strerror}") from None
