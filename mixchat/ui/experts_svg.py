"""A model's routing as a picture.

Knows how coloured text and shares become SVG that reads on light and dark; refuses to know files.
"""

import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import groupby
from typing import Final

from mixchat.routing.routed_text import RoutedText
from mixchat.routing.tally import LayerReport
from mixchat.routing.traffic import placement_sentence
from mixchat.ui.experts import NOTHING_ROUTED, headline
from mixchat.ui.experts_heat import FEW_EXPERTS
from mixchat.ui.experts_letters import COLOURS, Lettering, lettering, naming
from mixchat.ui.experts_lines import Line, Run, lines_left_out, lines_of
from mixchat.ui.experts_markup import HEAT, escaped, heat
from mixchat.ui.experts_values import ExpertsView
from mixchat.ui.sanitize import single_line

SVG_LINES: Final = 40
"""Lines of text in all, shared among the layers."""

_WIDTH, _MARGIN = 920, 24
_CELL, _LINE, _CHIP = 8, 32, 19
_COLUMNS: Final = (_WIDTH - 2 * _MARGIN) // _CELL
_LEGEND_ITEM, _LONG_LEGEND_ITEM = 88, 96
_HEAT_LEFT, _HEAT_ROW, _FINE_ROW, _LARGEST = 54, 20, 9, 24
_NUMBERS_FROM, _NAMED_EVERY = 22, 20
_SENTENCE, _HEADING, _NAME = 120, 110, 50
_LEAST_LINES: Final = 4
_STYLE: Final = (
    "text{font:13px ui-sans-serif,system-ui,sans-serif;fill:#212529}"
    ".t{font-size:17px;font-weight:600}.h{font-weight:600}.s{fill:#5c636a}.n{font-size:10px;fill:#5c636a}"
    ".v{font-size:10px;text-anchor:middle}.m{text-anchor:middle}.b{fill:#fff}"
    ".f,.l{font-family:ui-monospace,SFMono-Regular,Menlo,Consolas,'DejaVu Sans Mono',monospace;white-space:pre}"
    ".l{font-size:9px;fill:#5c636a}"
    f".q{{fill:rgb({HEAT})}}"
    "@media(prefers-color-scheme:dark){text{fill:#e9ecef}.s,.n,.l{fill:#adb5bd}.b{fill:#16191d}}"
    + "".join(f".c{place}{{fill:{ground}}}text.k{place}{{fill:{ink}}}" for place, (ground, ink) in enumerate(COLOURS))
)


def experts_svg(view: ExpertsView, lines: int = SVG_LINES) -> str:
    """The picture: the text at the chosen layers, the shares and the sentence; a file of its own, without scripts.

    `lines` of text are shared among the layers, at least 4 for each.
    """
    parts, height = _stacked(_blocks(view, lines))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{height:g}" '
        f'viewBox="0 0 {_WIDTH} {height:g}" role="img"><title>Experts of {_one_line(view.model)}</title>'
        f'<style>{_STYLE}</style><rect class="b" width="{_WIDTH}" height="{height:g}"/>{parts}</svg>\n'
    )


Block = tuple[str, float]
"""Marks drawn from 0 downwards, and how much room they take."""


def _stacked(blocks: Iterator[Block]) -> Block:
    y, drawn = 0.0, []
    for marks, height in blocks:
        drawn.append(f'<g transform="translate(0 {y:g})">{marks}</g>')
        y += height
    return "".join(drawn), y + _MARGIN


def _blocks(view: ExpertsView, lines: int) -> Iterator[Block]:
    yield _text(_MARGIN, 36, single_line(view.model, _HEADING), "t") + _text(_MARGIN, 60, _headline(view)), 72
    if not view.report.layers:
        yield _text(_MARGIN, 16, NOTHING_ROUTED), 24
        return
    if view.text is not None and view.passages:
        yield _text(_MARGIN, 16, f"{naming(view.text.n_experts)} {view.beginning}".rstrip(), "s"), 24
        all_lines = list(lines_of(view.text.tokens, _COLUMNS))
        shown = all_lines[: max(lines // len(view.passages), _LEAST_LINES)]
        for index in view.passages:
            yield _passage(view.text, index, shown)
            if len(shown) < len(all_lines):
                yield _text(_MARGIN, 10, lines_left_out(len(all_lines) - len(shown)), "s"), 22
    few = view.report.n_experts <= FEW_EXPERTS
    yield _few(view.report.layers) if few else _many(view.report.layers)
    if view.report.placement is not None:
        sentence = textwrap.wrap(placement_sentence(view.report.placement), _SENTENCE)
        yield "".join(_text(_MARGIN, 16 + 20 * row, line) for row, line in enumerate(sentence)), 20.0 * len(sentence)


def _passage(text: RoutedText, index: int, shown: Sequence[Line]) -> Block:
    """A heading, the letters' meaning, and the lines with their letters below."""
    firsts = text.firsts(index)
    looks = lettering(text.n_experts, firsts)
    legend, top = _legend(looks)
    drawn = "".join(_line(line, firsts, looks, top + 30 + row * _LINE) for row, line in enumerate(shown))
    head = _text(_MARGIN, 20, f"First expert of each token in layer {index}", "h")
    return f"{head}{legend}{drawn}", top + 24 + _LINE * len(shown)


def _legend(looks: Lettering) -> tuple[str, float]:
    """Chips with shares, as many on a line as there is room for, and the room they take from the top."""
    names = [(looks.name(expert), looks.colours[expert], looks.shares[expert]) for expert in looks.legend()]
    names += [("others", None, looks.rest)] if looks.rest is not None else []
    item = _LONG_LEGEND_ITEM if looks.rest is not None else _LEGEND_ITEM
    per_line = (_WIDTH - 2 * _MARGIN) // item
    drawn = []
    for place, (name, colour, share) in enumerate(names):
        row, column = divmod(place, per_line)
        x, y = _MARGIN + column * item, 30 + row * 22
        wide = 8 + 8 * len(name)
        ground, ink = _chip((x, y), wide, colour)
        drawn.append(f"{ground}{_text(x + wide / 2, y + 14, name, f'm {ink}')}")
        drawn.append(_text(x + wide + 5, y + 14, f"{100 * share:.0f} %", "s"))
    return "".join(drawn), 30 + 22 * -(-len(names) // per_line)


def _chip(at: tuple[float, float], width: float, colour: int | None) -> tuple[str, str]:
    """A ground and the class of the ink on it."""
    if colour is None:
        return "", ""
    x, y = at
    return f'<rect class="c{colour}" x="{x:g}" y="{y:g}" width="{width:g}" height="{_CHIP}" rx="3"/>', f"k{colour}"


def _line(line: Line, firsts: Sequence[int], looks: Lettering, y: float) -> str:
    """Neighbours of one expert share their ground; every run is stretched to its columns, whatever the font."""
    drawn = []
    for expert, group in groupby(line, key=lambda run: firsts[run.token]):
        runs = list(group)
        columns = sum(run.width for run in runs)
        x = _MARGIN + _CELL * runs[0].column
        ground, ink = _chip((x, y - 14), columns * _CELL, looks.colours[expert])
        drawn.append(ground + "".join(_run(run, y, ink) for run in runs))
    return "".join(drawn) + _letters(line, firsts, looks, y + 14)


def _run(run: Run, y: float, ink: str) -> str:
    """Blanks at the ends are room, not text: no viewer can drop them."""
    text = run.text.strip(" ")
    if not text:
        return ""
    ahead = len(run.text) - len(run.text.lstrip(" "))
    width = run.width - (len(run.text) - len(text))
    x = _MARGIN + _CELL * (run.column + ahead)
    kind = f"f {ink}".rstrip()
    stretch = f'textLength="{width * _CELL}" lengthAdjust="spacingAndGlyphs"'
    return f'<text x="{x}" y="{y:g}" class="{kind}" {stretch}>{escaped(text)}</text>'


def _letters(line: Line, firsts: Sequence[int], looks: Lettering, y: float) -> str:
    starts = [run for run in line if run.starts]
    if not starts:
        return ""
    places = " ".join(str(_MARGIN + _CELL * run.seen + 1) for run in starts)
    letters = "".join(looks.letters[firsts[run.token]] for run in starts)
    return f'<text x="{places}" y="{y:g}" class="l">{letters}</text>'


def _few(layers: Sequence[LayerReport]) -> Block:
    """Experts down, layers across; numbers where there is room."""
    n = len(layers[0].shares.assignments)
    cell = min((_WIDTH - _MARGIN - _HEAT_LEFT) / len(layers), 2 * _LARGEST)
    letters = lettering(n, ()).letters
    drawn = [_text(_MARGIN, 24, f"Share of all choices in %: experts down, layers across; {100 / n:.1f} is equal", "h")]
    every = 1 if cell >= _NUMBERS_FROM else -(-_NAMED_EVERY // max(int(cell), 1))
    for column, layer in enumerate(layers):
        x = _HEAT_LEFT + column * cell
        if column % every == 0:
            drawn.append(_text(x + cell / 2, 44, str(layer.layer), "n m"))
        for row, share in enumerate(layer.shares.assignments):
            y = 50 + row * _HEAT_ROW
            drawn.append(_shade((x, y), (cell - 1, _HEAT_ROW - 1), heat(share, n)))
            if cell >= _NUMBERS_FROM:
                drawn.append(_text(x + cell / 2, y + 13, f"{100 * share:.0f}", "v"))
    drawn += [_text(_MARGIN, 64 + row * _HEAT_ROW, letter) for row, letter in enumerate(letters)]
    return "".join(drawn), 60 + n * _HEAT_ROW


def _many(layers: Sequence[LayerReport]) -> Block:
    """Layers down, experts across."""
    n = len(layers[0].shares.assignments)
    cell = (_WIDTH - _MARGIN - _HEAT_LEFT) / n
    drawn = [_text(_MARGIN, 24, f"Share of all choices: layers down, experts across; {100 / n:.1f} % is equal", "h")]
    every = next(each for each in (4, 8, 16, 32, n) if each * cell >= 2 * _NAMED_EVERY or each >= n)
    drawn += [_text(_HEAT_LEFT + expert * cell, 44, str(expert), "n") for expert in range(0, n, every)]
    for row, layer in enumerate(layers):
        y = 50 + row * _FINE_ROW
        if row % 2 == 0:
            drawn.append(_text(_MARGIN, y + 8, str(layer.layer), "n"))
        for expert, share in enumerate(layer.shares.assignments):
            drawn.append(_shade((_HEAT_LEFT + expert * cell, y), (cell - 0.5, _FINE_ROW - 1), heat(share, n)))
    return "".join(drawn), 60 + len(layers) * _FINE_ROW


def _shade(at: tuple[float, float], size: tuple[float, float], opacity: float) -> str:
    (x, y), (width, height) = at, size
    place = f'x="{x:.2f}" y="{y:g}" width="{width:.2f}" height="{height}"'
    return f'<rect class="q" {place} fill-opacity="{opacity:g}"/>'


def _text(x: float, y: float, text: str, style: str = "") -> str:
    kind = f' class="{style.strip()}"' if style.strip() else ""
    return f'<text x="{x:g}" y="{y:g}"{kind}>{escaped(text)}</text>'


def _one_line(text: str) -> str:
    return escaped(single_line(text, _HEADING))


def _headline(view: ExpertsView) -> str:
    """A long name is cut, not what follows it."""
    return headline(replace(view, name=single_line(view.name, _NAME)))
