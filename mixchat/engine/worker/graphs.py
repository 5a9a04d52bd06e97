"""Small graphs of ggml's operations on one device, without a model.

Knows ggml's contexts, buffers and graphs through its C functions; refuses to know what is measured with them.
Tensors, graphs, devices and buffer types are ggml's pointers.
"""

import ctypes
import random
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import cache
from typing import Any, Final, Self

from mixchat.engine.worker import bindings
from mixchat.gguf.types import TYPES

_POINTER: Final = ctypes.c_void_p
_SIZE: Final = ctypes.c_size_t
_CHUNK: Final = 1 << 16
_CPU: Final = 0
_WEIGHTS: Final = 1


class _Parameters(ctypes.Structure):
    """`ggml_init_params`."""

    _fields_ = (("mem_size", _SIZE), ("mem_buffer", _POINTER), ("no_alloc", ctypes.c_bool))


_ggml = bindings._ggml  # noqa: SLF001 - the one way to a symbol of the right library
_init = _ggml("ggml_init", _POINTER, _Parameters)
_free = _ggml("ggml_free", None, _POINTER)
_new_tensor = _ggml("ggml_new_tensor", _POINTER, _POINTER, ctypes.c_int, ctypes.c_int, ctypes.POINTER(ctypes.c_int64))
_tensor_overhead = _ggml("ggml_tensor_overhead", _SIZE)
_graph_overhead = _ggml("ggml_graph_overhead_custom", _SIZE, _SIZE, ctypes.c_bool)
_new_graph = _ggml("ggml_new_graph_custom", _POINTER, _POINTER, _SIZE, ctypes.c_bool)
_expand = _ggml("ggml_build_forward_expand", None, _POINTER, _POINTER)
_nbytes = _ggml("ggml_nbytes", _SIZE, _POINTER)
_alloc = _ggml("ggml_backend_alloc_ctx_tensors_from_buft", _POINTER, _POINTER, _POINTER)
_buffer_free = _ggml("ggml_backend_buffer_free", None, _POINTER)
_set_usage = _ggml("ggml_backend_buffer_set_usage", None, _POINTER, ctypes.c_int)
_tensor_set = _ggml("ggml_backend_tensor_set", None, _POINTER, _POINTER, _SIZE, _SIZE)
_tensor_get = _ggml("ggml_backend_tensor_get", None, _POINTER, _POINTER, _SIZE, _SIZE)
_backend_init = _ggml("ggml_backend_dev_init", _POINTER, _POINTER, ctypes.c_char_p)
_backend_free = _ggml("ggml_backend_free", None, _POINTER)
_compute = _ggml("ggml_backend_graph_compute", ctypes.c_int, _POINTER, _POINTER)
_supports = _ggml("ggml_backend_dev_supports_op", ctypes.c_bool, _POINTER, _POINTER)
_host_type = _ggml("ggml_backend_dev_host_buffer_type", _POINTER, _POINTER)
_plain_type = _ggml("ggml_backend_dev_buffer_type", _POINTER, _POINTER)
_registry = _ggml("ggml_backend_dev_backend_reg", _POINTER, _POINTER)
_address = _ggml("ggml_backend_reg_get_proc_address", _POINTER, _POINTER, ctypes.c_char_p)
_get_base = _ggml("ggml_backend_buffer_get_base", _POINTER, _POINTER)
_alloc_buffer = _ggml("ggml_backend_buft_alloc_buffer", _POINTER, _POINTER, _SIZE)

mul_mat = _ggml("ggml_mul_mat", _POINTER, _POINTER, _POINTER, _POINTER)
mul_mat_id = _ggml("ggml_mul_mat_id", _POINTER, _POINTER, _POINTER, _POINTER, _POINTER)
rms_norm = _ggml("ggml_rms_norm", _POINTER, _POINTER, _POINTER, ctypes.c_float)
permute = _ggml("ggml_permute", _POINTER, _POINTER, _POINTER, *[ctypes.c_int] * 4)
flash_attn = _ggml("ggml_flash_attn_ext", _POINTER, *[_POINTER] * 5, *[ctypes.c_float] * 3)


class OutOfMemory(Exception):
    """The device has no room for the tensors."""


class Backend:
    """A device that computes, with so many threads if it is the CPU."""

    def __init__(self, device: int, threads: int) -> None:
        self.device = device
        self.handle: Any = _backend_init(device, None)
        if self.handle is None:
            raise OutOfMemory
        set_threads = _address(_registry(device), b"ggml_backend_set_n_threads")
        if set_threads:
            ctypes.CFUNCTYPE(None, _POINTER, ctypes.c_int)(set_threads)(self.handle, threads)

    @property
    def is_cpu(self) -> bool:
        """Whether it computes in RAM."""
        return bool(bindings.backend_dev_type(self.device) == _CPU)

    @property
    def plain(self) -> Any:  # noqa: ANN401 - a pointer
        """The type of its own buffers."""
        return _plain_type(self.device)

    @property
    def extra(self) -> list[Any]:
        """The types of buffers that keep weights in another order, best first."""
        found = _address(_registry(self.device), b"ggml_backend_dev_get_extra_bufts")
        if not found:
            return []
        listed = ctypes.CFUNCTYPE(ctypes.POINTER(_POINTER), _POINTER)(found)(self.device)
        types: list[Any] = []
        while listed and listed[len(types)]:
            types.append(listed[len(types)])
        return types

    def free(self) -> None:
        """Give it back."""
        _backend_free(self.handle)


class Graph:
    """A graph whose weights lie in one type of buffer, and everything else in the device's own.

    Args:
        backend: Where it is computed.
        size: The most nodes it takes, and the most tensors.
    """

    def __init__(self, backend: Backend, size: int) -> None:
        self._backend = backend
        self._owned = ExitStack()
        memory = size * _tensor_overhead() + _graph_overhead(size, False)  # noqa: FBT003 - no gradients
        self._weights: Any = self._context(memory)
        self._others: Any = self._context(2 * memory)
        self._graph: Any = _new_graph(self._others, size, False)  # noqa: FBT003 - no gradients
        self._nodes: list[Any] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self._owned.close()

    def weight(self, kind: str, *shape: int) -> Any:  # noqa: ANN401 - a pointer
        """A tensor of weights, by ggml's name of its type."""
        return _tensor(self._weights, kind, shape)

    def input(self, kind: str, *shape: int) -> Any:  # noqa: ANN401 - a pointer
        """A tensor of activations."""
        return _tensor(self._others, kind, shape)

    def view(self, operation: Callable[..., Any], *arguments: object) -> Any:  # noqa: ANN401 - a pointer
        """Another look at a tensor: an operation that computes nothing."""
        return operation(self._others, *arguments)

    def add(self, operation: Callable[..., Any], *arguments: object) -> Any:  # noqa: ANN401 - a pointer
        """Append an operation, with its arguments after the context; returns its result."""
        node = operation(self._others, *arguments)
        _expand(self._graph, node)
        self._nodes.append(node)
        return node

    def allocate(self, weights: Any = None) -> bool:  # noqa: ANN401 - a pointer
        """Give all tensors memory, the weights in that type of buffer (None: there are none).

        Returns:
            Whether the device computes every node so; if not, the graph is of no use.

        Raises:
            OutOfMemory: The device has no room.
        """
        if weights is not None:
            self._own(_alloc(self._weights, weights))
        if not all(_supports(self._backend.device, node) for node in self._nodes):
            return False
        self._own(_alloc(self._others, self._backend.plain))
        return True

    def compute(self) -> None:
        """Run it once, to its end."""
        _compute(self._backend.handle, self._graph)

    def _own(self, buffer: Any) -> None:  # noqa: ANN401 - a pointer
        if buffer is None:
            raise OutOfMemory
        self._owned.callback(_buffer_free, buffer)
        _set_usage(buffer, _WEIGHTS)

    def _context(self, memory: int) -> Any:  # noqa: ANN401 - a pointer
        context = _init(_Parameters(memory, None, no_alloc=True))
        self._owned.callback(_free, context)
        return context


def fill(tensor: Any, pattern: bytes = b"") -> None:  # noqa: ANN401 - a pointer
    """Set a tensor's bytes: a pattern, as often as it takes, by default random blocks that are valid in every type.

    A block's scales are halves at even places, so that odd bytes hold their exponents. These stay in a narrow range, as
    in a real tensor: nothing is infinite, denormal or not a number, which processors compute more slowly; but scales do
    differ, because where llama.cpp looks them up in a table equal ones make its kernels a half faster than they are.
    """
    size, pattern = _nbytes(tensor), pattern or _blocks()
    data = pattern if len(pattern) >= size else pattern * (size // len(pattern) + 1)
    _tensor_set(tensor, data, 0, size)


def read(tensor: Any, size: int) -> bytes:  # noqa: ANN401 - a pointer
    """The first bytes of a tensor."""
    data = ctypes.create_string_buffer(size)
    _tensor_get(tensor, data, 0, size)
    return data.raw


def nbytes(tensor: Any) -> int:  # noqa: ANN401 - a pointer
    """Bytes of a tensor."""
    return int(_nbytes(tensor))


class Staging:
    """RAM from which bytes go to a device: pinned, where its driver has that.

    Args:
        device: Where they go.
        size: Bytes.
    """

    def __init__(self, device: int, size: int) -> None:
        kind = _host_type(device)
        self._buffer: Any = _alloc_buffer(kind, size) if kind else None

    def send(self, tensor: Any) -> bool:  # noqa: ANN401 - a pointer
        """Fill a tensor from there; False when there is no such RAM."""
        if self._buffer is None:
            return False
        _tensor_set(tensor, _get_base(self._buffer), 0, _nbytes(tensor))
        return True

    def free(self) -> None:
        """Give it back."""
        if self._buffer is not None:
            _buffer_free(self._buffer)


@cache
def _blocks() -> bytes:
    data = bytearray(random.Random(0).randbytes(_CHUNK))  # noqa: S311 - weights, not secrets
    data[1::2] = data[1::2].translate(bytes(0x28 | byte & 7 for byte in range(256)))
    return bytes(data)


def _tensor(context: Any, kind: str, shape: Sequence[int]) -> Any:  # noqa: ANN401 - pointers
    return _new_tensor(context, TYPES[kind].id, len(shape), (ctypes.c_int64 * len(shape))(*shape))
