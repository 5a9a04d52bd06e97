"""A build of llama.cpp that fails with repacked weights, as seen in the field (llama.cpp issue 20824).

On PYTHONPATH of a worker: whatever model is loaded with extra buffers dies or miscomputes at its first batch of two or
more tokens, as MIXCHAT_TEST_FAULT says ("dies", "miscomputes"); "dead" dies without extra buffers too.
"""

import importlib.abc
import importlib.machinery
import os
import signal
import sys
from types import ModuleType


class _Patched(importlib.abc.Loader):
    def __init__(self, loader: importlib.abc.Loader) -> None:
        self._loader = loader

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType | None:
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        self._loader.exec_module(module)
        _break(module)


class _Finder(importlib.abc.MetaPathFinder):
    def find_spec(self, name: str, path: object, _target: object = None) -> importlib.machinery.ModuleSpec | None:
        if name != "llama_cpp.llama_cpp":
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path)  # type: ignore[arg-type]
        if spec is not None and spec.loader is not None:
            spec.loader = _Patched(spec.loader)
        return spec


def _break(llama: ModuleType) -> None:
    fault = os.environ["MIXCHAT_TEST_FAULT"]
    load, decode, logits = llama.llama_model_load_from_file, llama.llama_decode, llama.llama_get_logits_ith
    extra: list[bool] = []

    def loading(path: bytes, params: object) -> object:
        extra.append(fault == "dead" or params.use_extra_bufts)  # type: ignore[attr-defined]
        return load(path, params)

    def decoding(context: object, batch: object) -> object:
        if extra[-1] and fault in {"dies", "dead"} and batch.n_tokens > 1:  # type: ignore[attr-defined]
            os.kill(os.getpid(), signal.SIGSEGV)
        return decode(context, batch)

    def logits_of(context: object, index: int) -> object:
        values = logits(context, index)
        if extra[-1] and fault == "miscomputes":
            values[0] += 100.0
        return values

    llama.llama_model_load_from_file = loading  # type: ignore[attr-defined]
    llama.llama_decode = decoding  # type: ignore[attr-defined]
    llama.llama_get_logits_ith = logits_of  # type: ignore[attr-defined]


if "MIXCHAT_TEST_FAULT" in os.environ:
    sys.meta_path.insert(0, _Finder())
