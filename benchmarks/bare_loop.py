"""The least there can be between a prompt and its answer: a ctypes loop over llama_decode.

Prints decoded tokens per second. What mixchat's own path is compared with; run by decode.py.
"""

import ctypes
import json
import sys
import time

from mixchat.engine.worker.bindings import NO_DEVICES, LogCallback, llama


def main() -> None:
    """Arguments as one JSON object: path, tokens, count, threads, context, extra_buffers."""
    job = json.loads(sys.argv[1])
    silent = LogCallback(lambda _level, _text, _data: None)
    llama.llama_log_set(silent, None)
    llama.llama_backend_init()
    params = llama.llama_model_default_params()
    params.devices = ctypes.cast(NO_DEVICES, ctypes.c_void_p)
    params.use_extra_bufts = job["extra_buffers"]
    model = llama.llama_model_load_from_file(job["path"].encode(), params)
    settings = llama.llama_context_default_params()
    settings.n_ctx = job["context"]
    settings.n_batch = settings.n_ubatch = 512
    settings.n_threads = settings.n_threads_batch = job["threads"]
    settings.flash_attn_type = llama.LLAMA_FLASH_ATTN_TYPE_AUTO
    context = llama.llama_init_from_model(model, settings)
    sampler = llama.llama_sampler_chain_init(llama.llama_sampler_chain_default_params())
    llama.llama_sampler_chain_add(sampler, llama.llama_sampler_init_greedy())

    tokens = job["tokens"]
    ids = (llama.llama_token * len(tokens))(*tokens)
    llama.llama_decode(context, llama.llama_batch_get_one(ids, len(tokens)))
    one = (llama.llama_token * 1)(llama.llama_sampler_sample(sampler, context, -1))
    started = time.perf_counter()
    for _ in range(job["count"] - 1):
        llama.llama_decode(context, llama.llama_batch_get_one(one, 1))
        one[0] = llama.llama_sampler_sample(sampler, context, -1)
    print((job["count"] - 1) / (time.perf_counter() - started))


if __name__ == "__main__":
    main()
