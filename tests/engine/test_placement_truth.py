"""What a plan says lies where, against what llama.cpp really allocates: ten budgets on one and two remote devices."""

import os
from collections import Counter
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from mixchat.engine.client import WorkerClient
from mixchat.engine.events import Loaded
from mixchat.gguf.model import MoeModel, describe
from mixchat.models.header_file import read_header
from mixchat.plan.place import place
from mixchat.plan.values import CPU, Device, Machine, Plan, Wishes
from tests.engine.rpc_servers import serve_rpc
from tests.engine.steps import by_plan

MIB = 1 << 20
BUDGETS = 10
CONTEXT = 1024


@pytest.fixture(scope="module")
def model(demo_model: Path) -> MoeModel:
    return describe(read_header(demo_model))


def load(client: WorkerClient, path: Path, plan: Plan) -> Counter[tuple[str, str]]:
    """Bytes by device and what they hold, as llama.cpp's log has them."""
    *_progress, loaded = client.load(by_plan(path, plan))
    assert isinstance(loaded, Loaded)
    held: Counter[tuple[str, str]] = Counter()
    for buffer in loaded.buffers:
        held[buffer.device, buffer.holds] += buffer.nbytes
    return held


@pytest.mark.parametrize("count", [1, 2])
def test_every_budget_comes_out_as_planned(count: int, demo_model: Path, model: MoeModel) -> None:
    whole = model.weights + 100 * MIB * count
    with ExitStack() as stack:
        servers = [stack.enter_context(serve_rpc()) for _ in range(count)]
        client = stack.enter_context(closing(WorkerClient(os.environ)))
        names = tuple(device.name for device in client.devices(servers) if device.remote)
        layers = set()
        for step in range(BUDGETS):
            share = whole * step // (BUDGETS - 1) // count
            there = Machine(tuple(Device(name, "gpu", share, share, remote=True) for name in names), 16 << 30)
            wishes = Wishes(context=CONTEXT, devices=names, margin=0, load_mode="copy", extra_buffers=False)
            plan = place(model, there, wishes)
            layers.add((plan.n_gpu_layers, plan.expert_layers))
            check(plan, load(client, demo_model, plan))
        assert len(layers) >= 6
        assert (31, 30) in layers
        assert (0, 0) in layers


def check(plan: Plan, held: Counter[tuple[str, str]]) -> None:
    for share in plan.shares:
        real = {holds: held[share.device, holds] for holds in ("model", "kv", "compute")}
        planned = share.footprint
        assert real["model"] == pytest.approx(planned.weights, rel=0.01, abs=MIB // 64), (plan.n_gpu_layers, share)
        assert real["kv"] == pytest.approx(planned.kv, abs=0.01 * MIB)
        assert abs(real["compute"] - planned.compute) <= max(0.2 * real["compute"], 32 * MIB)
        if share.device != CPU:
            assert sum(real.values()) <= share.budget
