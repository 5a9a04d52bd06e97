"""A model's routing as a page.

Knows how the text, the shares and the tables become one HTML file that needs nothing else; refuses to know files.
"""

import json
from collections.abc import Iterator
from dataclasses import replace
from string import ascii_letters, digits
from typing import Final

from mixchat.routing.routed_text import RoutedText, outer_and_middle
from mixchat.routing.tally import LayerReport, Report
from mixchat.ui.experts import NOTHING_ROUTED, headline, second_headline
from mixchat.ui.experts_heat import FEW_EXPERTS
from mixchat.ui.experts_letters import ANY_OTHER, LETTERED, Lettering, lettering, naming
from mixchat.ui.experts_lines import visible_token
from mixchat.ui.experts_markup import escaped, heat
from mixchat.ui.experts_page import POLICY, SCRIPT, STYLE
from mixchat.ui.experts_tables import Figures, comparison_table, even_table, tables_of
from mixchat.ui.experts_values import ExpertsView

_CODES: Final = ascii_letters + digits
_MORE_CODES: Final = 0x100
_MOST_BUTTONS: Final = 12


def experts_html(view: ExpertsView) -> str:
    """The page: it opens from a file, reads on light and dark, and is printed as it is seen.

    Foreign text is cleaned and escaped, and the page may fetch nothing. Without scripts it shows the text at the first
    of the chosen layers, and everything else.
    """
    title = escaped(view.model)
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>Experts of {title}</title>\n'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">\n'
        f"<style>{STYLE}</style></head>\n<body><h1>{title}</h1>\n<p>{escaped(headline(view))}</p>\n"
        + "\n".join(_sections(view))
        + "\n</body></html>\n"
    )


def _sections(view: ExpertsView) -> Iterator[str]:
    if not view.report.layers:
        yield f"<p>{NOTHING_ROUTED}</p>"
        return
    if view.text is not None and view.passages:
        yield from _passage(view.text, view.passages, view.beginning)
    yield from _heat(view.report)
    every = {figures.title: figures for figures in tables_of(replace(view, all_layers=True))}
    for figures in tables_of(view):
        yield from _table(figures, every[figures.title])
    yield from _second(view)
    if view.text is not None and view.passages:
        yield f"<script>{SCRIPT}</script>"


def _second(view: ExpertsView) -> Iterator[str]:
    if view.versus is None:
        return
    whole, report = replace(view, all_layers=True), view.versus.report
    yield f"<h2>{escaped(view.versus.name)}</h2><p>{second_headline(view.versus)}</p>"
    if report.layers:
        yield from _heat(report)
        yield from _table(even_table(report, view.rows(report)), even_table(report, whole.rows(report)))
    yield from _table(comparison_table(view, view.versus), comparison_table(whole, view.versus))


def _passage(text: RoutedText, chosen: tuple[int, ...], beginning: str) -> Iterator[str]:
    """The text, the choice of a layer, and the first experts of all layers for it."""
    first = text.indices.index(chosen[0])
    looks = lettering(text.n_experts, text.firsts(chosen[0]))
    yield f"<h2>First expert of each token</h2><p>{f'{naming(text.n_experts)} {beginning}'.rstrip()}</p>"
    yield _controls(text, chosen, first)
    yield f'<p id="legend" aria-live="polite">{_legend(looks)}</p>'
    places = (looks.colours[expert] for expert in text.firsts(chosen[0]))
    tokens = (f"<i{_kind(place)}>{_token(token)}</i>" for token, place in zip(text.tokens, places, strict=True))
    yield f'<div id="text" tabindex="0" aria-label="The text">{"".join(tokens)}</div>'
    yield f'<script type="application/json" id="data">{_data(text)}</script>'


def _controls(text: RoutedText, chosen: tuple[int, ...], first: int) -> str:
    """A slider for all layers, and buttons for the chosen ones; for some of them where they would be a wall."""
    shortcuts = chosen if len(chosen) <= _MOST_BUTTONS else outer_and_middle(chosen)
    buttons = "".join(
        f'<button type="button" data-at="{text.indices.index(layer)}">layer {layer}</button>' for layer in shortcuts
    )
    return (
        f'<div class="controls"><label>Layer <output id="shown">{chosen[0]}</output> '
        f'<input id="layer" type="range" min="0" max="{len(text.layers) - 1}" value="{first}"></label>{buttons}'
        '<label><input id="letters" type="checkbox"> letters</label></div>'
    )


def _legend(looks: Lettering) -> str:
    """What the script draws for other layers."""
    items = [
        f"<span><b{_kind(looks.colours[expert])}>{looks.letters[expert]}</b>"
        f"{f' expert {expert},' if len(looks.letters) > LETTERED else ''} {_percent(looks.shares[expert])}</span>"
        for expert in looks.legend()
    ]
    if looks.rest is not None:
        items.append(f"<span><b>{ANY_OTHER}</b> others {_percent(looks.rest)}</span>")
    return "".join(items)


def _kind(place: int | None) -> str:
    return "" if place is None else f' class="c{place}"'


def _token(token: str) -> str:
    return escaped(visible_token(token)).replace("\n", "⏎\n")


def _data(text: RoutedText) -> str:
    """One character per token and layer; `codes` has the character of each expert."""
    codes = "".join(_code(expert) for expert in range(text.n_experts))
    layers = [_layer_data(text, index, codes) for index in text.indices]
    numbers = text.n_experts > LETTERED
    content = {"codes": codes, "other": ANY_OTHER, "numbers": numbers, "layers": layers}
    return json.dumps(content, ensure_ascii=False, separators=(",", ":"))


def _code(expert: int) -> str:
    """A letter or a digit, and letters beyond ASCII for more experts than these."""
    return _CODES[expert] if expert < len(_CODES) else chr(_MORE_CODES + expert)


def _layer_data(text: RoutedText, index: int, codes: str) -> dict[str, object]:
    firsts = text.firsts(index)
    looks = lettering(text.n_experts, firsts)
    legend = [
        (expert, looks.letters[expert], looks.colours[expert], _percent(looks.shares[expert]))
        for expert in looks.legend()
    ]
    rest = None if looks.rest is None else _percent(looks.rest)
    return {"layer": index, "firsts": "".join(codes[expert] for expert in firsts), "legend": legend, "rest": rest}


def _heat(report: Report) -> Iterator[str]:
    """A cell for each layer and expert; numbers where there are few experts, else on pointing."""
    few = report.n_experts <= FEW_EXPERTS
    names = lettering(report.n_experts, ()).letters if few else ("",) * report.n_experts
    head = "".join(f'<th scope="col">{name}</th>' for name in names) if few else ""
    rows = "".join(_heat_row(layer, few) for layer in report.layers)
    equal = f"{100 / report.n_experts:.1f}"
    yield "<h2>Share of all choices, by layer and expert</h2>"
    yield f'<p class="soft">Layers down, experts across, in %; {equal} % is an equal share.</p>'
    kind = "heat" if few else "heat fine"
    header = f'<thead><tr><th scope="col">layer</th>{head}</tr></thead>' if few else ""
    yield f'<div class="scroll"><table class="{kind}">{header}<tbody>{rows}</tbody></table></div>'


def _heat_row(layer: LayerReport, few: bool) -> str:
    shares = layer.shares.assignments
    cells = []
    for expert, share in enumerate(shares):
        opacity = heat(share, len(shares))
        hint = f' title="layer {layer.layer}, expert {expert}: {100 * share:.2f} %"'
        cells.append(f'<td style="--h:{opacity:g}"{hint}>{f"{100 * share:.1f}" if few else ""}</td>')
    return f'<tr><th scope="row">{layer.layer}</th>{"".join(cells)}</tr>'


def _table(figures: Figures, every: Figures) -> Iterator[str]:
    """A table with its notes; all layers below it where it shows some."""
    yield f"<h2>{escaped(figures.title)}</h2>{_rows(figures)}"
    if every.rows != figures.rows:
        yield f"<details><summary>All layers</summary>{_rows(every)}</details>"
    for note in figures.notes:
        kind = "" if note.endswith(".") else ' class="soft"'
        yield f"<p{kind}>{escaped(note)}</p>"


def _rows(figures: Figures) -> str:
    head = "".join(f'<th scope="col">{escaped(heading)}</th>' for heading in figures.headings)
    rows = "".join(
        f'<tr><th scope="row">{escaped(row[0])}</th>{"".join(f"<td>{escaped(cell)}</td>" for cell in row[1:])}</tr>'
        for row in figures.rows
    )
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>'


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"
