"""A table that stays in place on a terminal, with a bar of what is done and lines above it."""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType
from typing import Self, TextIO

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, Group, RenderResult
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from orchestrator.sinks.plain import line

Cells = Sequence[str]

GAP = 2
"""Cells between two columns."""
LEAST = 10
"""Cells of a column that gives way; where it has fewer, another column is left out."""


class LiveTable:
    """Draws rows, a bar and a line of totals, over and over in the same place.

    Args:
        stream: a terminal.
        colour: whether styles may be used.
        columns: heading of each column; one that begins with ``>`` holds numbers, and one that
            ends in ``*`` gives way where there is no room.
        spare: columns that are left out where that is not enough, the first of them first.
    """

    def __init__(self, stream: TextIO, *, colour: bool, columns: Cells, spare: Cells = ()) -> None:
        self._spare = spare
        self._console = Console(
            file=stream,
            no_color=not colour,
            color_system="auto" if colour else None,
            highlight=False,
            markup=False,
            emoji=False,
            soft_wrap=False,
        )
        self._columns = columns
        self._live = Live(
            console=self._console,
            auto_refresh=False,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
            vertical_overflow="crop",
        )

    def __enter__(self) -> Self:
        """Begin to draw."""
        self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Take the table away; lines that were said stay."""
        self._live.stop()

    def say(self, text: str) -> None:
        """Write a line above the table, where it stays."""
        self._console.print(Text(line(text, 400)))

    def draw(self, rows: Sequence[Cells], *, done: int, total: int, totals: str) -> None:
        """Draw anew.

        Args:
            rows: text of anybody, a cell a column.
            done: of ``total``, how many the bar shows as done.
            total: how many there are.
            totals: how all of it stands.
        """
        screen = _Screen(self._columns, rows, done, total, totals, self._spare)
        self._live.update(screen, refresh=True)


class _Screen:
    """One drawing, as tall as the terminal lets it be."""

    def __init__(
        self,
        columns: Cells,
        rows: Sequence[Cells],
        done: int,
        total: int,
        totals: str,
        spare: Cells,
    ) -> None:
        self._columns, self._rows, self._spare = columns, rows, spare
        self._done, self._total, self._totals = done, total, totals

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Return what is drawn."""
        height = options.height or console.height
        room = max(height - 5, 1)
        rows = self._rows if len(self._rows) <= room else self._rows[: room - 1]
        table = Table(box=None, expand=True, pad_edge=False, header_style="bold")
        shown = self._fitting(rows, options.max_width)
        for name in (self._columns[at] for at in shown):
            yields = name.endswith("*")
            table.add_column(
                name.strip(">*"),
                justify="right" if name.startswith(">") else "left",
                no_wrap=True,
                overflow="ellipsis",
                ratio=1 if yields else None,
            )
        for row in rows:
            table.add_row(*(Text(line(row[at], 200)) for at in shown))
        bar = Table.grid(expand=True, padding=(0, 1))
        bar.add_column(ratio=1)
        bar.add_column(justify="right")
        bar.add_row(
            ProgressBar(total=max(self._total, 1), completed=self._done),
            f"{self._done} of {self._total}",
        )
        more = len(self._rows) - len(rows)
        parts = [table, Text(f"and {more} more")] if more else [table]
        yield Group(*parts, bar, Text(line(self._totals, 400), style="bold", overflow="ellipsis"))

    def _fitting(self, rows: Sequence[Cells], width: int) -> list[int]:
        """Return which columns there is room for."""
        shown = list(range(len(self._columns)))
        for name in self._spare:
            if sum(self._width(at, rows) + GAP for at in shown) - GAP <= width:
                break
            shown.remove(self._columns.index(name))
        return shown

    def _width(self, at: int, rows: Sequence[Cells]) -> int:
        """Return how many cells of a terminal a column needs."""
        name = self._columns[at]
        texts = [name.strip(">*"), *(line(row[at], 200) for row in rows)]
        return LEAST if name.endswith("*") else max(map(cell_len, texts))
