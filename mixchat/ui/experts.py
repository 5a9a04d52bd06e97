"""What `mixchat experts` and `/experts` show on a terminal.

Knows the order: the text, how the experts are used, the tables, what follows; refuses to know streams. Everything shown
is cleaned.
"""

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from mixchat.routing.tally import Report
from mixchat.ui.by_width import ByWidth
from mixchat.ui.experts_heat import HeatMap
from mixchat.ui.experts_tables import Figures, comparison_table, even_table, tables_of, token_count
from mixchat.ui.experts_text import TextView
from mixchat.ui.experts_values import ExpertsView, Versus
from mixchat.ui.sanitize import single_line

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import RenderableType

NOTHING_ROUTED: Final = "Nothing was routed: there was no token, or no layer has a router."
_ASCII: Final = str.maketrans({"±": "+/-", "é": "e"})


def experts_view(view: ExpertsView, ascii_only: bool = False) -> "RenderableType":
    """All of it: the coloured text if there is one, the picture of the shares, the tables and the sentence.

    The console decides about colour and width; `ascii_only` is for terminals without Unicode.
    """
    from rich.console import Group

    return Group(*_parts(view, ascii_only))


def _parts(view: ExpertsView, ascii_only: bool) -> "Iterator[RenderableType]":
    from rich.text import Text

    yield Text.assemble((single_line(view.model), "bold"), "  ", headline(view), overflow="fold")
    if not view.report.layers:
        yield Text(NOTHING_ROUTED, overflow="fold")
        return
    if view.text is not None and view.passages:
        if view.beginning:
            yield Text(view.beginning, overflow="fold")
        yield TextView(view.text, view.passages, view.text_lines, view.letters, ascii_only)
    yield Text()
    yield HeatMap(view.report, view.rows(view.report), ascii_only)
    for figures in tables_of(view):
        yield from _table(figures, ascii_only)
    yield from _second(view, ascii_only)


def _second(view: ExpertsView, ascii_only: bool) -> "Iterator[RenderableType]":
    """The second text and how it differs."""
    from rich.text import Text

    if view.versus is None:
        return
    report = view.versus.report
    yield Text()
    yield Text.assemble((single_line(view.versus.name), "bold"), "  ", second_headline(view.versus), overflow="fold")
    if report.layers:
        yield HeatMap(report, view.rows(report), ascii_only)
        yield from _table(replace(even_table(report, view.rows(report)), notes=()), ascii_only)
    yield from _table(comparison_table(view, view.versus), ascii_only)


def headline(view: ExpertsView) -> str:
    """What was routed, in one line."""
    report = view.report
    what = f"{single_line(view.name)}: " if view.name else ""
    each = f", {_used(report)} of {report.n_experts} experts each" if report.layers else ""
    return f"{what}{_counted(report)}{each}{_ended(view.complete)}"


def _used(report: Report) -> str:
    """Experts of a token; layers may differ in that."""
    least = min(layer.used for layer in report.layers)
    return str(least) if least == report.used else f"{least} to {report.used}"


def second_headline(versus: Versus) -> str:
    """How much of the second text was routed."""
    return f"{_counted(versus.report)}{_ended(versus.complete)}"


def _ended(complete: bool) -> str:
    return "" if complete else ", interrupted"


def _counted(report: Report) -> str:
    layers = len(report.layers)
    return f"{token_count(report.tokens)} in {layers} layer{'s' if layers != 1 else ''}"


def _table(figures: Figures, ascii_only: bool) -> "Iterator[RenderableType]":
    """A title, the table and its notes, with a hanging indent; the last note stands as a sentence of its own."""
    from rich.padding import Padding
    from rich.text import Text

    def plain(text: str) -> str:
        return text.translate(_ASCII) if ascii_only else text

    yield Text()
    yield Text(plain(figures.title), style="bold", overflow="fold")
    yield ByWidth(figures.headings, tuple(tuple(map(plain, row)) for row in figures.rows), numbered=True)
    for note in figures.notes:
        finished = note.endswith(".")
        yield Padding(
            Text(plain(note), style="" if finished else "dim", overflow="fold"), (0, 0, 0, 0 if finished else 2)
        )
