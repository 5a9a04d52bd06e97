"""A text in the person's own editor.

Knows VISUAL, EDITOR and a private file for the time of the editing; refuses to know what the text is for.
"""

import shlex
import signal
import subprocess
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from mixchat.chat.inputs import decode_text, without_surrogates
from mixchat.errors import OutputError, UsageError
from mixchat.ui.interrupts import ending_put_off
from mixchat.ui.sanitize import single_line

_NAME: Final = "message.md"
_LIMIT: Final = 16 * 1024 * 1024
_PATIENCE: Final = 2.0
_SET_ONE: Final = "Set EDITOR to one, for example: export EDITOR=nano"


def edit_text(text: str, environ: Mapping[str, str]) -> str | None:
    """Let a person change a text in $VISUAL or $EDITOR, which gets the terminal until it ends.

    The file is private (0600, in a folder of 0700), is named `*.md` and is gone afterwards. A line end that the editor
    put behind the last line is not part of the text.

    Returns:
        The new text; None when it is the old one.

    Raises:
        UsageError: No editor is set, it cannot be started or failed, or what it left is not text.
        OutputError: The file cannot be written.
    """
    command = _editor(environ)
    before = without_surrogates(text)
    try:
        with TemporaryDirectory(prefix="mixchat-", ignore_cleanup_errors=True) as folder:
            path = Path(folder, _NAME)
            path.touch(mode=0o600)
            path.write_bytes((before + "\n" if before else "").encode())
            _run(command, path)
            after = _read(path, command[0])
    except OSError as exc:
        raise OutputError(
            f"The text cannot be put into a file for the editor: {exc.strerror or exc}.",
            "Free some space, or set TMPDIR to a folder you can write to.",
        ) from exc
    return None if after == before else after


def _editor(environ: Mapping[str, str]) -> list[str]:
    line = environ.get("VISUAL") or environ.get("EDITOR") or ""
    try:
        command = shlex.split(line)
    except ValueError as exc:
        raise UsageError(f"The editor {line!r} has a quote without its end.", _SET_ONE) from exc
    if not command:
        raise UsageError("No editor is set.", _SET_ONE)
    return command


def _run(command: list[str], path: Path) -> None:
    name = single_line(command[0])
    try:
        with _interrupts_left_to_it():
            status = _status([*command, str(path)])
    except OSError as exc:
        raise UsageError(f"The editor {name} cannot be started: {exc.strerror or exc}.", _SET_ONE) from exc
    if status:
        how = f"was killed by signal {-status}" if status < 0 else f"ended with status {status}"
        raise UsageError(f"The editor {name} {how}; the text is as it was.", "Save and leave it to change the text.")


def _status(command: list[str]) -> int:
    """Run a command to its end; when that is cut short, end it so that it can put the terminal back."""
    started: list[subprocess.Popen[bytes]] = []
    try:
        with ending_put_off():
            started.append(subprocess.Popen(command))
        return started[0].wait()
    finally:
        for process in started:
            _end(process)


def _end(process: "subprocess.Popen[bytes]") -> None:
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextmanager
def _interrupts_left_to_it() -> Iterator[None]:
    """Ctrl-C is the editor's; a handler of ours is not inherited, as ignoring would be."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, lambda _number, _frame: None)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before or signal.SIG_DFL)


def _read(path: Path, name: str) -> str:
    try:
        with path.open("rb") as file:
            data = file.read(_LIMIT + 1)
    except FileNotFoundError as exc:
        raise UsageError(
            f"The editor {single_line(name)} removed the file; the text is as it was.", "Save it in place."
        ) from exc
    if len(data) > _LIMIT:
        raise UsageError("The text is longer than 16 MiB; it is as it was.", "Shorten it.")
    text = decode_text(data, "The edited text")
    return text.replace("\r\n", "\n").removesuffix("\n")
