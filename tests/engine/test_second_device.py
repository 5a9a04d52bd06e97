"""Everything on a second device when it is there: llama.cpp's RPC backend serves one on loopback."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from mixchat.engine.client import WorkerClient
from mixchat.gguf.model import describe
from mixchat.models.header_file import read_header
from tests.engine.steps import chatml

SCRIPT = Path(__file__).with_name("rpc_split.py")
NO_RPC = 77


def test_all_layers_go_to_the_second_device_and_none_without_it(demo: WorkerClient, demo_model: Path) -> None:
    prompt = json.dumps(chatml(demo, "What is the capital of France?"))
    done = subprocess.run([sys.executable, str(SCRIPT), str(demo_model), prompt], capture_output=True, check=False)
    if done.returncode == NO_RPC:
        pytest.skip('llama-cpp-python was built without RPC: CMAKE_ARGS="-DGGML_RPC=ON" pip install ...')
    assert done.returncode == 0, done.stderr.decode()[-2000:]
    result = json.loads(done.stdout.splitlines()[-1])
    assert ["RPC0", "gpu"] in [[name.split("[")[0], kind] for name, kind in result["devices"]]
    held = {(device.split("[")[0], holds): size for device, holds, size in result["second"]["buffers"]}
    weights = describe(read_header(demo_model)).weights
    assert held["RPC0", "model"] == pytest.approx(weights, rel=0.01)
    assert held["RPC0", "kv"] > 0
    assert not any(device.startswith("RPC") for device, _holds, _size in result["cpu"]["buffers"])
    assert result["second"]["tokens"] == result["cpu"]["tokens"]
