"""A file that only grows, by whole writes or not at all.

Knows how to take back a write that failed; refuses to know what is written and who else writes: hold a lock.
"""

import errno
import os
from contextlib import suppress
from pathlib import Path

from mixchat.errors import OutputError
from mixchat.store.atomic import sync_folder


class Appender:
    """One file to append to, 0600, made by the first write."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor: int | None = None
        self._torn_at: int | None = None

    def append(self, data: bytes, *, sync: bool = True) -> None:
        """Write all of it behind what is there, in one write.

        Args:
            data: What to write.
            sync: Return only when a power cut can no longer take it away.

        Raises:
            OutputError: It could not be written. The file is as it was, and was not made if it was not there; the next
                write may succeed.
        """
        try:
            descriptor = self._open()
            length = self._whole(descriptor)
            try:
                self._write(descriptor, data, length, sync=sync)
            except OSError:
                self._take_back(descriptor, length)
                raise
        except OSError as exc:
            raise OutputError(
                f"{self._path} could not be written: {exc.strerror or exc}.",
                "Free some space or check the permissions of its folder.",
            ) from exc

    def close(self) -> None:
        """Let the file go; the next write opens it again."""
        if self._descriptor is not None:
            os.close(self._descriptor)
        self._descriptor = None

    def _open(self) -> int:
        if self._descriptor is None:
            flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
            self._descriptor = os.open(self._path, flags, 0o600)
        return self._descriptor

    def _whole(self, descriptor: int) -> int:
        """The file's length, after cutting off what could not be taken back before."""
        about = os.fstat(descriptor)
        if about.st_nlink == 0:
            raise OSError(errno.ENOENT, "it was removed while it was open")
        if self._torn_at is not None:
            os.ftruncate(descriptor, self._torn_at)
            length, self._torn_at = self._torn_at, None
            return length
        return about.st_size

    def _write(self, descriptor: int, data: bytes, length: int, *, sync: bool) -> None:
        written = os.write(descriptor, data)
        if written != len(data):
            raise OSError(errno.ENOSPC, f"only {written} of {len(data)} bytes were taken")
        if sync:
            os.fsync(descriptor)
            if not length:
                sync_folder(self._path.parent)

    def _take_back(self, descriptor: int, length: int) -> None:
        self._torn_at = length
        with suppress(OSError):
            os.ftruncate(descriptor, length)
            self._torn_at = None
        if not length:
            with suppress(OSError):
                self._path.unlink()
                self._torn_at = None
                self.close()
