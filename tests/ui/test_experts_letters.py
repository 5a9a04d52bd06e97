import pytest

from mixchat.ui.experts_letters import COLOURS, lettering, naming, terminal_style


def luminance(colour: str) -> float:
    """Of WCAG 2."""
    parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return sum(weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


@pytest.mark.parametrize(("ground", "ink"), COLOURS)
def test_ink_reads_on_its_ground(ground: str, ink: str) -> None:
    light, dark = sorted((luminance(ground), luminance(ink)), reverse=True)
    assert (light + 0.05) / (dark + 0.05) >= 4.5


def test_eight_experts_have_a_letter_and_a_colour_each_in_every_layer() -> None:
    looks = lettering(8, (3, 3, 1))
    assert looks.letters == tuple("ABCDEFGH")
    assert looks.colours == tuple(range(8))
    assert looks.shares == (0, 1 / 3, 0, 2 / 3, 0, 0, 0, 0)
    assert looks.rest is None


def test_of_sixteen_experts_the_eight_most_used_are_coloured() -> None:
    looks = lettering(16, (15, 15, 2))
    assert looks.letters == tuple("ABCDEFGHIJKLMNOP")
    assert (looks.colours[15], looks.colours[2], looks.colours[0]) == (0, 1, 2)
    assert sum(place is None for place in looks.colours) == 8
    assert len(looks.legend()) == 16
    assert looks.name(15) == "P"


def test_of_more_than_26_experts_the_eight_most_used_have_letters() -> None:
    looks = lettering(64, (40, 40, 7, *range(20, 30)))
    assert looks.letters[40] == "A"
    assert looks.legend()[:2] == (40, 7)
    assert looks.name(40) == "A=40"
    assert looks.letters.count(".") == 56
    assert looks.rest == pytest.approx(4 / 13)


def test_no_tokens_have_no_shares() -> None:
    assert lettering(2, ()).shares == (0, 0)


@pytest.mark.parametrize(
    ("n_experts", "words"),
    [
        (1, "The only expert, 0, is called A."),
        (8, "Experts 0 to 7 are called A to H."),
        (26, "Experts 0 to 25 are called A to Z."),
        (27, "In each layer the 8 experts that come first most often are called A to H; . is any other."),
    ],
)
def test_letters_are_explained(n_experts: int, words: str) -> None:
    assert naming(n_experts) == words


def test_eight_styles_for_terminals_of_any_kind() -> None:
    assert len({terminal_style(place, True) for place in range(8)}) == 8
    assert len({terminal_style(place, False) for place in range(8)}) == 8
    assert terminal_style(1, False) == "#000000 on #56b4e9"
    assert terminal_style(None, True) == ""
