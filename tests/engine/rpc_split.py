"""Run in a process of its own, which loads libllama: models on several devices, evaluated teacher-forced.

Standard input: JSON with `servers` (HOST:PORT), `out` (a folder), `tokens`, and `loads`: the fields of LoadRequests.
It prints one JSON object, the devices and every load's buffers, and writes each load's logits to `out/N.npy`, a row
for each token.
"""

import ctypes
import json
import sys
from dataclasses import asdict

import numpy as np  # noqa: TID253 - tests may

from mixchat.engine.events import Loaded, LoadRequest
from mixchat.engine.worker.bindings import AbortFlag, llama
from mixchat.engine.worker.devices import list_devices
from mixchat.engine.worker.loading import Model, load
from mixchat.engine.worker.log import Log
from mixchat.engine.worker.rpc import register
from mixchat.plan.values import Override


def request_of(fields: dict[str, object]) -> LoadRequest:
    """Lists as tuples, overrides as values."""
    overrides = tuple(Override(*each) for each in fields.pop("overrides", []))  # type: ignore[attr-defined]
    plain = {name: tuple(value) if isinstance(value, list) else value for name, value in fields.items()}
    return LoadRequest(**plain, overrides=overrides)  # type: ignore[arg-type]


def logits(model: Model, tokens: list[int]) -> "np.ndarray[tuple[int, int], np.dtype[np.float32]]":
    """A row for each token, evaluated as one batch."""
    batch = llama.llama_batch_init(len(tokens), 0, 1)
    for index, token in enumerate(tokens):
        batch.token[index], batch.pos[index], batch.n_seq_id[index], batch.logits[index] = token, index, 1, 1
        batch.seq_id[index][0] = 0
    batch.n_tokens = len(tokens)
    assert llama.llama_decode(model.context, batch) == 0
    count = len(tokens) * llama.llama_vocab_n_tokens(model.vocab)
    values = ctypes.cast(llama.llama_get_logits(model.context), ctypes.POINTER(ctypes.c_float * count)).contents
    return np.array(values, dtype=np.float32).reshape(len(tokens), -1)


def main() -> None:
    """Load and evaluate each in turn."""
    asked = json.load(sys.stdin)
    llama.llama_backend_init()
    devices = list_devices(register(asked["servers"]))
    log = Log()
    buffers = []
    for index, fields in enumerate(asked["loads"]):
        done: list[object] = []
        model = load(request_of(fields), AbortFlag(), log, done.append)
        np.save(f"{asked['out']}/{index}.npy", logits(model, asked["tokens"]))
        model.free()
        *_progress, loaded = done
        assert isinstance(loaded, Loaded)
        buffers.append([[each.device, each.holds, each.nbytes] for each in loaded.buffers])
    print(json.dumps({"devices": [asdict(device) for device in devices], "buffers": buffers}))  # noqa: T201


if __name__ == "__main__":
    main()
