"""What the routers choose, as the worker sees it, against numpy and against tables computed by hand."""

import os
from collections.abc import Iterator
from contextlib import closing
from itertools import pairwise
from pathlib import Path
from random import Random

import numpy as np  # noqa: TID253 - tests may
import pytest

from mixchat.engine.client import WorkerClient
from mixchat.plan.values import Override
from tests.engine import numpy_nemotron
from tests.engine.numpy_moe import Shape, dots1, random_weights, routings, write
from tests.engine.rpc_servers import serve_rpc
from tests.engine.traces import by_layer, check, load, model, traced

_RANDOM = Random(1)
TOKENS = [_RANDOM.randrange(256) for _ in range(64)]
UBATCHES = (512, 32, 3, 1)
SEED, SEED_OF_3, SEED_OF_NEMOTRON = 27, 36, 105
SHAPES = {
    "mixtral": (Shape(), SEED),
    "top 1": (Shape(used=1), 67),
    "top 3": (Shape(used=3), SEED_OF_3),
    "one layer": (Shape(layers=1), 0),
    "biased, normed, scaled": (dots1(), 18),
    "biased, scaled": (dots1(normed=False), 18),
    "biased": (dots1(normed=False, scale=1.0), 18),
    "softmax, normed": (dots1(gating=1, scale=1.0, lead=2, layers=4), 23),
}
"""Each with weights of which no near tie between two experts decides what later layers see."""


@pytest.fixture(scope="module")
def worker() -> Iterator[WorkerClient]:
    with closing(WorkerClient(os.environ)) as started:
        yield started


@pytest.mark.parametrize("name", SHAPES)
def test_every_layer_and_token_is_as_numpy_computes_it(worker: WorkerClient, tmp_path: Path, name: str) -> None:
    shape, seed = SHAPES[name]
    weights = random_weights(shape, seed)
    path = write(tmp_path / "model.gguf", shape, weights)
    expected = routings(shape, weights, TOKENS)
    assert sorted(expected) == list(range(shape.lead, shape.layers))
    for ubatch in UBATCHES:
        load(worker, path, ubatch=ubatch)
        found = traced(worker, TOKENS)
        assert {each.used for each in found} == {shape.used}
        assert max(each.count for each in found) == min(ubatch, len(TOKENS))
        check(by_layer(found), expected, shape.scale, 1e-3 if ubatch == 512 else 2e-3)


def test_layers_that_use_different_numbers_of_experts(worker: WorkerClient, tmp_path: Path) -> None:
    weights = numpy_nemotron.random_weights(SEED_OF_NEMOTRON)
    path = numpy_nemotron.write(tmp_path / "model.gguf", weights)
    expected = numpy_nemotron.routings(weights, TOKENS)
    for ubatch in UBATCHES:
        load(worker, path, ubatch=ubatch)
        found = traced(worker, TOKENS)
        assert {each.layer: each.used for each in found} == {1: 1, 2: 3, 4: 2}
        check(by_layer(found), expected, numpy_nemotron.SHAPE.scale, 1e-3 if ubatch == 512 else 2e-3)


def test_the_first_choice_has_the_largest_weight(worker: WorkerClient, tmp_path: Path) -> None:
    """Biased routers rank by something else than the weight."""
    load(worker, model(tmp_path, dots1(used=4)))
    choices = [choice for each in traced(worker, TOKENS) for choice in each.each()]
    assert len(choices) == 2 * len(TOKENS)
    assert all(one >= other for choice in choices for one, other in pairwise(choice.weights))
    assert all(len(set(choice.experts)) == 4 for choice in choices)


def by_hand(layer: int, token: int) -> tuple[int, int]:
    """The two experts of a token: in every layer others."""
    return (token + layer) % 8, (3 * token + layer + 5) % 8


def hand_made(path: Path, shape: Shape) -> Path:
    """Every token is a unit vector that nothing changes; normed it is 8 long, and the router reads a table there."""
    weights = random_weights(shape)
    weights["token_embd.weight"] = np.eye(shape.words, shape.width, dtype=np.float32)
    for name, array in weights.items():
        if "norm" in name:
            array[...] = 1
        elif "attn_output" in name or "ffn_down" in name:
            array[...] = 0
        elif "gate_inp" in name:
            array[...] = -3
            for token in range(shape.words):
                first, second = by_hand(int(name.split(".")[1]), token)
                array[second, token] = 0
                array[first, token] = np.log(3) / 8
    return write(path, shape, weights)


def test_routers_made_by_hand_give_the_table_computed_by_hand(worker: WorkerClient, tmp_path: Path) -> None:
    shape = Shape(words=64)
    load(worker, hand_made(tmp_path / "model.gguf", shape), ubatch=32)
    tokens = [token for token in TOKENS if token < 64 and len(set(by_hand(0, token))) == 2] * 3
    seen = by_layer(traced(worker, tokens))
    assert sorted(seen) == [0, 1, 2]
    for layer, (experts, weights) in seen.items():
        assert experts == tuple(expert for token in tokens for expert in by_hand(layer, token))
        assert weights == pytest.approx((0.75, 0.25) * len(tokens), abs=1e-4)


def test_only_the_layers_that_are_wanted(worker: WorkerClient, tmp_path: Path) -> None:
    load(worker, model(tmp_path, Shape(layers=4)), ubatch=32)
    whole = by_layer(traced(worker, TOKENS))
    for layers in ((1,), (3, 0), (0, 9)):
        assert by_layer(traced(worker, TOKENS, layers)) == {i: whole[i] for i in sorted(layers) if i in whole}
    assert traced(worker, TOKENS, (9,)) == []


def test_another_number_of_experts(worker: WorkerClient, tmp_path: Path) -> None:
    shape = Shape(used=3)
    weights = random_weights(shape, SEED_OF_3)
    load(worker, write(tmp_path / "model.gguf", Shape(), weights), experts_used=3, architecture="llama")
    check(by_layer(traced(worker, TOKENS)), routings(shape, weights, TOKENS))


def test_a_quantized_cache_is_traced_with_one(worker: WorkerClient, tmp_path: Path) -> None:
    shape = Shape(width=128)
    weights = random_weights(shape)
    path = write(tmp_path / "model.gguf", shape, weights)
    found = []
    for kv_type in ("f16", "q8_0"):
        load(worker, path, kv_type=kv_type)
        found.append(by_layer(traced(worker, TOKENS)))
    assert found[0] != found[1]
    check({0: found[1][0]}, {0: routings(shape, weights, TOKENS)[0]}, apart=0.02)


def test_a_dense_model_chooses_nothing(worker: WorkerClient, tmp_path: Path) -> None:
    load(worker, model(tmp_path, dots1(layers=2, lead=2, gating=1)))
    assert traced(worker, TOKENS) == []


EXPERTS = (Override("_exps", "CPU"),)
SPLITS: dict[str, dict[str, object]] = {
    "all of it": {"n_gpu_layers": 4},
    "the last layers": {"n_gpu_layers": 2},
    "experts in RAM": {"n_gpu_layers": 4, "overrides": EXPERTS},
}


def test_routers_on_another_device(client: WorkerClient, tmp_path: Path) -> None:
    shape = Shape()
    weights = random_weights(shape, SEED)
    path = write(tmp_path / "model.gguf", shape, weights)
    expected = routings(shape, weights, TOKENS)
    with serve_rpc() as server:
        client.devices((server,))
        for how in SPLITS.values():
            load(client, path, devices=("RPC0",), ubatch=40, **how)
            check(by_layer(traced(client, TOKENS)), expected)


def test_routers_on_two_devices(client: WorkerClient, tmp_path: Path) -> None:
    shape = Shape()
    weights = random_weights(shape, SEED)
    path = write(tmp_path / "model.gguf", shape, weights)
    with serve_rpc() as one, serve_rpc() as other:
        client.devices((one, other))
        load(client, path, devices=("RPC0", "RPC1"), n_gpu_layers=4, tensor_split=(2, 2), ubatch=40)
        check(by_layer(traced(client, TOKENS)), routings(shape, weights, TOKENS))
