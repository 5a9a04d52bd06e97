"""The prompt_toolkit side of an edited line.

Knows keys, the menu, the bottom line and what a terminal can do; refuses to know what a line means. prompt_toolkit is
loaded with this module, so import it when a line is edited.
"""

# ruff: noqa: TID253
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Final, Literal, TextIO

from prompt_toolkit import PromptSession
from prompt_toolkit.application import Application, get_app
from prompt_toolkit.buffer import Buffer
from prompt_toolkit.completion import CompleteEvent, Completer, Completion
from prompt_toolkit.cursor_shapes import ModalCursorShapeConfig
from prompt_toolkit.document import Document
from prompt_toolkit.enums import DEFAULT_BUFFER, EditingMode
from prompt_toolkit.filters import emacs_mode, has_completions, has_focus, has_selection
from prompt_toolkit.formatted_text import StyleAndTextTuples
from prompt_toolkit.history import History
from prompt_toolkit.input import Input
from prompt_toolkit.input.ansi_escape_sequences import ANSI_SEQUENCES
from prompt_toolkit.key_binding import KeyBindings
from prompt_toolkit.key_binding.key_processor import KeyPressEvent
from prompt_toolkit.keys import Keys
from prompt_toolkit.output import ColorDepth, Output
from prompt_toolkit.output.vt100 import Vt100_Output
from prompt_toolkit.styles import DEFAULT_ATTRS, Style

from mixchat.errors import MixchatError
from mixchat.ui.blocks import MARK, goes_on, is_open, quoted
from mixchat.ui.completion import Words
from mixchat.ui.interrupts import ending_put_off
from mixchat.ui.pastes import Pastes
from mixchat.ui.reflow import follow_wrapping
from mixchat.ui.sanitize import single_line

Keymap = Literal["emacs", "vi"]

# Alt-Enter, and Shift-Enter where a terminal tells it from Enter. As one key, so that Escape alone stays vi's.
_NEW_LINE_SEQUENCES: Final = ("\x1b\r", "\x1b[27;2;13~", "\x1b[13;2u")
_ESCAPE_SECONDS: Final = 0.1
_LEAST_WIDTH: Final = 20
_QUIET: Final = "dim" if "dim" in DEFAULT_ATTRS._fields else ""


class _EditorWanted(Exception):
    """The person pressed Ctrl-G."""


@dataclass(frozen=True, slots=True)
class Helpers:
    """What the prompt works with.

    Attributes:
        pastes: Where long pastes are kept.
        texts: What was typed before, oldest first.
        words: What Tab offers.
        status: The bottom line for a width in columns, which it fits.
        colour: The terminal has it.
        wraps: It wraps lines anew when it gets narrower.
    """

    pastes: Pastes
    texts: Callable[[], Sequence[str]]
    words: Words | None = None
    status: Callable[[int], str] | None = None
    colour: bool = False
    wraps: bool = False


class _Terminal(Vt100_Output):
    """A terminal that is never asked for its cursor position: an answer that comes late would be among the keys."""

    def get_rows_below_cursor_position(self) -> int:
        """One, as prompt_toolkit shows the bottom line only where it knows a number; right below the text, then."""
        return 1

    def erase_down(self) -> None:
        """Erase from the beginning of a row. tmux keeps in its history what is erased from the top left corner."""
        self.erase_end_of_line()
        self.cursor_forward(1)
        super().erase_down()
        self.write_raw("\r")


class _Texts(History):
    """Texts as the person would type them; those of this chat as they were typed, with their placeholders."""

    def __init__(self, texts: Callable[[], Sequence[str]]) -> None:
        super().__init__()
        self._texts = texts

    def load_history_strings(self) -> Iterable[str]:
        return map(quoted, reversed(self._texts()))

    def store_string(self, string: str) -> None:
        """Keep nothing more: the caller knows the whole text."""


class _Menu(Completer):
    """Words as prompt_toolkit's menu shows them."""

    def __init__(self, words: Words) -> None:
        self._words = words

    def get_completions(self, document: Document, complete_event: CompleteEvent) -> Iterable[Completion]:  # noqa: ARG002
        line = document.text_before_cursor
        with suppress(MixchatError, OSError):
            for choice in self._words.complete(line):
                shown, meaning = single_line(choice.text.strip()), single_line(choice.meaning)
                yield Completion(choice.text, choice.start - len(line), display=shown, display_meta=meaning)


def make_output(stdout: TextIO, environ: Mapping[str, str]) -> Output:
    """The terminal to draw on; it is never asked for its cursor position."""
    output = _Terminal.from_pty(stdout, term=environ.get("TERM"))
    output.enable_cpr = False
    return output


class LineSession:
    """The prompt of one chat: Enter sends; every other key is the keymap's, or in `key_bindings`."""

    def __init__(self, helpers: Helpers, keys: Keymap, input_: Input, output: Output) -> None:
        for sequence in _NEW_LINE_SEQUENCES:
            ANSI_SEQUENCES[sequence] = Keys.ControlJ
        vi = keys == "vi"
        self.prompts: PromptSession[str] = PromptSession(
            multiline=True,
            prompt_continuation=_continuation,
            editing_mode=EditingMode.VI if vi else EditingMode.EMACS,
            cursor=ModalCursorShapeConfig() if vi else None,
            key_bindings=key_bindings(helpers.pastes),
            history=_Texts(helpers.texts),
            enable_history_search=True,
            search_ignore_case=True,
            completer=None if helpers.words is None else _Menu(helpers.words),
            complete_while_typing=False,
            bottom_toolbar=_bottom_line(helpers.status, output),
            style=Style([("bottom-toolbar", f"noreverse {_QUIET}" if helpers.colour else "noreverse")]),
            color_depth=None if helpers.colour else ColorDepth.DEPTH_1_BIT,
            enable_suspend=True,
            input=input_,
            output=output,
        )
        if vi:
            self.prompts.app.ttimeoutlen = _ESCAPE_SECONDS
        self.prompts.app.before_render += _MenuSpace()
        if helpers.wraps:
            follow_wrapping(self.prompts.app)

    @property
    def text(self) -> str:
        """What stands in the line, or stood there when it ended."""
        return self.prompts.default_buffer.text

    @property
    def cursor(self) -> int:
        """Characters before the cursor."""
        return self.prompts.default_buffer.cursor_position

    def ask(self, prompt: str, text: str, cursor: int) -> str | None:
        """Let the person edit a text; None when it is to be edited elsewhere, which leaves nothing on the screen.

        Raises:
            KeyboardInterrupt: Ctrl-C was pressed.
            EOFError: The person ended the input, or the terminal is gone.
        """
        self.prompts.app.erase_when_done = False
        try:
            with _ending_first(self.prompts.app) as begun:
                return self.prompts.prompt(prompt, default=Document(text, cursor), pre_run=begun)
        except _EditorWanted:
            return None
        except (EOFError, KeyboardInterrupt):
            raise
        except BaseException:
            # A signal that ends the program may come before prompt_toolkit is ready to clean up.
            with suppress(OSError):
                self.prompts.app.renderer.reset()
            raise

    def put_aside(self) -> None:
        """Let the key that inserts what was cut (Ctrl-Y, in vi `p`) bring back what stood in the line."""
        if self.text:
            self.prompts.app.clipboard.set_text(self.text)


def key_bindings(pastes: Pastes) -> KeyBindings:
    """Enter sends or goes on, Ctrl-J and Alt-Enter begin a new line, Ctrl-G wants an editor; pastes may be folded."""
    bindings = KeyBindings()
    typing = has_focus(DEFAULT_BUFFER)

    @bindings.add("enter", filter=typing)
    def _enter(event: KeyPressEvent) -> None:
        _send_or_go_on(event.current_buffer)

    @bindings.add("c-j", filter=typing)
    @bindings.add("escape", "enter", filter=typing & emacs_mode)
    def _new_line(event: KeyPressEvent) -> None:
        event.current_buffer.insert_text("\n")

    @bindings.add(Keys.BracketedPaste, filter=typing)
    def _paste(event: KeyPressEvent) -> None:
        event.current_buffer.insert_text(pastes.taken(event.data))

    @bindings.add("c-g", filter=typing & has_completions)
    def _close_menu(event: KeyPressEvent) -> None:
        event.current_buffer.cancel_completion()

    @bindings.add("c-g", filter=typing & ~has_completions & ~has_selection)
    def _edit(event: KeyPressEvent) -> None:
        event.app.erase_when_done = True
        event.app.exit(exception=_EditorWanted())

    return bindings


@contextmanager
def _ending_first(app: "Application[str]") -> Iterator[Callable[[], None]]:
    """Let SIGTERM and SIGHUP end the prompt before they take effect; yields what to call when the prompt has begun."""
    noted: list[bool] = []

    def end() -> None:
        if noted and app.future is not None and not app.future.done():
            app.exit(exception=EOFError())

    def note() -> None:
        noted.append(True)
        if app.loop is not None:
            app.loop.call_soon_threadsafe(end)

    with ending_put_off(note):
        yield end


def _send_or_go_on(buffer: Buffer) -> None:
    """What Enter does: take the word chosen from several, begin a new line where the text goes on, or send."""
    document, menu = buffer.document, buffer.complete_state
    if menu is not None and menu.current_completion is not None and len(menu.completions) > 1:
        buffer.complete_state = None
    elif is_open(document.text):
        buffer.insert_text("\n")
    elif (
        not document.text.startswith(MARK)
        and document.is_cursor_at_the_end_of_line
        and goes_on(document.text_before_cursor)
    ):
        buffer.delete_before_cursor()
        buffer.insert_text("\n")
    else:
        buffer.validate_and_handle()


def _continuation(width: int, _line: int, _wrapped: int) -> StyleAndTextTuples:
    """Later lines begin below the first one's text, unless the terminal is too narrow for that."""
    return [("", " " * width if get_app().output.get_size().columns >= _LEAST_WIDTH else "")]


def _bottom_line(status: Callable[[int], str] | None, output: Output) -> Callable[[], str] | None:
    return None if status is None else lambda: status(output.get_size().columns)


class _MenuSpace:
    """Gives back the rows of a closed menu; prompt_toolkit would keep them until the line is sent."""

    def __init__(self) -> None:
        self._shown = False

    def __call__(self, app: "Application[str]") -> None:
        shown = app.current_buffer.complete_state is not None
        if self._shown and not shown and not app.is_done:
            app.renderer.erase()
        self._shown = shown
