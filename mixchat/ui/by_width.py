"""A table that turns into a list on a narrow screen.

Knows how wide its rows are; refuses to know what they say. Cells are shown as they are: clean them before.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderableType  # noqa: TID251 - for annotations
    from rich.table import Table

NOTHING: Final = "-"
"""A cell that says nothing; the list leaves it out."""


@dataclass(frozen=True, slots=True)
class ByWidth:
    """Rows under headings; in a screen too narrow for that, each row's first cell and the others named below it.

    Attributes:
        headings: One for each column.
        rows: As many cells each.
        texts: Headings of columns of words, which begin at the left; the first always does.
        below: What stands below a row's first cell in the list; None names each cell by its heading.
        numbered: The first column has numbers, which mean nothing without its heading: the list says "layer 0".
    """

    headings: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    texts: frozenset[str] = frozenset()
    below: Callable[[tuple[str, ...]], str] | None = None
    numbered: bool = False

    def __rich_console__(self, console: "Console", options: "ConsoleOptions") -> "Iterator[RenderableType]":
        """Render it for a width."""
        table = self._table()
        needed = console.measure(table, options=options.update(width=10**6)).maximum
        if needed <= options.max_width:
            yield table
        else:
            yield from self._stacked()

    def _table(self) -> "Table":
        from rich.table import Table

        table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
        for index, heading in enumerate(self.headings):
            table.add_column(heading, justify="left" if not index or heading in self.texts else "right", no_wrap=True)
        for row in self.rows:
            table.add_row(*row)
        return table

    def _stacked(self) -> "Iterator[RenderableType]":
        from rich.padding import Padding
        from rich.text import Text

        for row in self.rows:
            yield Text(self._named_number(row[0]), style="bold", overflow="fold")
            yield Padding(Text(self.below(row) if self.below else self._named(row)), (0, 0, 0, 2))

    def _named_number(self, cell: str) -> str:
        return f"{self.headings[0]} {cell}" if self.numbered and cell.isdecimal() else cell

    def _named(self, row: tuple[str, ...]) -> str:
        cells = zip(self.headings[1:], row[1:], strict=True)
        return ", ".join(f"{heading} {cell}" for heading, cell in cells if cell != NOTHING)
