"""What the routers chose, as JSON.

Knows names of keys; refuses to know what the numbers mean: `routing` does.

    model, name                 what was traced, by which model
    complete                    false after Ctrl-C
    experts, experts_used       of each layer, and for each token; where layers differ in that, of the one with most
    tokens                      those that every layer routed; BOS is not counted
    layers[]                    layer, experts_used; shares, repeats, classes and traffic as in `routing`, of one layer
    placement                   carried, whole (means of the layers, by number of most used experts), even_carried,
                                even_whole (if all were used alike), sentence
    text[], choices[]           without --files: each token's text; by layer each token's experts and weights, the
                                first choice first. Of a long text the first 4096 tokens
    compared_with, comparison   with --compare: the same of the second text; judged, beyond, false_alarms, layers[]

Shares are parts of 1. What a short text cannot tell is null.
"""

import json
from dataclasses import fields

from mixchat.routing.association import ByClass
from mixchat.routing.comparing import Comparison
from mixchat.routing.routed_text import RoutedText
from mixchat.routing.tally import LayerReport, Report
from mixchat.routing.traffic import placement_sentence
from mixchat.ui.experts_values import ExpertsView

_DIGITS = 6
Facts = dict[str, object]


def experts_json(view: ExpertsView, *, choices: bool = True) -> str:
    """One line of JSON with its line end; with `choices` token by token where there is a text."""
    return json.dumps(experts_facts(view, choices=choices), ensure_ascii=False) + "\n"


def experts_facts(view: ExpertsView, *, choices: bool = True) -> Facts:
    """What was chosen for a text, and for the second one where there is one."""
    facts = _facts(view.model, view.name, view.report, complete=view.complete)
    if choices and view.text is not None:
        facts |= _choices_facts(view.text)
    if view.versus is not None:
        second = view.versus
        facts["compared_with"] = _facts(view.model, second.name, second.report, complete=second.complete)
        facts["comparison"] = _comparison_facts(second.comparison)
    return facts


def _facts(model: str, name: str, report: Report, *, complete: bool) -> Facts:
    return {
        "model": model,
        "name": name,
        "complete": complete,
        "experts": report.n_experts,
        "experts_used": report.used,
        "tokens": report.tokens,
        "layers": [_layer_facts(layer) for layer in report.layers],
        "placement": _placement_facts(report),
    }


def _comparison_facts(comparison: Comparison) -> Facts:
    """How differently two texts were routed."""
    return {
        "judged": comparison.judged,
        "beyond": comparison.beyond,
        "false_alarms": round(comparison.false_alarms, _DIGITS),
        "layers": [_plain(layer) for layer in comparison.layers],
    }


def _layer_facts(layer: LayerReport) -> Facts:
    return {
        "layer": layer.layer,
        "experts_used": layer.used,
        "shares": _plain(layer.shares),
        "repeats": _plain(layer.repeats),
        "classes": _class_facts(layer.by_class),
        "traffic": {
            "ranking": layer.traffic.ranking,
            "carried": _rounded(layer.traffic.carried),
            "whole": _rounded(layer.traffic.whole),
        },
    }


def _class_facts(by_class: ByClass) -> Facts:
    classes = [{**_plain(each), "kind": str(each.kind)} for each in by_class.classes]
    return {"association": by_class.association and _plain(by_class.association), "classes": classes}


def _placement_facts(report: Report) -> Facts | None:
    placement = report.placement
    if placement is None:
        return None
    names = ("carried", "whole", "even_carried", "even_whole")
    return {**{name: _rounded(getattr(placement, name)) for name in names}, "sentence": placement_sentence(placement)}


def _choices_facts(text: RoutedText) -> Facts:
    """Each token's text, and by layer its experts and weights, the first choice first."""
    rows = {layer.layer: tuple(layer.each()) for layer in text.layers}
    return {
        "text": list(text.tokens),
        "choices": [
            {
                "layer": layer,
                "experts": [choice.experts for choice in each],
                "weights": [_rounded(choice.weights) for choice in each],
            }
            for layer, each in rows.items()
        ],
    }


def _plain(value: object) -> Facts:
    """A frozen value's fields; numbers rounded to six digits after the point."""
    return {field.name: _rounded(getattr(value, field.name)) for field in fields(value)}  # type: ignore[arg-type]


def _rounded(value: object) -> object:
    if isinstance(value, float):
        return round(value, _DIGITS)
    return [_rounded(each) for each in value] if isinstance(value, tuple) else value
