"""Run in a process of its own, which loads libllama: what llama.cpp would allocate for weights that are not there.

Standard input: JSON with `servers` (HOST:PORT) and `loads`: the fields of LoadRequests. It prints one JSON list: of
each load the compute buffers by device; in such a load only those lines of llama.cpp's log are real.
"""

import json
import sys
from typing import Any

from mixchat.engine.worker.bindings import llama
from mixchat.engine.worker.devices import list_devices
from mixchat.engine.worker.log import Log
from mixchat.engine.worker.placing import place
from mixchat.engine.worker.rpc import register
from tests.engine.rpc_split import request_of

_KV_TYPES = {"f16": 1, "q8_0": 8, "q4_0": 2}


def compute_buffers(fields: dict[str, object]) -> dict[str, int]:
    """Load without allocating."""
    request, log = request_of(fields), Log()
    params: Any = llama.llama_model_default_params()
    held = place(params, request)
    params.no_alloc, params.load_mode, params.use_extra_bufts = True, 0, False
    model = llama.llama_model_load_from_file(request.path.encode(), params)
    assert model, log.reason()
    how: Any = llama.llama_context_default_params()
    how.n_ctx, how.n_batch, how.n_ubatch = request.context, request.ubatch, request.ubatch
    how.n_seq_max = how.n_outputs_max = request.sequences
    how.kv_unified = request.sequences > 1
    how.flash_attn_type = llama.LLAMA_FLASH_ATTN_TYPE_AUTO
    how.type_k = how.type_v = _KV_TYPES[request.kv_type]
    context = llama.llama_init_from_model(model, how)
    assert context, log.reason()
    found = {buffer.device: buffer.nbytes for buffer in log.buffers() if buffer.holds == "compute"}
    llama.llama_free(context)
    llama.llama_model_free(model)
    del held
    return found


def main() -> None:
    """Load each in turn."""
    asked = json.load(sys.stdin)
    llama.llama_backend_init()
    list_devices(register(asked["servers"]))
    print(json.dumps([compute_buffers(fields) for fields in asked["loads"]]))  # noqa: T201


if __name__ == "__main__":
    main()
