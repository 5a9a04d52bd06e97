"""What a person gives to `mixchat ask`: a prompt, files, a pipe, a conversation, or many lines and files.

Knows where each is read and how they make messages; refuses to know models and answers.
"""

import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import count
from pathlib import Path
from typing import Final

from mixchat.app.attaching import find_files, read_attachments, read_file
from mixchat.app.batching import Item, Take
from mixchat.app.constraints import Constraint, constraint_from
from mixchat.chat.attachments import Attachment, render_attachments
from mixchat.chat.inputs import decode_text, join_prompt, parse_messages, without_surrogates
from mixchat.chat.messages import Message
from mixchat.cli.ask_options import AskOptions
from mixchat.cli.lines import LONGEST, Lines
from mixchat.cli.streams import file_text, piped_text
from mixchat.errors import MixchatError, UsageError
from mixchat.ui.console import write_line
from mixchat.ui.sanitize import single_line

_SHOWN: Final = 200
Say = Callable[[str], tuple[Message, ...]]
"""From what a person says to the conversation that is answered."""


@dataclass(frozen=True, slots=True)
class Spoken:
    """What a person says: one text, its files in front, or a whole conversation.

    Attributes:
        text: With the files.
        attachments: The files.
        messages: A whole conversation; then there is no text.
        changing: The end of the text that is another the next time; None: all of it.
    """

    text: str = ""
    attachments: tuple[Attachment, ...] = ()
    messages: tuple[Message, ...] = ()
    changing: str | None = None


def spoken(prompt: str | None, asked: AskOptions, *, quiet: bool) -> Spoken:
    """Read all of it.

    Raises:
        UsageError: There is nothing, or it is binary or too large.
        NotFound: A file is not there.
    """
    waiting = partial(tell_waiting, quiet)
    if asked.messages is not None:
        listed = piped_text(waiting) if str(asked.messages) == "-" else file_text(asked.messages)
        return Spoken(messages=parse_messages(listed or ""))
    attachments = _attachments(asked, waiting)
    piped = None if asked.no_stdin or asked.files_from_stdin else piped_text(waiting)
    if attachments and not (prompt or "").strip() and not (piped or "").strip():
        return Spoken(render_attachments(attachments, ""), attachments, changing="")
    text = join_prompt(prompt, piped)
    return Spoken(render_attachments(attachments, text), attachments, changing=text if attachments else None)


def constraint(asked: AskOptions, *, quiet: bool) -> Constraint | None:
    """What the answer must be; None: anything.

    Raises:
        UsageError: It cannot be compiled.
        NotFound: A file is not there.
    """
    schema = asked.json_schema
    if schema is not None and not schema.lstrip().startswith(("{", "[", '"', "true", "false")):
        schema = file_text(Path(schema))
    if asked.grammar is not None and "::=" in str(asked.grammar):
        raise UsageError("--grammar takes a file, and this is a grammar itself.", "Write it into a file.")
    grammar = file_text(asked.grammar) if asked.grammar is not None else None
    wanted = constraint_from(schema, grammar, _choices(asked))
    for warning in wanted.warnings if wanted and not quiet else ():
        write_line(sys.stderr, f"mixchat: {single_line(warning)}")
    return wanted


def _choices(asked: AskOptions) -> list[str]:
    return [each.strip() for each in asked.choices.split(",")] if asked.choices is not None else []


def items_of(prompt: str | None, asked: AskOptions, say: Say, *, quiet: bool) -> Take:
    """The items of a batch, as they come.

    Raises:
        NotFound: A glob finds nothing, or a file of `--file` is not there.
        UsageError: stdin is a terminal, or no text at all.
    """
    waiting = partial(tell_waiting, quiet)
    attachments = _attachments(asked, waiting)
    if asked.each_line:
        if sys.stdin.isatty():
            raise UsageError("--each-line reads stdin, and that is a terminal.", "Pipe lines into it, or: < FILE")
        return _lines(prompt, Lines(sys.stdin.fileno(), waiting), attachments, say)
    found = find_files(asked.each_file or (), Path.cwd())
    piped = None if asked.no_stdin or asked.files_from_stdin else piped_text(waiting)
    behind = join_prompt(prompt, piped) if (prompt or "").strip() or (piped or "").strip() else ""
    files = _files(found, behind, attachments, say)
    return lambda *, wait: next(files, None)  # noqa: ARG005 - as Take has it


def _lines(prompt: str | None, lines: Lines, attachments: Sequence[Attachment], say: Say) -> Take:
    """Blank lines are no items; they count in the numbers of the others."""
    numbers = count()

    def take(*, wait: bool) -> Item | None:
        while (data := lines.take(wait=wait)) is not None:
            index = next(numbers)
            if data.strip():
                return _line(index, data, prompt, attachments, say)
        return None

    return take


def _line(index: int, data: bytes, prompt: str | None, attachments: Sequence[Attachment], say: Say) -> Item:
    try:
        if len(data) > LONGEST:
            raise UsageError(f"The line is longer than {LONGEST >> 20} MiB.", "Give a part of it.")
        text = decode_text(data, f"Line {index + 1}").rstrip("\r")
        return Item(index, text, say(render_attachments(attachments, join_prompt(prompt, text))), text)
    except MixchatError as error:
        return Item(index, data[:_SHOWN].decode("utf-8", "replace"), error)


def _files(
    found: Sequence[tuple[str, Path]], behind: str, attachments: Sequence[Attachment], say: Say
) -> Iterator[Item]:
    for index, named in enumerate(found):
        yield _file(index, named, (attachments, behind), say)


def _file(index: int, named: tuple[str, Path], around: tuple[Sequence[Attachment], str], say: Say) -> Item:
    name = without_surrogates(named[0])
    try:
        attachments, behind = around
        own = render_attachments((read_file(*named),), behind)
        return Item(index, name, say(render_attachments(attachments, own)), own)
    except MixchatError as error:
        return Item(index, name, error)


def _attachments(asked: AskOptions, waiting: Callable[[], None]) -> tuple[Attachment, ...]:
    """The files of `--file`, stdin last."""
    named = [pattern for pattern in asked.file or () if pattern != "-"]
    found = read_attachments(named, Path.cwd()) if named else ()
    if not asked.files_from_stdin:
        return found
    return (*found, Attachment("stdin", piped_text(waiting) or ""))


def tell_waiting(quiet: bool) -> None:
    """Say that stdin is silent."""
    if not quiet:
        write_line(sys.stderr, "mixchat: waiting for text on stdin; --no-stdin ignores it.")
