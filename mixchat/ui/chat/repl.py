"""The chat on a terminal, or on lines of a pipe.

Knows whose turn it is and what is shown when; refuses to know models, transcripts and how keys become lines.
"""

from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from typing import TYPE_CHECKING, Final, TypeVar

from mixchat.app.events import ChatEvent, Full, Opened, OpenEvent, Thinking, Traced, Tracing
from mixchat.chat.attachments import render_attachments
from mixchat.engine.events import Finished, Loaded, Token
from mixchat.errors import EngineDied, EngineError, MixchatError, OutputError
from mixchat.plan.units import format_bytes
from mixchat.ui.chat.archive import recall
from mixchat.ui.chat.choosing import choose
from mixchat.ui.chat.commands import Command, Say, parse_line
from mixchat.ui.chat.context import Chat, Context, Leave, Load, Stream, Trace
from mixchat.ui.chat.doing import do
from mixchat.ui.interrupts import interrupts
from mixchat.ui.line_input import LEAVE_HINT
from mixchat.ui.sanitize import single_line
from mixchat.ui.stats import cut_line

if TYPE_CHECKING:
    from mixchat.store.settings import Overflow

T = TypeVar("T")

_LARGE: Final = 64 << 20  # bytes whose writing takes a noticeable time


def run_chat(chat: Chat) -> int:
    """Hold a conversation until its end: Ctrl-D, Ctrl-C twice, `/exit` or the last line of a pipe.

    On a terminal errors are shown and the chat goes on, Ctrl-C stops what runs, and a text that was not answered is put
    back at the prompt. On a pipe every line is a message, and the first error ends the chat.

    Returns:
        The exit code, 0.

    Raises:
        MixchatError: The model cannot be opened, stdout cannot be written, or any error on a pipe.
    """
    held = _Held(chat)
    if chat.talk.opened is None:
        held.open()
    while held.step():
        pass
    held.leave()
    return 0


class _Held:
    """A chat that is going on."""

    def __init__(self, chat: Chat) -> None:
        self._talk = chat.talk
        self._screen = chat.screen
        self._lines = chat.lines
        self._desk = chat.desk
        self._fill = chat.fill
        self._context = Context(chat.talk, chat.screen, chat.desk, chat.shelf, chat.folder, chat.lines.keys)
        self._heard = self._answered = self._left = self._unsaid = False
        self._loaded: Loaded | None = chat.talk.opened.loaded if chat.talk.opened else None

    @property
    def _name(self) -> str:
        return single_line(self._talk.dialogue.model)

    def open(self) -> None:
        """Load the model; when that is interrupted or its engine dies, the first message loads it."""
        self._context.tell(self._talk.told)
        if self._talk.transcript.turns or self._talk.dialogue.draft:
            recall(self._context, self._talk.dialogue)
        opened: bool | None = False
        try:
            opened = self._stoppable(lambda: self._load(self._talk.open()))
        except EngineDied as error:
            if not self._screen.interactive:
                raise
            self._screen.fail(error)
        if opened:
            self._screen.tell(f"{self._name} is ready. /help lists the commands, Ctrl-D leaves.")
        elif not self._left:
            self._screen.tell(f"{self._name} is not loaded; your next message loads it.")

    def step(self) -> bool:
        """Read a line and do what it means; False at the end."""
        if self._left:
            return False
        draft, self._desk.draft = self._desk.draft, ""
        if self._unsaid and draft:
            self._screen.tell("Your words are back at the prompt; Enter sends them.")
        self._unsaid = False
        try:
            line = self._lines.read(draft)
            if line is None:
                return False
            meant = parse_line(line)
            if self._desk.editing is not None and isinstance(meant, Say):
                return self._edited(meant.text)
            self._stop_editing()
            return self._obey(meant)
        except KeyboardInterrupt:
            if not self._screen.interactive:
                raise
            self._stop_editing()
            self._screen.tell(LEAVE_HINT)
        except OutputError:
            raise
        except MixchatError as error:
            if not self._screen.interactive:
                raise
            self._screen.fail(error)
        return True

    def leave(self) -> None:
        """Keep the evaluated chat for the next time."""
        talk = self._talk
        if not self._screen.interactive and not talk.session:
            return
        try:
            with interrupts(talk.kill, talk.kill):
                if talk.session and talk.context.state_bytes > _LARGE:
                    size = format_bytes(talk.context.state_bytes)
                    self._screen.tell(
                        f"Keeping what is evaluated ({size}), so that -c resumes at once; Ctrl-C skips it."
                    )
                self._context.tell(talk.keep())
        except EngineError as error:
            self._screen.fail(error)

    def _obey(self, meant: Say | Command) -> bool:
        match meant:
            case Command():
                outcome = self._written(lambda: do(self._context, meant))
            case Say(text) if text.strip() or self._desk.attachments:
                outcome = self._message(text)
            case _:
                return True
        match outcome:
            case Leave():
                return False
            case Stream():
                self._turn(outcome)
            case Load(make):
                self._switch(make)
            case Trace(make, finish):
                self._trace(make, finish)
        return not self._left

    def _written(self, work: Callable[[], T]) -> T | None:
        """Carry out a command; a file that it cannot write ends no chat on a terminal."""
        try:
            return work()
        except OutputError as error:
            if not self._screen.interactive:
                raise
            self._screen.fail(error)
            return None

    def _stop_editing(self) -> None:
        if self._desk.editing is not None:
            self._desk.editing = None
            self._screen.tell("The message stays as it was.")

    def _message(self, text: str) -> Stream:
        whole = render_attachments(self._desk.attachments, text)
        if self._fill is not None and not self._talk.transcript.turns:
            whole = self._fill(whole)
        return Stream(lambda overflow: self._talk.say(whole, overflow=overflow), text)

    def _edited(self, text: str) -> bool:
        """What was put at the prompt to be edited comes back."""
        editing = self._desk.editing
        if editing is None or not text.strip():
            self._stop_editing()
            return True
        self._desk.editing = None
        if editing.whose == "assistant":
            self._context.tell(self._talk.past.rewrite(editing.index, text))
            self._screen.tell("The answer is changed; the chat goes on from there.")
        else:
            try:
                self._turn(Stream(lambda overflow: self._talk.say(text, after=editing.index, overflow=overflow), text))
            finally:
                self._desk.editing = editing if self._desk.draft else None
        return not self._left

    def _switch(self, make: Callable[[], Iterator[OpenEvent]]) -> None:
        if self._stoppable(lambda: self._load(make())):
            self._screen.tell(f"{self._name} is ready.")
        elif not self._left:
            self._screen.tell(f"{self._name} is still the model.")

    def _trace(self, make: Callable[[], Iterator[Tracing | Traced]], finish: Callable[[Traced], None]) -> None:
        traced = self._stoppable(lambda: list(self._screen.shown(make(), self._name)))
        last = traced[-1] if traced else None
        if isinstance(last, Traced) and last.report.layers:
            self._written(lambda: finish(last))
        if not isinstance(last, Traced) or not last.complete:
            self._screen.mark("[interrupted]")

    def _turn(self, stream: Stream) -> None:
        """Stream an answer; the words come back to the prompt when there is none."""
        if self._answered:
            self._screen.separate()
        self._desk.draft, self._unsaid = stream.draft, bool(stream.draft)
        self._heard = False
        policy: Overflow | None = None
        reason: str | Full | None = None
        while True:
            reason = self._stoppable(lambda: self._answer(stream.make(policy)))
            if not isinstance(reason, Full) or (policy := choose(reason, self._screen, self._lines)) is None:
                break
        if isinstance(reason, Full):
            return
        if reason is not None or self._heard:
            self._desk.draft, self._desk.attachments = "", ()
            self._answered, self._unsaid = True, False
        if reason in {"interrupted", None}:
            self._screen.mark("[interrupted]")
            if reason is not None and not self._heard:
                self._screen.tell(
                    "Nothing was answered, so it is no part of the prompt: /regen answers it, /undo drops it."
                )
        self._screen.blank()

    def _load(self, events: Iterator[OpenEvent]) -> bool:
        """Load a model; False when that was interrupted."""
        opened = False
        for event in self._screen.shown(events, self._name):
            if isinstance(event, Opened):
                opened, self._loaded = True, event.loaded
        return opened

    def _answer(self, events: Generator[ChatEvent, None, None]) -> str | Full | None:
        """Stream the answer; how it ended, None when it did so before it began."""
        reason: str | Full | None = None
        raw = self._talk.settings.value("output") == "raw"
        # Closed at once, whatever happens: what was said so far is recorded then.
        with closing(events), self._screen.writer(raw=raw) as writer:
            for event in self._screen.shown(events, self._name):
                match event:
                    case Token(piece):
                        self._heard = True
                        writer.write(piece)
                    case Thinking(piece):
                        self._heard = True
                        writer.think(piece)
                    case Opened():
                        self._loaded = event.loaded
                    case Full():
                        reason = event
                    case Finished():
                        reason = event.reason
                        writer.end()
                        if self._loaded is not None and (cut := cut_line(event, self._loaded)):
                            self._screen.mark(cut)
        return reason

    def _stoppable(self, work: Callable[[], T]) -> T | None:
        """Do what Ctrl-C stops; None when that took a second press. On a pipe Ctrl-C ends the chat."""
        if not self._screen.interactive:
            return work()
        try:
            with self._lines.hold(), interrupts(self._talk.interrupt, self._give_up, self._lines.last_press) as presses:
                try:
                    return work()
                except EngineError:
                    if not presses.killed:
                        raise
                finally:
                    self._left = presses.leaving
        except KeyboardInterrupt:
            pass
        return None

    def _give_up(self) -> None:
        """End the engine and whatever waits for it."""
        self._talk.kill()
        raise KeyboardInterrupt
