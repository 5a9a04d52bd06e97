import os
from collections.abc import Sequence
from dataclasses import replace

import pytest

from mixchat.engine.client import WorkerClient
from mixchat.engine.events import DeviceInfo
from mixchat.engine.protocol import AskMeasure, Measured
from mixchat.engine.speed import UNKNOWN, Need, speed_of
from mixchat.plan.values import Device, Machine
from mixchat.store.places import Places

CPU = DeviceInfo("CPU", "A processor", "cpu", 8 << 30, 16 << 30)
NEED = Need(lambda: (CPU,), frozenset({"Q8_0"}), 2, extra_buffers=False)
FIGURES = Measured(30e9, 20e9, 25e9, 10e9, bandwidth=30e9, attention=1e10, node=1e-6, quiet=True)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Sequence[AskMeasure]:
    """What a worker was asked to measure; it answers at once and never starts."""
    questions: list[AskMeasure] = []

    def measure(_self: WorkerClient, question: AskMeasure) -> Measured:
        questions.append(question)
        return FIGURES

    monkeypatch.setattr(WorkerClient, "measure", measure)
    monkeypatch.setattr(WorkerClient, "_start", lambda _self: pytest.fail("a worker started"), raising=False)
    return questions


def test_what_is_not_known_is_told_without_a_worker(places: Places, asked: Sequence[AskMeasure]) -> None:
    assert speed_of(places, os.environ, NEED, measure=False) == (UNKNOWN, False)
    assert asked == []


def test_what_was_measured_is_known(places: Places, asked: Sequence[AskMeasure]) -> None:
    found, complete = speed_of(places, os.environ, NEED, measure=True)
    assert complete
    assert found.cpu is not None
    assert found.cpu.basis == "measured"
    assert {question.weights for question in asked} == {"", "F32", "Q8_0"}
    count = len(asked)
    for measure in (False, True):
        assert speed_of(places, os.environ, NEED, measure=measure) == (found, True)
    assert len(asked) == count
    more = replace(NEED, types=frozenset({"Q8_0", "Q4_K"}))
    assert speed_of(places, os.environ, more, measure=False) == (UNKNOWN, False)


def test_what_was_measured_on_a_busy_machine_counts_and_is_measured_again(
    places: Places, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(WorkerClient, "measure", lambda _self, _asked: replace(FIGURES, quiet=False))
    monkeypatch.setattr(os, "getloadavg", lambda: (9.0, 9.0, 9.0))
    found, complete = speed_of(places, os.environ, NEED, measure=True)
    assert complete
    monkeypatch.setattr(os, "getloadavg", lambda: (0.0, 0.0, 0.0))
    assert speed_of(places, os.environ, NEED, measure=False) == (found, False)
    monkeypatch.setattr(WorkerClient, "measure", lambda _self, _asked: FIGURES)
    assert speed_of(places, os.environ, NEED, measure=True) == (found, True)
    assert speed_of(places, os.environ, NEED, measure=False) == (found, True)


def test_of_what_nobody_measured_everything_is_estimated() -> None:
    machine = UNKNOWN.with_rates(Machine((Device("GPU0", "gpu", 1, 1, described=True),), 1))
    assert machine.cpu is not None
    assert machine.cpu.basis == "estimated"
    assert machine.gpus[0].rates is not None
    assert machine.gpus[0].rates.basis == "estimated"
