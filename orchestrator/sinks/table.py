"""A table that stays in place on a terminal, with a bar of what is done and lines above it."""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType
from typing import Self, TextIO

from rich.console import Console, ConsoleOptions, Group, RenderResult
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from orchestrator.sinks.plain import line

Cells = Sequence[str]


class LiveTable:
    """Draws rows, a bar and a line of totals, over and over in the same place.

    Args:
        stream: a terminal.
        colour: whether styles may be used.
        columns: heading of each column; one that begins with ``>`` holds numbers, and one that
            ends in ``*`` gives way where there is no room.
    """

    def __init__(self, stream: TextIO, *, colour: bool, columns: Cells) -> None:
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
        self._live.update(_Screen(self._columns, rows, done, total, totals), refresh=True)


class _Screen:
    """One drawing, as tall as the terminal lets it be."""

    def __init__(
        self, columns: Cells, rows: Sequence[Cells], done: int, total: int, totals: str
    ) -> None:
        self._columns, self._rows = columns, rows
        self._done, self._total, self._totals = done, total, totals

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Return what is drawn."""
        height = options.height or console.height
        room = max(height - 5, 1)
        rows = self._rows if len(self._rows) <= room else self._rows[: room - 1]
        table = Table(box=None, expand=True, pad_edge=False, header_style="bold")
        for name in self._columns:
            yields = name.endswith("*")
            table.add_column(
                name.strip(">*"),
                justify="right" if name.startswith(">") else "left",
                no_wrap=True,
                overflow="ellipsis",
                ratio=1 if yields else None,
            )
        for row in rows:
            table.add_row(*(Text(line(cell, 200)) for cell in row))
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
