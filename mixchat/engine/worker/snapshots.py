"""Keep what is evaluated in a file, and put it back.

Knows llama.cpp's state of a sequence, and files that are mapped instead of read, so that a state of gigabytes is in
memory once; refuses to know the format, and which file belongs to which chat.
"""

import ctypes
import errno
import mmap
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, Final

from mixchat.engine.events import LoadRequest, StateKept, StateKey, StateRestored
from mixchat.engine.snapshot import Conditions, FlashAttention, Snapshot, Unusable, opened, seal, verified
from mixchat.engine.worker.bindings import llama
from mixchat.engine.worker.loading import Model
from mixchat.engine.worker.log import Log
from mixchat.engine.worker.scheduler import Scheduler
from mixchat.store.atomic import atomic_file

_SLOT: Final = 0
_POPULATE_READ: Final = 22  # MADV_POPULATE_READ of madvise(2), Linux 5.14
_WINDOW: Final = 1 << 24
_ZEROS: Final = bytes(1 << 20)


class Snapshots:
    """The kept states of one loaded model."""

    def __init__(self, model: Model, scheduler: Scheduler, request: LoadRequest, log: Log) -> None:
        self._model = model
        self._scheduler = scheduler
        self._kv_type = request.kv_type
        self._log = log
        self._flash_attention: FlashAttention = log.flash_attention()
        self._stretched = model.n_ctx > _first_context(model.handle)

    def keep(self, path: str, key: StateKey, build: str, stopped: Callable[[], bool]) -> StateKept:
        """Write what is evaluated.

        Args:
            path: The file to replace.
            key: What the caller knows of the conditions.
            build: Identity of llama.cpp's build.
            stopped: Whether to give up; then there is no file.

        Raises:
            OutputError: It could not be written.
            EngineError: An answer is being written.
        """
        self._scheduler.check_idle()
        tokens = self._scheduler.evaluated
        size: int = llama.llama_state_seq_get_size(self._model.context, _SLOT) if tokens else 0
        if not size:
            return StateKept(0, 0)
        snapshot = Snapshot(self._conditions(key, build), len(tokens), size)
        try:
            with created(Path(path), snapshot.nbytes) as (data, address):
                self._read_state(address + snapshot.state_at, size)
                seal(data, snapshot, tokens, stopped)
        except Unusable:
            return StateKept(0, 0)
        return StateKept(len(tokens), snapshot.nbytes)

    def restore(self, path: str, key: StateKey, build: str, stopped: Callable[[], bool]) -> StateRestored:
        """Put a kept state in the place of what is evaluated; nothing is evaluated when it cannot be used.

        Args:
            path: The file.
            key: What the caller knows of the conditions.
            build: Identity of llama.cpp's build.
            stopped: Whether to give up.

        Raises:
            EngineError: An answer is being written.
        """
        self._scheduler.check_idle()
        self._scheduler.forget()
        try:
            with mapped(path) as (data, address):
                snapshot = opened(data, self._conditions(key, build), self._model.n_ctx)
                populate(data, stopped)
                tokens = verified(data, snapshot, stopped)
                self._write_state(address + snapshot.state_at, snapshot)
        except Unusable as reason:
            self._scheduler.forget()
            return StateRestored(0, str(reason))
        self._scheduler.adopt(tokens)
        return StateRestored(len(tokens))

    def _conditions(self, key: StateKey, build: str) -> Conditions:
        return Conditions(key.model, build, self._kv_type, self._flash_attention, self._stretched)

    def _read_state(self, address: int, size: int) -> None:
        if llama.llama_state_seq_get_data(self._model.context, _bytes_at(address), size, _SLOT) != size:
            raise Unusable(f"llama.cpp cannot give its state: {self._log.reason()}")

    def _write_state(self, address: int, snapshot: Snapshot) -> None:
        """Let llama.cpp take a state, and see that it holds as many positions as there are tokens."""
        context, size = self._model.context, snapshot.state_bytes
        if llama.llama_state_seq_set_data(context, _bytes_at(address), size, _SLOT) != size:
            raise Unusable(f"llama.cpp refuses the kept state: {self._log.reason() or 'it gives no reason'}.")
        if llama.llama_memory_seq_pos_max(llama.llama_get_memory(context), _SLOT) != snapshot.tokens - 1:
            raise Unusable("The kept state is not that of its tokens.")


@contextmanager
def created(path: Path, size: int) -> Iterator[tuple[memoryview, int]]:
    """A new file's bytes, writable, and their address; the file is there, whole and private, when the block ends well.

    All its blocks are reserved first: writing to a mapping whose disk is full kills the process.

    Raises:
        OutputError: It could not be written.
    """
    with atomic_file(path, nameless=True) as file:
        _reserve(file, size)
        with mmap.mmap(file.fileno(), size) as mapping, memoryview(mapping) as data:
            yield data, _address(mapping)


@contextmanager
def mapped(path: str) -> Iterator[tuple[memoryview, int]]:
    """A kept file's bytes and their address.

    Raises:
        Unusable: It is missing, cannot be read, or somebody else may have written it.
    """
    try:
        with open(path, "rb", opener=_open) as file:
            _check_ours(file)
            mapping = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
    except FileNotFoundError:
        raise Unusable("There is no kept state.") from None
    except (OSError, ValueError) as error:  # ValueError: an empty file
        raise Unusable(f"The kept state cannot be read: {getattr(error, 'strerror', None) or error}.") from error
    with mapping, memoryview(mapping) as data:
        yield data, _address(mapping)


def populate(data: memoryview, stopped: Callable[[], bool]) -> None:
    """Bring a mapped file into memory: where it cannot be read, this fails while touching it would kill the process.

    In windows: Python's madvise holds the interpreter's lock, and the thread that hears of an interrupt needs it.

    Raises:
        Unusable: A part of it cannot be read.
    """
    for start in range(0, len(data), _WINDOW):
        try:
            data.obj.madvise(_POPULATE_READ, start, _WINDOW)  # type: ignore[attr-defined]  # it is a mapping's
        except OSError as error:
            if error.errno == errno.EFAULT:
                raise Unusable("The kept state cannot be read from the disk.") from error
            return  # an older kernel, or another system
        if stopped():
            return


def _reserve(file: BinaryIO, size: int) -> None:
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(file.fileno(), 0, size)
    else:  # macOS
        file.writelines(_ZEROS[: size - start] for start in range(0, size, len(_ZEROS)))
        file.flush()


def _open(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)


def _check_ours(file: BinaryIO) -> None:
    """A state decides what llama.cpp puts into memory: only a file that nobody else can write is used."""
    found = os.fstat(file.fileno())
    if not stat.S_ISREG(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o022:
        raise Unusable("The kept state is no file that only you can write.")


def _address(mapping: mmap.mmap) -> int:
    return ctypes.addressof(ctypes.c_ubyte.from_buffer(mapping))


def _bytes_at(address: int) -> Any:  # noqa: ANN401 - a ctypes pointer
    return ctypes.cast(address, ctypes.POINTER(ctypes.c_uint8))


def _first_context(handle: Any) -> int:  # noqa: ANN401 - a llama_model pointer
    """Tokens of context that the model was trained for before any stretching, as llama.cpp reads it."""
    architecture = _metadata(handle, "general.architecture")
    first = _metadata(handle, f"{architecture}.rope.scaling.original_context_length")
    return int(first) if first.isdecimal() else int(llama.llama_model_n_ctx_train(handle))


def _metadata(handle: Any, key: str) -> str:  # noqa: ANN401 - a llama_model pointer
    value = ctypes.create_string_buffer(64)
    found: int = llama.llama_model_meta_val_str(handle, key.encode(), value, len(value))
    return value.value.decode("utf-8", "replace") if found >= 0 else ""
