import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mixchat.routing.association import association_of
from mixchat.routing.classes import TokenClass
from tests.routing.routed import drawn, report


def test_classes_by_hand() -> None:
    kinds = [TokenClass.WORD, TokenClass.DIGITS, TokenClass.WORD, TokenClass.WORD]
    classes = report([(0, 1), (1, 0), (0, 1), (1, 2)], 4, kinds).layers[0].by_class.classes
    digits, words = classes
    assert (digits.kind, digits.tokens, digits.first) == (TokenClass.DIGITS, 1, (0.0, 1.0, 0.0, 0.0))
    assert (words.kind, words.tokens, words.first) == (TokenClass.WORD, 3, (2 / 3, 1 / 3, 0.0, 0.0))
    assert words.distance == digits.distance == pytest.approx(2 / 3)
    assert words.chance == pytest.approx(math.sqrt(2 / math.pi * (1 + 1 / 3) * 0.25))


def test_without_classes_nothing_is_said_about_them() -> None:
    seen = report([(0, 1), (1, 0)]).layers[0].by_class
    assert (seen.classes, seen.association) == ((), None)


def test_a_single_class_has_no_others() -> None:
    seen = report([(0, 1), (1, 0)], 8, [TokenClass.WORD] * 2).layers[0].by_class
    assert (seen.classes[0].distance, seen.classes[0].chance, seen.association) == (None, None, None)


def test_association_by_hand() -> None:
    """Chi-squared is 20 for this table of 100; phi2 - 1/99 over 2 - 1/99 - 1."""
    found = association_of([(35, 15), (12, 38)])
    assert found is not None
    chi = 100 * (35 * 38 - 15 * 12) ** 2 / (50 * 50 * 47 * 53)
    assert found.v == pytest.approx(math.sqrt((chi / 100 - 1 / 99) / (1 - 1 / 99)))
    assert found.chance == pytest.approx(math.sqrt((3.841 / 100 - 1 / 99) / (1 - 1 / 99)), rel=0.02)
    assert found.tokens == 100


def test_a_class_that_decides_everything_and_one_that_decides_nothing() -> None:
    every = association_of([(500, 0, 0), (0, 500, 0), (0, 0, 500)])
    none = association_of([(100, 200, 300), (200, 400, 600)])
    assert every is not None
    assert none is not None
    assert every.v == pytest.approx(1.0)
    assert none.v == 0.0


@pytest.mark.parametrize("table", [[], [(5, 5)], [(5, 0), (5, 0)], [(1, 0), (0, 0)], [(1, 0), (0, 1)]])
def test_tables_that_say_nothing(table: list[tuple[int, ...]]) -> None:
    assert association_of(table) is None


@given(st.lists(st.tuples(*[st.integers(0, 50)] * 4), min_size=1, max_size=6))
def test_association_lies_between_nothing_and_everything(table: list[tuple[int, ...]]) -> None:
    found = association_of(table)
    assert found is None or (0 <= found.v <= 1 and 0 <= found.chance <= 1)


def test_classes_that_decide_nothing_stay_under_chance_as_often_as_promised() -> None:
    rng = random.Random(11)
    kinds = list(TokenClass)
    above = 0
    for _ in range(200):
        rows = drawn(rng, [1.0, 2.0, 3.0, 4.0], 1, 300)
        found = report(rows, 4, rng.choices(kinds, k=300)).layers[0].by_class.association
        assert found is not None
        above += found.v > found.chance
    assert 2 <= above <= 20
