"""The tables of a report on routing, and what their columns mean.

Knows which figure stands where and how it is written; refuses to know how a table is drawn: the terminal and the page
show the same.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from math import fsum
from typing import Final

from mixchat.routing.batches import BATCH_TOKENS, ENOUGH_BATCHES
from mixchat.routing.classes import TokenClass
from mixchat.routing.comparing import Comparison, LayerDifference
from mixchat.routing.tally import LayerReport, Report
from mixchat.routing.traffic import Placement, placement_sentence, usual_cache
from mixchat.ui.by_width import NOTHING
from mixchat.ui.experts_values import ExpertsView, Versus
from mixchat.ui.sanitize import single_line

_SHORT: Final = {TokenClass.PUNCTUATION: "punct.", TokenClass.INDENTATION: "indent"}
_FEW_SIZES: Final = 10
_HOLDS: Final = {
    TokenClass.JOINED: "joined: letters with no blank before: the rest of a word, or behind a bracket",
    TokenClass.OTHER: "other: mixtures (x1), one blank, emoji, control tokens, parts of characters",
}
_SCALE: Final = "0: alike, 100: no expert in common; in brackets: what chance gives on average"
_ENOUGH: Final = (
    f"that takes {BATCH_TOKENS * (ENOUGH_BATCHES - 1) + 1} tokens ({ENOUGH_BATCHES} batches of {BATCH_TOKENS})."
)


@dataclass(frozen=True, slots=True)
class Figures:
    """A table: a title, rows under headings, and sentences on what they mean."""

    title: str
    headings: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...]


def tables_of(view: ExpertsView) -> Iterator[Figures]:
    """The tables of the first text alone, those on classes and traffic left out where they have nothing to say."""
    yield even_table(view.report, view.rows(view.report))
    comparison = view.versus.comparison if view.versus else None
    classes = class_table(view.rows(view.report), comparison)
    if classes is not None:
        yield classes
    if view.report.placement is not None:
        yield traffic_table(view.report.placement)


def even_table(report: Report, rows: Sequence[LayerReport]) -> Figures:
    """How evenly experts are used and how often consecutive tokens share them, by layer (Table 5 of the paper)."""
    means = [("mean", *_even_means(report.layers))] if len(report.layers) > 1 else []
    return Figures(
        "How evenly experts are used, and how often the next token gets the same",
        ("layer", "evenness", "max/min", "same first", "by shares", "same any"),
        (*(_even_row(layer) for layer in rows), *means, *_even_chance(report.layers)),
        (
            "evenness: entropy of the shares; 1: all are used alike, 0: one does all",
            "max/min: most used over least used expert; inf: one is never used",
            "same first: consecutive tokens with the same first expert",
            "by shares: how often that would be if only the layer's shares decided",
            "same any: consecutive tokens with an expert in common",
            "chance: uniform random routing, ± one standard error of this many tokens",
        ),
    )


def _even_row(layer: LayerReport) -> tuple[str, ...]:
    repeats = layer.repeats
    shares = (repeats.first, repeats.preference, repeats.any)
    return str(layer.layer), f"{layer.shares.entropy:.3f}", _ratio(layer.shares.ratio), *map(percent, shares)


def _even_means(layers: Sequence[LayerReport]) -> tuple[str, ...]:
    """Of ratios there is none where one is infinite."""
    ratios = [layer.shares.ratio for layer in layers]
    repeats = [layer.repeats for layer in layers]
    return (
        f"{_mean(layer.shares.entropy for layer in layers):.3f}",
        _ratio(_mean(ratios)),
        percent(_mean(each.first for each in repeats)),
        percent(_mean(each.preference for each in repeats)),
        percent(_mean(each.any for each in repeats)),
    )


def _even_chance(layers: Sequence[LayerReport]) -> Iterator[tuple[str, ...]]:
    """The layer with the fewest pairs has the largest error; layers may use different numbers of experts."""
    if layers:
        repeats = [layer.repeats for layer in layers]
        least = min(repeats, key=lambda each: each.pairs)
        errors = [each.error_any for each in repeats if each.error_any is not None]
        yield (
            "chance",
            "1.000",
            "1.0",
            with_error(least.chance_first, least.error_first),
            percent(least.chance_first),
            with_error(fsum(each.chance_any for each in repeats) / len(repeats), max(errors, default=None)),
        )


def class_table(rows: Sequence[LayerReport], comparison: Comparison | None = None) -> Figures | None:
    """How much a token's class decides, beside how much the text does; None where no classes are known."""
    kinds = [kind for kind in TokenClass if any(_distance(layer, kind) != NOTHING for layer in rows)]
    if not kinds:
        return None
    texts = {layer.layer: layer for layer in comparison.layers} if comparison else {}
    beside = ("texts",) if comparison else ()
    about = ("texts: the same between the two texts",) if comparison else ()
    names = [_SHORT.get(kind, kind.value) for kind in kinds]
    return Figures(
        "Syntax or topic: how much a token's class decides about its first expert",
        ("layer", "V", "by chance", *names, *beside),
        tuple(_class_row(layer, kinds) + _text_cell(texts, layer.layer, bool(comparison)) for layer in rows),
        (
            "V: Cramér's V of class and first expert; 0: unrelated, 1: it decides all",
            "by chance: what V stays under 95 times in 100 if they are unrelated",
            f"{_span(names)}: how unlike all other tokens a class is routed; {_SCALE}",
            *about,
            *(_HOLDS[kind] for kind in kinds if kind in _HOLDS),
        ),
    )


def _span(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{names[0]} to {names[-1]}"


def _class_row(layer: LayerReport, kinds: Sequence[TokenClass]) -> tuple[str, ...]:
    found = layer.by_class.association
    v = (f"{found.v:.2f}", f"{found.chance:.2f}") if found else (NOTHING, NOTHING)
    return (str(layer.layer), *v, *(_distance(layer, kind) for kind in kinds))


def _distance(layer: LayerReport, kind: TokenClass) -> str:
    for shares in layer.by_class.classes:
        if shares.kind is kind and shares.distance is not None and shares.chance is not None:
            return f"{100 * shares.distance:.0f} ({100 * shares.chance:.0f})"
    return NOTHING


def _text_cell(texts: dict[int, LayerDifference], layer: int, wanted: bool) -> tuple[str, ...]:
    if not wanted:
        return ()
    return (f"{100 * texts[layer].first:.0f}" if layer in texts else NOTHING,)


def traffic_table(placement: Placement) -> Figures:
    """What the most used experts carry, with the sentence on what follows from it."""
    sample = "" if all(layer.exact for layer in placement.layers) else ", in a sample of them"
    tokens = ("tokens", "tokens if equal") if placement.used > 1 else ()
    whole = (f"tokens: those that need no other expert{sample}",) if placement.used > 1 else ()
    return Figures(
        "What the most used experts of a layer carry",
        ("most used", "choices", "choices if equal", *tokens),
        tuple(_traffic_row(placement, size) for size in _sizes(placement)),
        (
            "choices: their share of all choices, mean of the layers",
            *whole,
            "if equal: what as many would have if all experts were used alike",
            placement_sentence(placement),
        ),
    )


def _traffic_row(placement: Placement, size: int) -> tuple[str, ...]:
    at = size - 1
    choices = percent(placement.carried[at]), percent(placement.even_carried[at])
    tokens = (percent(placement.whole[at]), percent(placement.even_whole[at])) if placement.used > 1 else ()
    return str(size), *choices, *tokens


def _sizes(placement: Placement) -> list[int]:
    """Every number of experts, or the powers of two and the one that the sentence speaks about."""
    n = placement.n_experts
    if n <= _FEW_SIZES:
        return list(range(1, n + 1))
    return sorted({1 << power for power in range(n.bit_length()) if 1 << power <= n} | {usual_cache(placement), n})


def comparison_table(view: ExpertsView, versus: Versus) -> Figures:
    """How differently the two texts are routed, and in how many layers by more than chance explains."""
    rows = [layer for layer in versus.comparison.layers if view.all_layers or layer.layer in view.chosen]
    return Figures(
        "How differently the two texts are routed",
        ("layer", "differ", "first", "by chance", "stays under", "beyond"),
        tuple(_difference_row(layer) for layer in rows),
        (
            "differ: % of one text's choices that go elsewhere than the other's",
            "first: the same of first choices",
            "by chance: 'differ' of two samples of one source, ± its deviation",
            "stays under: what such samples stay under 95 times in 100",
            "beyond: whether the texts differ by more than that",
            verdict(view, versus),
        ),
    )


def _difference_row(layer: LayerDifference) -> tuple[str, ...]:
    chance = NOTHING if layer.chance is None else with_error(layer.chance, layer.error)
    beyond = NOTHING if layer.beyond is None else "yes" if layer.beyond else "no"
    return str(layer.layer), percent(layer.difference), percent(layer.first), chance, percent(layer.bound), beyond


def verdict(view: ExpertsView, versus: Versus) -> str:
    """In how many layers the texts differ by more than chance explains, and how many of those chance gives."""
    comparison = versus.comparison
    if not comparison.judged:
        return _too_short(((view.name or "the first text", view.report), (versus.name, versus.report)))
    layers = "layer" if comparison.judged == 1 else "layers"
    return (
        f"In {comparison.beyond} of {comparison.judged} {layers} the texts differ by more than chance explains; "
        f"two samples of one source would in {comparison.false_alarms:.1f}."
    )


def _too_short(texts: Iterable[tuple[str, Report]]) -> str:
    """Which of the texts are too short in every layer."""
    short = [
        f"{single_line(name)} ({token_count(report.tokens)})"
        for name, report in texts
        if all(len(layer.batches) < ENOUGH_BATCHES for layer in report.layers)
    ]
    if not short:
        return f"No layer has enough tokens of both texts to say what chance would give: {_ENOUGH}"
    verb = "is" if len(short) == 1 else "are"
    return f"{' and '.join(short)} {verb} too short to say what chance would give: {_ENOUGH}"


def token_count(count: int) -> str:
    """So many tokens."""
    return f"{count} token{'s' if count != 1 else ''}"


def percent(share: float | None) -> str:
    """A share in percent with one decimal."""
    return NOTHING if share is None else f"{100 * share:.1f} %"


def with_error(share: float, error: float | None) -> str:
    """A share and its error in percent."""
    return percent(share) if error is None else f"{100 * share:.1f} ± {100 * error:.1f} %"


def _ratio(ratio: float | None) -> str:
    return "inf" if ratio is None else f"{ratio:.1f}"


def _mean(values: Iterable[float | None]) -> float | None:
    """None if one is missing."""
    known = list(values)
    numbers = [value for value in known if value is not None]
    return fsum(numbers) / len(numbers) if len(numbers) == len(known) else None
