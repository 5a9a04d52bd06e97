"""How one answer of `mixchat ask` leaves: as text, as one JSON object or as JSON lines.

Knows which stream takes what; refuses to know how an answer comes about.
"""

import sys
from collections.abc import Iterator
from contextlib import nullcontext
from typing import Final, Protocol

from mixchat.app.batching import Answered, Failed
from mixchat.app.events import ChatEvent, Opened, Thinking, Tracing
from mixchat.cli.ask_options import AskOptions
from mixchat.cli.facts import answer_facts, json_text
from mixchat.engine.events import Finished, Prefilling, Token
from mixchat.errors import AnswerCut
from mixchat.ui.answer import AnswerWriter
from mixchat.ui.console import write_line
from mixchat.ui.output import put, write_text
from mixchat.ui.stats import cut_line, stats_line

_LENGTH_HINT: Final = "Allow more tokens, or leave out --fail-on-length."
_CUT_HINT: Final = "Allow more tokens; half of what was asked for is none of it."
_SCHEMA_HINT: Final = "Allow more tokens, or bound the schema's texts and arrays: maxLength, maxItems."


class Sink(Protocol):
    """Where an answer goes."""

    def token(self, text: str) -> None:
        """Take a piece."""

    def done(self, opened: Opened, finished: Finished) -> None:
        """The answer has ended."""


class _Text:
    def __init__(self, writer: AnswerWriter) -> None:
        self._writer = writer

    def token(self, text: str) -> None:
        self._writer.write(text)

    def done(self, opened: Opened, finished: Finished) -> None:  # noqa: ARG002 - as Sink has it
        self._writer.end()


class _Json:
    def __init__(self, *, lines: bool) -> None:
        self._lines = lines
        self._text: list[str] = []

    def token(self, text: str) -> None:
        self._text.append(text)
        if self._lines and text:
            put(sys.stdout, json_text({"event": "token", "text": text}))

    def done(self, opened: Opened, finished: Finished) -> None:
        facts = answer_facts(opened.name, "".join(self._text), opened.loaded.load_ms, finished)
        put(sys.stdout, json_text({"event": "done", **facts} if self._lines else facts))


def write_answer(events: Iterator[ChatEvent], asked: AskOptions, *, quiet: bool) -> None:
    """Write an answer to stdout while it comes, and to stderr what was asked for beside it.

    Raises:
        AnswerCut: It was cut at its most tokens, and that is to be an error.
        OutputError: It could not be written.
    """
    thoughts = _Thoughts()
    opened: Opened | None = None
    with AnswerWriter(sys.stdout) if asked.format == "text" else nullcontext() as writer:
        sink: Sink = _Text(writer) if writer is not None else _Json(lines=asked.format == "ndjson")
        for event in events:
            match event:
                case Opened():
                    opened = event
                case Thinking(text) if asked.show_thinking:
                    thoughts.write(text)
                case Token(text):
                    if text:
                        thoughts.end()
                    sink.token(text)
                case Finished() if opened is not None:
                    sink.done(opened, event)
                    _write_beside(opened, event, asked, quiet=quiet)


def check_length(opened: Opened, finished: Finished, asked: AskOptions) -> None:
    """Refuse an answer that was cut.

    Raises:
        AnswerCut: It was.
    """
    if cut := cut_line(finished, opened.loaded):
        raise AnswerCut(
            f"The answer is {cut[1:-1]}.",
            _hint_for(asked),
        )


def _hint_for(asked: AskOptions) -> str:
    if asked.json_schema is not None:
        return _SCHEMA_HINT
    return _CUT_HINT if asked.constrained or asked.extract else _LENGTH_HINT


def has_begun(event: object) -> bool:
    """Whether an answer that is stopped right after this event has something to show."""
    return isinstance(event, Prefilling | Token | Thinking | Answered | Failed | Tracing)


class _Thoughts:
    """Thinking on stderr, an empty line behind it."""

    def __init__(self) -> None:
        self._open = False

    def write(self, text: str) -> None:
        write_text(sys.stderr, text)
        self._open = True

    def end(self) -> None:
        if self._open:
            write_text(sys.stderr, "\n\n")
        self._open = False


def _write_beside(opened: Opened, finished: Finished, asked: AskOptions, *, quiet: bool) -> None:
    text = asked.format == "text"
    if text and not quiet and not asked.must_end and (cut := cut_line(finished, opened.loaded)):
        write_line(sys.stderr, cut)
    if asked.stats:
        write_line(sys.stderr, stats_line(finished, opened))
    if asked.must_end:
        check_length(opened, finished, asked)
