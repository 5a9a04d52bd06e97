"""The chat on a terminal, or on lines of a pipe.

Knows whose turn it is and what is shown when; refuses to know models, transcripts and how keys become lines.
"""

from collections.abc import Callable, Iterator
from typing import Protocol, TypeVar

from mixchat.app.events import ChatEvent, Opened, OpenEvent
from mixchat.engine.events import Finished, FinishReason, Loaded, Token
from mixchat.errors import EngineDied, EngineError, MixchatError, OutputError
from mixchat.ui.answer import AnswerWriter
from mixchat.ui.commands import Command, Say, help_text, parse_line
from mixchat.ui.console import Terminal, is_terminal, paint, write_line
from mixchat.ui.errors import show_error
from mixchat.ui.interrupts import interrupts
from mixchat.ui.line_input import Lines, line_source
from mixchat.ui.output import write_text
from mixchat.ui.progress import E, shown
from mixchat.ui.sanitize import single_line
from mixchat.ui.stats import cut_line

T = TypeVar("T")


class Talk(Protocol):
    """A conversation with a model."""

    def open(self) -> Iterator[OpenEvent]:
        """Load the model; ends with Opened, or without it after `interrupt`."""

    def say(self, text: str) -> Iterator[ChatEvent]:
        """Stream the answer, loading the model before if it is not there; ends with Finished.

        Raises:
            EngineDied: The text was not answered; it may be said again.
        """

    def interrupt(self) -> None:
        """Stop what runs, soon; called from a signal handler."""

    def kill(self) -> None:
        """End the engine at once; called from a signal handler."""


def run_chat(talk: Talk, terminal: Terminal, name: str) -> int:
    """Hold a conversation until its end: Ctrl-D, `/exit` or the last line of a pipe.

    On a terminal errors are shown and the chat goes on, Ctrl-C stops what runs (pressed again: kills it), and a text
    that was not answered is put back at the prompt. On a pipe every line is a message, and the first error ends the
    chat.

    Args:
        talk: The conversation; not open yet.
        terminal: The streams.
        name: What the person calls the model.

    Returns:
        The exit code, 0.

    Raises:
        MixchatError: The model cannot be opened, stdout cannot be written, or any error on a pipe.
    """
    chat = _Chat(talk, terminal, line_source(terminal), name)
    chat.open()
    while chat.step():
        pass
    return 0


class _Chat:
    def __init__(self, talk: Talk, terminal: Terminal, lines: Lines, name: str) -> None:
        self._talk = talk
        self._terminal = terminal
        self._lines = lines
        self._name = name
        self._interactive = is_terminal(terminal.stdin)
        self._draft = ""
        self._heard = False
        self._answered = False
        self._loaded: Loaded | None = None

    def open(self) -> None:
        """Load the model; when that is interrupted or its engine dies, the first message loads it."""
        opened: bool | None = False
        try:
            opened = self._stoppable(self._load)
        except EngineDied as error:
            if not self._interactive:
                raise
            self._show(error)
        if opened:
            self._tell(f"{single_line(self._name)} is ready. /help lists the commands, Ctrl-D leaves.")
        else:
            self._tell(f"{single_line(self._name)} is not loaded; your next message loads it.")

    def step(self) -> bool:
        """Read a line and do what it means; False at the end."""
        draft, self._draft = self._draft, ""
        if draft:
            self._tell("Your words are back at the prompt; Enter sends them.")
        try:
            line = self._lines.read(draft)
            return line is not None and self._obey(parse_line(line))
        except KeyboardInterrupt:
            if not self._interactive:
                raise
            self._tell("Ctrl-D leaves the chat.")
        except OutputError:
            raise
        except MixchatError as error:
            if not self._interactive:
                raise
            self._show(error)
        return True

    def _obey(self, meant: Say | Command) -> bool:
        match meant:
            case Command("exit"):
                return False
            case Command():
                write_line(self._terminal.stderr, help_text(self._lines.keys))
            case Say(text) if text.strip():
                self._turn(text)
        return True

    def _turn(self, text: str) -> None:
        stdout = self._terminal.stdout
        if self._answered and not is_terminal(stdout):
            write_text(stdout, "\n")
        self._draft = text
        self._heard = False
        reason = self._stoppable(lambda: self._answer(text))
        if reason is not None or self._heard:
            self._draft = ""
        self._answered = True
        if reason in {"interrupted", None}:
            self._mark("[interrupted]")
        if is_terminal(stdout):
            write_text(stdout, "\n")

    def _load(self) -> bool:
        """Load the model; False when that was interrupted."""
        opened = False
        for event in self._shown(self._talk.open()):
            if isinstance(event, Opened):
                opened, self._loaded = True, event.loaded
        return opened

    def _answer(self, text: str) -> FinishReason | None:
        """Stream the answer; None when it ended before it began: the model's loading was interrupted."""
        reason: FinishReason | None = None
        with AnswerWriter(self._terminal.stdout) as writer:
            for event in self._shown(self._talk.say(text)):
                match event:
                    case Token(piece):
                        self._heard = True
                        writer.write(piece)
                    case Opened():
                        self._loaded = event.loaded
                    case Finished():
                        reason = event.reason
                        writer.end()
                        if self._loaded is not None and (cut := cut_line(event, self._loaded)):
                            self._mark(cut)
        return reason

    def _stoppable(self, work: Callable[[], T]) -> T | None:
        """Do what Ctrl-C stops; None when that took a second press. On a pipe Ctrl-C ends the chat."""
        if not self._interactive:
            return work()
        try:
            with self._lines.hold(), interrupts(self._talk.interrupt, self._give_up) as presses:
                try:
                    return work()
                except EngineError:
                    if not presses.killed:
                        raise
        except KeyboardInterrupt:
            pass
        return None

    def _give_up(self) -> None:
        """End the engine and whatever waits for it."""
        self._talk.kill()
        raise KeyboardInterrupt

    def _shown(self, events: Iterator[E]) -> Iterator[E]:
        to = self._terminal
        return shown(events, self._name, to.stderr, to.environ, to.quiet)

    def _tell(self, text: str) -> None:
        """Say something helpful to a person."""
        if self._interactive and not self._terminal.quiet:
            self._mark(text)

    def _mark(self, text: str) -> None:
        """Say something about the answer above."""
        to = self._terminal
        write_line(to.stderr, paint(text, "dim", to.stderr, to.environ))

    def _show(self, error: MixchatError) -> None:
        show_error(error, self._terminal.stderr, self._terminal.environ)
