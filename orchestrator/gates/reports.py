"""Reports of test runs, in the form of JUnit: which tests there were, and what became of each."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Literal
from xml.etree import ElementTree as ET

from orchestrator.records import Counts
from orchestrator.values import frozen

Ended = Literal["passed", "failed", "skipped"]


class ReportBrokenError(ValueError):
    """What lies where a report should is none that a runner wrote."""


@frozen
class Case:
    """One test that a report names.

    Attributes:
        file: where it is defined, from where the runner was started.
        owner: the module and class that it belongs to.
        name: its own name, with parameters where it has some.
        collected: False stands for a whole file that could not be loaded.
    """

    file: str
    owner: str
    name: str
    ended: Ended
    collected: bool = True

    @property
    def function(self) -> str:
        """Return the name without parameters."""
        return self.name.partition("[")[0]

    @property
    def title(self) -> str:
        """Return what people call it."""
        if not self.collected:
            return self.file or self.name
        kind = self.owner.rpartition(".")[2]
        within = f"{kind}::" if kind[:1].isupper() else ""
        return f"{self.file or self.owner}::{within}{self.name}"


@frozen
class TestReport:
    """All tests that a report names."""

    __test__ = False
    cases: tuple[Case, ...]

    @property
    def counts(self) -> Counts:
        """Count what became of them."""
        ended = [one.ended for one in self.cases]
        return Counts(
            passed=ended.count("passed"),
            failed=ended.count("failed"),
            skipped=ended.count("skipped"),
        )


def read_report(data: bytes) -> TestReport:
    """Read a report.

    Args:
        data: what was left where the runner was told to write; it may be anything.

    Raises:
        ReportBrokenError: it is no report.
    """
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        raise ReportBrokenError("it is no UTF-8, as every runner writes") from None
    # No runner declares anything; what is declared could make a small file a huge one.
    if "<!" in text or "\0" in text:
        raise ReportBrokenError("it declares things, as no test runner does")
    try:
        # As text: an encoding that the file names itself could hide a declaration.
        top = ET.fromstring(text)  # noqa: S314 - declarations are refused above
        return TestReport(tuple(_cases(top)))
    except (ET.ParseError, ValueError, LookupError, RecursionError) as error:
        raise ReportBrokenError(f"it cannot be read: {str(error)[:200]}") from None


def _cases(top: ET.Element) -> Iterator[Case]:
    if top.tag not in {"testsuites", "testsuite"}:
        raise ReportBrokenError(f"it begins with {top.tag[:40]!r}")
    for one in top.iter("testcase"):
        parts = {part.tag: part for part in one}
        ended: Ended = "passed"
        if {"failure", "error"} & parts.keys():
            ended = "failed"
        elif "skipped" in parts and parts["skipped"].get("type") != "pytest.xfail":
            ended = "skipped"
        owner, name = one.get("classname", ""), one.get("name", "")
        yield Case(
            file=re.sub(r"^\./", "", one.get("file", "")),
            owner=owner,
            name=name,
            ended=ended,
            collected=bool(owner),
        )


class Places:
    """Where the files of a report lie in the repository, wherever the runner was started.

    Args:
        names: all paths that there are.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self._names = set(names)
        self._by_name: dict[str, list[str]] = defaultdict(list)
        for name in self._names:
            self._by_name[name.rpartition("/")[2]].append(name)

    def of(self, file: str) -> str:
        """Return the path from the top of the repository; what is nowhere stays as it is."""
        if file in self._names:
            return file
        ends = [one for one in self._by_name[file.rpartition("/")[2]] if one.endswith(f"/{file}")]
        return ends[0] if len(ends) == 1 else file
