"""A disk that is full: on PYTHONPATH of a worker, every reservation of blocks fails."""

import errno
import os


def _full(_descriptor: int, _offset: int, _length: int) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


os.posix_fallocate = _full
