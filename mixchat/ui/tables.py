"""What `mixchat list` and `mixchat show` look like.

Knows which fact stands where and how they go on a narrow screen; refuses to know streams. Everything shown is cleaned.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Final

from mixchat.app.catalogue import Row
from mixchat.app.keeping import Unfinished
from mixchat.app.preflight import Preflight
from mixchat.gguf.model import MoeModel
from mixchat.plan.units import format_bytes
from mixchat.ui.by_width import NOTHING, ByWidth
from mixchat.ui.sanitize import single_line

if TYPE_CHECKING:
    from rich.table import Table

_HEADINGS: Final = ("name", "size", "quantization", "layout", "experts", "context", "last use")
_TEXTS: Final = frozenset(_HEADINGS) - {"size", "context"}
_TEMPLATE_LINES, _TEMPLATE_WIDTH = 3, 200


def list_table(rows: Sequence[Row], rest: Unfinished | None = None) -> ByWidth:
    """The installed models, then downloads that can go on and leftovers; of what cannot be read, its name and size."""
    others = _unfinished_rows(rest) if rest else ()
    return ByWidth(_HEADINGS, (*(_list_row(row) for row in rows), *others), _TEXTS, _below)


def _below(row: tuple[str, ...]) -> str:
    """A model's facts in two or three lines."""
    _name, size, quantization, layout, experts, context, used = row
    facts = [f"{size}, {quantization}"]
    if context != NOTHING:
        facts = [f"{size}, {quantization}, {layout}", f"experts {experts}, context {context}"]
    if used != NOTHING:
        facts.append(f"last use {used}")
    return "\n".join(facts)


def show_table(name: str, path: Path, model: MoeModel) -> "Table":
    """All that a model's header says, with its bytes by role."""
    return _facts_table(_facts(name, str(path), model), model)


def remote_table(check: Preflight) -> "Table":
    """The same of a model that is not on this machine, and whether it can be had here."""
    facts = chain(_facts(check.name, "not on this machine", check.model), _room(check), _problem(check))
    return _facts_table(facts, check.model)


def preflight_lines(check: Preflight) -> tuple[str, ...]:
    """What a person wants to know before a download, in a few lines of `label  text`."""
    model = check.model
    shape = f"{model.layout}, {_experts(model)} experts" if model.n_experts else "dense"
    facts = [
        ("model", f"{check.name} ({model.name})"),
        ("layout", f"{shape}, {model.quantization}, context {model.context_length}"),
        *_room(check),
    ]
    return tuple(f"{label:8}{single_line(value)}" for label, value in facts)


def _room(check: Preflight) -> Iterator[tuple[str, str]]:
    """What would be fetched, and where there is room for it."""
    size = sum(file.size for file in check.files)
    count = f" in {len(check.files)} files" if len(check.files) > 1 else ""
    first = check.files[0]
    yield "from", f"hf:{first.repo}/{first.path}, {format_bytes(size)}{count}"
    rest = "" if check.disk_needed == size else f"{format_bytes(check.disk_needed)} of them to fetch, "
    yield "disk", f"{rest}{format_bytes(check.disk_free)} free"
    for index, reason in enumerate(check.reasons):
        yield "why" if index == 0 else "", reason


def _problem(check: Preflight) -> Iterator[tuple[str, str]]:
    if check.problem is not None:
        yield "problem", check.problem.message
        yield "", check.problem.hint


def _facts_table(facts: Iterable[tuple[str, str]], model: MoeModel) -> "Table":
    from rich.table import Table
    from rich.text import Text

    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for label, value in facts:
        table.add_row(label, single_line(value))
    for label, line in _template(model.chat_template):
        table.add_row(label, Text(line, no_wrap=True, overflow="ellipsis"))
    return table


def _list_row(row: Row) -> tuple[str, ...]:
    name, size = single_line(row.installed.record.name), format_bytes(row.installed.record.total)
    used = _day(row.last_used)
    if row.model is None:
        return _no_model(name, size, "damaged", used)
    model = row.model
    shape = (single_line(model.quantization), model.layout, _experts(model), str(model.context_length))
    return name, size, *shape, used


def _unfinished_rows(rest: Unfinished) -> Iterator[tuple[str, ...]]:
    for part in rest.partials:
        share = f"partial, {100 * part.have // part.size} %" if part.size else "partial"
        yield _no_model(single_line(part.name), format_bytes(part.have), share)
    sizes: dict[str, int] = {}
    for left in rest.leftovers:
        sizes[left.name] = sizes.get(left.name, 0) + left.nbytes
    for name, size in sizes.items():
        yield _no_model(single_line(name), format_bytes(size), "leftover")


def _no_model(name: str, size: str, what: str, used: str = NOTHING) -> tuple[str, ...]:
    return name, size, what, NOTHING, NOTHING, NOTHING, used


def _day(moment: str | None) -> str:
    return moment.partition("T")[0] if moment else NOTHING


def _experts(model: MoeModel) -> str:
    return f"{model.n_experts_used} of {model.n_experts}" if model.n_experts else NOTHING


def _facts(name: str, path: str, model: MoeModel) -> Iterator[tuple[str, str]]:
    yield "name", name
    yield "title", model.name
    yield "path", path
    yield "architecture", model.architecture
    yield "quantization", model.quantization
    yield "layers", str(model.n_layers)
    yield "layout", model.layout
    yield "experts", f"{_experts(model)} per token" if model.n_experts else "none"
    yield "context", f"{model.context_length} tokens"
    yield "file", f"{format_bytes(model.file_bytes)} ({model.file_bytes:,} bytes)"
    yield from _bytes_by_role(model)
    yield "per token", f"{format_bytes(model.active_bytes_per_token)} read"


def _bytes_by_role(model: MoeModel) -> Iterator[tuple[str, str]]:
    yield "  dense", format_bytes(sum(layer.dense for layer in model.layers)) + " (attention, router, norms)"
    if model.n_experts:
        yield "  experts up", format_bytes(sum(layer.up for layer in model.layers))
        yield "  experts gate", format_bytes(sum(layer.gate for layer in model.layers))
        yield "  experts down", format_bytes(sum(layer.down for layer in model.layers))
    yield "  embedding", format_bytes(model.token_embd)
    yield "  head", "the embedding" if model.tied else format_bytes(model.output)
    if model.other:
        yield "  other", format_bytes(model.other)


def _template(template: str | None) -> Iterator[tuple[str, str]]:
    """The first lines that are not blank, and how much there is in all."""
    lines = [line for line in (template or "").split("\n") if line.strip()]
    if template is None or not lines:
        yield "template", "none" if template is None else "blank"
        return
    for index, line in enumerate(lines[:_TEMPLATE_LINES]):
        yield "template" if index == 0 else "", single_line(line, _TEMPLATE_WIDTH)
    yield "", f"({len(template)} characters)"
