import pytest

from mixchat.routing.choices import Choices
from mixchat.routing.routed_text import RoutedText, outer_and_middle

TOKENS = ("Hello", " world", "\n")
NEAR = Choices(0, 0, 2, (3, 1, 0, 2, 3, 0), (0.6, 0.4, 0.7, 0.3, 0.9, 0.1))
FAR = Choices(4, 0, 2, (1, 0, 1, 2, 1, 3), (0.6, 0.4, 0.7, 0.3, 0.9, 0.1))


def test_a_routed_text_finds_a_layer_and_its_first_experts() -> None:
    text = RoutedText(4, TOKENS, (NEAR, FAR))

    assert text.indices == (0, 4)
    assert text.layer(4) is FAR
    assert text.firsts(0) == (3, 0, 3)
    assert text.firsts(4) == (1, 1, 1)


def test_layers_may_give_a_token_different_numbers_of_experts() -> None:
    one = Choices(2, 0, 1, (2, 0, 1), (1.0, 1.0, 1.0))
    assert RoutedText(4, TOKENS, (NEAR, one)).firsts(2) == (2, 0, 1)


def test_a_layer_without_a_router_is_not_there() -> None:
    with pytest.raises(KeyError):
        RoutedText(4, TOKENS, (NEAR, FAR)).layer(1)


@pytest.mark.parametrize(
    ("choices", "reason"),
    [
        (Choices(0, 1, 2, NEAR.experts, NEAR.weights), "other tokens"),
        (Choices(0, 0, 2, (3, 1), (0.6, 0.4)), "other tokens"),
    ],
)
def test_choices_for_other_tokens_are_refused(choices: Choices, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        RoutedText(4, TOKENS, (choices,))


@pytest.mark.parametrize(
    ("layers", "chosen"),
    [
        ((), ()),
        ((7,), (7,)),
        ((3, 4), (3, 4)),
        ((0, 1, 2), (0, 1, 2)),
        (tuple(range(32)), (0, 15, 31)),
        (tuple(range(1, 28)), (1, 14, 27)),
    ],
)
def test_the_outer_layers_and_the_middle_one(layers: tuple[int, ...], chosen: tuple[int, ...]) -> None:
    assert outer_and_middle(layers) == chosen
