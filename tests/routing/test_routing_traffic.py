import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mixchat.routing.sets import Sets, experts_of, masks_of
from mixchat.routing.traffic import Placement, placement_of, placement_sentence, usual_cache
from tests.routing.routed import Rows, drawn, report


def _placement(rows: Rows, n_experts: int = 8) -> Placement:
    placement = report(rows, n_experts).placement
    assert placement is not None
    return placement


def test_traffic_by_hand() -> None:
    traffic = _placement([(0, 1), (0, 2), (2, 0), (3, 1)], 5).layers[0]
    assert traffic.ranking == (0, 1, 2, 3, 4)
    assert traffic.carried == (3 / 8, 5 / 8, 7 / 8, 1.0, 1.0)
    assert traffic.whole == (0.0, 1 / 4, 3 / 4, 1.0, 1.0)
    assert traffic.exact


def test_even_levels_and_means_over_layers() -> None:
    one, other = _placement([(0, 1)], 4).layers[0], _placement([(0, 1), (2, 3)], 4).layers[0]
    placement = placement_of(4, 2, [one, other])
    assert placement.carried == (3 / 8, 3 / 4, 7 / 8, 1.0)
    assert placement.whole == (0.0, 3 / 4, 3 / 4, 1.0)
    assert placement.even_carried == (0.25, 0.5, 0.75, 1.0)
    assert placement.even_whole == (0.0, 1 / 6, 1 / 2, 1.0)


@given(st.lists(st.permutations(range(4)).map(lambda order: (order[0], order[1])), min_size=1, max_size=60))
def test_more_kept_experts_carry_more(rows: Rows) -> None:
    placement = _placement(rows, 4)
    for shares in (placement.carried, placement.whole):
        assert list(shares) == sorted(shares)
        assert shares[-1] == 1.0
    assert all(whole <= carried + 1e-9 for whole, carried in zip(placement.whole, placement.carried, strict=True))
    assert all(share >= even - 1e-9 for share, even in zip(placement.carried, placement.even_carried, strict=True))


def test_the_sentence_for_an_even_model() -> None:
    rows = [(a, b) for a in range(8) for b in range(8) if a != b] * 19
    assert placement_sentence(_placement(rows)) == (
        "The 2 most used of 8 experts of a layer carry 25 % of the traffic (25 % if all were equal), "
        "and 3.6 % of its tokens need no other (3.6 %): "
        "keeping only those in VRAM would serve hardly more than any other 2 would."
    )


def test_the_sentence_for_a_skewed_model() -> None:
    rows = [(0, 1)] * 660 + [(2, 3)] * 220 + [(4, 5)] * 110 + [(6, 7)] * 110
    assert placement_sentence(_placement(rows)) == (
        "The 2 most used of 8 experts of a layer carry 60 % of the traffic (25 % if all were equal), "
        "and 60 % of its tokens need no other (3.6 %): "
        "keeping those in VRAM would spare 60 % of the expert reads from slower memory."
    )


def test_the_sentence_for_one_expert_per_token() -> None:
    even = _placement([(e,) for e in range(4)] * 256, 4)
    skewed = _placement([(0,), (0,), (0,), (1,)] * 256, 4)
    start = "The most used of 4 experts of a layer carries"
    assert placement_sentence(even) == (
        f"{start} 25 % of the traffic (25 % if all were equal): "
        "keeping only it in VRAM would serve hardly more than any other one would."
    )
    assert placement_sentence(skewed) == (
        f"{start} 75 % of the traffic (25 % if all were equal): "
        "keeping it in VRAM would spare 75 % of the expert reads from slower memory."
    )


def test_the_sentence_for_a_cache_of_another_size() -> None:
    placement = _placement([(0, 1), (2, 3)] * 512, 4)
    assert placement_sentence(placement, 1).startswith("The most used of 4 experts of a layer carries 25 %")
    assert "and 0 % of its tokens" in placement_sentence(placement, 1)
    for size in (4, 9):
        assert placement_sentence(placement, size) == (
            "All 4 experts of a layer are kept, and they carry all of the traffic."
        )


def test_few_tokens_tell_nothing_about_a_cache() -> None:
    end = "too few to tell what a cache of the most used experts would spare: that takes 1024 or more."
    assert placement_sentence(_placement([(0, 1)] * 1023)) == f"1023 tokens are {end}"
    assert placement_sentence(_placement([(0, 1)])) == f"1 token is {end}"
    assert placement_sentence(_placement([(0, 1)] * 1024)).startswith("The 2 most used")


@pytest.mark.parametrize(("n_experts", "used", "size"), [(8, 2, 2), (128, 8, 32), (3, 1, 1), (4, 3, 3)])
def test_a_quarter_is_kept_or_what_one_token_needs(n_experts: int, used: int, size: int) -> None:
    assert usual_cache(_placement([tuple(range(used))], n_experts)) == size


def test_sets_are_masks() -> None:
    bits = [1 << expert for expert in range(8)]
    assert masks_of((0, 1, 7, 2), 2, bits) == [0b11, 0b10000100]
    assert masks_of((3, 0), 1, bits) == [0b1000, 0b1]
    assert list(experts_of(0b10000100)) == [2, 7]


def test_many_possible_sets_are_sampled_evenly() -> None:
    rng = random.Random(12)
    rows = drawn(rng, [4.0] * 8 + [1.0] * 24, 4, 9000)
    masks = masks_of([expert for row in rows for expert in row], 4, [1 << expert for expert in range(32)])
    sampled, pieces = Sets(32, 4), Sets(32, 4)
    sampled.add(masks[:1000])
    assert sampled.exact
    sampled.add(masks[1000:])
    assert not sampled.exact
    for start in range(0, 9000, 37):
        pieces.add(masks[start : start + 37])
    shares = sampled.within(range(32))
    assert pieces.within(range(32)) == shares
    for size in (8, 16, 24):
        exact = sum(max(row) < size for row in rows) / len(rows)
        assert shares[size - 1] == pytest.approx(exact, abs=0.05)
