"""Knows a text token by token together with what every layer's router chose for it; refuses to know how it is shown."""

from dataclasses import dataclass

from mixchat.routing.choices import Choices


@dataclass(frozen=True, slots=True)
class RoutedText:
    """A text and the experts of each of its tokens.

    - `n_experts` are there in each layer to choose from
    - `tokens`: the text of each token, in order, as llama.cpp's detokenizer gives it
    - `layers`: for every layer with a router the choices for exactly these tokens, in rising order of layers

    Raises:
        ValueError: A layer has choices for other tokens.
    """

    n_experts: int
    tokens: tuple[str, ...]
    layers: tuple[Choices, ...]

    def __post_init__(self) -> None:
        for choices in self.layers:
            if choices.first or choices.count != len(self.tokens):
                raise ValueError(f"layer {choices.layer}: choices for other tokens than the text's")

    @property
    def indices(self) -> tuple[int, ...]:
        """The layers with a router."""
        return tuple(choices.layer for choices in self.layers)

    def layer(self, index: int) -> Choices:
        """The choices of a layer.

        Raises:
            KeyError: It has no router.
        """
        for choices in self.layers:
            if choices.layer == index:
                return choices
        raise KeyError(index)

    def firsts(self, index: int) -> tuple[int, ...]:
        """Each token's first expert at a layer; errors as in `layer`."""
        choices = self.layer(index)
        return choices.experts[:: choices.used]


def outer_and_middle(layers: tuple[int, ...]) -> tuple[int, ...]:
    """The first, the middle and the last of some layers, each once: layers 0, 15 and 31 of 32 (arXiv 2401.04088)."""
    places = sorted({0, (len(layers) - 1) // 2, len(layers) - 1}) if layers else []
    return tuple(layers[place] for place in places)
