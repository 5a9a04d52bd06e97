"""The results of a batch, a line of JSON each, in a file that a run can be resumed with.

Knows that a line is safe when it is synced, and what a killed run leaves; refuses to know what makes a result.
"""

import json
import stat
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Final, Self

from mixchat.errors import OutputError, UsageError
from mixchat.store.appending import Appender
from mixchat.store.atomic import write_atomic
from mixchat.store.locks import unused

_HINT: Final = "Check its permissions, or name another file."


@dataclass(frozen=True, slots=True)
class Done:
    """An item that has an answer: its input, and what tells its question from others; empty: nobody knows."""

    input: str
    request: str = ""


class Results:
    """A file of results that is open for writing, by this process alone.

    Attributes:
        done: The items that have an answer, by index.
        notices: What a person should know about the file, in sentences.
    """

    def __init__(self, path: Path, done: Mapping[int, Done], notices: tuple[str, ...], lock: ExitStack) -> None:
        self.done = done
        self.notices = notices
        self._file = Appender(path)
        self._lock = lock

    def append(self, result: Mapping[str, object]) -> None:
        """Keep a result; when this returns, it outlives a power cut.

        Raises:
            OutputError: It could not be written; the file is as it was.
        """
        self._file.append(json.dumps(result, ensure_ascii=False).encode("utf-8", "backslashreplace") + b"\n")

    def close(self) -> None:
        """Let others write to it."""
        self._file.close()
        self._lock.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()


def open_results(path: Path) -> Results:
    """Open a file of results, or make it.

    1. What is no result, a half line at the end for example, is set aside in a file of the same name with `.damaged`
       behind it.
    2. Lines of items that failed are left out: these items are tried again.

    Raises:
        UsageError: It is something else than a file of results.
        InUse: Another process has it open.
        OutputError: It cannot be read or written.
    """
    path = path.resolve()
    with ExitStack() as stack:
        data = _read(path, stack)
        good, bad, done = _parted(data)
        if not good and any(part.endswith(b"\n") for part in bad):
            raise UsageError(f"{path} holds something else than results.", "Name a new file, or one of a run before.")
        notices: tuple[str, ...] = ()
        if bad:
            _set_aside(path, bad)
            size = sum(map(len, bad))
            notices = (f"{size} bytes of {path.name} are no result; they are in {path.name}.damaged now.",)
        if b"".join(good) != data:
            write_atomic(path, b"".join(good))
            stack.enter_context(unused([path]))
        return Results(path, done, notices, stack.pop_all())


def _read(path: Path, stack: ExitStack) -> bytes:
    try:
        path.touch(mode=0o600)
        if not stat.S_ISREG(path.stat().st_mode):
            raise UsageError(f"{path} is no file.", "Name a file for --resume-output.")
        stack.enter_context(unused([path]))
        return path.read_bytes()
    except OSError as exc:
        raise OutputError(f"{path} cannot be opened: {exc.strerror or exc}.", _HINT) from exc


def _parted(data: bytes) -> tuple[list[bytes], list[bytes], dict[int, Done]]:
    """The lines to keep, those that are no results, and the items that are done; of one that is there twice the first.

    A last line without its end was not synced, whatever it holds.
    """
    good: list[bytes] = []
    bad: list[bytes] = []
    done: dict[int, Done] = {}
    for line in BytesIO(data):
        match _item(line):
            case {"event": "done", "index": int(index), "input": str(text), **rest}:
                if index not in done:
                    good.append(line)
                done.setdefault(index, Done(text, str(rest.get("request", ""))))
            case {"event": "error", "index": int(), "input": str()}:
                pass
            case _:
                bad += [line] if line.strip() else []
    return good, bad, done


def _item(line: bytes) -> object:
    if not line.endswith(b"\n"):
        return None
    try:
        item: object = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return item


def _set_aside(path: Path, parts: list[bytes]) -> None:
    aside = Appender(path.with_name(path.name + ".damaged"))
    try:
        aside.append(b"".join(part if part.endswith(b"\n") else part + b"\n" for part in parts))
    finally:
        aside.close()
