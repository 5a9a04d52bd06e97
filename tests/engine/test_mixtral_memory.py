"""The real Mixtral's compute buffers: a file that is all header, loaded by llama.cpp without allocating."""

import json
import os
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from mixchat.gguf.model import describe
from mixchat.models.header_file import read_header
from mixchat.plan.place import place
from mixchat.plan.values import CPU, Device, KvType, Machine, Plan, Wishes
from tests.builders import mixtral_header, sparse_file
from tests.engine.rpc_servers import serve_rpc
from tests.engine.steps import by_plan

GIB, MIB = 1 << 30, 1 << 20


def case(context: int, ubatch: int, kv_type: KvType, *vram: int) -> tuple[Wishes, tuple[int, ...]]:
    return Wishes(context=context, ubatch=ubatch, kv_type=kv_type, margin=0, extra_buffers=False), vram


CASES = [
    case(8192, 512, "f16"),
    case(32768, 512, "q8_0"),
    case(8192, 2048, "f16"),
    case(8192, 512, "f16", 4 * GIB),
    case(8192, 512, "f16", 12 * GIB),
    case(8192, 2048, "f16", 12 * GIB),
    case(32768, 512, "f16", 12 * GIB),
    case(8192, 128, "f16", 24 * GIB),
    case(8192, 512, "f16", 48 * GIB),
    case(8192, 512, "f16", GIB),
    case(8192, 512, "f16", 8 * GIB, 8 * GIB),
    case(8192, 512, "f16", 24 * GIB, 12 * GIB),
]


def planned(path: Path, wishes: Wishes, vram: tuple[int, ...]) -> Plan:
    gpus = tuple(Device(f"RPC{n}", "gpu", size, size, remote=True) for n, size in enumerate(vram))
    names = tuple(gpu.name for gpu in gpus) or (CPU,)
    return place(describe(read_header(path)), Machine(gpus, 64 * GIB), replace(wishes, devices=names))


def fields(path: Path, plan: Plan) -> dict[str, object]:
    return {**asdict(by_plan(path, plan)), "overrides": [[each.pattern, each.device] for each in plan.overrides]}


def test_compute_buffers_are_as_planned(tmp_path: Path) -> None:
    path = sparse_file(tmp_path / "mixtral.gguf", mixtral_header("static/Q4_K_M"))
    plans = [planned(path, wishes, vram) for wishes, vram in CASES]
    with serve_rpc() as one, serve_rpc() as two:
        asked = json.dumps({"servers": [one, two], "loads": [fields(path, plan) for plan in plans]})
        command = [sys.executable, "-m", "tests.engine.no_alloc"]
        done = subprocess.run(command, input=asked.encode(), capture_output=True, check=False, timeout=100)
    assert done.returncode == 0, done.stderr.decode()[-2000:]
    for plan, real in zip(plans, json.loads(done.stdout.splitlines()[-1]), strict=True):
        for share in plan.shares:
            found, said = real.get(share.device, 0), share.footprint.compute
            assert abs(said - found) <= max(0.2 * found, 32 * MIB), (plan.reasons, share, found)


def test_a_plan_needs_neither_weights_nor_memory(tmp_path: Path) -> None:
    """Header to plan, in a process of its own: under 200 MB."""
    path = sparse_file(tmp_path / "mixtral.gguf", mixtral_header("static/Q4_K_M"))
    code = (
        "import sys, resource; from pathlib import Path; from mixchat.gguf.model import describe;"
        "from mixchat.models.header_file import read_header; from mixchat.plan.place import place;"
        "from mixchat.plan.values import *;"
        "place(describe(read_header(Path(sys.argv[1]))), Machine((), 64 << 30), Wishes());"
        "print(next(line.split()[1] for line in open('/proc/self/status') if line.startswith('VmHWM')))"
    )
    if not Path("/proc/self/status").exists():
        pytest.skip("this system does not tell a process's peak memory")
    done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, check=True, env=os.environ)
    assert int(done.stdout) * 1024 < 200 * MIB
