"""What a plan says that a trace takes, against what llama.cpp says in its log."""

import os
import re
from collections import Counter
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from mixchat.engine.client import WorkerClient
from mixchat.engine.events import TraceRequest
from mixchat.gguf.model import MoeModel, describe
from mixchat.models.header_file import read_header
from mixchat.plan.place import place
from mixchat.plan.tracing import trace_bytes
from mixchat.plan.values import CPU, Device, Machine, Plan, Wishes
from tests.engine.rpc_servers import serve_rpc
from tests.engine.steps import by_plan

MIB = 1 << 20
TOKENS = 300
BUFFER = re.compile(r"([\w\[\]:.]+)\s+(KV|compute)\s+buffer size\s*=\s*([\d.]+) MiB")


def really(client: WorkerClient, path: Path, plan: Plan) -> Counter[str]:
    """Bytes by device that the second context takes, logits in RAM included; llama.cpp does not log these."""
    list(client.load(by_plan(path, plan)))
    before = len(client.log())
    list(client.trace(TraceRequest((5,) * TOKENS)))
    held: Counter[str] = Counter()
    for device, _what, size in BUFFER.findall(client.log()[before:]):
        held[CPU if device.startswith(CPU) else "RPC0"] += round(float(size) * MIB)
    return held


def check(model: MoeModel, plan: Plan, held: Counter[str]) -> None:
    """As near as the main context's buffers must be."""
    for device, planned in trace_bytes(model, plan, TOKENS).items():
        logits = TOKENS * 4 * model.vocab_size if device == CPU else 0
        assert abs(planned - held[device] - logits) <= max(0.2 * held[device], 24 * MIB), (device, planned, held)


def test_in_ram(client: WorkerClient, demo_model: Path, tiny: Path) -> None:
    for path in (demo_model, tiny):
        model = describe(read_header(path))
        plan = place(model, Machine((), 16 << 30), Wishes(context=512, kv_type="f16", extra_buffers=False))
        held = really(client, path, plan)
        assert held[CPU] > 0
        check(model, plan, held)


def test_on_a_device(demo_model: Path) -> None:
    model = describe(read_header(demo_model))
    with ExitStack() as stack:
        server = stack.enter_context(serve_rpc())
        client = stack.enter_context(closing(WorkerClient(os.environ)))
        client.devices((server,))
        for vram in (1024, 520, 320):
            there = Machine((Device("RPC0", "gpu", vram * MIB, vram * MIB, remote=True),), 16 << 30)
            wishes = Wishes(context=512, devices=("RPC0",), margin=0, load_mode="copy", trace=TOKENS)
            plan = place(model, there, wishes)
            assert plan.devices == ("RPC0",)
            held = really(client, demo_model, plan)
            assert held["RPC0"] > 0
            check(model, plan, held)
            assert plan.share("RPC0").footprint.trace == pytest.approx(trace_bytes(model, plan, TOKENS)["RPC0"])
