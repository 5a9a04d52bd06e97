"""Where the person's lines come from: an edited line of a terminal, or plain lines.

Knows keys, pastes and encodings; refuses to know what a line means. prompt_toolkit is imported for editing only.
"""

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING, Final, Protocol, TextIO

from mixchat.chat.inputs import decode_text
from mixchat.errors import UsageError
from mixchat.ui.console import Terminal, is_dumb, is_terminal, make_encodable
from mixchat.ui.interrupts import keys_held
from mixchat.ui.typeahead import forget, kept

if TYPE_CHECKING:
    from prompt_toolkit import PromptSession
    from prompt_toolkit.key_binding import KeyBindings
    from prompt_toolkit.key_binding.key_processor import KeyPressEvent

PROMPT: Final = ">>> "
_ENTER: Final = "Enter   send"
_CONTROLS: Final = "Ctrl-C  stop the answer, or clear the line\nCtrl-D  leave the chat, on an empty line"
_LINE_LIMIT: Final = 16 * 1024 * 1024


class Lines(Protocol):
    """The person's side of a chat."""

    @property
    def keys(self) -> str:
        """What the keys do, one a line."""

    def read(self, draft: str) -> str | None:
        """The next line without its end, to be edited from `draft`; None at the end.

        Raises:
            KeyboardInterrupt: Ctrl-C was pressed.
            UsageError: It is not text.
        """

    def hold(self) -> AbstractContextManager[None]:
        """Keep keys that are typed meanwhile out of the answer."""


class PlainLines:
    """Lines of a pipe, or of a terminal that cannot edit; the prompt goes to stderr, a draft cannot be given back."""

    keys = f"{_ENTER}\n{_CONTROLS}"

    def __init__(self, stdin: TextIO, stderr: TextIO) -> None:
        self._stdin = stdin
        self._prompt_to = make_encodable(stderr) if is_terminal(stdin) else None

    def read(self, draft: str) -> str | None:  # noqa: ARG002 - as Lines has it
        """The next line; one longer than 16 MiB is refused."""
        self._show(PROMPT)
        line = self._stdin.buffer.readline(_LINE_LIMIT + 1)
        if not line:
            self._show("\n")
            return None
        if len(line) > _LINE_LIMIT:
            raise UsageError("A line on stdin is longer than 16 MiB.", "Give the text as a file to `mixchat ask`.")
        return decode_text(line, "stdin").rstrip("\r\n")

    def hold(self) -> AbstractContextManager[None]:
        """Leave the terminal as it is."""
        return nullcontext()

    def _show(self, text: str) -> None:
        if self._prompt_to is not None:
            self._prompt_to.write(text)
            self._prompt_to.flush()


class EditedLines:
    """Lines edited on a terminal, with the history of this chat; a paste stays whole."""

    keys = f"{_ENTER}\nCtrl-J  begin a new line (or Alt-Enter)\n{_CONTROLS}"

    def __init__(self, session: "PromptSession[str]", stdin: TextIO) -> None:
        self._session = session
        self._stdin = stdin

    def read(self, draft: str) -> str | None:
        """The next text, of one line or more; a draft takes the place of what was typed ahead."""
        if draft:
            forget(self._session)
        try:
            return self._session.prompt(PROMPT, default=draft)
        except EOFError:
            return None
        except KeyboardInterrupt:
            raise
        except BaseException:
            # A signal that ends the program may come before prompt_toolkit is ready to clean up.
            self._session.app.renderer.reset()
            raise

    @contextmanager
    def hold(self) -> Iterator[None]:
        """Keep what is typed for the next prompt."""
        with keys_held(self._stdin), kept(self._session):
            yield


def line_source(terminal: Terminal) -> Lines:
    """The best way to read lines here."""
    editable = is_terminal(terminal.stdin) and is_terminal(terminal.stdout) and not is_dumb(terminal.environ)
    if not editable:
        return PlainLines(terminal.stdin, terminal.stderr)
    return EditedLines(_session(terminal.stdin, terminal.stdout, terminal.environ), terminal.stdin)


def _session(stdin: TextIO, stdout: TextIO, environ: Mapping[str, str]) -> "PromptSession[str]":
    from prompt_toolkit import PromptSession
    from prompt_toolkit.input import create_input
    from prompt_toolkit.output.vt100 import Vt100_Output

    # Asking a terminal for its cursor position leaves the answer among the keys when it comes late.
    output = Vt100_Output.from_pty(stdout, term=environ.get("TERM"))
    output.enable_cpr = False
    return PromptSession(enable_suspend=True, key_bindings=key_bindings(), input=create_input(stdin), output=output)


def key_bindings() -> "KeyBindings":
    """Alt-Enter and Ctrl-J begin a new line."""
    from prompt_toolkit.key_binding import KeyBindings

    bindings = KeyBindings()

    @bindings.add("escape", "enter")
    @bindings.add("c-j")
    def _new_line(event: "KeyPressEvent") -> None:
        event.current_buffer.insert_text("\n")

    return bindings
