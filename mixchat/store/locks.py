"""Locks between processes.

Knows how to hold a lock that dies with its process; refuses to know what it guards. The only user of filelock.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
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
