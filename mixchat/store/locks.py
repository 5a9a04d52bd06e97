"""Locks between processes.

Knows how to hold a lock that dies with its process; refuses to know what it guards. The only user of filelock, whose
locks are of one holder each, and of `flock`, whose locks many may share.
"""

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from mixchat.errors import InUse, OutputError
from mixchat.store.places import ensure_folder


@contextmanager
def hold(path: Path, timeout: float | None = None, on_wait: Callable[[], None] | None = None) -> Iterator[None]:
    """Hold the lock file `path` for the time of the block; the file itself stays.

    Args:
        path: The lock file; its folder is made.
        timeout: Seconds to wait for another holder; 0 does not wait, None waits for ever.
        on_wait: Called once before waiting.

    Raises:
        InUse: Another process held it all that time.
        OutputError: The lock file cannot be made.
    """
    from filelock import FileLock, Timeout  # noqa: PLC0415 - most commands take no lock

    lock = FileLock(ensure_folder(path.parent) / path.name, mode=0o600)
    try:
        try:
            lock.acquire(timeout=0)
        except Timeout:
            if timeout == 0:
                raise
            if on_wait is not None:
                on_wait()
            lock.acquire(timeout=-1 if timeout is None else timeout)
    except Timeout as exc:
        raise InUse(f"Another process holds {path}.", "Wait until it ends, then run the command again.") from exc
    except OSError as exc:
        raise OutputError(
            f"The lock {path} cannot be taken: {exc.strerror or exc}.",
            "Check the permissions of its folder.",
        ) from exc
    try:
        yield
    finally:
        lock.release()


class Uses:
    """The file that this process uses, marked so that others do not remove it.

    The mark is a shared lock on the file itself: it needs no permission but to read, holds for every name that the file
    has, many processes may have it, and it is gone with the last of them.
    """

    def __init__(self) -> None:
        self._descriptor: int | None = None

    def begin(self, path: Path) -> None:
        """Mark a file, and no longer the one before. Where the system cannot, nothing happens.

        Raises:
            InUse: Another process is about to remove the file.
        """
        self.end()
        with suppress(FileNotFoundError, PermissionError, IsADirectoryError):
            self._descriptor = _flock(path, shared=True)

    def end(self) -> None:
        """Unmark the file."""
        if self._descriptor is not None:
            os.close(self._descriptor)
        self._descriptor = None


@contextmanager
def unused(paths: Iterable[Path]) -> Iterator[None]:
    """Be sure that no process uses these files for the time of the block; those that are not there do not matter.

    Raises:
        InUse: One is in use.
    """
    descriptors: list[int] = []
    try:
        for path in paths:
            with suppress(FileNotFoundError, PermissionError):
                if (descriptor := _flock(path, shared=False)) is not None:
                    descriptors.append(descriptor)
        yield
    finally:
        for descriptor in descriptors:
            os.close(descriptor)


def _flock(path: Path, *, shared: bool) -> int | None:
    """Lock a file as flock(2) does; None where there are no such locks."""
    import fcntl  # noqa: PLC0415 - most commands take no lock

    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError as exc:
        os.close(descriptor)
        raise InUse(f"{path} is in use by another process.", "End that first, then run the command again.") from exc
    except OSError:
        os.close(descriptor)
        return None
    return descriptor
