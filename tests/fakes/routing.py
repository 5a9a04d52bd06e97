"""Makes up a routed text in which the class of a token prefers an expert."""

import random
import re

from mixchat.routing.choices import Choices
from mixchat.routing.classes import TokenClass, token_class
from mixchat.routing.routed_text import RoutedText
from mixchat.routing.tally import Report, Tally

HOSTILE = (
    "\x1b[31mred",
    "\x1b]52;c;aGk=\x07",
    "\x9b2J",
    "\x00",
    "\u202eevil",
    "\ud800",
    "\ufffe\uffff",
    "</script><script>alert(1)</script>",
    "<!--",
    "]]>",
    "&amp;<b>\"'",
    "日本語",
    "\u0301",
    "e\u0301",
    "👩\u200d💻",
    "\r\n",
    "\t",
    "",
    "\u2028",
    "\U000e0041",
)
"""Texts of tokens that could break a terminal, a page or a picture."""


def split(text: str) -> tuple[str, ...]:
    """Something like tokens."""
    return tuple(re.findall(r"\n+|[ \t]{2,}|\s?[^\W\d_]{1,6}|\s?\d|\s?[^\w\s]{1,2}|.", text))


def routed(tokens: tuple[str, ...], n_experts: int = 8, used: int = 2, layers: int = 4, seed: int = 7) -> RoutedText:
    rng = random.Random(seed)
    kinds = [token_class(token) for token in tokens]
    chosen = []
    for layer in range(layers):
        bias = {kind: [rng.random() ** 3 for _ in range(n_experts)] for kind in TokenClass}
        experts = [expert for kind in kinds for expert in row(rng, bias[kind], used)]
        chosen.append(Choices(layer, 0, used, tuple(experts), (1 / used,) * len(experts)))
    return RoutedText(n_experts, tokens, tuple(chosen))


def row(rng: random.Random, bias: list[float], used: int) -> list[int]:
    keys = [rng.random() + like for like in bias]
    return sorted(range(len(bias)), key=keys.__getitem__, reverse=True)[:used]


def report_of(text: RoutedText, *, classes: bool = True) -> Report:
    tally = Tally(text.n_experts)
    for choices in text.layers:
        tally.add(choices, tuple(map(token_class, text.tokens)) if classes else None)
    return tally.report()
