"""llama.cpp's functions, reached without the bindings' high-level half.

Knows how to load `llama_cpp.llama_cpp` alone and which ggml symbols mixchat needs; refuses to know what they are for.
Only this module may be vague about types: ctypes is.

The package's own `__init__` imports numpy, diskcache, pickle, sqlite3 and jinja2 (0.2 s and 40 MB), so an empty
stand-in with the real search path takes its place meanwhile. Every ggml symbol comes from the library handle that the
bindings opened: a wheel holds copies instead of symbolic links, and opening libggml by name would load a second one.
"""

import ctypes
import importlib
import importlib.util
import sys
from types import ModuleType
from typing import Any

from mixchat.errors import EngineError


def _load() -> Any:
    spec = importlib.util.find_spec("llama_cpp")
    if spec is None or spec.submodule_search_locations is None:
        raise EngineError("llama-cpp-python is not installed.", "pip install llama-cpp-python")
    stand_in = ModuleType("llama_cpp")
    stand_in.__path__ = list(spec.submodule_search_locations)
    before = sys.modules.get("llama_cpp")
    sys.modules["llama_cpp"] = stand_in
    try:
        return importlib.import_module("llama_cpp.llama_cpp")
    finally:
        del sys.modules["llama_cpp"]
        if before is not None:
            sys.modules["llama_cpp"] = before


def _ggml(name: str, result: Any, *arguments: Any) -> Any:
    function = getattr(llama._lib, name)  # noqa: SLF001 - the one handle that shares llama.cpp's state
    function.restype = result
    function.argtypes = list(arguments)
    return function


def _optional(name: str, result: Any, *arguments: Any) -> Any | None:
    return _ggml(name, result, *arguments) if hasattr(llama._lib, name) else None  # noqa: SLF001


llama: Any = _load()

backend_dev_count = _ggml("ggml_backend_dev_count", ctypes.c_size_t)
backend_dev_get = _ggml("ggml_backend_dev_get", ctypes.c_void_p, ctypes.c_size_t)
backend_dev_name = _ggml("ggml_backend_dev_name", ctypes.c_char_p, ctypes.c_void_p)
backend_dev_description = _ggml("ggml_backend_dev_description", ctypes.c_char_p, ctypes.c_void_p)
backend_dev_type = _ggml("ggml_backend_dev_type", ctypes.c_int, ctypes.c_void_p)
backend_dev_backend_reg = _ggml("ggml_backend_dev_backend_reg", ctypes.c_void_p, ctypes.c_void_p)
backend_dev_buffer_type = _ggml("ggml_backend_dev_buffer_type", ctypes.c_void_p, ctypes.c_void_p)
backend_cpu_buffer_type = _ggml("ggml_backend_cpu_buffer_type", ctypes.c_void_p)
backend_reg_name = _ggml("ggml_backend_reg_name", ctypes.c_char_p, ctypes.c_void_p)
backend_register = _ggml("ggml_backend_register", None, ctypes.c_void_p)
backend_dev_memory = _ggml(
    "ggml_backend_dev_memory",
    None,
    ctypes.c_void_p,
    ctypes.POINTER(ctypes.c_size_t),
    ctypes.POINTER(ctypes.c_size_t),
)

# Only a build with the RPC backend has these two.
rpc_add_server = _optional("ggml_backend_rpc_add_server", ctypes.c_void_p, ctypes.c_char_p)
rpc_start_server = _optional(
    "ggml_backend_rpc_start_server",
    None,
    *(ctypes.c_char_p, ctypes.c_char_p),
    *(ctypes.c_size_t, ctypes.c_size_t),
    ctypes.c_void_p,
)

LogCallback = ctypes.CFUNCTYPE(None, ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p)
NO_DEVICES = (ctypes.c_void_p * 1)(None)
"""A device list that ends at once: the CPU alone, whatever n_gpu_layers says."""


class BufferOverride(ctypes.Structure):
    """llama_model_tensor_buft_override: tensors whose name matches the pattern go to that type of buffer."""

    _fields_ = (("pattern", ctypes.c_char_p), ("buffer_type", ctypes.c_void_p))


class AbortFlag:
    """A flag that llama.cpp reads between graph nodes without entering Python.

    Its abort callback is C's `strlen` over a two-byte buffer: 0 (go on) while the first byte is 0, 1 (abort) once it is
    set. A Python callback would take the interpreter's lock hundreds of times per token.
    """

    def __init__(self) -> None:
        self._buffer = ctypes.create_string_buffer(2)
        self.callback = ctypes.cast(ctypes.CDLL(None).strlen, llama.ggml_abort_callback)
        self.data = ctypes.cast(self._buffer, ctypes.c_void_p)

    def set(self) -> None:
        """Abort the computation that runs now, or the next one."""
        self._buffer[0] = b"\x01"

    def clear(self) -> None:
        """Let computations run."""
        self._buffer[0] = b"\x00"

    def is_set(self) -> bool:
        """Whether an abort is asked for."""
        return self._buffer[0] != b"\x00"
