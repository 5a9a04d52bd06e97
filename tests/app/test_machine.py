from collections.abc import Callable, Generator
from dataclasses import replace

import pytest

from mixchat.app.events import Notice
from mixchat.app.house import House
from mixchat.app.machine import Speeds, described_machine, machine_of, rated, rated_so_far, types_of
from mixchat.engine import platform
from mixchat.engine.calibration import Calibration
from mixchat.engine.events import DeviceInfo
from mixchat.engine.speed import UNKNOWN, Need
from mixchat.errors import UsageError
from mixchat.plan.values import Device, Machine, Rates
from tests.app.conftest import MakeHouse, MakeSettings
from tests.fakes.engine import CPU, FakeEngine
from tests.fakes.plans import mixtral

GIB = 1 << 30
FIRST = DeviceInfo("CUDA0", "A card", "gpu", 20 * GIB, 24 * GIB)
SECOND = DeviceInfo("CUDA1", "Another", "gpu", 10 * GIB, 12 * GIB)
SHARED = DeviceInfo("Vulkan0", "In the processor", "igpu", 6 * GIB, 8 * GIB, unified=True)
BLAS = DeviceInfo("BLAS", "A library", "accel", 0, 0)
TYPES = frozenset({"Q4_K"})
Budgets = list[tuple[str, int, int | None, bool]]


@pytest.fixture(autouse=True)
def _machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "ram_available", lambda: 32 * GIB)
    monkeypatch.setattr(platform, "physical_cores", lambda: 6)


@pytest.fixture
def house_of(make_house: MakeHouse) -> Callable[..., House]:
    return lambda *devices: make_house(FakeEngine(devices=(*devices, CPU)))


def budgets(machine: Machine) -> Budgets:
    return [(gpu.name, gpu.free // GIB, gpu.budget and gpu.budget // GIB, gpu.described) for gpu in machine.gpus]


def test_devices_and_ram_as_they_are(house_of: Callable[..., House], settings: MakeSettings) -> None:
    machine = machine_of(house_of(FIRST, SHARED, BLAS), settings())
    assert machine == Machine(
        (
            Device("CUDA0", "gpu", 20 * GIB, 24 * GIB),
            Device("Vulkan0", "gpu", 6 * GIB, 8 * GIB, unified=True),
            Device("CPU", "cpu", CPU.free, CPU.total),
        ),
        32 * GIB,
    )
    assert machine_of(house_of(), settings(ram="5GiB")).ram_available == 5 * GIB
    assert described_machine(house_of(FIRST), settings()) == machine_of(house_of(FIRST), settings())


@pytest.mark.parametrize(
    ("vram", "device", "expected"),
    [
        ("8GiB,4GiB", "auto", [("CUDA0", 20, 8, False), ("CUDA1", 10, 4, False)]),
        ("8GiB", "auto", [("CUDA0", 20, 8, False), ("CUDA1", 10, 8, False)]),
        ("0", "auto", [("CUDA0", 20, 0, False), ("CUDA1", 10, 0, False)]),
        ("4GiB,8GiB", "cuda1,CUDA0", [("CUDA0", 20, 8, False), ("CUDA1", 10, 4, False)]),
        ("4GiB", "CUDA1", [("CUDA0", 20, None, False), ("CUDA1", 10, 4, False)]),
        ("4GiB", "cpu", [("CUDA0", 20, 4, False), ("CUDA1", 10, 4, False)]),
    ],
)
def test_budgets_go_by_the_order_of_the_gpus(
    house_of: Callable[..., House], settings: MakeSettings, vram: str, device: str, expected: Budgets
) -> None:
    asked = settings(vram=vram, device=device)
    house = house_of(FIRST, SECOND)
    assert budgets(machine_of(house, asked)) == expected
    assert budgets(described_machine(house, asked)) == expected


def test_remote_devices_count(house_of: Callable[..., House], settings: MakeSettings) -> None:
    asked = settings(vram="8GiB,2GiB", rpc="10.0.0.2:50052")
    machine = machine_of(house_of(FIRST), asked)
    assert budgets(machine) == [("CUDA0", 20, 8, False), ("RPC0", 8, 2, False)]
    assert [gpu.remote for gpu in machine.gpus] == [False, True]


@pytest.mark.parametrize(
    ("devices", "vram", "message"),
    [
        ((), "8GiB", "--vram 8.0GiB: llama.cpp has no GPU here."),
        ((), "8GiB,0", "--vram 8.0GiB,0B: llama.cpp has no GPU here."),
        ((FIRST,), "8GiB,8GiB", "--vram 8.0GiB,8.0GiB: the GPUs are CUDA0."),
        ((FIRST, SECOND, SHARED), "8GiB,4GiB", "--vram 8.0GiB,4.0GiB: the GPUs are CUDA0, CUDA1, Vulkan0."),
    ],
)
def test_loading_takes_no_described_gpus(
    house_of: Callable[..., House], settings: MakeSettings, devices: tuple[DeviceInfo, ...], vram: str, message: str
) -> None:
    with pytest.raises(UsageError) as caught:
        machine_of(house_of(*devices), settings(vram=vram))
    assert caught.value.message == message
    assert caught.value.hint


def test_no_budget_needs_no_gpu(house_of: Callable[..., House], settings: MakeSettings) -> None:
    assert machine_of(house_of(), settings(vram="0")).gpus == ()


@pytest.mark.parametrize(
    ("devices", "vram", "expected"),
    [
        ((), "24GiB", [("GPU0", 24, None, True)]),
        ((), "24GiB,8GiB", [("GPU0", 24, None, True), ("GPU1", 8, None, True)]),
        ((FIRST,), "24GiB,8GiB", [("CUDA0", 20, 24, False), ("GPU1", 8, None, True)]),
        ((FIRST,), "80GiB", [("GPU0", 80, None, True)]),
        ((FIRST, SECOND), "16GiB", [("CUDA0", 20, 16, False), ("GPU1", 16, None, True)]),
        ((), "0", []),
    ],
)
def test_a_plan_may_describe_gpus(
    house_of: Callable[..., House],
    settings: MakeSettings,
    devices: tuple[DeviceInfo, ...],
    vram: str,
    expected: Budgets,
) -> None:
    machine = described_machine(house_of(*devices), settings(vram=vram, ram="64GiB"))
    assert budgets(machine) == expected
    assert machine.devices[-1].name == "CPU"
    assert machine.ram_available == 64 * GIB


def test_a_plan_cannot_leave_gpus_undescribed(house_of: Callable[..., House], settings: MakeSettings) -> None:
    with pytest.raises(UsageError, match="the GPUs are CUDA0, CUDA1, Vulkan0"):
        described_machine(house_of(FIRST, SECOND, SHARED), settings(vram="8GiB,4GiB"))


FAST = Rates(60e9, {"Q4_K": 40e9}, {"Q4_K": 400e9}, 1e10, 1e-6, "measured")
KNOWN = Calibration(FAST, None, frozenset(), {})


class Stopwatch:
    """Knows nothing until it has measured."""

    def __init__(self) -> None:
        self.needs: list[tuple[Need, bool]] = []
        self.known = UNKNOWN

    def __call__(self, need: Need, *, measure: bool) -> tuple[Calibration, bool]:
        self.needs.append((need, measure))
        self.known = KNOWN if measure else self.known
        return self.known, self.known is KNOWN


def returned(steps: Generator[Notice, None, Machine]) -> tuple[list[str], Machine]:
    notices: list[str] = []
    while True:
        try:
            notices.append(next(steps).text)
        except StopIteration as end:
            return notices, end.value


@pytest.mark.parametrize(
    ("devices", "how", "measured"),
    [
        ((), Speeds(measure=True), True),
        ((), Speeds(), False),
        ((), None, False),
        ((FIRST,), None, True),
        ((FIRST,), Speeds(measure=False), False),
    ],
)
def test_what_is_not_known_is_measured_once_and_told(
    house_of: Callable[..., House],
    settings: MakeSettings,
    devices: tuple[DeviceInfo, ...],
    how: Speeds | None,
    measured: bool,
) -> None:
    watch = Stopwatch()
    house = replace(house_of(*devices), calibrate=watch)
    machine = machine_of(house, settings())
    notices, found = returned(rated(house, settings(threads=3), machine, TYPES, how))
    assert len(notices) == measured
    assert found.cpu is not None
    assert found.cpu.basis == ("measured" if measured else "estimated")
    assert [asked for _need, asked in watch.needs] == [False, True][: 1 + measured]
    need, _ = watch.needs[0]
    assert (need.types, need.threads, need.extra_buffers) == (TYPES, 3, True)
    assert need.devices() == (*devices, CPU)
    again, _ = returned(rated(house, settings(), machine, TYPES, how))
    assert again == []


def test_without_measuring_what_is_known_counts(house_of: Callable[..., House], settings: MakeSettings) -> None:
    watch = Stopwatch()
    house = replace(house_of(FIRST), calibrate=watch)
    machine = machine_of(house, settings())
    assert rated_so_far(house, settings(), machine, TYPES) == UNKNOWN.with_rates(machine)
    watch.known = KNOWN
    assert rated_so_far(house, settings(), machine, TYPES).cpu == FAST
    assert {measure for _need, measure in watch.needs} == {False}
    assert watch.needs[0][0].threads == 6


def test_given_speeds_and_described_gpus_have_rates(house_of: Callable[..., House], settings: MakeSettings) -> None:
    house = replace(house_of(), calibrate=Stopwatch())
    machine = described_machine(house, settings(vram="24GiB"))
    _notices, found = returned(rated(house, settings(), machine, TYPES, Speeds((30 * 10**9, 900 * 10**9))))
    assert found.cpu is not None
    assert (found.cpu.bandwidth, found.cpu.basis) == (30e9, "given")
    (gpu,) = found.gpus
    assert gpu.rates is not None
    assert (gpu.rates.bandwidth, gpu.rates.basis) == (900e9, "given")
    assert gpu.link is not None


def test_types_of_all_models_together() -> None:
    model = mixtral()
    assert types_of(model) == {"F32", "F16", "Q4_K", "Q6_K", "Q5_K", "Q8_0"} & types_of(model)
    assert {"Q4_K", "Q6_K", "F32"} <= types_of(model)
    assert types_of(model, mixtral("static/Q2_K")) == types_of(model) | types_of(mixtral("static/Q2_K"))
