"""The demo against the dense model it is made from, teacher-forced, through llama.cpp in a process of its own.

The two differ by rounding alone: llama.cpp quantizes activations to 8 bits, and its kernels for experts sum in another
order. Measured on 118 tokens of real text, logits from -31 to 38: at most 1.2 apart, 0.15 in the mean, while the dense
model differs from itself by 1.6 between one batch and single tokens. (In F32, over six layers: 0.007, and 0.02.)
"""

import subprocess
import sys
from pathlib import Path

import numpy as np  # noqa: TID253 - tests may

from mixchat.models.demo import _located
from mixchat.models.registry import load_registry

MOST, MEAN = 3.0, 0.4
TEXT = (
    "The history of the lighthouse begins with fires lit on hilltops to guide mariners into harbour. Since elevating "
    "the fire would improve its visibility, placing it on a platform became a practice that led to the tower. "
    'def main(argv): return sum(int(x) for x in argv[1:])  # 3 + 4 = 7; "Well," said Anna, "I didn\'t expect that."'
)
EVALUATE = """
import ctypes, sys
import numpy as np  # noqa: TID253 - tests may
from llama_cpp import llama_cpp as L

model_path, out, text = sys.argv[1], sys.argv[2], sys.argv[3].encode()
silent = ctypes.CFUNCTYPE(None, ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p)(lambda *_: None)
L.llama_log_set(silent, None)
L.llama_backend_init()
params = L.llama_model_default_params()
params.use_extra_bufts, params.n_gpu_layers = False, 0
model = L.llama_model_load_from_file(model_path.encode(), params)
params = L.llama_context_default_params()
params.n_ctx = params.n_batch = params.n_ubatch = 512
context = L.llama_init_from_model(model, params)
vocab = L.llama_model_get_vocab(model)
size = L.llama_vocab_n_tokens(vocab)
tokens = (L.llama_token * 512)()
count = L.llama_tokenize(vocab, text, len(text), tokens, 512, True, False)
batch = L.llama_batch_init(count, 0, 1)
for i in range(count):
    batch.token[i], batch.pos[i], batch.n_seq_id[i], batch.logits[i] = tokens[i], i, 1, 1
    batch.seq_id[i][0] = 0
batch.n_tokens = count
assert L.llama_decode(context, batch) == 0
np.save(out, np.ctypeslib.as_array(L.llama_get_logits(context), shape=(count * size,)).reshape(count, size))
"""


def logits(model: Path, out: Path) -> "np.ndarray[tuple[int, int], np.dtype[np.float32]]":
    subprocess.run([sys.executable, "-c", EVALUATE, str(model), str(out), TEXT], check=True)
    values: np.ndarray[tuple[int, int], np.dtype[np.float32]] = np.load(out)
    return values


def test_upcycled_and_dense_logits_agree(demo_model: Path, tmp_path: Path) -> None:
    _, dense = _located(load_registry().entries["demo"])
    before, after = logits(dense, tmp_path / "dense.npy"), logits(demo_model, tmp_path / "mixture.npy")
    apart = np.abs(before - after)
    assert before.shape[0] > 80
    assert apart.max() <= MOST
    assert apart.mean() <= MEAN
    best = np.sort(before, axis=1)
    clear = best[:, -1] - best[:, -2] > apart.max()
    assert clear.sum() > 10
    assert (before.argmax(axis=1) == after.argmax(axis=1))[clear].all()
