"""The letters and colours of experts.

Knows eight colours that the colour-blind tell apart and which experts get them; refuses to know where they are drawn.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from string import ascii_uppercase
from typing import Final

from mixchat.routing.shares import normalised

LETTERED: Final = len(ascii_uppercase)
"""Up to so many experts have a letter of their own, the same in every layer."""

ANY_OTHER: Final = "."
"""The letter of those that have none."""

COLOURS: Final = (
    ("#e69f00", "#000000"),
    ("#56b4e9", "#000000"),
    ("#009e73", "#000000"),
    ("#f0e442", "#000000"),
    ("#0072b2", "#ffffff"),
    ("#d55e00", "#000000"),
    ("#cc79a7", "#000000"),
    ("#882255", "#ffffff"),
)
"""Ground and ink: Okabe and Ito's palette, with wine of Paul Tol's in place of black."""

_OF_16: Final = (
    "black on yellow",
    "black on cyan",
    "black on green",
    "black on white",
    "bright_white on blue",
    "black on red",
    "black on bright_magenta",
    "bright_white on magenta",
)


@dataclass(frozen=True, slots=True)
class Lettering:
    """What one layer's experts look like; every tuple has one entry per expert.

    - `letters`: one character each
    - `colours`: places in `COLOURS`, None for an expert without one
    - `shares`: of first choices
    """

    letters: tuple[str, ...]
    colours: tuple[int | None, ...]
    shares: tuple[float, ...]

    def legend(self) -> tuple[int, ...]:
        """The experts to explain: those with a letter of their own, in the order of the letters."""
        named = [expert for expert, letter in enumerate(self.letters) if letter != ANY_OTHER]
        return tuple(sorted(named, key=self.letters.__getitem__))

    def name(self, expert: int) -> str:
        """A letter, with the number of the expert where that does not follow from it."""
        letter = self.letters[expert]
        return letter if len(self.letters) <= LETTERED else f"{letter}={expert}"

    @property
    def rest(self) -> float | None:
        """The share of all experts without a letter; None if there are none."""
        others = [share for share, letter in zip(self.shares, self.letters, strict=True) if letter == ANY_OTHER]
        return sum(others) if others else None


def lettering(n_experts: int, firsts: Sequence[int]) -> Lettering:
    """Letters and colours for a layer whose tokens have these first experts.

    Up to 8 experts have a colour each and up to 26 a letter. Of more, the 8 that come first most often in this layer
    have colours, and of more than 26 only these have letters, A for the most used.
    """
    counted = Counter(firsts)
    counts = [counted[expert] for expert in range(n_experts)]
    shares = normalised(counts) if firsts else (0.0,) * n_experts
    top = sorted(range(n_experts), key=lambda expert: (-counts[expert], expert))[: len(COLOURS)]
    places = {expert: place for place, expert in enumerate(sorted(top) if n_experts <= len(COLOURS) else top)}
    colours = tuple(places.get(expert) for expert in range(n_experts))
    if n_experts <= LETTERED:
        return Lettering(tuple(ascii_uppercase[:n_experts]), colours, shares)
    letters = (ANY_OTHER if place is None else ascii_uppercase[place] for place in colours)
    return Lettering(tuple(letters), colours, shares)


def naming(n_experts: int) -> str:
    """One sentence on what letters mean."""
    if n_experts == 1:
        return "The only expert, 0, is called A."
    if n_experts <= LETTERED:
        return f"Experts 0 to {n_experts - 1} are called A to {ascii_uppercase[n_experts - 1]}."
    last = ascii_uppercase[len(COLOURS) - 1]
    return (
        f"In each layer the {len(COLOURS)} experts that come first most often are called A to {last}; "
        f"{ANY_OTHER} is any other."
    )


def terminal_style(place: int | None, few_colours: bool) -> str:
    """The style of a colour on a terminal, of 16 colours or of more; ink and ground, so that it reads on any ground."""
    if place is None:
        return ""
    if few_colours:
        return _OF_16[place]
    ground, ink = COLOURS[place]
    return f"{ink} on {ground}"
