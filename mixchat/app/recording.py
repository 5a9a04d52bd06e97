"""A dialogue and the log that it is kept in.

Knows that whatever happens is applied at once and written behind what was written before; refuses to know what a log is
made of. A chat goes on when its log cannot be written, and what is missing there is written with the next record.
"""

from collections.abc import Sequence
from typing import Protocol

from mixchat.app.events import Notice
from mixchat.chat.journal import Dialogue, Record, apply, replay
from mixchat.errors import InUse, OutputError


class Log(Protocol):
    """Where the records of a chat are kept."""

    @property
    def id(self) -> str:
        """Its name on disk; empty when nothing is kept."""

    @property
    def records(self) -> Sequence[Record]:
        """Those of before."""

    def append(self, record: Record, *records: Record, sync: bool = True) -> None:
        """Keep records behind the others, whole or not at all.

        Raises:
            OutputError: They could not be written.
        """

    def close(self) -> None:
        """Let others have it."""


class Recorder:
    """Applies records and keeps them.

    Args:
        log: What happened before, and where it goes on.

    Attributes:
        dialogue: What the records come to.
    """

    def __init__(self, log: Log) -> None:
        self.log = log
        self.dialogue: Dialogue = replay(log.records)
        self._unwritten: list[Record] = []
        self._written = bool(log.records)
        self._told = False

    @property
    def kept(self) -> bool:
        """Whether the log holds anything of the chat."""
        return bool(self.log.id) and self._written

    def prepare(self, *records: Record) -> None:
        """Apply records that are written only when something follows: a chat in which nothing was said leaves none."""
        self.dialogue = replay(records, self.dialogue)
        self._unwritten += records

    def record(self, record: Record, sync: bool = True) -> tuple[Notice, ...]:
        """Apply a record and write it; `sync`: be sure that it outlives a power cut before this returns.

        Returns:
            What the person should know: once, that it cannot be written.
        """
        self.dialogue = apply(self.dialogue, record)
        self._unwritten.append(record)
        first, *others = self._unwritten
        try:
            self.log.append(first, *others, sync=sync)
        except (OutputError, InUse) as error:
            told, self._told = self._told, True
            return () if told else (Notice(f"This chat is not saved: {error.message} It goes on all the same."),)
        self._unwritten = []
        self._written, self._told = True, False
        return ()
