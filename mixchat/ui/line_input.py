r"""Where the person's lines come from: an edited text of a terminal, or plain lines.

Knows what is read when, and what is kept for the next prompt; refuses to know what a line means. prompt_toolkit is
imported for editing only.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal, Protocol, TextIO

from mixchat.chat.inputs import decode_text, without_surrogates
from mixchat.errors import MixchatError, UsageError
from mixchat.ui.blocks import goes_on, quoted, unquoted, with_new_line
from mixchat.ui.completion import Words
from mixchat.ui.console import Terminal, has_colour, is_dumb, is_terminal, make_encodable, paint, write_line
from mixchat.ui.editor import edit_text
from mixchat.ui.input_history import InputHistory
from mixchat.ui.interrupts import LastPress, keys_held
from mixchat.ui.pastes import Pastes
from mixchat.ui.reflow import wraps_anew
from mixchat.ui.sanitize import single_line
from mixchat.ui.typeahead import forget, kept

if TYPE_CHECKING:
    from mixchat.ui.line_session import LineSession

PROMPT: Final = ">>> "
LEAVE_HINT: Final = "Ctrl-C again leaves."
"""What to tell after the first Ctrl-C."""

_GOES_ON: Final = "... "
_SENDS: Final = r'''Enter   send; after \ or in a """ block: begin a new line'''
_EDITS: Final = """\
Ctrl-J  begin a new line (or Alt-Enter)
Ctrl-G  write in your editor ($VISUAL or $EDITOR)
Ctrl-R  search what you typed before; Up and Down go through it
Tab     complete a command or a file"""
_LEAVES: Final = """\
Ctrl-C  stop the answer, or clear the text; twice: leave the chat
Ctrl-D  leave the chat, on an empty line"""
_LINE_LIMIT: Final = 16 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class InputOptions:
    """How a person types.

    Attributes:
        words: What Tab offers; None for nothing.
        status: The bottom line for a width in columns, cleaned and no wider than that; None for none.
        history: The file of what was typed in all chats; None keeps it in memory and writes nothing.
        keys: The keymap.
        clock: Seconds, to tell two presses of Ctrl-C from one and another.
    """

    words: Words | None = None
    status: Callable[[int], str] | None = None
    history: Path | None = None
    keys: Literal["emacs", "vi"] = "emacs"
    clock: Callable[[], float] = time.monotonic


class Lines(Protocol):
    """The person's side of a chat."""

    @property
    def keys(self) -> str:
        """What the keys do, one a line."""

    @property
    def last_press(self) -> LastPress:
        """When Ctrl-C was pressed last; to be shared with `interrupts`, which notes the presses during an answer."""

    def read(self, draft: str) -> str | None:
        r"""The next message, of one line or more, to be edited from `draft`; None at the end.

        The `\` before a new line and the marks of a block are gone, and pastes are whole. The end is Ctrl-D on an empty
        line, the end of a pipe, and on a terminal a Ctrl-C within two seconds of another, also of one that stopped an
        answer.

        Raises:
            KeyboardInterrupt: Ctrl-C was pressed once; what was typed is dropped. Tell LEAVE_HINT and read again.
            UsageError: It is not text.
        """

    def hold(self) -> AbstractContextManager[None]:
        """Keep keys that are typed meanwhile out of the answer."""


class PlainLines:
    """Lines of a pipe, or of a terminal that cannot edit; the prompt goes to stderr, a draft cannot be given back."""

    keys = f"{_SENDS}\n{_LEAVES}"

    def __init__(self, stdin: TextIO, stderr: TextIO, last_press: LastPress | None = None) -> None:
        self.last_press = last_press or LastPress()
        self._stdin = stdin
        self._prompt_to = make_encodable(stderr) if is_terminal(stdin) else None

    def read(self, draft: str) -> str | None:  # noqa: ARG002 - as Lines has it
        """The next message; one longer than 16 MiB is refused, and one that its pipe cut off comes as it is."""
        try:
            text = self._text()
        except KeyboardInterrupt:
            if self._prompt_to is None or not self.last_press.again():
                raise
            self._show("\n")
            return None
        self.last_press.forget()
        return text

    def hold(self) -> AbstractContextManager[None]:
        """Leave the terminal as it is."""
        return nullcontext()

    def _text(self) -> str | None:
        text = self._line(PROMPT, _LINE_LIMIT)
        while text is not None and goes_on(text):
            line = self._line(_GOES_ON, _LINE_LIMIT - len(text))
            if line is None:
                break
            text = with_new_line(text) + line
        return None if text is None else unquoted(text)

    def _line(self, prompt: str, limit: int) -> str | None:
        self._show(prompt)
        line = self._stdin.buffer.readline(limit + 1)
        if not line:
            self._show("\n")
            return None
        if len(line) > limit:
            raise UsageError("A line on stdin is longer than 16 MiB.", "Give the text as a file to `mixchat ask`.")
        return decode_text(line, "stdin").rstrip("\r\n")

    def _show(self, text: str) -> None:
        if self._prompt_to is not None:
            self._prompt_to.write(text)
            self._prompt_to.flush()


@dataclass(frozen=True, slots=True)
class Typed:
    """What was typed in this chat, and how it stands in the line."""

    history: InputHistory
    pastes: Pastes

    def begin(self, message: str) -> str:
        """What stands in the line for a message."""
        return quoted(self.pastes.refolded(without_surrogates(message)))

    def end(self, text: str) -> str:
        """The message that a text in the line means."""
        return without_surrogates(self.pastes.whole(unquoted(text)))


class EditedLines:
    """Texts edited on a terminal, with the history of all chats."""

    keys = f"{_SENDS}\n{_EDITS}\n{_LEAVES}"

    def __init__(self, session: "LineSession", typed: Typed, terminal: Terminal, last_press: LastPress) -> None:
        self.last_press = last_press
        self._session = session
        self._typed = typed
        self._terminal = terminal

    def read(self, draft: str) -> str | None:
        """The next message; a draft takes the place of what was typed ahead."""
        if draft:
            forget(self._session.prompts)
        try:
            text = self._asked(self._typed.begin(draft))
        except EOFError:
            return None
        except KeyboardInterrupt:
            if self._session.text:
                self.last_press.forget()
            self._session.put_aside()
            if self.last_press.again():
                return None
            raise
        self.last_press.forget()
        message = self._typed.end(text)
        self._remember(message)
        return message

    @contextmanager
    def hold(self) -> Iterator[None]:
        """Keep what is typed for the next prompt."""
        with keys_held(self._terminal.stdin), kept(self._session.prompts):
            yield

    def _asked(self, text: str) -> str:
        """The text as it was sent, after any number of turns in an editor."""
        cursor = len(text)
        while (sent := self._session.ask(PROMPT, text, cursor)) is None:
            text, cursor = self._session.text, self._session.cursor
            edited = self._edited(text)
            if edited is not None:
                text, cursor = edited, len(edited)
        return sent

    def _edited(self, text: str) -> str | None:
        """The text after an editor had it; None when it is as it was, or that failed, which is told."""
        try:
            message = edit_text(self._typed.end(text), self._terminal.environ)
        except MixchatError as error:
            self._tell(error)
            return None
        return None if message is None else self._typed.begin(message)

    def _remember(self, message: str) -> None:
        try:
            self._typed.history.append(message)
        except MixchatError as error:
            self._tell(error)

    def _tell(self, error: MixchatError) -> None:
        to = self._terminal
        write_line(to.stderr, paint(single_line(f"{error.message} {error.hint}"), "dim", to.stderr, to.environ))


def line_source(terminal: Terminal, options: InputOptions | None = None) -> Lines:
    """The best way to read lines here; without options there is no completion, no bottom line and no file."""
    options = options or InputOptions()
    editable = is_terminal(terminal.stdin) and is_terminal(terminal.stdout) and not is_dumb(terminal.environ)
    last_press = LastPress(options.clock)
    if not editable:
        return PlainLines(terminal.stdin, terminal.stderr, last_press)
    return _edited_lines(terminal, options, last_press)


def _edited_lines(terminal: Terminal, options: InputOptions, last_press: LastPress) -> EditedLines:
    from prompt_toolkit.input import create_input

    from mixchat.ui.line_session import Helpers, LineSession, make_output  # noqa: PLC0415 - loads prompt_toolkit

    typed = Typed(InputHistory(options.history), Pastes())
    helpers = Helpers(
        pastes=typed.pastes,
        texts=lambda: typed.history.entries,
        words=options.words,
        status=options.status,
        colour=has_colour(terminal.stdout, terminal.environ),
        wraps=wraps_anew(terminal.environ),
    )
    output = make_output(terminal.stdout, terminal.environ)
    session = LineSession(helpers, options.keys, create_input(terminal.stdin), output)
    return EditedLines(session, typed, terminal, last_press)
