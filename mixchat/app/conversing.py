"""A conversation: what `mixchat chat` does.

Knows the transcript, what the model really sampled and which turns still fit; refuses to know keys and screens.
"""

from collections.abc import Iterator
from typing import Final

from mixchat.app.answering import answer, check_room
from mixchat.app.events import AnswerEvent, ChatEvent, Making, Notice, Opened, OpenEvent
from mixchat.app.house import House
from mixchat.app.opening import open_model
from mixchat.app.paging import Watch
from mixchat.app.prompt import Prompt, build
from mixchat.app.source import Format, Source, locate, prompt_format
from mixchat.chat.messages import Turn
from mixchat.chat.transcript import Transcript
from mixchat.chat.window import fit
from mixchat.engine.events import Finished, Token
from mixchat.errors import EngineDied
from mixchat.store.settings import Settings

_ANSWER_SHARE: Final = 4
_ANSWER_TOKENS: Final = 1024


class Conversation:
    """One chat with one model; the engine may die and is started again.

    Args:
        house: The outside.
        settings: How to load and sample.
        model: A model reference.
        force: Load although it may not fit.
    """

    def __init__(self, house: House, settings: Settings, model: str, *, force: bool = False) -> None:
        self.transcript = Transcript(settings.value("system") or "")
        self._house = house
        self._settings = settings
        self._reference = model
        self._force = force
        self._stopped = False
        self._form: Format | None = None
        self._opened: Opened | None = None
        self._watch: Watch | None = None
        self._last: Opened | None = None
        self._spoken: dict[str, tuple[int, ...]] = {}

    def open(self) -> Iterator[OpenEvent]:
        """Load the model; ends with Opened, or without it when that was interrupted.

        Raises:
            MixchatError: Whatever finding and loading it may raise.
        """
        self._stopped = False
        for event in locate(self._house, self._reference, self._settings):
            if self._stopped:
                return
            if isinstance(event, Making):
                yield event
            else:
                yield from self._open(event)

    def say(self, text: str) -> Iterator[ChatEvent]:
        """Say something and stream the answer; the model is loaded again if it is not there.

        The turn is kept when the answer ends, also when it is cut short. Oldest turns that no longer fit the context
        are left out of the prompt, and a Notice says how many.

        Raises:
            EngineDied: The transcript is as before; saying it again loads the model again.
            PromptTooLong: The text exceeds the context by itself.
        """
        self._stopped = False
        if self._opened is None:
            yield from self.open()
        if self._opened is None or self._form is None:
            return
        try:
            if not self._house.engine.alive():
                yield Notice("The engine has died since the last answer; it is started again.")
                yield from self.open()
            yield from self._answer(self._opened, self._form, text)
        except EngineDied:
            self._opened = None
            raise

    def interrupt(self) -> None:
        """Stop loading or answering, soon; may be called from a signal handler."""
        self._stopped = True
        self._house.engine.interrupt()

    def kill(self) -> None:
        """Stop at once, whatever happens inside; the next `say` loads the model again."""
        self._opened = None
        self._house.engine.close()

    def _open(self, source: Source) -> Iterator[OpenEvent]:
        if source.entry is not None:
            self._settings = self._settings.with_model_defaults(source.entry.sampling)
        self._form = prompt_format(source)
        before = self._last.plan if self._last else None
        for event in open_model(self._house, source, self._settings, force=self._force, before=before):
            if isinstance(event, Opened):
                self._opened = self._last = event
                self._watch = Watch(source, event)
            elif self._stopped:
                return
            yield event

    def _answer(self, opened: Opened, form: Format, text: str) -> Iterator[AnswerEvent]:
        prompt, left_out = self._prompt(opened, form, text)
        yield from (Notice(notice) for notice in prompt.notices)
        if left_out:
            turns = "turn is" if left_out == 1 else f"{left_out} turns are"
            yield Notice(f"The context is full: the oldest {turns} left out of the prompt.")
        said: list[Token] = []
        try:
            events = answer(self._house.engine, form, prompt, self._settings, ())
            for event in self._watch.over(events) if self._watch else events:
                if isinstance(event, Token):
                    said.append(event)
                elif isinstance(event, Finished):
                    self._keep(text, said, interrupted=event.reason == "interrupted")
                    said = []
                elif self._stopped:
                    self._house.engine.interrupt()
                yield event
        except EngineDied:
            said = []
            raise
        finally:
            if said:
                self._keep(text, said, interrupted=True)

    def _keep(self, text: str, said: list[Token], *, interrupted: bool) -> None:
        reply = "".join(token.text for token in said)
        if all(token.id >= 0 for token in said):
            self._spoken[reply] = tuple(token.id for token in said)
        self.transcript = self.transcript.with_turn(Turn(text, reply, interrupted))

    def _prompt(self, opened: Opened, form: Format, text: str) -> tuple[Prompt, int]:
        """The prompt for `text`, and how many of the oldest answered turns it leaves out."""
        whole = self._build(form, text, 0)
        context = opened.loaded.context
        room = context - min(_ANSWER_TOKENS, context // _ANSWER_SHARE)
        if len(whole.tokens) <= room or not self.transcript.answered:
            check_room(len(whole.tokens), context, opened.model.context_length)
            return whole, 0
        turns = self._turn_tokens(whole)
        fixed = len(whole.tokens) - sum(turns)
        left_out = fit(turns, fixed, room if fixed <= room else context - 1)
        return self._build(form, text, left_out), left_out

    def _build(self, form: Format, text: str, left_out: int) -> Prompt:
        answered = self.transcript.answered[left_out:]
        messages = Transcript(self.transcript.system, answered).messages(text)
        return build(self._house.engine, form, messages, self._spoken)

    def _turn_tokens(self, prompt: Prompt) -> list[int]:
        """Tokens of each answered turn's own texts, the oldest first; nothing known about a prompt in one piece."""
        sizes = [len(segment.tokens) for segment in prompt.segments if segment.role in {"user", "assistant"}]
        turns = len(self.transcript.answered)
        if len(sizes) != 2 * turns + 1:
            return [len(prompt.tokens) // (turns + 1)] * turns
        return [sizes[2 * index] + sizes[2 * index + 1] for index in range(turns)]
