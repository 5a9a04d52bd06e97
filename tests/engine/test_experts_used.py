"""Another number of experts per token, with the real engine."""

import json
import os
import subprocess
import sys
from contextlib import closing
from itertools import pairwise
from pathlib import Path
from typing import TypeAlias

import numpy as np  # noqa: TID253 - tests may
import pytest

from mixchat.engine.client import WorkerClient
from mixchat.engine.events import Loaded, LoadRequest
from mixchat.gguf.model import describe
from mixchat.models.header_file import read_header
from mixchat.plan.experts import with_experts_used
from mixchat.plan.memory import compute_bytes
from tests.engine.steps import chatml, greedy

ROOT = Path(__file__).parents[2]
COUNTS: tuple[int | None, ...] = (None, 1, 2, 3, 4)

Logits: TypeAlias = "dict[int | None, np.ndarray[tuple[int, int], np.dtype[np.float32]]]"


@pytest.fixture(scope="module")
def logits(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Logits:
    """Of the tiny model, which was made for 2 of 4 experts: a row for each of 32 tokens."""
    out = tmp_path_factory.mktemp("logits")
    common = {"path": str(tiny), "context": 256, "outputs": 32, "architecture": "llama", "read_ahead": False}
    loads = [{**common, "experts_used": count} for count in COUNTS]
    asked = {"servers": [], "out": str(out), "tokens": list(range(32)), "loads": loads}
    command = [sys.executable, "-m", "tests.engine.rpc_split"]
    done = subprocess.run(
        command, input=json.dumps(asked).encode(), capture_output=True, cwd=ROOT, check=False, timeout=100
    )
    assert done.returncode == 0, done.stderr.decode()[-2000:]
    return {count: np.load(out / f"{index}.npy") for index, count in enumerate(COUNTS)}


def test_the_trained_number_changes_nothing(logits: Logits) -> None:
    assert np.abs(logits[None]).max() > 0.1
    assert np.array_equal(logits[2], logits[None])


def test_every_number_computes_something_else(logits: Logits) -> None:
    """The router gives most to its first choice: the third and fourth change little, the second much."""
    for one, other in pairwise((1, 2, 3, 4)):
        assert np.abs(logits[one] - logits[other]).max() > 1e-3
    assert np.abs(logits[1] - logits[2]).max() > 0.1


@pytest.mark.parametrize("count", [1, 4])
def test_equal_experts_say_the_same_and_need_what_is_planned(demo_model: Path, count: int) -> None:
    """The demo's experts are copies of one, so that any number of them gives about the same."""
    request = LoadRequest(str(demo_model), context=512, threads=2, experts_used=count, architecture="llama")
    with closing(WorkerClient(os.environ)) as client:
        *_progress, loaded = client.load(request)
        text, _ids, _end = greedy(client, chatml(client, "What is the capital of France? One word."), 24)
    assert "Paris" in text
    assert isinstance(loaded, Loaded)
    real = sum(buffer.nbytes for buffer in loaded.buffers if buffer.holds == "compute")
    model = with_experts_used(describe(read_header(demo_model)), count)
    assert real == pytest.approx(compute_bytes(model, 512, 512), rel=0.1)
