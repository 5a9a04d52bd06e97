"""Start of the worker process.

Knows descriptors, limits and signals; refuses to know llama.cpp. Descriptors 0 and 1 arrive as the protocol; it moves
to private ones, so that nothing that a library prints can get into it, and 1 joins 2, the log.
"""

import os
import resource
import signal


def main() -> None:
    """Take the protocol's descriptors and serve."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    requests, events = os.dup(0), os.dup(1)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    os.dup2(2, 1)

    from mixchat.engine.worker.loop import Worker  # noqa: PLC0415 - libraries load after the descriptors are safe

    Worker(requests, events).run()


if __name__ == "__main__":
    main()
