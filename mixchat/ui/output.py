"""The way to stdout: what was asked for, whole, or an error.

Knows that a pipe takes UTF-8 unchanged and a terminal cleaned text in its own encoding; refuses to know what is said.
"""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from io import StringIO
from typing import TYPE_CHECKING, TextIO

from mixchat.errors import OutputError
from mixchat.ui.console import is_terminal, make_console, make_encodable
from mixchat.ui.sanitize import clean

if TYPE_CHECKING:
    from rich.console import RenderableType


def write_text(stream: TextIO, text: str) -> None:
    """Write text and flush it: cleaned on a terminal, unchanged as UTF-8 elsewhere.

    Raises:
        OutputError: It could not be written.
        BrokenPipeError: The reader is gone.
    """
    put(stream, clean(text) if is_terminal(stream) else text)


def print_out(stream: TextIO, environ: Mapping[str, str], renderable: "RenderableType") -> None:
    """Write a table, without trailing blanks; into a pipe without colour and wrapping.

    Raises:
        OutputError: It could not be written.
        BrokenPipeError: The reader is gone.
    """
    console = make_console(stream, environ)
    console.file = drawn = StringIO()
    console.print(renderable)
    put(stream, "".join(line.rstrip() + "\n" for line in drawn.getvalue().split("\n")[:-1]))


def put(stream: TextIO, text: str) -> None:
    """Write and flush what is clean already; errors as in `write_text`."""
    with _translated(stream):
        if is_terminal(stream):
            make_encodable(stream).write(text)
        else:
            stream.buffer.write(text.encode("utf-8", "backslashreplace"))
        stream.flush()


@contextmanager
def _translated(stream: TextIO) -> Iterator[None]:
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as exc:
        discard(stream)
        reason = exc.strerror or str(exc)
        raise OutputError(
            f"The output could not be written: {reason}.", "Free space, or write it somewhere else."
        ) from exc


def discard(stream: TextIO) -> None:
    """Let what is still buffered go nowhere: Python would try again at its end, and exit with 120."""
    with suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        try:
            os.dup2(nowhere, stream.fileno())
        finally:
            os.close(nowhere)
        stream.flush()
