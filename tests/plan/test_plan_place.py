import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mixchat.errors import DoesNotFit, UsageError
from mixchat.gguf.header import parse_header
from mixchat.gguf.model import MoeModel, describe
from mixchat.plan.memory import compute_bytes, kv_bytes, round_context
from mixchat.plan.place import GPU_MARGIN, MAX_CONTEXT, place
from mixchat.plan.values import Device, Footprint, KvType, Machine, Plan, Wishes
from tests.builders import mixtral_header

GIB = 1 << 30
MIXTRAL = describe(parse_header(mixtral_header("static/Q4_K_M")))
TIED = replace(MIXTRAL, output=0)
KV = kv_bytes(MIXTRAL, 8192, "f16")
COMPUTE = compute_bytes(MIXTRAL, 512, 8192)
ON_CPU = MIXTRAL.weights + KV + COMPUTE
ON_GPU = ON_CPU - MIXTRAL.token_embd + GPU_MARGIN
WISHES = Wishes()
NEED = (
    "Mixtral 8x7B Instruct v0.1 Q4_K_M needs 27.8 GiB of RAM (26.5 GiB of weights, 1.0 GiB of KV cache, "
    "302.5 MiB of compute buffers); "
)


def machine(ram: int, *vram: int) -> Machine:
    gpus = [Device(f"CUDA{index}", "gpu", free, free) for index, free in enumerate(vram)]
    return Machine((*gpus, Device("CPU", "cpu", ram, ram)), ram)


def refusal(there: Machine, wishes: Wishes = WISHES, model: MoeModel = MIXTRAL) -> DoesNotFit:
    with pytest.raises(DoesNotFit) as caught:
        place(model, there, wishes)
    return caught.value


def test_on_the_cpu() -> None:
    plan = place(MIXTRAL, machine(100 * GIB), WISHES)
    assert plan == Plan(
        context=8192,
        kv_type="f16",
        gpu=False,
        extra_buffers=True,
        load_mode="mmap",
        footprints=(("CPU", Footprint(MIXTRAL.weights, KV, COMPUTE)),),
        reasons=(
            "There is no GPU that llama.cpp can use, so everything runs on the CPU.",
            NEED + "100.0 GiB are available.",
            "llama.cpp's extra buffers, a second copy of the weights of about 26.5 GiB, are on: they fit too.",
        ),
    )
    assert plan.footprints[0][1].total == ON_CPU


@pytest.mark.parametrize(("missing", "extra"), [(0, True), (1, False)])
def test_extra_buffers_need_the_weights_twice(missing: int, *, extra: bool) -> None:
    plan = place(MIXTRAL, machine(ON_CPU + MIXTRAL.weights - missing), WISHES)
    assert plan.extra_buffers == extra
    assert ("are on: they fit too" in plan.reasons[-1]) == extra
    assert ("are off: they do not fit" in plan.reasons[-1]) != extra


def test_on_one_gpu() -> None:
    plan = place(MIXTRAL, machine(8 * GIB, ON_GPU), WISHES)
    assert (plan.gpu, plan.extra_buffers) == (True, False)
    assert plan.footprints == (
        ("CUDA0", Footprint(MIXTRAL.weights - MIXTRAL.token_embd, KV, COMPUTE)),
        ("CPU", Footprint(MIXTRAL.token_embd, 0, 0)),
    )
    assert plan.reasons == ("All layers fit CUDA0: they take 27.7 GiB of 28.7 GiB free.",)


def test_one_byte_less_and_it_is_the_cpu() -> None:
    plan = place(MIXTRAL, machine(64 * GIB, ON_GPU - 1), WISHES)
    assert not plan.gpu
    assert plan.reasons[0] == (
        "CUDA0 has 28.7 GiB free and its part of the model takes 28.7 GiB with a margin of 1.0 GiB, so everything "
        "runs on the CPU."
    )


def test_a_tied_embedding_is_there_twice() -> None:
    room = TIED.weights + KV + COMPUTE + GPU_MARGIN
    assert not place(TIED, machine(64 * GIB, room - 1), WISHES).gpu
    plan = place(TIED, machine(64 * GIB, room), WISHES)
    assert [part.weights for _, part in plan.footprints] == [TIED.weights, TIED.token_embd]


def test_on_two_gpus() -> None:
    plan = place(MIXTRAL, machine(8 * GIB, 24 * GIB, 12 * GIB), WISHES)
    assert plan.gpu
    (_, first), (_, second), _ = plan.footprints
    assert first.weights + second.weights == MIXTRAL.weights - MIXTRAL.token_embd
    assert first.kv + second.kv == KV
    assert first.compute == second.compute == COMPUTE
    assert abs(first.weights - 2 * second.weights) <= 2
    assert plan.reasons[0].startswith("All layers fit CUDA0 and CUDA1: they take 28.0 GiB of 36.0 GiB")


def test_the_smaller_gpu_may_be_too_small() -> None:
    plan = place(MIXTRAL, machine(64 * GIB, 48 * GIB, 2 * GIB), WISHES)
    assert not plan.gpu
    assert plan.reasons[0].startswith("CUDA1 has 2.0 GiB free")


@pytest.mark.parametrize("vram", [(0,), (0, 0), (80 * GIB, 0)])
def test_a_gpu_without_memory(vram: tuple[int, ...]) -> None:
    assert not place(MIXTRAL, machine(64 * GIB, *vram), WISHES).gpu


def test_the_cpu_may_be_asked_for() -> None:
    plan = place(MIXTRAL, machine(64 * GIB, 80 * GIB), Wishes(device="cpu"))
    assert not plan.gpu
    assert plan.reasons[0] == "The CPU was asked for."


def test_a_machine_may_not_name_its_cpu() -> None:
    assert place(MIXTRAL, Machine((), 64 * GIB), WISHES).footprints[0][0] == "CPU"


@pytest.mark.parametrize(
    ("trained", "asked", "context", "reasons"),
    [
        (32768, None, 8192, 0),
        (2000, None, 2048, 0),
        (32768, 32768, 32768, 0),
        (32768, 1, 256, 0),
        (2048, 4000, 4096, 1),
    ],
)
def test_context(trained: int, asked: int | None, context: int, reasons: int) -> None:
    model = replace(MIXTRAL, context_length=trained)
    plan = place(model, machine(64 * GIB), Wishes(context=asked))
    assert plan.context == context
    assert len([reason for reason in plan.reasons if "trained for" in reason]) == reasons


def test_a_context_beyond_the_training_is_said() -> None:
    plan = place(MIXTRAL, machine(64 * GIB, 64 * GIB), Wishes(context=40_000))
    assert plan.reasons[0] == (
        "The context of 40000 tokens is more than the 32768 that the model was trained for; answers may get worse "
        "past those."
    )


@pytest.mark.parametrize("context", [0, -1, MAX_CONTEXT + 1, 10**30])
def test_an_impossible_context(context: int) -> None:
    with pytest.raises(UsageError, match=f"{context} tokens"):
        place(MIXTRAL, machine(64 * GIB), Wishes(context=context))


def test_does_not_fit() -> None:
    error = refusal(machine(ON_CPU - GIB // 2))
    assert error.what == "RAM"
    assert error.short_by == GIB // 2
    assert error.exit_code == 3
    assert error.message == NEED + "27.3 GiB are available."
    assert error.remedies == (
        "Give --ctx 4096, which fits.",
        "Use a smaller quantization: weights of up to 26.0 GiB fit.",
        "Give --force to go on all the same; paging will make it very slow.",
    )
    assert error.hint == error.remedies[0]


def test_every_remedy_names_an_option_or_a_number() -> None:
    for ram in (0, GIB, 16 * GIB, MIXTRAL.weights + GIB):
        remedies = refusal(machine(ram)).remedies
        assert all(re.search(r"--\w+|\d", remedy) for remedy in remedies)
        assert "--force" in remedies[-1]


def test_what_cannot_help_is_not_offered() -> None:
    assert len(refusal(machine(GIB)).remedies) == 1
    assert [remedy[:5] for remedy in refusal(machine(16 * GIB)).remedies] == ["Use a", "Give "]


def test_force() -> None:
    plan = place(MIXTRAL, machine(16 * GIB), Wishes(force=True))
    assert (plan.gpu, plan.extra_buffers) == (False, False)
    assert "11.8 GiB are missing; --force goes on all the same." in plan.reasons


EDGES = [size + step for size in (ON_CPU, ON_GPU, ON_CPU + MIXTRAL.weights) for step in (-1, 0, 1)]
SIZES = st.sampled_from([*range(0, 90 * GIB, 3 * GIB), *EDGES])
MODELS = st.sampled_from([MIXTRAL, TIED, replace(MIXTRAL, layers=MIXTRAL.layers[:8], kv_heads=(8,) * 8)])
KV_TYPES: st.SearchStrategy[KvType] = st.sampled_from(["f16", "q8_0", "q4_0"])
MACHINES = st.builds(lambda ram, vram: machine(ram, *vram), SIZES, st.lists(SIZES, max_size=3))
ASKED = st.builds(
    Wishes,
    context=st.none() | st.integers(1, 65536),
    kv_type=KV_TYPES,
    device=st.sampled_from(["auto", "auto", "auto", "cpu"]),
)


def _place(model: MoeModel, there: Machine, wishes: Wishes) -> Plan | None:
    try:
        return place(model, there, wishes)
    except DoesNotFit:
        return None


def _gpus(there: Machine) -> list[Device]:
    return [device for device in there.devices if device.kind == "gpu"]


@given(MODELS, MACHINES, ASKED)
def test_no_device_is_over_its_budget(model: MoeModel, there: Machine, wishes: Wishes) -> None:
    plan = _place(model, there, wishes)
    if plan is None:
        return
    parts = dict(plan.footprints)
    if not plan.gpu:
        assert list(parts) == ["CPU"]
        assert parts["CPU"].total + (model.weights if plan.extra_buffers else 0) <= there.ram_available
        return
    assert all(parts[gpu.name].total + GPU_MARGIN <= gpu.free for gpu in _gpus(there))
    twice = model.token_embd if model.tied else 0
    assert sum(part.weights for part in parts.values()) == model.weights + twice
    assert sum(part.kv for part in parts.values()) == kv_bytes(model, plan.context, plan.kv_type)


@given(MODELS, MACHINES, ASKED)
def test_the_same_input_gives_the_same_plan(model: MoeModel, there: Machine, wishes: Wishes) -> None:
    assert _place(model, there, wishes) == _place(model, there, wishes)


@given(MODELS, MACHINES, ASKED, st.lists(SIZES, min_size=3, max_size=3))
def test_more_vram_never_leaves_the_gpu(model: MoeModel, there: Machine, wishes: Wishes, more: list[int]) -> None:
    """On the same devices: one more small GPU may well be too small for its share."""
    before = _place(model, there, wishes)
    if before is None or not before.gpu:
        return
    grown = [replace(gpu, free=gpu.free + extra) for gpu, extra in zip(_gpus(there), more, strict=False)]
    assert place(model, Machine(tuple(grown), there.ram_available), wishes).gpu


@given(MODELS, SIZES, SIZES, ASKED)
def test_more_ram_never_makes_it_worse(model: MoeModel, ram: int, more: int, wishes: Wishes) -> None:
    before, after = (_place(model, machine(size), wishes) for size in (ram, ram + more))
    assert after is not None or before is None
    if before is not None and after is not None:
        assert after.extra_buffers >= before.extra_buffers


@given(MODELS, st.integers(0, 99), ASKED)
def test_the_proposed_context_fits_and_is_the_largest(model: MoeModel, percent: int, wishes: Wishes) -> None:
    ((_, whole),) = place(model, machine(0), replace(wishes, force=True)).footprints
    ram = whole.weights + (whole.total - whole.weights) * percent // 100
    error = refusal(machine(ram), wishes, model)
    assert error.short_by == whole.total - ram
    match = re.fullmatch(r"Give --ctx (\d+), which fits\.", error.remedies[0])
    context = int(match[1]) if match else 0
    if context < round_context(model.context_length):
        assert _place(model, machine(ram), replace(wishes, context=context + 1)) is None
    if context:
        assert place(model, machine(ram), replace(wishes, context=context)).context == context


@given(MODELS, MACHINES, ASKED)
def test_force_never_refuses(model: MoeModel, there: Machine, wishes: Wishes) -> None:
    assert place(model, there, replace(wishes, force=True)).footprints
