"""The microbenchmark gives plausible figures; how right they are is for benchmarks/forecast.py to say."""

import pytest

from mixchat.engine.client import WorkerClient
from mixchat.engine.protocol import AskMeasure, Measured
from mixchat.errors import EngineError
from mixchat.plan.values import CPU

SIZE = 8 << 20


def test_figures_of_a_type_are_plausible(client: WorkerClient) -> None:
    told = client.measure(AskMeasure(CPU, "Q4_K", 2, extra_buffers=False, size=SIZE))
    assert 1e8 < told.decode < 1e13
    assert told.decode < told.prefill < 1e15
    assert 1e8 < told.routed_decode < 1e13
    assert told.routed_decode < told.routed_prefill < 1e15
    assert (told.bandwidth, told.attention, told.node, told.mapped) == (0, 0, 0, 0)


def test_figures_of_no_type_are_plausible(client: WorkerClient) -> None:
    told = client.measure(AskMeasure(CPU, "", 2, extra_buffers=False, size=SIZE))
    assert 1e8 < told.bandwidth < 1e13
    assert 1e7 < told.attention < 1e13
    assert 1e-8 < told.node < 1e-2
    assert (told.decode, told.prefill, told.routed_decode, told.mapped, told.pinned, told.latency) == (0,) * 6


def test_weights_that_no_extra_buffer_takes_have_no_figures(client: WorkerClient) -> None:
    told = client.measure(AskMeasure(CPU, "I8", 1, extra_buffers=True, size=SIZE))
    assert Measured(quiet=told.quiet) == told


def test_an_unknown_device_is_an_error_and_the_worker_goes_on(client: WorkerClient) -> None:
    with pytest.raises(EngineError, match="no device CUDA9"):
        client.measure(AskMeasure("CUDA9", "", 1, extra_buffers=False, size=SIZE))
    assert client.devices()
