"""What is missing is measured and kept; what cannot be measured is estimated."""

import os
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import replace

import pytest

import mixchat.engine.calibration as module
from mixchat.engine.calibration import calibrate
from mixchat.engine.client import WorkerClient
from mixchat.engine.events import DeviceInfo
from mixchat.engine.protocol import AskMeasure, Measured
from mixchat.errors import EngineDied
from mixchat.plan.forecast import ROUTED
from mixchat.plan.values import Device, Machine
from mixchat.store.places import Places

CPU = DeviceInfo("CPU", "A processor", "cpu", 1, 1)
GPU = DeviceInfo("CUDA0", "A card", "gpu", 1, 24 << 30)
REMOTE = DeviceInfo("RPC0", "10.0.0.2:1", "gpu", 1, 1, remote=True)
GENERAL = Measured(bandwidth=30e9, attention=1e9, node=1e-6)
LINKED = replace(GENERAL, mapped=1e9, pinned=2e9, latency=1e-5)
PLAIN = Measured(decode=10e9, prefill=20e9, routed_decode=9e9, routed_prefill=30e9)
REPACKED = Measured(decode=11e9, prefill=21e9, routed_decode=8e9, routed_prefill=31e9)


class Meter:
    """A worker's client that answers at once."""

    def __init__(self, *devices: DeviceInfo, dies_at: str | None = None, quiet: bool = True) -> None:
        self.asked: list[AskMeasure] = []
        self._devices = devices or (CPU,)
        self._dies_at = dies_at
        self._quiet = quiet

    def devices(self, rpc: Sequence[str] = ()) -> tuple[DeviceInfo, ...]:
        assert not rpc
        if self._dies_at == "devices":
            raise EngineDied("dead", "", 9)
        return self._devices

    def measure(self, asked: AskMeasure) -> Measured:
        if self._dies_at == asked.weights:
            raise EngineDied("dead", "", 9)
        self.asked.append(asked)
        told = (LINKED if asked.device != "CPU" else GENERAL) if not asked.weights else PLAIN
        if asked.extra_buffers:
            told = REPACKED if asked.weights == "Q4_K" else Measured()
        return replace(told, quiet=self._quiet)

    def close(self) -> None: ...


def starting(meter: Meter) -> Callable[[], WorkerClient]:
    return lambda: meter  # type: ignore[return-value, unused-ignore]


def known(places: Places, meter: Meter, *types: str, extra: bool = True) -> module.Calibration:
    return calibrate(places, starting(meter), types, 2, extra)


def test_what_is_missing_is_measured_once(places: Places) -> None:
    first = Meter()
    calibration = known(places, first, "Q4_K", "Q8_0")
    asked = [(each.weights, each.extra_buffers) for each in first.asked]
    types = ["F32", "Q4_K", "Q8_0"]
    assert asked == [("", False), *((kind, False) for kind in types), *((kind, True) for kind in types)]
    second = Meter()
    assert known(places, second, "Q4_K", "Q8_0") == calibration
    assert second.asked == []
    third = Meter()
    known(places, third, "Q6_K", extra=False)
    assert [each.weights for each in third.asked] == ["Q6_K"]


def test_a_machine_gets_its_rates(places: Places) -> None:
    calibration = known(places, Meter(CPU, GPU, REMOTE), "Q4_K")
    devices = tuple(
        Device(info.name, "cpu" if info.kind == "cpu" else "gpu", 1, 1, remote=info.remote)
        for info in (CPU, GPU, REMOTE)
    )
    described = Device("CUDA0", "gpu", 1, 1, described=True)
    machine = calibration.with_rates(Machine((*devices, described), 1))
    assert machine.cpu is not None
    assert machine.cpu_extra is not None
    assert (machine.cpu.basis, machine.cpu.bandwidth, machine.cpu.node) == ("measured", 30e9, 1e-6)
    assert machine.cpu.decode == {"F32": 10e9, "Q4_K": 10e9, "F32" + ROUTED: 9e9, "Q4_K" + ROUTED: 9e9}
    assert machine.cpu.prefill["Q4_K"] == 20e9
    assert machine.cpu.prefill["Q4_K" + ROUTED] == 30e9
    assert machine.cpu_extra.decode["F32"] == 10e9
    assert (machine.cpu_extra.decode["Q4_K"], machine.cpu_extra.decode["Q4_K" + ROUTED]) == (11e9, 8e9)
    assert machine.repacked == {"Q4_K"}
    bases = [device.rates.basis for device in machine.gpus if device.rates]
    assert bases == ["measured", "estimated", "estimated"]
    assert machine.gpus[0].link is not None
    assert (machine.gpus[0].link.mapped, machine.gpus[0].link.latency) == (1e9, 1e-5)
    faster = calibration.with_rates(Machine(devices, 1), (60e9,))
    assert faster.cpu is not None
    assert (faster.cpu.bandwidth, faster.cpu.basis) == (60e9, "given")


def test_another_build_processor_or_thread_count_is_measured_again(
    places: Places, monkeypatch: pytest.MonkeyPatch
) -> None:
    known(places, Meter(), "Q4_K")
    for name in ("build_identity", "cpu_identity"):
        monkeypatch.setattr(module, name, lambda: "another")
        again = Meter()
        known(places, again, "Q4_K")
        assert again.asked
    more = Meter()
    calibrate(places, starting(more), ["Q4_K"], 4, False)
    assert {each.threads for each in more.asked} == {4}


@pytest.mark.parametrize("dies_at", ["devices", "", "F32"])
def test_a_worker_that_dies_leaves_estimates(places: Places, dies_at: str) -> None:
    machine = known(places, Meter(dies_at=dies_at), "Q4_K").with_rates(Machine((), 1))
    assert machine.cpu is not None
    assert machine.cpu.basis == "estimated"


def test_what_was_measured_before_it_died_is_kept(places: Places) -> None:
    calibration = known(places, Meter(dies_at="Q8_0"), "Q4_K", "Q8_0", extra=False)
    assert calibration.cpu is not None
    assert set(calibration.cpu.prefill) == {"F32", "Q4_K", "F32" + ROUTED, "Q4_K" + ROUTED}
    again = Meter()
    known(places, again, "Q4_K", "Q8_0", extra=False)
    assert [each.weights for each in again.asked] == ["Q8_0"]


def test_a_read_only_disk_is_no_error(places: Places) -> None:
    places.state.parent.mkdir(parents=True, exist_ok=True)
    places.state.write_text("no folder")
    assert known(places, Meter(), "Q4_K").cpu is not None


def test_a_disturbed_measurement_is_repeated(places: Places, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_calm", lambda: False)
    meter = Meter(quiet=False)
    calibration = known(places, meter, "Q4_K", extra=False)
    assert [each.weights for each in meter.asked] == [kind for kind in ("", "F32", "Q4_K") for _ in range(3)]
    assert calibration.cpu is not None
    assert known(places, Meter(), "Q4_K", extra=False) == calibration


def test_a_disturbed_measurement_is_made_again_when_the_machine_is_calm(
    places: Places, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_calm", lambda: True)
    known(places, Meter(quiet=False), "Q4_K", "Q8_0", extra=False)
    again, quiet = Meter(), Meter()
    known(places, again, "Q4_K", extra=False)
    assert [each.weights for each in again.asked] == ["", "F32", "Q4_K", "Q8_0"]
    known(places, quiet, "Q4_K", extra=False)
    assert quiet.asked == []


def test_the_best_of_two_measurements_counts() -> None:
    better = module._better(PLAIN, replace(REPACKED, node=1.0, latency=2.0))
    assert (better.decode, better.node, better.latency) == (11e9, 0, 0)


def test_this_machine_is_measured(places: Places, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "STREAMED", 8 << 20)
    monkeypatch.setattr(module, "_RETRIES", 0)
    with closing(WorkerClient(os.environ)) as client:
        calibration = calibrate(places, lambda: client, ["F32"], 1, False)
    assert calibration.cpu is not None
    assert calibration.cpu.basis == "measured"
    assert calibration.extra is None
