from dataclasses import replace

import pytest

from mixchat.errors import UsageError
from mixchat.gguf.model import MoeModel
from mixchat.plan.experts import experts_note, other_number, with_experts_used
from mixchat.plan.memory import compute_bytes
from mixchat.plan.place import place
from mixchat.plan.values import CPU, Wishes
from tests.plan.machines import GIB, dense, dense_first, machine, mixtral


def test_the_experts_used_widen_what_a_token_passes() -> None:
    assert mixtral().feed_forward == 2 * 14336
    three = with_experts_used(mixtral(), 3)
    assert (three.n_experts_used, three.feed_forward, three.weights) == (3, 3 * 14336, mixtral().weights)
    assert three.active_bytes_per_token > mixtral().active_bytes_per_token
    assert with_experts_used(mixtral(), None) is mixtral()
    assert with_experts_used(mixtral(), 2) == mixtral()


def test_a_dense_block_may_be_wider_than_one_expert() -> None:
    small = replace(mixtral(), dense_feed_forward=20000, expert_feed_forward=14336)
    assert [with_experts_used(small, count).feed_forward for count in (1, 2)] == [20000, 28672]


@pytest.mark.parametrize(
    ("model", "count", "message", "hint"),
    [
        (mixtral(), 0, "has 8 experts per layer: 0 cannot", "--experts-used 1 to 8; it was trained with 2"),
        (dense_first(), 9, "has 8 experts per layer: 9 cannot", "--experts-used 1 to 8; it was trained with 2"),
        (dense(), 1, "no experts to choose from: it is dense", "Leave out"),
        (replace(mixtral(), used_by_layer=True), 1, "layers of .* use different numbers", "Leave out"),
    ],
    ids=["none", "too many", "dense", "by layer"],
)
def test_an_impossible_number_is_refused(model: MoeModel, count: int, message: str, hint: str) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        with_experts_used(model, count)
    assert hint in caught.value.hint
    with pytest.raises(UsageError, match=message):
        place(model, machine(64 * GIB), Wishes(experts_used=count))


def test_only_another_number_is_worth_a_word() -> None:
    assert [other_number(mixtral(), count) for count in (None, 1, 2, 3)] == [None, 1, None, 3]
    assert experts_note(mixtral(), None) is experts_note(mixtral(), 2) is None
    assert experts_note(mixtral(), 3) == (
        "Each token passes 3 instead of 2 experts: answers change, and nobody trained the model for that."
    )
    one = replace(mixtral(), n_experts_used=1)
    assert (experts_note(one, 2) or "").startswith("Each token passes 2 instead of 1 expert: ")


def test_memory_speed_and_reasons_follow() -> None:
    plans = [place(mixtral(), machine(64 * GIB), Wishes(context=8192, experts_used=count)) for count in (1, 2, 4)]
    speeds = [plan.forecast.decode_tps for plan in plans if plan.forecast]
    assert speeds == sorted(speeds, reverse=True)
    assert len(set(speeds)) == 3
    assert [plan.share(CPU).footprint.compute for plan in plans] == [
        compute_bytes(with_experts_used(mixtral(), count), plan.ubatch, 8192)
        for count, plan in zip((1, 2, 4), plans, strict=True)
    ]
    assert [plan.experts_used for plan in plans] == [1, None, 4]
    assert ["Each token passes" in " ".join(plan.reasons) for plan in plans] == [True, False, True]
    assert plans[1] == place(mixtral(), machine(64 * GIB), Wishes(context=8192))


def test_more_experts_in_a_batch_leave_a_card_less_room() -> None:
    few, many = (
        place(mixtral(), machine(64 * GIB, 16 * GIB), Wishes(context=8192, ubatch=2048, experts_used=count))
        for count in (1, 8)
    )
    assert few.expert_layers > many.expert_layers
    assert all(share.footprint.total <= share.budget for plan in (few, many) for share in plan.shares)
