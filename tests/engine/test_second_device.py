"""Models on several devices: llama.cpp's RPC backend serves this machine's CPU on loopback, once and twice.

Logits, teacher-forced over 48 tokens: all splits gave the CPU's own, bit for bit (they run the same kernels; logits
from -14 to 33). The bound leaves room for kernels that round differently.
"""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np  # noqa: TID253 - tests may
import pytest

from mixchat.gguf.model import MoeModel, describe
from mixchat.models.header_file import read_header
from tests.engine.rpc_servers import serve_rpc

APART = 0.05
EXPERTS = r"ffn_(up|down|gate)_exps"
CPU_ALONE: dict[str, Any] = {}
ROOT = Path(__file__).parents[2]
LOADS: dict[str, dict[str, Any]] = {
    "cpu": CPU_ALONE,
    "all on one": {"devices": ["RPC0"], "n_gpu_layers": 99},
    "ten layers": {"devices": ["RPC0"], "n_gpu_layers": 10, "tensor_split": [10]},
    "experts in RAM": {"devices": ["RPC1"], "n_gpu_layers": 31, "overrides": [[EXPERTS, "CPU"]]},
    "halves": {"devices": ["RPC1", "RPC0"], "n_gpu_layers": 31, "tensor_split": [10, 21]},
    "experts elsewhere": {
        "devices": ["RPC0", "RPC1"],
        "n_gpu_layers": 31,
        "tensor_split": [31, 0],
        "overrides": [[rf"blk\.[0-4]\.{EXPERTS}", "RPC1"], [EXPERTS, "CPU"]],
    },
}


@dataclass(frozen=True, slots=True)
class Splits:
    """What the loads gave: devices, bytes by device and kind, and logits."""

    devices: list[dict[str, Any]]
    held: dict[str, dict[tuple[str, str], int]]
    logits: dict[str, "np.ndarray[tuple[int, int], np.dtype[np.float32]]"]


@pytest.fixture(scope="module")
def model(demo_model: Path) -> MoeModel:
    return describe(read_header(demo_model))


@pytest.fixture(scope="module")
def splits(demo_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Splits]:
    out = tmp_path_factory.mktemp("logits")
    common = {"path": str(demo_model), "context": 512, "load_mode": "copy", "outputs": 48, "read_ahead": False}
    with ExitStack() as stack:
        servers = [stack.enter_context(serve_rpc()) for _ in range(2)]
        asked = {"servers": servers, "out": str(out), "tokens": list(range(1000, 1048))}
        asked["loads"] = [common | fields for fields in LOADS.values()]
        done = subprocess.run(
            [sys.executable, "-m", "tests.engine.rpc_split"],
            input=json.dumps(asked).encode(),
            capture_output=True,
            cwd=ROOT,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stderr.decode()[-2000:]
        result = json.loads(done.stdout.splitlines()[-1])
        held = {
            name: {(device, holds): nbytes for device, holds, nbytes in buffers}
            for name, buffers in zip(LOADS, result["buffers"], strict=True)
        }
        yield Splits(result["devices"], held, {name: np.load(out / f"{i}.npy") for i, name in enumerate(LOADS)})


def test_two_servers_are_two_devices(splits: Splits) -> None:
    remote = [device for device in splits.devices if device["remote"]]
    assert [(device["name"], device["backend"], device["kind"]) for device in remote] == [
        ("RPC0", "RPC", "gpu"),
        ("RPC1", "RPC", "gpu"),
    ]
    assert len({device["description"] for device in remote}) == 2
    assert all(0 < device["free"] <= device["total"] for device in remote)
    assert not any(device["unified"] for device in splits.devices)


def test_weights_lie_where_they_were_sent(splits: Splits, model: MoeModel) -> None:
    held = {name: {d: n for (d, holds), n in each.items() if holds == "model"} for name, each in splits.held.items()}
    layers, head = model.layers, model.token_embd + model.other
    dense = sum(layer.dense for layer in layers)
    last = sum(layer.total for layer in layers[-9:])
    assert set(held["cpu"]) == {"CPU"}
    assert held["all on one"] == close({"CPU": model.token_embd, "RPC0": model.weights})
    assert held["ten layers"] == close({"CPU": model.weights - last, "RPC0": head + last}, model.token_embd)
    assert held["experts in RAM"] == close({"CPU": model.expert_bytes + model.token_embd, "RPC1": dense + head})
    first = sum(layer.total for layer in layers[:10])
    assert held["halves"] == close({"CPU": model.token_embd, "RPC1": first, "RPC0": model.weights - first})
    elsewhere = sum(layer.experts for layer in layers[:5])
    assert held["experts elsewhere"] == close(
        {"CPU": model.token_embd + model.expert_bytes - elsewhere, "RPC0": dense + head, "RPC1": elsewhere}
    )


def close(expected: dict[str, int], room: int = 0) -> Any:  # noqa: ANN401 - pytest's own
    """Within 1 %, or `room` bytes."""
    return pytest.approx(expected, rel=0.01, abs=room)


def test_the_kv_cache_lies_with_its_layers(splits: Splits) -> None:
    def cells(name: str) -> dict[str, float]:
        return {d: n / 2**20 for (d, holds), n in splits.held[name].items() if holds == "kv"}

    (whole,) = cells("cpu").values()
    assert cells("experts in RAM") == {"RPC1": whole}
    assert cells("ten layers") == pytest.approx({"CPU": whole * 21 / 30, "RPC0": whole * 9 / 30}, rel=0.01)
    assert cells("halves") == pytest.approx({"RPC1": whole * 10 / 30, "RPC0": whole * 20 / 30}, rel=0.01)


def test_no_device_plans_copies_for_a_pipeline(splits: Splits) -> None:
    """Two devices without overrides of their own compute in what one device needs."""
    (alone,) = (n for (d, holds), n in splits.held["all on one"].items() if (d, holds) == ("RPC0", "compute"))
    for device in ("RPC0", "RPC1"):
        assert splits.held["halves"][device, "compute"] <= alone * 1.05


def test_one_output_needs_less_than_all(splits: Splits, model: MoeModel) -> None:
    """Outputs are counted: 48 rows of logits lie in the buffer of the head's device."""
    assert splits.held["all on one"]["RPC0", "compute"] > 48 * model.vocab_size * 4


@pytest.mark.parametrize("name", [name for name in LOADS if name != "cpu"])
def test_every_split_computes_the_same(splits: Splits, name: str) -> None:
    reference, other = splits.logits["cpu"], splits.logits[name]
    assert reference.shape[0] == 48
    assert np.abs(reference).max() > 1
    assert np.abs(reference - other).max() <= APART
    best = np.sort(reference, axis=1)
    clear = best[:, -1] - best[:, -2] > 2 * APART
    assert clear.sum() > 40
    assert (reference.argmax(axis=1) == other.argmax(axis=1))[clear].all()
