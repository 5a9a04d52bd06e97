import pytest

from mixchat.app.truth import Allocation, allocations, discrepancies
from mixchat.engine.events import BufferSize
from mixchat.plan.values import Footprint, Plan
from tests.fakes.plans import GIB, plan_of

MIB = 1 << 20


def real(plan: Plan, *buffers: tuple[str, str, int]) -> dict[str, Footprint]:
    found = allocations(plan, [BufferSize(device, holds, size) for device, holds, size in buffers])  # type: ignore[arg-type]
    return {each.device: each.real for each in found}


@pytest.mark.parametrize("device", ["CUDA0", "Vulkan0", "RPC0", "ROCm0"])
def test_a_gpus_buffers_are_its_own_and_pinned_memory_is_ram(device: str) -> None:
    plan = plan_of(Footprint(20 * GIB, 0, GIB), (device, Footprint(6 * GIB, GIB, GIB)))
    found = real(
        plan,
        (device, "model", 4 * GIB),
        (device, "model", 2 * GIB),
        (device, "kv", GIB),
        (device, "compute", 300 * MIB),
        ("CPU", "model", 19 * GIB),
        ("CUDA_Host", "model", GIB),
        ("CUDA_Host", "compute", 20 * MIB),
        ("CUDA_Host", "output", 2 * MIB),
    )
    assert found == {
        device: Footprint(6 * GIB, GIB, 300 * MIB),
        "CPU": Footprint(20 * GIB, 0, 22 * MIB),
    }


def test_names_that_begin_alike_are_told_apart() -> None:
    plan = plan_of(Footprint(GIB), ("CUDA1", Footprint(GIB)), ("CUDA10", Footprint(2 * GIB)))
    found = real(plan, ("CUDA1", "model", GIB), ("CUDA10", "model", 2 * GIB), ("CPU", "model", GIB))
    assert found == {"CUDA1": Footprint(GIB), "CUDA10": Footprint(2 * GIB), "CPU": Footprint(GIB)}


@pytest.mark.parametrize(("span", "weights"), [(26 * GIB, 20 * GIB), (15 * GIB, 15 * GIB)])
def test_a_mapped_span_is_an_upper_bound(span: int, weights: int) -> None:
    found = real(plan_of(Footprint(20 * GIB)), ("CPU_Mapped", "model", span))
    assert found == {"CPU": Footprint(weights)}


def test_repacked_weights_are_copies_of_a_mapped_file() -> None:
    plan = plan_of(Footprint(20 * GIB, 0, 0, 15 * GIB))
    found = real(plan, ("CPU_Mapped", "model", 26 * GIB), ("CPU_REPACK", "model", 12 * GIB), ("AMX", "model", 3 * GIB))
    assert found == {"CPU": Footprint(20 * GIB, 0, 0, 15 * GIB)}


def test_repacked_weights_are_the_weights_where_nothing_is_mapped() -> None:
    found = real(plan_of(Footprint(20 * GIB)), ("CPU", "model", 5 * GIB), ("CPU_REPACK", "model", 15 * GIB))
    assert found == {"CPU": Footprint(20 * GIB)}


def test_metals_mapped_buffers_are_spans_too() -> None:
    plan = plan_of(Footprint(GIB), ("MTL0", Footprint(10 * GIB)))
    found = real(
        plan, ("MTL0_Mapped", "model", 26 * GIB), ("MTL0_Private", "model", GIB), ("CPU_Mapped", "model", 2 * GIB)
    )
    assert found == {"MTL0": Footprint(10 * GIB), "CPU": Footprint(GIB)}


def test_nothing_reported_is_nothing_known() -> None:
    assert allocations(plan_of(), ()) == ()


@pytest.mark.parametrize(
    ("planned", "held", "off"),
    [
        (10 * GIB, 10 * GIB + 500 * MIB, False),
        (10 * GIB, 10 * GIB + 520 * MIB, True),
        (10 * GIB, 9 * GIB, True),
        (GIB, GIB + 60 * MIB, False),
        (GIB, GIB + 70 * MIB, True),
        (MIB, 60 * MIB, False),
    ],
)
def test_off_is_more_than_a_twentieth_and_than_64_mib(planned: int, held: int, off: bool) -> None:
    found = Allocation("CUDA0", "gpu", Footprint(planned), Footprint(held))
    assert found.off == off
    assert len(discrepancies([found])) == off


def test_a_discrepancy_names_the_parts_that_differ() -> None:
    found = Allocation("CUDA0", "gpu", Footprint(8 * GIB, GIB, GIB), Footprint(8 * GIB, GIB + MIB, 3 * GIB))
    assert discrepancies([found]) == (
        "CUDA0 holds 12.0 GiB where 10.0 GiB were planned (compute buffers 3.0 GiB instead of 1.0 GiB).",
    )
    small = Footprint(*(100 * MIB,) * 4)
    found = Allocation("CPU", "cpu", small, Footprint(*(120 * MIB,) * 4))
    assert discrepancies([found]) == ("CPU holds 480.0 MiB where 400.0 MiB were planned.",)
