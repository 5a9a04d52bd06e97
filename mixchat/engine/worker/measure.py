"""How fast a device computes, measured with its own kernels in about a second per type of weights.

Knows which shapes stand for a model's; refuses to know where the figures are kept and what is forecast from them.
Each figure is the median of runs that go on until three in a row agree or the time is up.
"""

import os
import random
import time
from array import array
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any, Final

from mixchat.engine.protocol import AskMeasure, Measured
from mixchat.engine.worker import graphs
from mixchat.engine.worker.devices import find_devices
from mixchat.engine.worker.graphs import Backend, Graph, OutOfMemory, Staging
from mixchat.gguf.types import TYPES

_ROW: Final = 4096
_BATCH: Final = 512
_PREFILL_ROWS: Final = 1024
_EXPERTS: Final = 8
_USED: Final = 2
_MATRICES: Final = 16
_HEAD: Final = 128
_HEADS: Final = 32
_KV_HEADS: Final = 8
_CACHED: Final = 2048
_NODES: Final = 400
_NARROW: Final = 1024
_SMALL: Final = 4 * _ROW
_SECONDS: Final = 0.3
_AGREE: Final = 1.03
_LEAST: Final = 3
_QUIET: Final = 0.15


def measure(asked: AskMeasure) -> Measured:
    """Measure one type of weights, or without one what does not depend on it.

    A figure that the device cannot give is 0: it lacks the kernel or the memory, or no buffer type of the kind asked
    for keeps that type of weights.

    Raises:
        EngineError: There is no such device.
    """
    (device,) = find_devices((asked.device,))
    started, ours, all_ = time.monotonic(), time.process_time(), busy_seconds()
    try:
        with _backend(device, asked.threads) as backend:
            told = _of_type(backend, asked) if asked.weights else _in_general(backend, asked.size)
    except OutOfMemory:
        return Measured()
    others = busy_seconds() - all_ - (time.process_time() - ours)
    return replace(told, quiet=others < _QUIET * (time.monotonic() - started))


def busy_seconds() -> float:
    """Seconds that all processes, and other guests of the same host, took of this machine's cores; 0 if unknown."""
    try:
        user, nice, system, _idle, _wait, *rest = Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]
    except (OSError, ValueError):
        return 0.0
    return sum(map(int, (user, nice, system, *rest))) / os.sysconf("SC_CLK_TCK")


@contextmanager
def _backend(device: int, threads: int) -> Iterator[Backend]:
    backend = Backend(device, threads)
    try:
        yield backend
    finally:
        backend.free()


def _of_type(backend: Backend, asked: AskMeasure) -> Measured:
    """The first type of buffer that takes the weights is the one that llama.cpp takes."""
    for buffers in backend.extra if asked.extra_buffers else [backend.plain]:
        if decode := _decode(backend, buffers, asked.weights, asked.size // 2):
            return Measured(
                decode=decode,
                prefill=_prefill(backend, buffers, asked.weights),
                routed_decode=_routed_decode(backend, buffers, asked.weights, asked.size),
                routed_prefill=_routed_prefill(backend, buffers, asked.weights),
            )
    return Measured()


def _in_general(backend: Backend, size: int) -> Measured:
    mapped, pinned, latency = (0.0, 0.0, 0.0) if backend.is_cpu else _link(backend, size)
    return Measured(
        bandwidth=_decode(backend, backend.plain, "F32", size),
        attention=_attention(backend, size),
        node=_node(backend),
        mapped=mapped,
        pinned=pinned,
        latency=latency,
    )


def _decode(backend: Backend, buffers: Any, kind: str, size: int) -> float:  # noqa: ANN401 - a pointer
    """Bytes/s of matrices that one token passes; together they are larger than any cache."""
    rows = _rows(kind, size // _MATRICES)
    with Graph(backend, 4 * _MATRICES) as graph:
        token = graph.input("F32", _ROW, 1)
        weights = [graph.weight(kind, _ROW, rows) for _ in range(_MATRICES)]
        for matrix in weights:
            graph.add(graphs.mul_mat, matrix, token)
        if not graph.allocate(buffers):
            return 0.0
        graphs.fill(token, _activations())
        for matrix in weights:
            graphs.fill(matrix)
        return sum(map(graphs.nbytes, weights)) / _time(graph.compute)


def _routed_decode(backend: Backend, buffers: Any, kind: str, size: int) -> float:  # noqa: ANN401 - a pointer
    """The same of experts, two by two until all were used."""
    with Graph(backend, 4 * _EXPERTS) as graph:
        token = graph.input("F32", _ROW, 1, 1)
        chosen = [graph.input("I32", _USED, 1) for _ in range(_EXPERTS // _USED)]
        experts = graph.weight(kind, _ROW, _rows(kind, size // _EXPERTS), _EXPERTS)
        for each in chosen:
            graph.add(graphs.mul_mat_id, experts, token, each)
        if not graph.allocate(buffers):
            return 0.0
        graphs.fill(token, _activations())
        graphs.fill(experts)
        for number, each in enumerate(chosen):
            graphs.fill(each, array("i", range(_USED * number, _USED * (number + 1))).tobytes())
        return graphs.nbytes(experts) / _time(graph.compute)


def _activations() -> bytes:
    """A token's."""
    draw = random.Random(0)  # noqa: S311 - activations, not secrets
    return array("f", (draw.gauss(0, 1) for _ in range(_ROW))).tobytes()


def _rows(kind: str, size: int) -> int:
    """Rows of a matrix of about that many bytes, in eights: repacked weights are interleaved by eight."""
    return max(8, size // (_ROW // TYPES[kind].elements * TYPES[kind].nbytes) // 8 * 8)


def _prefill(backend: Backend, buffers: Any, kind: str) -> float:  # noqa: ANN401 - a pointer
    """Bytes/s times tokens of a matrix that a batch passes."""
    with Graph(backend, 4) as graph:
        batch = graph.input("F32", _ROW, _BATCH)
        matrix = graph.weight(kind, _ROW, _PREFILL_ROWS)
        graph.add(graphs.mul_mat, matrix, batch)
        if not graph.allocate(buffers):
            return 0.0
        graphs.fill(batch, _activations())
        graphs.fill(matrix)
        return _BATCH * graphs.nbytes(matrix) / _time(graph.compute)


def _routed_prefill(backend: Backend, buffers: Any, kind: str) -> float:  # noqa: ANN401 - a pointer
    """The same of experts, of which each token passes two of eight at random; only those bytes count."""
    with Graph(backend, 8) as graph:
        batch = graph.input("F32", _ROW, 1, _BATCH)
        chosen = graph.input("I32", _USED, _BATCH)
        experts = graph.weight(kind, _ROW, _PREFILL_ROWS, _EXPERTS)
        graph.add(graphs.mul_mat_id, experts, batch, chosen)
        if not graph.allocate(buffers):
            return 0.0
        graphs.fill(batch, _activations())
        graphs.fill(experts)
        draw = random.Random(0)  # noqa: S311 - routing, not secrets
        choices = array("i", (expert for _ in range(_BATCH) for expert in draw.sample(range(_EXPERTS), _USED)))
        graphs.fill(chosen, choices.tobytes())
        return _BATCH * graphs.nbytes(experts) * _USED / _EXPERTS / _time(graph.compute)


def _attention(backend: Backend, size: int) -> float:
    """Multiply-adds/s of one token's attention over caches of several layers, in f16, the heads side by side."""
    layers = max(1, size // (2 * 2 * _CACHED * _KV_HEADS * _HEAD))
    with Graph(backend, 8 * layers) as graph:
        query = graph.input("F32", _HEAD, 1, _HEADS)
        caches = [graph.input("F16", _HEAD, _KV_HEADS, _CACHED) for _ in range(2 * layers)]
        views = [graph.view(graphs.permute, cache, 0, 2, 1, 3) for cache in caches]
        mask = graph.input("F16", _CACHED, 1)
        for keys, values in zip(views[::2], views[1::2], strict=True):
            graph.add(graphs.flash_attn, query, keys, values, mask, _HEAD**-0.5, 0.0, 0.0)
        if not graph.allocate():
            return 0.0
        graphs.fill(query, _activations())
        for cache in caches:
            graphs.fill(cache)
        graphs.fill(mask, bytes(2 * _CACHED))
        return 2 * layers * _CACHED * _HEADS * _HEAD / _time(graph.compute)


def _node(backend: Backend) -> float:
    """Seconds of a node that has next to nothing to compute, in a chain of many; one thread works, the others wait."""
    with Graph(backend, 2 * _NODES) as graph:
        first = value = graph.input("F32", _NARROW)
        for _ in range(_NODES):
            value = graph.add(graphs.rms_norm, value, 1e-5)
        if not graph.allocate():
            return 0.0
        graphs.fill(first, _activations())
        return _time(graph.compute) / _NODES


def _link(backend: Backend, size: int) -> tuple[float, float, float]:
    """Bytes/s from pageable and from pinned RAM to a device, and seconds of a token's activations one way."""
    size = max(size // 4, _SMALL)
    with Graph(backend, 8) as graph:
        large, small = graph.input("I8", size), graph.input("F32", _ROW)
        if not graph.allocate():
            return 0.0, 0.0, 0.0
        data = bytes(size)
        mapped = size / _time(lambda: graphs.fill(large, data))
        staging = Staging(backend.device, size)
        pinned = size / _time(lambda: staging.send(large)) if staging.send(large) else mapped
        staging.free()
        latency = _time(lambda: _there_and_back(small)) / 2
        return mapped, max(mapped, pinned), latency


def _there_and_back(tensor: Any) -> None:  # noqa: ANN401 - a pointer
    graphs.fill(tensor)
    graphs.read(tensor, _SMALL)


def _time(run: Callable[[], object]) -> float:
    """Median seconds of a run, after one that does not count."""
    run()
    times: list[float] = []
    deadline = time.perf_counter() + _SECONDS
    while len(times) < _LEAST or (time.perf_counter() < deadline and not _agree(times[-_LEAST:])):
        started = time.perf_counter()
        run()
        times.append(time.perf_counter() - started)
    return median(times)


def _agree(times: list[float]) -> bool:
    return max(times) < _AGREE * min(times)
