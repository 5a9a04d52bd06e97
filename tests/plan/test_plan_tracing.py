from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mixchat.errors import DoesNotFit
from mixchat.gguf.model import MoeModel
from mixchat.plan.experts import with_experts_used
from mixchat.plan.memory import compute_bytes, input_bytes, kv_bytes
from mixchat.plan.place import place
from mixchat.plan.tracing import trace_bytes
from mixchat.plan.values import CPU, Footprint, Override, Wishes
from tests.plan.machines import GIB, MIB, dense, dense_first, joined, machine, mixtral, tied

LOGITS = 512 * 32000 * 4
TOKENS = 2048


def test_in_ram_it_is_a_second_context_and_the_logits() -> None:
    plan = place(mixtral(), machine(64 * GIB), Wishes(kv_type="f16"))
    expected = kv_bytes(mixtral(), TOKENS, "f16") + compute_bytes(mixtral(), 512, TOKENS) + LOGITS
    assert trace_bytes(mixtral(), plan, TOKENS) == {CPU: expected}
    assert 300 * MIB < expected - kv_bytes(mixtral(), TOKENS, "f16") - LOGITS + 128 * MIB < 400 * MIB


def test_a_short_text_needs_one_small_batch() -> None:
    plan = place(mixtral(), machine(64 * GIB), Wishes(kv_type="f16"))
    small = kv_bytes(mixtral(), 256, "f16") + compute_bytes(mixtral(), 256, 256)
    assert trace_bytes(mixtral(), plan, 1) == {CPU: small + LOGITS // 512}
    assert trace_bytes(mixtral(), plan, 256) == {CPU: small + LOGITS // 2}
    assert trace_bytes(mixtral(), plan, 0) == {CPU: 0}


def test_on_a_gpu_it_lies_where_the_layers_lie() -> None:
    plan = place(mixtral(), machine(64 * GIB, 48 * GIB), Wishes(context=8192, kv_type="f16"))
    needed = trace_bytes(mixtral(), plan, TOKENS)
    compute = compute_bytes(mixtral(), 512, TOKENS)
    assert needed["CUDA0"] == kv_bytes(mixtral(), TOKENS, "f16") + compute
    assert needed[CPU] == input_bytes(mixtral(), 512, TOKENS) + LOGITS


def test_the_head_needs_its_logits_where_little_else_is_computed() -> None:
    """A vocabulary so large that the logits are more than a layer's block."""
    large = replace(mixtral(), vocab_size=256_000)
    plan = place(large, machine(64 * GIB, 48 * GIB), Wishes(context=8192, kv_type="f16"))
    kv = kv_bytes(large, TOKENS, "f16")
    assert trace_bytes(large, plan, TOKENS)["CUDA0"] == kv + 512 * 4 * (256_000 + 2 * 4096)


def test_two_gpus_share_it_and_one_that_is_not_used_has_none() -> None:
    two = place(mixtral(), machine(64 * GIB, 20 * GIB, 20 * GIB), Wishes(context=8192, kv_type="f16"))
    needed = trace_bytes(mixtral(), two, TOKENS)
    kv = kv_bytes(mixtral(), TOKENS, "f16")
    assert needed["CUDA0"] + needed["CUDA1"] == kv + 2 * compute_bytes(mixtral(), 512, TOKENS)
    one = place(mixtral(), machine(64 * GIB, 2 * GIB, 48 * GIB), Wishes())
    assert one.devices == ("CUDA1",)
    assert trace_bytes(mixtral(), one, TOKENS).get("CUDA0", 0) == 0


def test_a_gpu_that_experts_are_copied_to_copies_them_twice() -> None:
    model = mixtral()
    plan = place(model, machine(64 * GIB, 12 * GIB), Wishes(kv_type="f16", ubatch=512))
    assert plan.expert_layers < 32
    largest = max(max(layer.up, layer.gate, layer.down) for layer in model.layers)
    needed = trace_bytes(model, plan, TOKENS)["CUDA0"] - kv_bytes(model, TOKENS, "f16")
    assert needed == compute_bytes(model, 512, TOKENS) + largest


def test_more_experts_need_more() -> None:
    plan = place(mixtral(), machine(64 * GIB), Wishes(kv_type="f16", experts_used=4))
    assert trace_bytes(mixtral(), plan, 512) == trace_bytes(with_experts_used(mixtral(), 4), plan, 512)
    usual = trace_bytes(mixtral(), replace(plan, experts_used=None), 512)
    assert trace_bytes(mixtral(), plan, 512)[CPU] > usual[CPU]


def test_a_wish_to_trace_leaves_room() -> None:
    """What is traced later fits because it was counted; without the wish the GPU is full."""
    there = machine(64 * GIB, 12 * GIB)
    wishes = Wishes(context=8192, kv_type="f16", ubatch=512)
    without, with_ = place(mixtral(), there, wishes), place(mixtral(), there, replace(wishes, trace=8192))
    assert with_.share("CUDA0").footprint.trace > GIB
    assert with_.expert_layers < without.expert_layers
    for plan in (without, with_):
        left = {each.device: each.budget - replace(each.footprint, trace=0).total for each in plan.shares}
        fits = all(left[name] >= nbytes for name, nbytes in trace_bytes(mixtral(), plan, 8192).items())
        assert fits == (plan is with_)


def test_what_is_asked_for_later_is_what_was_planned() -> None:
    wishes = Wishes(trace=3000, kv_type="q8_0")
    plan = place(mixtral(), machine(64 * GIB, 24 * GIB, 6 * GIB), wishes)
    assert trace_bytes(mixtral(), plan, 3000) == {each.device: each.footprint.trace for each in plan.shares}


def test_a_trace_without_room_is_refused_with_its_number() -> None:
    room = machine(28 * GIB)
    assert place(mixtral(), room, Wishes(kv_type="f16", context=512)).share(CPU).footprint.trace == 0
    with pytest.raises(DoesNotFit, match=r"4\.\d GiB to trace its experts\); ") as caught:
        place(mixtral(), room, Wishes(kv_type="f16", context=512, trace=32000))
    assert "to trace" in caught.value.message
    (context,) = (int(each.split()[2].rstrip(",")) for each in caught.value.remedies if each.startswith("Give --ctx"))
    assert place(mixtral(), room, Wishes(kv_type="f16", context=512, trace=context)).share(CPU).footprint.trace
    with pytest.raises(DoesNotFit):
        place(mixtral(), room, Wishes(kv_type="f16", context=512, trace=context + 256))


MODELS: tuple[Callable[[], MoeModel], ...] = (mixtral, tied, joined, dense_first, dense)


@given(
    st.sampled_from(MODELS),
    st.lists(st.integers(0, 40 * GIB), max_size=3),
    st.sampled_from([1, 300, 8192, 32768]),
    st.sampled_from([(), (Override(r"blk\.\d\.ffn_up_exps", "CPU"),), (Override("attn_q", "CPU"),)]),
)
def test_room_for_a_trace_changes_nothing_else(
    which: Callable[[], MoeModel], vram: list[int], tokens: int, overrides: tuple[Override, ...]
) -> None:
    """The weights are all there, and each footprint but the trace's is as a plan of the same layout has it."""
    model = which()
    if which in {dense, joined}:
        overrides = ()
    wishes = Wishes(context=4096, kv_type="f16", ubatch=512, load_mode="mmap", overrides=overrides, extra_buffers=False)
    plan = place(model, machine(96 * GIB, *vram), replace(wishes, trace=tokens))
    tied_twice = model.token_embd if model.tied and plan.head != CPU else 0
    assert sum(share.footprint.weights for share in plan.shares) == model.weights + tied_twice
    assert sum(share.footprint.kv for share in plan.shares) == kv_bytes(model, 4096, "f16")
    assert all(share.footprint.total <= share.budget for share in plan.shares)
    assert all(min(vars_of(share.footprint)) >= 0 for share in plan.shares)


def vars_of(footprint: Footprint) -> tuple[int, ...]:
    return footprint.weights, footprint.kv, footprint.compute, footprint.copies, footprint.trace
