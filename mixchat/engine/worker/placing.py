"""Where tensors go and how many experts are used, as llama.cpp's parameters say it.

Knows device lists, splits and overrides in llama.cpp's memory layout; refuses to know why a tensor goes there.
"""

import ctypes
from collections.abc import Sequence
from typing import Any, Final

from mixchat.engine.events import LoadRequest
from mixchat.engine.worker import bindings as ggml
from mixchat.engine.worker.devices import find_devices
from mixchat.errors import EngineError
from mixchat.plan.values import CPU, Override

_NOTHING: Final = Override("^$", CPU)


def place(params: Any, request: LoadRequest) -> object:  # noqa: ANN401 - a ctypes structure
    """Fill in devices, layers, split, overrides and the experts used; the result must live as long as the model.

    A list of no devices ends at once and means the CPU alone; without a list llama.cpp takes all that it finds.
    Several devices without any override get one that matches no tensor: llama.cpp would plan four copies of every
    device's inputs for a pipeline of batches, which batches of one ubatch never fill.

    Raises:
        EngineError: There is no such device, or there are too many.
    """
    most: int = ggml.llama.llama_max_devices()
    if len(request.devices) > most:
        raise EngineError(f"llama.cpp uses at most {most} devices.", "Name fewer: --device NAME,NAME")
    devices = (ctypes.c_void_p * (len(request.devices) + 1))(*find_devices(request.devices), None)
    split = (ctypes.c_float * most)(*request.tensor_split)
    implied = (_NOTHING,) if len(request.devices) > 1 else ()
    overrides = _array(request.overrides or implied)
    params.n_gpu_layers = request.n_gpu_layers if request.devices else 0
    params.devices = ctypes.cast(devices, ctypes.c_void_p)
    if request.tensor_split:
        params.tensor_split = ctypes.cast(split, type(params.tensor_split))
    params.tensor_buft_overrides = ctypes.cast(overrides, ctypes.c_void_p)
    metadata = _metadata(request)
    params.kv_overrides = metadata
    return devices, split, overrides, metadata


def _metadata(request: LoadRequest) -> "ctypes.Array[Any] | None":
    """What is to hold instead of the file's metadata, an array that ends with an empty key; None when nothing is."""
    if request.experts_used is None:
        return None
    array: ctypes.Array[Any] = (ggml.llama.llama_model_kv_override * 2)()
    array[0].tag = ggml.llama.LLAMA_KV_OVERRIDE_TYPE_INT
    array[0].key = f"{request.architecture}.expert_used_count".encode()
    array[0].value.val_i64 = request.experts_used
    return array


def _array(overrides: Sequence[Override]) -> "ctypes.Array[ggml.BufferOverride]":
    """An array that ends with an empty pattern; ctypes keeps the patterns alive with it."""
    array = (ggml.BufferOverride * (len(overrides) + 1))()
    for slot, override in zip(array, overrides, strict=False):
        slot.pattern = override.pattern.encode()
        slot.buffer_type = _buffer_type(override.device)
    return array


def _buffer_type(device: str) -> int | None:
    """A device's type of buffer; llama.cpp takes the CPU's plain one for any that the CPU computes on."""
    if device == CPU:
        return ggml.backend_cpu_buffer_type()  # type: ignore[no-any-return]
    (handle,) = find_devices((device,))
    return ggml.backend_dev_buffer_type(handle)  # type: ignore[no-any-return]
