"""The ctypes structures that mixchat fills: an upgrade of the bindings that moves a field must fail here, loudly.

In a process of its own: this one never loads libllama.
"""

import json
import subprocess
import sys

CODE = """
import json
from mixchat.engine.worker.bindings import llama
model = llama.llama_model_default_params()
context = llama.llama_context_default_params()
import ctypes
def fields(struct):
    return [[name, getattr(type(struct), name).offset, getattr(type(struct), name).size] for name, _ in struct._fields_]
print(json.dumps({
    "model": fields(model), "context": fields(context), "batch": fields(llama.llama_batch()),
    "override": fields(llama.llama_model_kv_override()),
    "defaults": [model.n_gpu_layers, model.load_mode, model.use_extra_bufts, model.vocab_only, context.n_ctx,
                 context.n_batch, context.n_ubatch, context.n_seq_max, context.flash_attn_type, context.type_k,
                 context.type_v, context.offload_kqv, context.no_perf],
}))
"""

MODEL = {
    "devices": 0,
    "tensor_buft_overrides": 8,
    "n_gpu_layers": 16,
    "load_mode": 24,
    "tensor_split": 40,
    "progress_callback": 48,
    "kv_overrides": 64,
    "vocab_only": 72,
}
# A tag, a name of 128 bytes, and from the next multiple of 8 on a value of 128.
OVERRIDE = [["tag", 0, 4], ["key", 4, 128], ["value", 136, 128]]
CONTEXT = {
    "n_ctx": 0,
    "n_batch": 4,
    "n_ubatch": 8,
    "n_seq_max": 12,
    "n_outputs_max": 20,
    "n_threads": 28,
    "flash_attn_type": 52,
}
# llama.cpp's own defaults, read through the fields: a shifted layout would not give them.
DEFAULTS = [-1, -1, True, False, 512, 2048, 512, 1, -1, 1, 1, True, True]


def test_fields_lie_where_the_library_expects_them() -> None:
    output = subprocess.run([sys.executable, "-c", CODE], capture_output=True, check=True).stdout
    layout = json.loads(output)
    assert layout["defaults"] == DEFAULTS
    offsets = {part: {name: offset for name, offset, _size in layout[part]} for part in ("model", "context", "batch")}
    assert {name: offsets["model"][name] for name in MODEL} == MODEL
    assert {name: offsets["context"][name] for name in CONTEXT} == CONTEXT
    assert layout["override"] == OVERRIDE
    assert list(offsets["batch"]) == ["n_tokens", "token", "embd", "pos", "n_seq_id", "seq_id", "logits"]
