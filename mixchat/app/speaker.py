"""The model that answers in a chat: loaded, asked, and its evaluated state kept.

Knows the engine, how a model wants its prompt and what the KV cache holds; refuses to know turns and commands.
"""

import hashlib
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from mixchat.app.answering import answer, go_on, resumption
from mixchat.app.events import AnswerEvent, Making, Opened, OpenEvent, Thinking
from mixchat.app.house import House
from mixchat.app.opening import Use, open_model
from mixchat.app.paging import Watch
from mixchat.app.prompt import Prompt, Segment, build
from mixchat.app.source import Format, Source, loadable, locate, prompt_format
from mixchat.chat.messages import Control, Message, Text
from mixchat.engine.events import Finished, Prefilling, StateKept, StateKey, StateRestored, Token
from mixchat.store.failures import identity_of
from mixchat.store.settings import Settings

_ID_LETTERS = 16


class Evaluated:
    """What the KV cache holds while a prompt is answered, as far as its events tell.

    Args:
        prompt: All its tokens.
    """

    def __init__(self, prompt: tuple[int, ...]) -> None:
        self._prompt = prompt
        self._done = 0
        self._said: list[int] = []
        self._whole = self._thought = False

    def follow(self, event: AnswerEvent) -> None:
        """Take the next event in."""
        match event:
            case Prefilling(done):
                self._done = done
            case Thinking():
                self._done, self._thought = len(self._prompt), True
            case Token(_, token) if token >= 0:
                self._done = len(self._prompt)
                self._said.append(token)
            case Finished("stop"):
                self._done, self._whole = len(self._prompt), True

    @property
    def tokens(self) -> tuple[int, ...]:
        """Those that are certain: the one that was sampled last is evaluated only when another one followed.

        Of thinking the tokens are not told, and it is no part of the next prompt.
        """
        said = () if self._thought else self._said if self._whole else self._said[:-1]
        return (*self._prompt[: self._done], *said)


class Speaker:
    """One model at a time.

    Args:
        house: The outside.
        force: Load although it may not fit.

    Attributes:
        opened: How the model was loaded; None while there is none.
        source: Its file; None before the first.
        reference: What the person called it.
        identity: A short name of that file, which changes with it; its tokens mean something to it alone.
        evaluated: The tokens that the KV cache holds, as far as this side knows.
    """

    def __init__(self, house: House, *, force: bool = False) -> None:
        self.opened: Opened | None = None
        self.source: Source | None = None
        self.reference = ""
        self.identity = ""
        self.evaluated: tuple[int, ...] = ()
        self._house = house
        self._force = force
        self._stopped = False
        self._form: Format | None = None
        self._watch: Watch | None = None
        self._last: Opened | None = None

    @property
    def alive(self) -> bool:
        """Whether the engine still runs what was loaded."""
        return self._house.engine.alive()

    @property
    def stopped(self) -> bool:
        """Whether it was interrupted since the last `begin`."""
        return self._stopped

    def begin(self) -> None:
        """Forget an interrupt of before."""
        self._stopped = False

    def find(self, reference: str, settings: Settings) -> Generator[Making, None, Source | None]:
        """Find a model's file and see that it can be loaded and chats; None when that was interrupted.

        Raises:
            MixchatError: It cannot; what is loaded stays so.
        """
        for event in locate(self._house, reference, settings):
            if self._stopped:
                return None
            if isinstance(event, Making):
                yield event
            else:
                loadable(event)
                prompt_format(event)
                return event
        return None

    def load(self, reference: str, source: Source, settings: Settings) -> Iterator[OpenEvent]:
        """Load a model where none is loaded; ends with Opened, or without it when that was interrupted.

        Raises:
            MixchatError: Whatever planning and loading it may raise.
        """
        same = self.source is not None and self.source.path == source.path
        before = self._last.plan if self._last and same else None
        if source.entry:
            settings = settings.with_model_defaults(source.entry.sampling)
        for event in open_model(self._house, source, settings, Use(self._force, before)):
            if isinstance(event, Opened):
                self.source, self.opened, self._last, self.reference = source, event, event, reference
                self._form = prompt_format(source)
                self.identity = hashlib.sha256(identity_of(source.path).encode()).hexdigest()[:_ID_LETTERS]
                self._watch = Watch(source, event)
            elif self._stopped:
                return
            yield event

    def unload(self) -> None:
        """Give back what a loaded model occupies."""
        if self.opened is not None:
            self.kill()

    def prompt(self, messages: Sequence[Message], spoken: Mapping[str, tuple[int, ...]]) -> Prompt:
        """The prompt of a conversation in which a person speaks last; see `app.prompt.build`."""
        assert self._form is not None  # noqa: S101 - asked of a loaded model only
        return build(self._house.engine, self._form, messages, spoken)

    def begun(self, prompt: Prompt, answer: str, tokens: tuple[int, ...]) -> Prompt:
        """A prompt with the beginning of its answer, as tokens where those are known.

        Args:
            prompt: In which a person speaks last.
            answer: What was answered so far.
            tokens: As they were sampled; empty: not known.
        """
        assert self._form is not None  # noqa: S101 - asked of a loaded model only
        between = resumption(self._form, prompt)
        segments = [*prompt.segments]
        if between:
            (ids,) = self._house.engine.tokenize((Control(between),), prompt=False)
            segments.append(Segment("template", between, ids))
        segments.append(Segment("assistant", answer, tokens or self.tokens(answer)))
        return replace(prompt, segments=tuple(segments))

    def tokens(self, text: str) -> tuple[int, ...]:
        """The tokens of a text alone."""
        (ids,) = self._house.engine.tokenize((Text(text),), prompt=False)
        return ids

    def answer(self, prompt: Prompt, settings: Settings, *, continued: bool = False) -> Iterator[AnswerEvent]:
        """Stream an answer; `continued`: the prompt ends with its beginning."""
        assert self._form is not None  # noqa: S101 - asked of a loaded model only
        engine = self._house.engine
        events = go_on(engine, prompt, settings) if continued else answer(engine, self._form, prompt, settings)
        held = Evaluated(prompt.tokens)
        try:
            for event in self._watch.over(events) if self._watch else events:
                held.follow(event)
                if self._stopped and not isinstance(event, Token | Finished):
                    engine.interrupt()
                yield event
        finally:
            self.evaluated = held.tokens

    def keep(self, path: Path) -> StateKept:
        """Write the evaluated state to a file.

        Raises:
            OutputError: It could not be written.
            EngineError: The engine fails.
        """
        return self._house.engine.keep_state(str(path), self._key())

    def restore(self, path: Path) -> StateRestored:
        """Go on from a kept state, when it fits the loaded model.

        Raises:
            EngineError: The engine fails.
        """
        return self._house.engine.restore_state(str(path), self._key())

    def _key(self) -> StateKey:
        used = self.opened.plan.experts_used if self.opened else None
        return StateKey(f"{self.identity} {used or 'all as trained'}")

    def interrupt(self) -> None:
        """Stop loading or answering, soon; may be called from a signal handler."""
        self._stopped = True
        self._house.engine.interrupt()

    def lost(self) -> None:
        """The engine died: the next question loads the model again."""
        self.opened = None
        self.evaluated = ()

    def kill(self) -> None:
        """End the engine at once, whatever it does."""
        self.lost()
        self._house.engine.close()
