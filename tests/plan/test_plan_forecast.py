"""Forecasts against arithmetic by hand, and what must hold of any of them."""

import timeit
from dataclasses import replace
from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mixchat.gguf.model import Layer, MoeModel, Weights
from mixchat.plan.forecast import ROUTED, Costs
from mixchat.plan.hardware import complete
from mixchat.plan.values import CPU, Device, Forecast, Link, LoadMode, Machine, Placement, Plan, Rates
from tests.plan.machines import mixtral

CPU_RATES = Rates(40e9, {"Q4_K": 10e9, "F32": 40e9}, {"Q4_K": 100e9}, 1e9, 1e-6, "measured")
EXTRA = replace(CPU_RATES, decode={"Q4_K": 10e9, "Q4_K" + ROUTED: 20e9}, prefill={"Q4_K": 200e9, "Q4_K" + ROUTED: 50e9})
GPU_RATES = Rates(900e9, {"Q4_K": 500e9}, {"Q4_K": 10e12}, 1e12, 2e-6, "measured")
GPU = Device("CUDA0", "gpu", 24 << 30, 24 << 30, rates=GPU_RATES, link=Link(10e9, 20e9, 1e-5))
RAM = Device("CPU", "cpu", 64 << 30, 64 << 30)
MACHINE = Machine((GPU, RAM), 64 << 30, CPU_RATES, EXTRA, frozenset({"Q4_K"}))
MB = 10**6


def model(layers: int = 2, experts: int = 4) -> MoeModel:
    """Each layer: 80 MB of experts per part, of which half is used, and 20 MB of dense weights; a head of 10 MB."""
    parts = tuple(Weights(part, "Q4_K", 80 * MB, 1) for part in ("up", "gate", "down")) if experts else ()
    weights = (Weights("dense", "Q4_K", 20 * MB, 5), *parts)
    size = 80 * MB * bool(experts)
    return MoeModel(
        name="m",
        architecture="llama",
        layout="merged" if experts else "dense",
        quantization="Q4_K_M",
        context_length=4096,
        width=1000,
        dense_feed_forward=4000,
        expert_feed_forward=1000 if experts else 0,
        vocab_size=1000,
        heads=(10,) * layers,
        kv_heads=(2,) * layers,
        key_length=50,
        value_length=50,
        n_experts=experts,
        n_experts_used=experts // 2,
        layers=tuple(Layer(index, 20 * MB, size, size, size, weights) for index in range(layers)),
        token_embd=10 * MB,
        output=10 * MB,
        other=0,
        tokenizer="llama",
        chat_template=None,
        file_bytes=0,
        outside=(Weights("token_embd", "Q4_K", 10 * MB, 1), Weights("output", "Q4_K", 10 * MB, 1)),
    )


def draft(layers: int = 2, attention: str = CPU, experts: str = CPU, head: str = CPU) -> Plan:
    placements = tuple(Placement(index, attention, experts, experts, experts) for index in range(layers))
    devices = tuple({attention, experts, head} - {CPU})
    return Plan(4096, "f16", 512, "mmap", False, placements, head, devices, 0, (), (), (), None)


def extra_draft() -> Plan:
    return replace(draft(), extra_buffers=True)


def seconds(told: Forecast | None) -> tuple[float, float]:
    """Of a decoded token, and of a prefill token."""
    assert told is not None
    return 1 / told.decode_tps, 1 / told.prefill_tps


def test_decoding_on_the_cpu_by_hand() -> None:
    told = Costs(model(), MACHINE, "f16", 1000).forecast(draft())
    assert told is not None
    experts = 2 * 3 * 40 * MB / 10e9
    others = (2 * 20 * MB + 10 * MB) / 10e9
    attention = 2 * 1000 * 10 * 100 / 1e9
    steps = (2 * (16 + 9 + 2 + 8) + 3) * 1e-6
    assert dict(told.parts) == pytest.approx(
        {
            "experts on the CPU": 1000 * experts,
            "other weights on the CPU": 1000 * others,
            "attention over the context": 1000 * attention,
            "steps of the graph": 1000 * steps,
        }
    )
    assert told.decode_tps == pytest.approx(1 / (experts + others + attention + steps))
    assert (told.depth, told.basis, told.bound_by) == (1000, "measured", "CPU kernels")


def test_prefill_on_the_cpu_by_hand() -> None:
    told = Costs(model(), MACHINE, "f16", 0).forecast(draft())
    dense = 2 * 512 * 20 * MB / 100e9
    first = 512 * 3 * 40 * MB / 100e9
    last = 3 * 40 * MB / 10e9
    attention = 2 * 512 * 256 * 1000 / 1e9
    head = 10 * MB / 10e9
    steps = (2 * 35 + 3) * 1e-6
    assert seconds(told)[1] == pytest.approx((dense + first + last + attention + head + steps) / 512)


def test_experts_in_ram_by_hand() -> None:
    told = Costs(model(), MACHINE, "f16", 1000).forecast(draft(attention="CUDA0", head="CUDA0"))
    assert told is not None
    assert dict(told.parts) == pytest.approx(
        {
            "experts on the CPU": 1000 * 2 * 3 * 40 * MB / 10e9,
            "weights on the GPU": 1000 * 50 * MB / 500e9,
            "attention over the context": 1000 * 2 * 1000 * 1000 / 1e12,
            "steps of the graph": 1000 * ((2 * 27 + 3) * 2e-6 + 2 * 8 * 1e-6),
            "hand-overs between devices": 1000 * (2 * 2 + 2) * 1e-5,
        }
    )


@pytest.mark.parametrize(("load_mode", "link"), [("mmap", 10e9), ("copy", 20e9)])
def test_prompts_fetch_the_experts_over_the_link(load_mode: LoadMode, link: float) -> None:
    plan = replace(draft(attention="CUDA0", head="CUDA0"), load_mode=load_mode)
    told = Costs(model(), replace(MACHINE, cpu=replace(CPU_RATES, node=0.0)), "f16", 0).forecast(plan)
    fetched = 3 * 80 * MB / link + 512 * 3 * 40 * MB / 10e12
    last = 3 * 40 * MB / 10e9
    dense = 2 * 512 * 20 * MB / 10e12 + 10 * MB / 500e9
    attention = 2 * 512 * 256 * 1000 / 1e12
    changes = 6 * (1e-5 + 512 * 4000 / 20e9)
    assert seconds(told)[1] == pytest.approx((fetched + last + dense + attention + changes + 57 * 2e-6) / 512)


@pytest.mark.parametrize("gpu", [replace(GPU, remote=True), replace(GPU, unified=True)])
def test_a_remote_or_unified_gpu_fetches_nothing(gpu: Device) -> None:
    plan = draft(attention="CUDA0", head="CUDA0")
    local = Costs(model(), MACHINE, "f16", 0).forecast(plan)
    other = Costs(model(), replace(MACHINE, devices=(gpu, RAM)), "f16", 0).forecast(plan)
    assert seconds(other)[1] - seconds(local)[1] == pytest.approx(
        (512 * 120 * MB / 100e9 - (240 * MB / 10e9 + 512 * 120 * MB / 10e12)) / 512
    )


def test_small_batches_and_repacked_weights_are_computed_on_the_cpu() -> None:
    plan = draft(attention="CUDA0", head="CUDA0")
    slow = replace(MACHINE, devices=(replace(GPU, link=Link(1e6, 1e6, 1e-5)), RAM))
    costs = Costs(model(), slow, "f16", 0)
    fetched, computed = (costs.forecast(replace(plan, ubatch=ubatch)) for ubatch in (32, 31))
    assert seconds(fetched)[1] > 10 * seconds(computed)[1]
    extra = costs.forecast(replace(plan, ubatch=32, extra_buffers=True))
    assert seconds(extra)[1] < seconds(fetched)[1] / 10


def test_extra_buffers_have_rates_of_their_own() -> None:
    costs = Costs(model(), MACHINE, "f16", 0)
    plain, extra = costs.forecast(draft()), costs.forecast(extra_draft())
    assert plain is not None
    assert extra is not None
    assert dict(extra.parts)["experts on the CPU"] == pytest.approx(dict(plain.parts)["experts on the CPU"] / 2)
    assert seconds(extra)[1] - seconds(plain)[1] == pytest.approx(
        (
            512 * 120 * MB * (1 / 50e9 - 1 / 100e9)
            - 120 * MB * (1 / 10e9 - 1 / 20e9)
            + 512 * 40 * MB * (1 / 200e9 - 1 / 100e9)
        )
        / 512
    )
    without = Costs(model(), replace(MACHINE, cpu_extra=None), "f16", 0)
    assert without.forecast(extra_draft()) == plain


def test_a_batch_is_never_faster_than_reading_its_weights() -> None:
    told = Costs(model(1), MACHINE, "f16", 0).forecast(replace(draft(1), ubatch=1))
    assert told is not None
    assert told.prefill_tps == pytest.approx(told.decode_tps, rel=1e-3)


def test_split_experts_and_boundaries_are_handed_over() -> None:
    plan = draft(attention="CUDA0", experts="CUDA0", head="CUDA0")
    costs = Costs(model(), MACHINE, "f16", 0)

    def handed(layers: tuple[Placement, ...], head: str = "CUDA0") -> float:
        told = costs.forecast(replace(plan, layers=layers, head=head))
        assert told is not None
        return dict(told.parts).get("hand-overs between devices", 0.0)

    gpu = Placement(0, "CUDA0", "CUDA0", "CUDA0", "CUDA0")
    cpu = Placement(0, CPU, CPU, CPU, CPU)
    assert handed((gpu, gpu)) == pytest.approx(0.02)
    assert handed((cpu, gpu)) == pytest.approx(0.02)
    assert handed((gpu, replace(gpu, down=CPU))) == pytest.approx(0.04)
    assert handed((replace(gpu, gate=CPU), gpu)) == pytest.approx(0.04)
    assert handed((cpu, cpu), head=CPU) == 0


def test_a_dense_model() -> None:
    told = Costs(model(experts=0), MACHINE, "f16", 0).forecast(draft())
    assert seconds(told)[0] == pytest.approx(50 * MB / 10e9 + (2 * 25 + 3) * 1e-6)


def test_a_tied_head_is_the_token_embedding() -> None:
    whole = model()
    tied = replace(whole, output=0, outside=whole.outside[:1])
    costs = Costs(tied, MACHINE, "f16", 0)
    assert costs.forecast(draft()) == Costs(whole, MACHINE, "f16", 0).forecast(draft())


def test_fewer_experts_are_faster_and_layers_without_a_cache_attend_to_nothing() -> None:
    all_ = Costs(model(), MACHINE, "f16", 100).forecast(draft())
    one = Costs(replace(model(), n_experts_used=1), MACHINE, "f16", 100).forecast(draft())
    assert seconds(one)[0] < 0.6 * seconds(all_)[0]
    without = Costs(replace(model(), kv_heads=(0, 0)), MACHINE, "f16", 100).forecast(draft())
    assert without is not None
    assert "attention over the context" not in dict(without.parts)


def test_unknown_types_take_the_slowest_rate_and_unknown_devices_have_no_forecast() -> None:
    slow = replace(CPU_RATES, decode={"Q6_K": 5e9, "F32": 40e9})
    told = Costs(model(), replace(MACHINE, cpu=slow), "f16", 0).forecast(draft())
    assert told is not None
    assert dict(told.parts)["experts on the CPU"] == pytest.approx(1000 * 240 * MB / 5e9)
    assert Costs(model(), replace(MACHINE, cpu=None), "f16", 0).forecast(draft()) is None
    unknown = replace(MACHINE, devices=(replace(GPU, rates=None, link=None), RAM))
    costs = Costs(model(), unknown, "f16", 0)
    assert costs.forecast(draft(attention="CUDA0")) is None
    assert costs.forecast(replace(draft(), devices=("CUDA0",))) is not None
    linkless = Costs(model(), replace(MACHINE, devices=(replace(GPU, link=None), RAM)), "f16", 0)
    told = linkless.forecast(draft(attention="CUDA0"))
    assert told is not None
    assert "hand-overs between devices" not in dict(told.parts)


def test_the_weakest_basis_counts() -> None:
    for basis in ("measured", "given", "estimated"):
        machine = replace(MACHINE, devices=(replace(GPU, rates=replace(GPU_RATES, basis=basis)), RAM))
        told = Costs(model(), machine, "f16", 0).forecast(draft(attention="CUDA0"))
        assert told is not None
        assert told.basis == basis


def test_what_bounds_it_is_said() -> None:
    def bound(machine: Machine, plan: Plan, depth: int = 0) -> str:
        told = Costs(model(), machine, "f16", depth).forecast(plan)
        assert told is not None
        return told.bound_by

    fast = replace(CPU_RATES, decode={"Q4_K": 38e9})
    assert bound(replace(MACHINE, cpu=fast), draft()) == "RAM reading of experts"
    assert bound(MACHINE, draft(attention="CUDA0", experts="CUDA0", head="CUDA0")) == "GPU memory"
    assert bound(MACHINE, draft(), 10**6) == "attention over the context"
    assert bound(replace(MACHINE, cpu=replace(CPU_RATES, node=1.0)), draft()) == "overhead of many small steps"
    far = replace(MACHINE, devices=(replace(GPU, link=Link(1e9, 1e9, 1.0)), RAM))
    assert bound(far, draft(attention="CUDA0")) == "hand-overs between devices"


@given(on_gpu=st.integers(0, 32), depth=st.integers(0, 32768))
def test_more_experts_on_a_faster_gpu_are_never_slower_and_parts_add_up(on_gpu: int, depth: int) -> None:
    costs = Costs(mixtral(), MACHINE, "f16", depth)

    def with_experts(count: int) -> Forecast:
        layers = tuple(Placement(index, "CUDA0", *(["CUDA0" if index < count else CPU] * 3)) for index in range(32))
        told = costs.forecast(replace(draft(attention="CUDA0", head="CUDA0"), layers=layers))
        assert told is not None
        return told

    told = with_experts(on_gpu)
    assert sum(ms for _, ms in told.parts) == pytest.approx(1000 / told.decode_tps)
    assert with_experts(min(on_gpu + 1, 32)).decode_tps >= told.decode_tps
    assert with_experts(min(on_gpu + 1, 32)).prefill_tps >= told.prefill_tps


def test_it_is_quick() -> None:
    plan = draft(32, attention="CUDA0", head="CUDA0")
    costs = Costs(mixtral(), MACHINE, "f16", 1024)
    costs.forecast(plan)
    made = min(timeit.repeat(lambda: Costs(mixtral(), MACHINE, "f16", 1024), number=10)) / 10
    asked = min(timeit.repeat(lambda: costs.forecast(plan), number=100)) / 100
    assert made < 1e-3
    assert asked < 5e-4


def test_what_nobody_measured_is_estimated() -> None:
    gpu, shared, far = (
        Device(name, "gpu", 1, 1, unified=name == "Metal", remote=name == "RPC0") for name in ("GPU0", "Metal", "RPC0")
    )
    machine = complete(Machine((gpu, shared, far, RAM), 64 << 30))
    assert machine.cpu is not None
    assert machine.cpu_extra == machine.cpu
    rates = [device.rates for device in machine.gpus]
    assert [machine.cpu.basis, *(each.basis for each in rates if each)] == ["estimated"] * 4
    links = [device.link for device in machine.gpus]
    assert links[1] is not None
    assert links[1].mapped == inf
    assert rates[1] is not None
    assert rates[1].decode["F16"] < machine.cpu.bandwidth
    assert links[0] is not None
    assert links[2] is not None
    assert links[2].mapped < links[0].mapped < links[0].pinned
    assert machine.devices[3] == RAM


def test_given_speeds_bind_what_memory_bound() -> None:
    machine = complete(MACHINE, (80e9, 450e9))
    assert machine.cpu is not None
    assert machine.cpu.decode == pytest.approx({"Q4_K": 10e9, "F32": 80e9})
    assert (machine.cpu.bandwidth, machine.cpu.basis) == (80e9, "given")
    assert machine.gpus[0].rates is not None
    assert machine.gpus[0].rates.decode == {"Q4_K": 450e9}
    assert machine.gpus[0].rates.basis == "given"
    assert machine.gpus[0].link == GPU.link
    assert machine.cpu_extra is not None
    assert machine.cpu_extra.decode["Q4_K" + ROUTED] == 20e9
    unknown = complete(Machine((RAM,), 1), (80e9,))
    assert unknown.cpu is not None
    assert unknown.cpu.decode == {"F16": 80e9}
    assert complete(MACHINE) == MACHINE
