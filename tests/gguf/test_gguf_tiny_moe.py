"""The tests' own models: llama.cpp loads them, and they are the same every time."""

import subprocess
import sys
from pathlib import Path

import pytest

from mixchat.gguf.header import parse_header
from mixchat.gguf.model import describe
from mixchat.gguf.writer import u32
from tests.builders import Tiny, mixtral_header, sparse_file, tiny_moe

DECODE_ONCE = """
import math, sys
from llama_cpp import llama_cpp as llama
llama.llama_backend_init()
model_params = llama.llama_model_default_params()
model_params.use_extra_bufts = False
model = llama.llama_model_load_from_file(sys.argv[1].encode(), model_params)
context_params = llama.llama_context_default_params()
context_params.n_ctx = 256
context = llama.llama_init_from_model(model, context_params)
assert llama.llama_decode(context, llama.llama_batch_get_one((llama.llama_token * 1)(7), 1)) == 0
words = llama.llama_vocab_n_tokens(llama.llama_model_get_vocab(model))
logits = llama.llama_get_logits(context)[:words]
assert all(map(math.isfinite, logits))
print(words, len(set(logits)) > words // 2)
"""


@pytest.mark.parametrize("shape", [Tiny(), Tiny(weight="Q8_0"), Tiny(layers=1, experts=8, used=3, words=300)])
def test_llama_cpp_loads_it_and_decodes(tmp_path: Path, shape: Tiny) -> None:
    path = tiny_moe(tmp_path / "tiny.gguf", shape)
    done = subprocess.run([sys.executable, "-c", DECODE_ONCE, path], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [str(shape.words), "True"]


def test_its_header_says_what_it_is(tmp_path: Path) -> None:
    path = tiny_moe(tmp_path / "tiny.gguf", extra={"general.file_type": u32(0)})
    data = path.read_bytes()
    header = parse_header(data, len(data))
    assert header.file_bytes == len(data)
    model = describe(header)
    assert (model.layout, model.quantization) == ("merged", "F32")
    assert (model.n_layers, model.n_experts, model.n_experts_used, model.vocab_size) == (2, 4, 2, 256)


def test_the_seed_decides(tmp_path: Path) -> None:
    first, again, other = (
        tiny_moe(tmp_path / name, seed=seed).read_bytes() for name, seed in (("a", 1), ("b", 1), ("c", 2))
    )
    assert first == again != other


def test_a_sparse_file_is_mostly_empty(tmp_path: Path) -> None:
    path = sparse_file(tmp_path / "mixtral.gguf", mixtral_header("static/Q4_K_M"))
    assert path.stat().st_size == 28448468384
    assert path.stat().st_blocks * 512 < 2**22
    assert sparse_file(path, mixtral_header("static/Q4_K_M"), size=999_999).stat().st_size == 999_999
