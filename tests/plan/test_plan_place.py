import re
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mixchat.errors import DoesNotFit, UsageError
from mixchat.gguf.model import MoeModel
from mixchat.plan.memory import compute_bytes, kv_bytes
from mixchat.plan.modes import RAM_RESERVE
from mixchat.plan.place import ANSWER, MAX_CONTEXT, PROMPT, place
from mixchat.plan.values import CPU, GPU_MARGIN, Device, KvType, Machine, Override, Plan, Wishes
from tests.plan.machines import GIB, dense, dense_first, gpu, joined, machine, mixtral, resolved, tied

MODELS: tuple[Callable[[], MoeModel], ...] = (mixtral, tied, joined, dense_first, dense)
CPU_NEED = mixtral().weights + kv_bytes(mixtral(), 8192, "f16") + compute_bytes(mixtral(), 512, 8192) + RAM_RESERVE


def refusal(there: Machine, wishes: Wishes | None = None, model: MoeModel | None = None) -> DoesNotFit:
    with pytest.raises(DoesNotFit) as caught:
        place(model or mixtral(), there, wishes or Wishes())
    return caught.value


def attempt(model: MoeModel, there: Machine, wishes: Wishes) -> Plan | None:
    try:
        return place(model, there, wishes)
    except DoesNotFit:
        return None


def seconds(plan: Plan) -> float:
    """The exchange's predicted time."""
    assert plan.forecast is not None
    return PROMPT / plan.forecast.prefill_tps + ANSWER / plan.forecast.decode_tps


def on_gpus(plan: Plan) -> int:
    return sum(share.footprint.weights for share in plan.shares if share.kind == "gpu")


def test_without_a_gpu_everything_is_in_ram() -> None:
    plan = place(mixtral(), machine(100 * GIB), Wishes())
    assert (plan.n_gpu_layers, plan.devices, plan.tensor_split, plan.overrides) == (0, (), (), ())
    assert (
        {layer.attention for layer in plan.layers} == {layer.experts for layer in plan.layers} == {plan.head} == {CPU}
    )
    assert plan.share(CPU).footprint.weights == mixtral().weights
    assert plan.reasons[0] == "There is no GPU that llama.cpp can use, so everything runs on the CPU."


def test_everything_in_vram_when_it_fits() -> None:
    plan = place(mixtral(), machine(16 * GIB, 48 * GIB), Wishes(context=8192))
    assert (plan.n_gpu_layers, plan.expert_layers, plan.tensor_split, plan.overrides) == (33, 32, (33,), ())
    assert plan.share("CUDA0").footprint.weights == mixtral().weights - mixtral().token_embd
    assert plan.share(CPU).footprint.kv == 0
    assert plan.reasons[0] == "All of it fits CUDA0."


def test_attention_first_then_experts_from_the_front() -> None:
    plan = place(mixtral(), machine(64 * GIB, 12 * GIB), Wishes())
    assert plan.n_gpu_layers == 33
    assert {layer.attention for layer in plan.layers} == {plan.head} == {"CUDA0"}
    whole = [layer.experts == "CUDA0" for layer in plan.layers]
    assert whole == sorted(whole, reverse=True)
    assert 0 < plan.expert_layers < 32
    room = plan.share("CUDA0").budget - plan.share("CUDA0").footprint.total
    smallest = min(mixtral().layers[plan.expert_layers].up, mixtral().layers[plan.expert_layers].down)
    assert room < smallest * 2


def test_a_boundary_layer_is_split() -> None:
    splits = 0
    for vram in range(8, 24):
        plan = place(mixtral(), machine(64 * GIB, vram * GIB), Wishes(kv_type="f16", ubatch=512))
        cut = [layer for layer in plan.layers if layer.experts is None]
        assert len(cut) <= 1
        assert all(layer.index == plan.expert_layers for layer in cut)
        splits += len(cut)
    assert splits > 5


def test_tail_layers_when_the_dense_part_does_not_fit() -> None:
    plan = place(mixtral(), machine(64 * GIB, 5 * GIB // 2), Wishes())
    assert 1 < plan.n_gpu_layers < 33
    assert [layer.attention for layer in plan.layers] == [CPU] * (33 - plan.n_gpu_layers) + ["CUDA0"] * (
        plan.n_gpu_layers - 1
    )
    assert plan.head == "CUDA0"
    assert "Of 32 layers the last" in plan.reasons[0]


def test_a_dense_model_is_divided_by_whole_layers() -> None:
    plan = place(dense(), machine(64 * GIB, 4 * GIB), Wishes(ubatch=512))
    assert 1 < plan.n_gpu_layers < 33
    assert not plan.overrides
    assert all(layer.experts == layer.attention for layer in plan.layers)


def test_a_joined_tensor_is_not_torn() -> None:
    for vram in range(6, 26):
        for layer in place(joined(), machine(64 * GIB, vram * GIB), Wishes()).layers:
            assert layer.up == layer.gate


def test_several_gpus_share_the_layers_in_order() -> None:
    plan = place(mixtral(), machine(64 * GIB, 12 * GIB, 8 * GIB), Wishes())
    assert sum(plan.tensor_split) == plan.n_gpu_layers == 33
    order = [layer.attention for layer in plan.layers]
    assert order == sorted(order)
    assert plan.devices == ("CUDA0", "CUDA1")


def test_many_gpus() -> None:
    there = machine(64 * GIB, *[9 * GIB] * 4)
    far = replace(there, devices=tuple(replace(each, remote=each.name == "CUDA0") for each in there.devices))
    for each in (there, far):
        assert place(mixtral(), each, Wishes(context=8192)).expert_layers == 32


def test_a_small_gpu_more_is_not_used_when_it_costs_time() -> None:
    plan = place(mixtral(), machine(64 * GIB, 2 * GIB, 48 * GIB), Wishes())
    assert plan.devices == ("CUDA1",)


def test_unified_memory_takes_all_or_nothing() -> None:
    shared = replace(gpu(0, 20 * GIB), name="Metal", unified=True)
    there = machine(64 * GIB)
    plan = place(mixtral(), replace(there, devices=(shared, *there.devices)), Wishes())
    assert plan.n_gpu_layers == 0
    assert "slower than the CPU alone" in plan.reasons[0]
    small = place(mixtral("static/Q2_K"), replace(there, devices=(shared, *there.devices)), Wishes(context=4096))
    assert small.expert_layers == 32


def test_unified_memory_is_ram_too() -> None:
    shared = replace(gpu(0, 40 * GIB), name="Metal", unified=True)
    there = machine(20 * GIB)
    assert attempt(mixtral(), replace(there, devices=(shared, *there.devices)), Wishes()) is None


def test_a_slow_gpu_is_left_alone_unless_it_is_asked_for() -> None:
    slow = gpu(0, 8 * GIB)
    assert slow.rates is not None
    rates = replace(slow.rates, bandwidth=1e9, decode={"Q4_K": 1e9}, prefill={"Q4_K": 1e9}, attention=1e9)
    there = machine(64 * GIB)
    there = replace(there, devices=(replace(slow, rates=rates), *there.devices))
    plan = place(mixtral(), there, Wishes())
    assert not plan.on_gpu
    assert "does not make it faster" in plan.reasons[0]
    assert place(mixtral(), there, Wishes(devices=("cuda0",))).on_gpu
    far = replace(there, devices=tuple(replace(each, remote=each.kind == "gpu") for each in there.devices))
    assert place(mixtral(), far, Wishes()).on_gpu


def test_the_cpu_can_be_asked_for() -> None:
    plan = place(mixtral(), machine(64 * GIB, 24 * GIB), Wishes(devices=("cpu",)))
    assert not plan.on_gpu
    assert plan.reasons[0] == "The CPU was asked for."


def test_a_budget_is_a_limit() -> None:
    there = machine(64 * GIB, 24 * GIB)
    device = replace(there.gpus[0], budget=8 * GIB)
    plan = place(mixtral(), replace(there, devices=(device,)), Wishes())
    assert plan.share("CUDA0").budget == 8 * GIB
    assert plan.share("CUDA0").footprint.total <= 8 * GIB


@pytest.mark.parametrize("layers", [0, 1, 5, 33, 99])
def test_gpu_layers_are_obeyed(layers: int) -> None:
    plan = place(mixtral(), machine(64 * GIB, 48 * GIB), Wishes(gpu_layers=layers))
    assert plan.n_gpu_layers == min(layers, 33)
    assert plan.expert_layers == max(0, min(layers, 33) - 1)


@pytest.mark.parametrize("layers", [0, 1, 5, 32, 99])
def test_expert_layers_are_obeyed(layers: int) -> None:
    plan = place(mixtral(), machine(64 * GIB, 48 * GIB), Wishes(expert_layers=layers))
    assert (plan.n_gpu_layers, plan.expert_layers) == (33, min(layers, 32))


def test_what_was_asked_for_is_said_so() -> None:
    there = machine(64 * GIB, 48 * GIB)
    said = {
        "lie on CUDA0, beside them the experts of 5 layers (0-4), as asked.": Wishes(expert_layers=5),
        "lie on CUDA0; no experts, as asked.": Wishes(expert_layers=0),
        "the last 2 and the head, as asked, lie on CUDA0": Wishes(gpu_layers=3),
        "only the head, as asked, lies on CUDA0": Wishes(gpu_layers=1),
    }
    for words, wishes in said.items():
        assert words in place(mixtral(), there, wishes).reasons[0]


def test_a_gpu_that_is_not_used_is_named() -> None:
    plan = place(mixtral(), machine(64 * GIB, 48 * GIB, GIB), Wishes())
    assert "Without CUDA1 it is faster, or there is no room for a layer." in plan.reasons


def test_too_many_layers_are_refused_with_a_number_that_fits() -> None:
    there = machine(64 * GIB, 12 * GIB)
    error = refusal(there, Wishes(expert_layers=20))
    assert error.what == "CUDA0"
    match = re.fullmatch(r"Give --expert-layers (\d+), which fits, or leave it out; --force.*", error.hint)
    assert match is not None
    assert place(mixtral(), there, Wishes(expert_layers=int(match[1]))).expert_layers == int(match[1])
    refusal(there, Wishes(expert_layers=int(match[1]) + 1))
    assert place(mixtral(), there, Wishes(expert_layers=20, force=True)).expert_layers == 20
    assert place(mixtral(), there, Wishes(gpu_layers=33, force=True)).n_gpu_layers == 33
    assert "--gpu-layers" in refusal(there, Wishes(gpu_layers=33)).hint


def test_layers_need_a_gpu() -> None:
    for wishes in (Wishes(expert_layers=1), Wishes(gpu_layers=1), Wishes(gpu_layers=1, devices=("cpu",))):
        with pytest.raises(UsageError, match="no GPU"):
            place(mixtral(), machine(64 * GIB), wishes)
    assert not place(mixtral(), machine(64 * GIB), Wishes(gpu_layers=0)).on_gpu


def test_overrides_come_first_and_are_counted() -> None:
    mine = (Override(r"blk\.(0|1)\.ffn_up_exps", "cpu"), Override(r"^output\.weight", "CPU"))
    plan = place(mixtral(), machine(64 * GIB, 48 * GIB), Wishes(overrides=mine, context=8192))
    assert plan.overrides[:2] == (Override(mine[0].pattern, CPU), Override(mine[1].pattern, CPU))
    assert [plan.layers[0].up, plan.layers[0].gate, plan.layers[2].up] == [CPU, "CUDA0", "CUDA0"]
    moved = mixtral().layers[0].up + mixtral().layers[1].up + mixtral().output + mixtral().token_embd
    assert plan.share(CPU).footprint.weights == moved
    assert resolved(mixtral(), plan)[CPU] == moved


def test_overrides_beyond_a_gpu_are_refused() -> None:
    mine = (Override("exps", "CUDA0"),)
    error = refusal(machine(64 * GIB, 24 * GIB), Wishes(overrides=mine))
    assert error.what == "CUDA0"
    plan = place(mixtral(), machine(64 * GIB, 30 * GIB), Wishes(overrides=mine, context=4096))
    assert plan.share("CUDA0").footprint.compute > 0
    assert "--override puts them" in plan.reasons[0]
    few = (Override(r"blk\.0\.ffn_up_exps", "CUDA0"),)
    alone = place(mixtral(), machine(64 * GIB, 48 * GIB), Wishes(overrides=few, gpu_layers=0))
    assert alone.devices == ("CUDA0",)
    assert "Nothing else is on CUDA0." in alone.reasons


def test_an_override_takes_gate_and_up_where_they_are_one_tensor() -> None:
    mine = (Override(r"blk\.0\.ffn_gate_up_exps", "CPU"),)
    plan = place(joined(), machine(64 * GIB, 48 * GIB), Wishes(overrides=mine))
    assert (plan.layers[0].up, plan.layers[0].gate, plan.layers[0].down) == (CPU, CPU, "CUDA0")
    assert resolved(joined(), plan)[CPU] == plan.share(CPU).footprint.weights


@pytest.mark.parametrize(
    ("override", "cause"),
    [
        (Override("(", "CPU"), "no regular expression"),
        (Override("nothing like it", "CPU"), "takes no tensor"),
        (Override("ffn_up", "CUDA7"), "no device CUDA7"),
    ],
)
def test_a_wrong_override_says_what_is_wrong(override: Override, cause: str) -> None:
    with pytest.raises(UsageError, match=cause):
        place(mixtral(), machine(64 * GIB, 24 * GIB), Wishes(overrides=(override,)))


def test_an_unknown_device_names_those_there_are() -> None:
    with pytest.raises(UsageError, match="no device CUDA3") as caught:
        place(mixtral(), machine(64 * GIB, 24 * GIB), Wishes(devices=("CUDA3",)))
    assert caught.value.hint == "Give --device CPU or CUDA0."


def test_q8_0_when_it_saves_an_expert_layer() -> None:
    found = set()
    for vram in range(8, 24):
        there = machine(64 * GIB, vram * GIB)
        plan = place(mixtral(), there, Wishes(ubatch=512))
        exact, small = (place(mixtral(), there, Wishes(kv_type=kind, ubatch=512)) for kind in KV[:2])
        assert plan.kv_type == ("q8_0" if small.expert_layers > exact.expert_layers else "f16")
        assert any("q8_0" in reason for reason in plan.reasons) == (plan.kv_type == "q8_0")
        found.add(plan.kv_type)
    assert found == {"f16", "q8_0"}


def test_q8_0_when_f16_does_not_fit_the_ram() -> None:
    ram = mixtral().weights + kv_bytes(mixtral(), 32768, "q8_0") + GIB
    assert place(mixtral(), machine(ram), Wishes(context=32768)).kv_type == "q8_0"
    assert attempt(mixtral(), machine(ram), Wishes(context=32768, kv_type="f16")) is None


@pytest.mark.parametrize(("vram", "context"), [(48, 32768), (28, 8192), (80, 32768)])
def test_a_context_grows_while_it_costs_nothing(vram: int, context: int) -> None:
    there = machine(64 * GIB, vram * GIB)
    plan = place(mixtral(), there, Wishes())
    assert plan.context >= context
    fixed = place(mixtral(), there, Wishes(context=8192))
    assert (plan.expert_layers, plan.kv_type) == (fixed.expert_layers, fixed.kv_type)
    assert ("moves nothing off the GPU" in "".join(plan.reasons)) == (plan.context > 8192)


def test_contexts_are_rounded_up_and_a_long_one_is_said() -> None:
    rounded = place(mixtral(), machine(64 * GIB), Wishes(context=1000))
    assert rounded.context == 1024
    assert "--ctx 1000 becomes 1024: llama.cpp takes multiples of 256." in rounded.reasons
    plan = place(mixtral(), machine(64 * GIB), Wishes(context=40000))
    assert "40000 tokens is more than the 32768" in "".join(plan.reasons)


@pytest.mark.parametrize("context", [0, -1, MAX_CONTEXT + 1, 10**30])
def test_an_impossible_context(context: int) -> None:
    with pytest.raises(UsageError, match=f"{context} tokens"):
        place(mixtral(), machine(64 * GIB), Wishes(context=context))


def test_extra_buffers_on_the_cpu() -> None:
    """Mapped they are a second copy; copied into RAM they are the only one."""
    twice = place(mixtral(), machine(CPU_NEED + mixtral().weights), Wishes())
    assert (twice.load_mode, twice.extra_buffers, twice.share(CPU).footprint.copies > 20 * GIB) == ("mmap", True, True)
    once = place(mixtral(), machine(CPU_NEED), Wishes())
    assert (once.load_mode, once.extra_buffers, once.share(CPU).footprint.copies) == ("copy", True, 0)
    assert not place(mixtral(), machine(CPU_NEED), Wishes(load_mode="mmap")).extra_buffers
    assert not place(mixtral(), machine(100 * GIB), Wishes(extra_buffers=False)).extra_buffers


def test_copies_are_counted_by_type_where_they_are_known() -> None:
    there = machine(100 * GIB)
    some = place(mixtral(), replace(there, repacked=frozenset({"Q6_K"})), Wishes(load_mode="mmap"))
    none = place(mixtral(), replace(there, repacked=frozenset()), Wishes(load_mode="mmap"))
    every = place(mixtral(), machine(100 * GIB, rates=False), Wishes(load_mode="mmap"))
    assert none.share(CPU).footprint.copies == 0 < some.share(CPU).footprint.copies
    assert some.share(CPU).footprint.copies < every.share(CPU).footprint.copies
    assert every.share(CPU).footprint.copies == mixtral().weights - mixtral().token_embd - mixtral().other


def test_experts_that_prompts_copy_to_a_gpu_are_neither_repacked_nor_mapped() -> None:
    plan = place(mixtral(), machine(64 * GIB, 12 * GIB), Wishes())
    assert (plan.extra_buffers, plan.load_mode) == (False, "copy")
    assert plan.ubatch > 512
    assert "copies the experts in RAM to the GPU once" in "".join(plan.reasons)
    assert place(mixtral(), machine(64 * GIB, 12 * GIB), Wishes(ubatch=300)).ubatch == 300


def test_a_failed_allocation_moves_a_layer() -> None:
    there = machine(64 * GIB, 12 * GIB)
    plans = [place(mixtral(), there, Wishes(ubatch=512, kv_type="f16", held_back=count)) for count in range(5)]
    assert all(after.expert_layers == before.expert_layers - 1 for before, after in pairwise(plans))
    assert "An earlier load failed for lack of memory there: 2 layers less" in "".join(plans[2].reasons)
    whole = [place(dense(), machine(64 * GIB, 4 * GIB), Wishes(ubatch=512, held_back=count)) for count in range(3)]
    assert all(after.n_gpu_layers == before.n_gpu_layers - 1 for before, after in pairwise(whole))
    fitting = [place(dense(), machine(64 * GIB, 12 * GIB), Wishes(held_back=count)) for count in range(3)]
    assert [plan.n_gpu_layers for plan in fitting] == [33, 32, 31]
    told = place(mixtral(), there, Wishes(expert_layers=8, held_back=2))
    assert told.expert_layers == 6


def test_does_not_fit() -> None:
    small = mixtral().weights + kv_bytes(mixtral(), 8192, "q8_0") + compute_bytes(mixtral(), 512, 8192) + RAM_RESERVE
    error = refusal(machine(small - GIB // 4))
    assert (error.what, error.short_by, error.exit_code) == ("RAM", GIB // 4, 3)
    assert "needs 27.2 GiB of RAM (26.5 GiB of weights, 544.0 MiB of KV cache" in error.message
    assert "Give --ctx" in error.hint
    assert "--force" in error.remedies[-1]


def test_every_remedy_names_an_option_or_a_number() -> None:
    for ram in (0, GIB, 16 * GIB, mixtral().weights + GIB // 2):
        remedies = refusal(machine(ram)).remedies
        assert all(re.search(r"--\w+|\d", remedy) for remedy in remedies)


def test_force_goes_on_and_says_what_is_missing() -> None:
    plan = place(mixtral(), machine(16 * GIB), Wishes(force=True))
    assert (plan.on_gpu, plan.extra_buffers, plan.load_mode) == (False, False, "mmap")
    assert "are missing; --force goes on all the same." in "".join(plan.reasons)


def test_without_known_speeds_most_goes_to_the_gpus() -> None:
    plan = place(mixtral(), machine(64 * GIB, 12 * GIB, rates=False), Wishes())
    assert plan.forecast is None
    assert plan.expert_layers > 8


KV: tuple[KvType, ...] = ("f16", "q8_0", "q4_0")
SIZES = st.one_of(
    st.sampled_from([size * GIB for size in (0, 1, 2, 3, 6, 8, 12, 16, 24, 48)]), st.integers(0, 40 * GIB)
)
RAM = st.sampled_from([size * GIB for size in (4, 16, 24, 32, 64, 128)])
WISHES = st.builds(
    Wishes,
    context=st.sampled_from([None, 256, 4096, 20000, 32768]),
    kv_type=st.sampled_from([None, *KV]),
    ubatch=st.sampled_from([None, 128, 512, 2048]),
    load_mode=st.sampled_from([None, None, "mmap", "copy", "mlock"]),
    held_back=st.sampled_from([0, 0, 0, 1, 4]),
    extra_buffers=st.booleans(),
    trace=st.sampled_from([0, 0, 300, 8192]),
)
GPUS = st.lists(SIZES, max_size=3)
ANY_MODEL = st.sampled_from(MODELS)


@given(ANY_MODEL, RAM, GPUS, WISHES, st.booleans())
def test_no_device_is_over_its_budget(
    which: Callable[[], MoeModel], ram: int, vram: list[int], wishes: Wishes, known: bool
) -> None:
    plan = attempt(which(), machine(ram, *vram, rates=known), wishes)
    for share in plan.shares if plan else ():
        assert share.footprint.total <= max(0, share.budget)
        if share.kind == "gpu" and share.footprint.total:
            assert share.footprint.total + GPU_MARGIN <= vram[int(share.device.removeprefix("CUDA"))]


@given(ANY_MODEL, RAM, GPUS, WISHES)
def test_every_tensor_is_placed_once_and_the_patterns_take_just_those(
    which: Callable[[], MoeModel], ram: int, vram: list[int], wishes: Wishes
) -> None:
    model = which()
    plan = attempt(model, machine(ram, *vram), wishes)
    if plan is None:
        return
    held = resolved(model, plan)
    assert {share.device: share.footprint.weights for share in plan.shares if share.footprint.weights} == held
    twice = model.token_embd if model.tied and plan.head != CPU else 0
    assert sum(held.values()) == model.weights + twice
    assert sum(share.footprint.kv for share in plan.shares) == kv_bytes(model, plan.context, plan.kv_type)


@given(ANY_MODEL, RAM, GPUS, WISHES)
def test_the_same_input_gives_the_same_plan(
    which: Callable[[], MoeModel], ram: int, vram: list[int], wishes: Wishes
) -> None:
    assert attempt(which(), machine(ram, *vram), wishes) == attempt(which(), machine(ram, *vram), wishes)


@given(
    ANY_MODEL,
    RAM,
    st.lists(st.tuples(SIZES, SIZES), min_size=1, max_size=3),
    st.sampled_from(KV),
    st.sampled_from([128, 512, 2048]),
)
def test_more_vram_never_makes_it_worse(
    which: Callable[[], MoeModel], ram: int, vram: list[tuple[int, int]], kv_type: KvType, ubatch: int
) -> None:
    """At an equal context, KV type and ubatch: neither fewer bytes on the GPUs nor more time."""
    wishes = Wishes(kv_type=kv_type, ubatch=ubatch, context=8192)
    before = attempt(which(), machine(ram, *(size for size, _more in vram)), wishes)
    after = attempt(which(), machine(ram, *(size + more for size, more in vram)), wishes)
    if before is not None:
        assert after is not None
        assert on_gpus(after) >= on_gpus(before)
        assert seconds(after) <= seconds(before) * (1 + 1e-9)


@given(ANY_MODEL, RAM, RAM, GPUS, WISHES)
def test_more_ram_never_makes_it_worse(
    which: Callable[[], MoeModel], ram: int, more: int, vram: list[int], wishes: Wishes
) -> None:
    wishes = replace(wishes, kv_type="f16", context=8192)
    before, after = (attempt(which(), machine(size, *vram), wishes) for size in (ram, ram + more))
    if before is not None:
        assert after is not None
        assert seconds(after) <= seconds(before) * (1 + 1e-9)


@given(RAM, GPUS, WISHES)
def test_the_proposed_context_fits(ram: int, vram: list[int], wishes: Wishes) -> None:
    there = machine(ram, *vram)
    try:
        place(mixtral(), there, wishes)
    except DoesNotFit as error:
        if match := re.search(r"--ctx (\d+), which fits", error.hint):
            size = int(match[1])
            # --ctx is also how long a traced text may be.
            smaller = replace(wishes, context=size, trace=min(wishes.trace, size))
            assert place(mixtral(), there, smaller).context == size


def test_devices_of_the_cpu_kind_are_no_gpus() -> None:
    there = Machine((Device("CPU", "cpu", GIB, GIB),), 64 * GIB)
    assert not place(mixtral(), there, Wishes()).on_gpu
