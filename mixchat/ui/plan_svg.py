"""A plan as a picture.

Knows how layers, devices and bars become SVG that reads on light and dark; refuses to know files.
"""

from collections.abc import Iterator
from html import escape
from itertools import accumulate
from typing import Final

from mixchat.app.planning import Planned
from mixchat.plan.units import format_bytes
from mixchat.plan.values import Placement, Plan, Share
from mixchat.ui.layer_map import bar_lengths
from mixchat.ui.plan import forecast_lines, plan_line
from mixchat.ui.sanitize import single_line

_WIDTH: Final = 920
_LEFT, _TOP, _MARGIN = 130, 118, 24
_CELL, _GAP, _ROW = 20, 2, 34
_PER_LINE: Final = (_WIDTH - _LEFT - _MARGIN) // (_CELL + _GAP)
_BAR: Final = 480
_LINE: Final = 96
_TEXT_WIDTH: Final = 130
_COLOURS: Final = tuple(
    f'fill="{colour}"' for colour in ("#2b8a3e", "#1098ad", "#862e9c", "#f08c00", "#1864ab", "#e64980")
)
_CPU: Final = 'class="c"'
_KEY: Final = 'fill="#868e96"'
_OPACITY: Final = (1.0, 0.7, 0.45, 0.25)
_STYLE: Final = (
    "text{font:13px ui-sans-serif,system-ui,sans-serif;fill:#212529}"
    ".t{font-size:17px;font-weight:600}.s{fill:#6c757d}.n{font-size:10px;fill:#6c757d;text-anchor:middle}"
    ".b{fill:#ffffff}.c{fill:#ced4da}.e{fill:none;stroke:#adb5bd}"
    "@media(prefers-color-scheme:dark){text{fill:#e9ecef}.s,.n{fill:#adb5bd}.b{fill:#16191d}.c{fill:#5c636a}"
    ".e{stroke:#495057}}"
)


def plan_svg(planned: Planned) -> str:
    """The picture; a file of its own, without scripts, fonts and addresses of others."""
    plan = planned.plan
    lines = -(-len(plan.layers) // _PER_LINE)
    bars_at = _TOP + lines * _LINE + 28
    height = bars_at + len(plan.shares) * _ROW + 40
    parts = (*_heading(planned), *_layers(plan), *_bars(plan, bars_at), *_key(bars_at + len(plan.shares) * _ROW + 10))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{height}" '
        f'viewBox="0 0 {_WIDTH} {height}" role="img"><title>{_clean(planned.name)}</title>'
        f'<style>{_STYLE}</style><rect class="b" width="{_WIDTH}" height="{height}"/>' + "".join(parts) + "</svg>\n"
    )


def _heading(planned: Planned) -> Iterator[str]:
    model, plan = planned.model, planned.plan
    yield _text(_MARGIN, 34, f"{planned.name}  {model.quantization}, {format_bytes(model.file_bytes)}", "t")
    yield _text(_MARGIN, 58, plan_line(model, plan))
    yield _text(_MARGIN, 80, forecast_lines(plan.forecast)[0], "s")


def _layers(plan: Plan) -> Iterator[str]:
    """For every layer a square of its attention above one of its experts, in three stripes where they are split."""
    for layer in plan.layers:
        line, column = divmod(layer.index, _PER_LINE)
        x, y = _LEFT + column * (_CELL + _GAP), _TOP + line * _LINE
        if column == 0:
            yield _text(_MARGIN, y + 15, "attention, KV") + _text(_MARGIN, y + 15 + _ROW, "experts")
        if layer.index % 4 == 0 or column == 0:
            yield _text(x + _CELL // 2, y - 5, str(layer.index), "n")
        yield f"<g><title>{_clean(_words(layer))}</title>"
        yield _rect((x, y), (_CELL, _CELL), _colour(plan, layer.attention))
        yield from _experts(plan, layer, x, y + _ROW)
        yield "</g>"
    yield _devices(plan, _TOP + (-(-len(plan.layers) // _PER_LINE)) * _LINE - 20)


def _experts(plan: Plan, layer: Placement, x: float, y: float) -> Iterator[str]:
    if layer.experts is not None:
        yield _rect((x, y), (_CELL, _CELL), _colour(plan, layer.experts))
        return
    for index, device in enumerate((layer.up, layer.gate, layer.down)):
        yield _rect((x, y + index * _CELL / 3), (_CELL, _CELL / 3), _colour(plan, device))


def _words(layer: Placement) -> str:
    experts = layer.experts or f"up {layer.up}, gate {layer.gate}, down {layer.down}"
    return f"layer {layer.index}: attention {layer.attention}, experts {experts}"


def _devices(plan: Plan, y: float) -> str:
    """Which colour is which device."""
    x, parts = float(_LEFT), []
    for share in plan.shares:
        parts.append(_rect((x, y - 10), (12, 12), _colour(plan, share.device)) + _text(x + 18, y, share.device))
        x += 34 + 8 * len(single_line(share.device))
    return "".join(parts) + _text(x + 10, y, f"head on {plan.head}", "s")


def _bars(plan: Plan, top: float) -> Iterator[str]:
    """A bar for each device: weights, KV cache, compute buffers and copies, ever paler, of its budget."""
    for row, share in enumerate(plan.shares):
        y = top + row * _ROW
        yield _text(_MARGIN, y + 15, share.device)
        yield f'<rect class="e" x="{_LEFT}" y="{y}" width="{_BAR}" height="{_CELL}"/>'
        lengths = bar_lengths(share, _BAR)[: len(_OPACITY)]
        starts = accumulate(lengths, initial=0)
        for start, length, opacity in zip(starts, lengths, _OPACITY, strict=False):
            if length:
                yield _rect((_LEFT + start, y), (length, _CELL), _colour(plan, share.device), opacity)
        yield _text(_LEFT + _BAR + 14, y + 15, _amount(share), "s")


def _amount(share: Share) -> str:
    return f"{format_bytes(share.footprint.total)} of {format_bytes(share.budget)}"


def _key(y: float) -> Iterator[str]:
    x = float(_LEFT)
    for name, opacity in zip(("weights", "KV cache", "compute", "copies"), _OPACITY, strict=True):
        yield _rect((x, y - 10), (12, 12), _KEY, opacity) + _text(x + 18, y, name, "s")
        x += 110


def _colour(plan: Plan, device: str) -> str:
    gpus = [share.device for share in plan.shares if share.kind == "gpu"]
    return _COLOURS[gpus.index(device) % len(_COLOURS)] if device in gpus else _CPU


def _rect(at: tuple[float, float], size: tuple[float, float], colour: str, opacity: float = 1.0) -> str:
    faint = "" if opacity == 1.0 else f' fill-opacity="{opacity}"'
    (x, y), (width, height) = at, size
    return f'<rect x="{x:g}" y="{y:.2f}" width="{width:g}" height="{height:.2f}" {colour}{faint}/>'


def _text(x: float, y: float, text: str, style: str = "") -> str:
    kind = f' class="{style}"' if style else ""
    return f'<text x="{x:g}" y="{y:g}"{kind}>{_clean(text)}</text>'


def _clean(text: str) -> str:
    return escape(single_line(text, _TEXT_WIDTH))
