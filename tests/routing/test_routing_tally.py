import math
import random
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mixchat.routing.choices import Choices
from mixchat.routing.classes import TokenClass
from mixchat.routing.repeats import chance_any, chance_first
from mixchat.routing.tally import Report, Tally
from tests.routing.routed import Rows, block, drawn, report

BY_HAND = [(0, 1), (0, 2), (2, 0), (3, 1)]

rows_of_four = st.lists(st.permutations(range(4)).map(lambda order: (order[0], order[1])), min_size=1, max_size=700)


def test_shares_by_hand() -> None:
    shares = report(BY_HAND, 5).layers[0].shares
    assert shares.tokens == 4
    assert shares.assignments == (3 / 8, 2 / 8, 2 / 8, 1 / 8, 0.0)
    assert shares.first == (2 / 4, 0.0, 1 / 4, 1 / 4, 0.0)
    assert (shares.ratio, shares.unused, shares.errors) == (None, 1, None)
    entropy = 3 / 8 * math.log(8 / 3) + 2 * 2 / 8 * math.log(4) + 1 / 8 * math.log(8)
    assert shares.entropy == pytest.approx(entropy / math.log(5))


def test_the_largest_share_is_held_against_the_smallest() -> None:
    shares = report(BY_HAND, 4).layers[0].shares
    assert (shares.ratio, shares.unused) == (3.0, 0)


def test_evenly_used_experts_have_full_entropy_and_one_that_has_all_has_none() -> None:
    assert report([(e,) for e in range(7)] * 3, 7).layers[0].shares.entropy == pytest.approx(1.0)
    assert report([(2,)] * 9, 7).layers[0].shares.entropy == 0.0
    assert report([(0,)] * 9, 1).layers[0].shares.entropy == 1.0


def test_repeats_by_hand() -> None:
    repeats = report(BY_HAND, 5).layers[0].repeats
    assert repeats.pairs == 3
    assert repeats.first == 1 / 3
    assert repeats.any == 2 / 3
    assert repeats.preference == pytest.approx(1 / 4 + 1 / 16 + 1 / 16)


def test_chance_levels_of_mixtral() -> None:
    assert chance_first(8) == 0.125
    assert chance_any(8, 2) == pytest.approx(1 - 15 / 28)
    assert chance_any(4, 3) == 1.0


def test_one_token_is_no_pair() -> None:
    repeats = report([(0, 1)]).layers[0].repeats
    assert (repeats.pairs, repeats.first, repeats.any) == (0, None, None)
    assert (repeats.error_first, repeats.error_any) == (None, None)
    assert repeats.chance_first == 0.125


def test_with_one_expert_per_token_the_first_choice_is_any() -> None:
    repeats = report([(0,), (0,), (1,)], 4).layers[0].repeats
    assert (repeats.first, repeats.any, repeats.chance_any) == (0.5, 0.5, 0.25)


@pytest.mark.parametrize("seed", range(5))
def test_uniform_random_routing_is_at_its_chance_level(seed: int) -> None:
    repeats = report(drawn(random.Random(seed), [1.0] * 8, 2, 8000)).layers[0].repeats
    assert repeats.first is not None
    assert repeats.any is not None
    assert repeats.error_first == pytest.approx(math.sqrt(0.125 * 0.875 / 7999))
    assert repeats.error_any == pytest.approx(math.sqrt(13 / 28 * 15 / 28 / 7999))
    assert repeats.first == pytest.approx(0.125, abs=4 * math.sqrt(0.125 * 0.875 / 7999))
    assert repeats.any == pytest.approx(13 / 28, abs=4 * math.sqrt(13 / 28 * 15 / 28 / 7999))


@given(st.data(), rows_of_four)
def test_borders_of_blocks_do_not_matter(data: st.DataObject, rows: Rows) -> None:
    kinds = [list(TokenClass)[row[0]] for row in rows]
    cuts = sorted(data.draw(st.sets(st.integers(0, len(rows)), max_size=5)) | {0, len(rows)})
    tally = Tally(4)
    for start, end in pairwise(cuts):
        tally.add(block(rows[start:end], start), kinds[start:end])
    assert tally.report() == report(rows, 4, kinds)


@given(rows_of_four, st.permutations(range(4)))
def test_renamed_experts_keep_their_shares(rows: Rows, names: list[int]) -> None:
    before = report(rows, 4).layers[0]
    after = report([(names[first], names[second]) for first, second in rows], 4).layers[0]
    assert sum(before.shares.assignments) == pytest.approx(1)
    assert sum(before.shares.first) == pytest.approx(1)
    for expert, name in enumerate(names):
        assert after.shares.assignments[name] == before.shares.assignments[expert]
        assert after.shares.first[name] == before.shares.first[expert]
    assert after.shares.entropy == before.shares.entropy
    assert after.repeats == before.repeats
    assert after.traffic.carried == before.traffic.carried


def _pairs(tally: Tally) -> int:
    return tally.report().layers[0].repeats.pairs


def test_no_pair_crosses_the_end_of_a_piece() -> None:
    tally = Tally(8)
    tally.add(block([(0, 1), (0, 1)], 0))
    tally.end_piece()
    tally.add(block([(0, 1), (0, 1)], 2))
    assert _pairs(tally) == 2


def test_no_pair_crosses_a_gap() -> None:
    tally = Tally(8)
    tally.add(block([(0, 1), (0, 1)], 0))
    tally.add(block([(0, 1), (0, 1)], 5))
    assert _pairs(tally) == 2


def test_layers_are_counted_apart_in_rising_order() -> None:
    tally = Tally(8)
    for first in (0, 2):
        for layer in (31, 0):
            tally.add(block([(layer % 8, 6)] * 2, first, layer))
    counted = tally.report()
    assert [layer.layer for layer in counted.layers] == [0, 31]
    assert [layer.shares.first.index(1.0) for layer in counted.layers] == [0, 7]
    assert [layer.repeats.pairs for layer in counted.layers] == [3, 3]
    assert counted.tokens == 4


def test_nothing_was_counted() -> None:
    tally = Tally(8)
    tally.add(Choices(0, 0, 2, (), ()), [])
    tally.end_piece()
    assert tally.report() == Report(8, ())
    assert tally.report().tokens == 0
    assert tally.report().placement is None


def test_blocks_that_do_not_fit_are_refused() -> None:
    tally = Tally(8)
    tally.add(block([(0, 1)]))
    with pytest.raises(ValueError, match="layer 0: 3 experts per token, not 2"):
        tally.add(block([(0, 1, 2)], used=3))
    with pytest.raises(ValueError, match="1 classes for 2 tokens"):
        tally.add(block([(0, 1), (1, 2)]), [TokenClass.WORD])


def test_the_memory_of_a_long_text_is_bounded() -> None:
    rng = random.Random(3)
    tally = Tally(64)
    for start in range(0, 40 * 512, 512):
        tally.add(block(drawn(rng, [1.0] * 64, 6, 512), start, used=6))
    layer = tally.report().layers[0]
    assert layer.shares.tokens == 40 * 512
    assert 16 <= len(layer.batches) <= 32
    assert layer.traffic.exact is False


def test_layers_may_use_different_numbers_of_experts() -> None:
    rng = random.Random(5)
    tally = Tally(8)
    for used in (1, 2, 3):
        tally.add(block(drawn(rng, [1.0] * 8, used, 8000), layer=used, used=used))
    counted = tally.report()
    assert counted.used == 3
    assert [layer.used for layer in counted.layers] == [1, 2, 3]
    chances = [layer.repeats.chance_any for layer in counted.layers]
    assert chances == pytest.approx([1 / 8, 13 / 28, 1 - 10 / 56])
    for layer, chance in zip(counted.layers, chances, strict=True):
        assert layer.shares.tokens == 8000
        assert sum(layer.shares.assignments) == pytest.approx(1)
        assert layer.repeats.any == pytest.approx(chance, abs=0.03)
    assert counted.placement is not None
    assert counted.placement.used == 3
    assert counted.placement.even_whole[2] == pytest.approx((3 / 8 + 3 / 28 + 1 / 56) / 3)
    assert counted.placement.whole[2] == pytest.approx(counted.placement.even_whole[2], abs=0.03)
