import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mixchat.routing.batches import Batches, deviations, totals
from mixchat.routing.chance import chance_bound, chance_variation
from mixchat.routing.comparing import LayerDifference, compare, hadamard, same_source
from mixchat.routing.tally import Tally
from tests.routing.routed import block, drawn, report

LEANING = [1.0, 1.5, 2.0, 2.5, 3.0, 1.2, 2.2, 1.8]


def _compare(rng: random.Random, others: list[float], stay: float) -> LayerDifference:
    one = report(drawn(rng, LEANING, 2, 2048, stay))
    other = report(drawn(rng, others, 2, 2500, stay))
    return compare(one, other).layers[0]


@pytest.mark.parametrize("stay", [0.0, 0.8])
def test_one_source_stays_within_its_bound_as_often_as_promised(stay: float) -> None:
    rng = random.Random(5)
    found = [_compare(rng, LEANING, stay) for _ in range(200)]
    assert 2 <= sum(layer.beyond is True for layer in found) <= 20
    mean = sum(layer.difference for layer in found) / len(found)
    expected = sum(layer.chance or 0 for layer in found) / len(found)
    assert mean == pytest.approx(expected, rel=0.15)


@pytest.mark.parametrize("stay", [0.0, 0.8])
def test_another_source_is_found(stay: float) -> None:
    rng = random.Random(6)
    found = _compare(rng, LEANING[::-1][:4] + [6.0] * 4, stay)
    assert found.beyond is True
    assert found.bound is not None
    assert found.chance is not None
    assert found.difference > found.bound > found.chance
    assert found.first > 0.1


def test_tokens_like_their_neighbours_widen_the_errors() -> None:
    rng = random.Random(7)
    plain, sticky = (report(drawn(rng, LEANING, 2, 4096, stay)).layers[0].shares.errors for stay in (0.0, 0.8))
    assert plain is not None
    assert sticky is not None
    assert 2 * sum(plain) < sum(sticky) < 4.5 * sum(plain)
    binomial = (1 / 8 * 7 / 8 / 4096 / 2) ** 0.5
    assert sum(plain) / 8 == pytest.approx(binomial, rel=0.25)


def test_by_hand() -> None:
    found = compare(report([(0, 1), (0, 2)], 4), report([(0, 1), (1, 3)], 4))
    assert found.layers == (LayerDifference(0, 0.5, 0.5, None, None, None, None),)
    assert (found.judged, found.beyond, found.false_alarms) == (0, 0, 0.0)


def test_layers_that_both_have() -> None:
    tallies = Tally(8), Tally(8)
    rng = random.Random(8)
    for tally, layers in zip(tallies, [(0, 1, 2), (1, 2, 3)], strict=True):
        for layer in layers:
            weights = LEANING if layer != 2 or tally is tallies[0] else [9.0, 9.0, 9.0, 1.0, 1.0, 1.0, 1.0, 1.0]
            tally.add(block(drawn(rng, weights, 2, 2048), layer=layer))
    found = compare(tallies[0].report(), tallies[1].report())
    assert [layer.layer for layer in found.layers] == [1, 2]
    assert found.layers[1].beyond is True
    assert found.judged == 2
    assert found.beyond == sum(layer.beyond is True for layer in found.layers)
    assert found.false_alarms == pytest.approx(0.1)


def test_texts_that_never_vary_differ_by_anything_or_nothing() -> None:
    steady, other = report([(0, 1)] * 2048, 4), report([(0, 2)] * 2048, 4)
    assert compare(steady, steady).layers[0].beyond is False
    assert compare(steady, other).layers[0].beyond is True


def test_different_models_are_not_compared() -> None:
    with pytest.raises(ValueError, match="different models"):
        compare(report([(0, 1)], 4), report([(0, 1)], 8))


def test_neighbouring_batches_are_merged_as_the_text_grows() -> None:
    batches = Batches(2, 1)
    batches.add([0] * 128 + [1] * 128)
    assert batches.counts() == ((128, 0), (0, 128))
    batches.add([0] * (30 * 128 + 5))
    assert batches.counts() == ((128, 128), *[(256, 0)] * 15, (5, 0))
    assert totals(batches.counts()) == (31 * 128 + 5, 128)


def test_deviations_by_hand() -> None:
    """The share is 1/2 of 8; the batches have 3 and 1 of 4 and 4."""
    assert deviations([(3, 1), (1, 3)]) == [
        pytest.approx([2**0.5 / 8, -(2**0.5) / 8]),
        pytest.approx([-(2**0.5) / 8, 2**0.5 / 8]),
    ]


@given(st.lists(st.floats(-100, 100), min_size=16, max_size=16))
def test_the_signs_keep_the_sum_of_squares(values: list[float]) -> None:
    sums = hadamard(values)
    assert sum(value**2 for value in sums) == pytest.approx(16 * sum(value**2 for value in values))
    assert sums[0] == pytest.approx(sum(values), abs=1e-9)


def test_no_row_of_signs_moves_nothing() -> None:
    rng = random.Random(9)
    left, right = (report(drawn(rng, LEANING, 2, 2500)).layers[0].batches for _ in range(2))
    assert len(left) == 20
    values = same_source(left, right)
    assert len(values) == 62
    assert min(values) > 0


def test_bounds_by_table() -> None:
    """The 95 % quantiles of chi-squared with 1, 5 and 35 degrees of freedom."""
    for freedom, quantile in ((1, 3.841), (5, 11.070), (35, 49.802)):
        assert chance_bound(freedom, (2 * freedom) ** 0.5) == pytest.approx(quantile, rel=0.03)
    assert chance_bound(0.0, 0.0) == 0.0


def test_expected_distance_of_two_samples() -> None:
    rng = random.Random(10)
    total = 0.0
    for _ in range(400):
        heads = sum(rng.random() < 0.3 for _ in range(100)) / 100 - sum(rng.random() < 0.3 for _ in range(50)) / 50
        total += abs(heads)
    assert total / 400 == pytest.approx(chance_variation([0.3, 0.7], 100, 50), rel=0.1)
