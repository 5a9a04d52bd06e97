"""A conversation: what `mixchat chat` does.

Knows what a person can do with a dialogue, and that all of it is recorded; refuses to know keys and screens.
"""

from collections.abc import Generator, Iterator

from mixchat.app.chat_model import ChatModel
from mixchat.app.chat_settings import RELOADING, check_change, check_room_for, loaded_with
from mixchat.app.context_use import ContextUse
from mixchat.app.events import AnswerEvent, ChatEvent, Notice, Opened, OpenEvent, Traced, Tracing
from mixchat.app.house import House
from mixchat.app.prompt import Prompt
from mixchat.app.recording import Log, Recorder
from mixchat.app.rewinding import Rewinding
from mixchat.app.speaker import Speaker
from mixchat.app.taking_up import opening_records
from mixchat.app.talking import Request, Talking
from mixchat.app.tracing import check_routers, check_trace, trace_turn
from mixchat.chat.checkpoints import Kind
from mixchat.chat.journal import (
    Dialogue,
    Named,
    SystemSet,
    ValueSet,
)
from mixchat.chat.messages import Turn
from mixchat.chat.transcript import Transcript
from mixchat.engine.events import Finished
from mixchat.errors import EngineDied, UsageError
from mixchat.store.sessions import Unsaved
from mixchat.store.settings import Overflow, Settings


class Conversation:
    """One chat; the engine may die and is started again.

    Args:
        house: The outside.
        settings: How to load and sample.
        model: A model reference; None: the one that the log ends with, else the settings'.
        log: Keeps what happens; nothing is kept without one.
        force: Load although it may not fit.

    Attributes:
        last: The end of the last answer.
        totals: The ends of all answers since the chat was opened.
        told: What there is to know about the log.
        context: What the model's context is used for.
        past: Changes what was said.
    """

    def __init__(
        self, house: House, settings: Settings, model: str | None, log: Log | None = None, *, force: bool = False
    ) -> None:
        self.last: Finished | None = None
        self.totals: list[Finished] = []
        self._house = house
        self._base = settings
        self._speaker = Speaker(house, force=force)
        self._begin(Recorder(Unsaved()))
        self.told = self.take_up(log or Unsaved(), model)

    @property
    def dialogue(self) -> Dialogue:
        """What was said and set."""
        return self._recorder.dialogue

    @property
    def transcript(self) -> Transcript:
        """What was said and still counts."""
        return self.dialogue.transcript

    @property
    def session(self) -> str:
        """The id of the session; empty when nothing is kept."""
        return self._recorder.log.id

    @property
    def opened(self) -> Opened | None:
        """How the model was loaded; None while there is none."""
        return self._speaker.opened

    @property
    def reloads(self) -> bool:
        """Whether the next message loads the model again."""
        return self._model.reload and self.opened is not None

    @property
    def settings(self) -> Settings:
        """What is in force: what was set in the chat, then what the command was given, then the model's own."""
        source = self._speaker.source
        defaults = source.entry.sampling if source and source.entry else {}
        return self._base.with_model_defaults(defaults).with_chat(self.dialogue.values)

    def begin_again(self, log: Log) -> tuple[Notice, ...]:
        """Begin a new chat with the model, the system text and the settings of this one."""
        before, reload = self.dialogue, self._model.reload
        notices = self.take_up(log, before.model)
        system = () if before.transcript.system == self.transcript.system else (SystemSet(before.transcript.system),)
        self._recorder.prepare(*system, *(ValueSet(key, text) for key, text in before.values.items()))
        self._model.reload = reload
        return notices

    def take_up(self, log: Log, model: str | None = None) -> tuple[Notice, ...]:
        """Go on with a log, new or old; what the command was given counts more than what the log says."""
        notices = list(self.keep())
        wanted, reload = loaded_with(self.settings), self._model.reload
        self._recorder.log.close()
        recorder = self._begin(Recorder(log))
        for item in opening_records(recorder.dialogue, self._base, model, fresh=not log.records):
            if isinstance(item, Notice):
                notices.append(item)
            else:
                recorder.prepare(item)
        self._model.reload = reload or loaded_with(self.settings) != wanted
        return tuple(notices)

    def _begin(self, recorder: Recorder) -> Recorder:
        self._recorder = recorder
        self._talking = Talking(self._speaker, recorder)
        self._model = ChatModel(self._house, self._speaker, recorder, self._talking)
        self.context = ContextUse(self._speaker, recorder, self._talking)
        self.past = Rewinding(recorder)
        return recorder

    def open(self) -> Iterator[OpenEvent]:
        """Load the model; ends with Opened, or without it when that was interrupted.

        Raises:
            MixchatError: Whatever finding and loading it may raise.
        """
        self._speaker.begin()
        yield from self._model.open(self.dialogue.model, self.settings)

    def say(
        self, text: str, *, after: int | None = None, overflow: Overflow | None = None
    ) -> Generator[ChatEvent, None, None]:
        """Say something and stream the answer; the model is loaded again if it is not there.

        The turn is kept when the answer ends, also when it is cut short. When the prompt does not fit the context, what
        `overflow` or the setting of that name says is done; asking means that the iterator ends with Full.

        Args:
            text: The person's words.
            after: How many turns stay; later ones are given up when the answer ends. None: all.
            overflow: What to do when the context is full; None leaves it to the setting.

        Raises:
            EngineDied: The transcript is as before; saying it again loads the model again.
            PromptTooLong: The text exceeds the context by itself, or the choice was to stop.
        """
        turns = len(self.transcript.turns)
        after = turns if after is None else after
        yield from self._speak(Turn(text, ""), after, overflow, "edited" if after < turns else None)

    def regenerate(self, *, overflow: Overflow | None = None) -> Generator[ChatEvent, None, None]:
        """Answer the last message again; the prompt is evaluated already.

        Raises:
            UsageError: Nothing was said yet.
            EngineDied: As `say`.
        """
        last = self._last_turn()
        settings = self.settings
        fixed = settings.value("temperature") == 0 or settings.value("seed") is not None
        if fixed and self.opened is not None and not self.context.to_evaluate():
            yield Notice("With temperature 0 or a seed the answer is the same again; /set changes them.")
        given_up: Kind | None = "regenerated" if last.assistant.strip() else None
        yield from self._speak(Turn(last.user, ""), len(self.transcript.turns) - 1, overflow, given_up)

    def go_on(self, *, overflow: Overflow | None = None) -> Generator[ChatEvent, None, None]:
        """Continue the last answer where it ends.

        Raises:
            UsageError: There is no answer.
            EngineDied: As `say`.
        """
        last, before = self._last_turn(), self.last
        if not last.assistant.strip():
            raise UsageError("The last message has no answer that could go on.", "/regen answers it.")
        yield from self._speak(last, len(self.transcript.turns) - 1, overflow)
        done = self.last
        if done is not None and done is not before and not done.usage.completion_tokens and done.reason == "stop":
            yield Notice("The model has nothing to add.")

    def set_system(self, text: str) -> tuple[Notice, ...]:
        """Change the system text."""
        return self._recorder.record(SystemSet(text))

    def set_value(self, key: str, text: str) -> tuple[Notice, ...]:
        """Change a setting; an empty text takes that back.

        Raises:
            UsageError: It is no setting of a chat, or the value is wrong.
            DoesNotFit: The model would not fit this machine with it.
        """
        check_change(self._base, key, text)
        if key in RELOADING and text and self.opened is not None:
            check_room_for(self.opened, self.settings.with_chat({key: text}))
        self._model.reload |= key in RELOADING
        return self._recorder.record(ValueSet(key, text))

    def name_it(self, name: str) -> tuple[Notice, ...]:
        """Give the session a name."""
        return self._recorder.record(Named(name))

    def use_model(self, reference: str) -> Iterator[OpenEvent]:
        """Load another model; when that fails or is interrupted, the next message loads the one before.

        Raises:
            MixchatError: As `open`; the model of before stays loaded when the other one is not there or no model.
        """
        self._speaker.begin()
        yield from self._model.open(reference, self.settings)

    def history(self) -> Prompt | None:
        """The conversation as the model sees it, its last answer included; None when nothing is there or loaded."""
        return self._talking.history()

    def trace(self) -> Iterator[Tracing | Traced]:
        """Which experts the routers chose for the last turn; it is evaluated again, beside the chat's own context.

        Raises:
            UsageError: Nothing was answered yet by a model that is loaded, or it has no routers.
            DoesNotFit: There is no room for that.
            EngineError: The engine fails.
        """
        opened, prompt = self.opened, self.history()
        if opened is None or prompt is None:
            raise UsageError("There is no turn to trace yet.", "Say something first.")
        check_routers(opened.name, opened.model)
        check_trace(self._house, self.settings, opened, len(prompt.tokens))
        self._speaker.begin()
        try:
            yield from trace_turn(self._house, opened, prompt)
        except EngineDied:
            self._speaker.lost()
            raise

    def keep(self) -> tuple[Notice, ...]:
        """Keep the evaluated state, so that the session resumes at once; for when a chat ends."""
        return self._model.keep(self.settings)

    def close(self) -> None:
        """Let go of the session; the engine is the house's."""
        self._recorder.log.close()

    def interrupt(self) -> None:
        """Stop loading or answering, soon; may be called from a signal handler."""
        self._speaker.interrupt()

    def kill(self) -> None:
        """Stop at once, whatever happens inside; the next `say` loads the model again."""
        self._speaker.kill()

    def _speak(
        self, turn: Turn, after: int, overflow: Overflow | None, given_up: Kind | None = None
    ) -> Generator[ChatEvent, None, None]:
        self._speaker.begin()
        try:
            if not (yield from self._model.ready(self.settings)):
                return
            policy = overflow or self.settings.value("overflow")
            request = Request(turn, after, self.settings)
            if policy == "enlarge" and not (yield from self._model.enlarge(request)):
                return
            prompt = yield from self._talking.fitted(request, policy)
            if prompt is not None:
                if given_up is not None:
                    self.past.mark(given_up)
                yield from self._counted(self._talking.answer(request, prompt))
        except EngineDied:
            self._speaker.lost()
            raise

    def _counted(self, events: Iterator[AnswerEvent]) -> Iterator[AnswerEvent]:
        for event in events:
            if isinstance(event, Finished):
                self.last = event
                self.totals.append(event)
            yield event

    def _last_turn(self) -> Turn:
        if not self.transcript.turns:
            raise UsageError("Nothing was said yet.", "Say something first.")
        return self.transcript.turns[-1]
