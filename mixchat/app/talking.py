"""From a person's words to a recorded turn: the prompt, room for it, the answer.

Knows what follows when the context is full and when an answer is cut short; refuses to know how a model is loaded.
"""

from collections.abc import Generator, Iterator
from dataclasses import dataclass, field, replace
from typing import Final

from mixchat.app.answering import check_room
from mixchat.app.events import AnswerEvent, ChatEvent, Full, Notice, Opened, Thinking
from mixchat.app.prompt import Prompt
from mixchat.app.recording import Recorder
from mixchat.app.speaker import Speaker
from mixchat.app.window import SUMMARISE, SUMMARY_TOKENS, Window, enlarged, room_of, window_for
from mixchat.chat.journal import Answered, Asked, Windowed
from mixchat.chat.messages import Turn
from mixchat.chat.transcript import Transcript
from mixchat.engine.events import Finished, Prefilling, Token
from mixchat.errors import EngineDied, PromptTooLong
from mixchat.store.settings import Overflow, Settings

_UNSUMMARISED: Final = "/set overflow drop leaves the oldest turns out without one."


@dataclass(frozen=True, slots=True)
class Request:
    """What is to be answered.

    Attributes:
        turn: The person's words, and the beginning of an answer that goes on.
        after: How many turns stay before it.
        settings: How to sample.
    """

    turn: Turn
    after: int
    settings: Settings


@dataclass(slots=True)
class _Answer:
    """An answer as it comes."""

    text: list[str] = field(default_factory=list)
    thinking: list[str] = field(default_factory=list)
    tokens: list[int] = field(default_factory=list)

    def add(self, event: AnswerEvent) -> None:
        """Take in what is part of it."""
        if isinstance(event, Token):
            self.text.append(event.text)
            self.tokens.append(event.id)
        elif isinstance(event, Thinking):
            self.thinking.append(event.text)

    @property
    def begun(self) -> bool:
        """Whether anything came."""
        return bool(self.text or self.thinking)

    def turn(self, before: Turn, identity: str, *, interrupted: bool) -> Turn:
        """The turn, this answer behind what it had before; tokens only where all of them are the answer's."""
        known = not (self.thinking or before.thinking) and all(token >= 0 for token in self.tokens)
        known &= not before.assistant or (bool(before.tokens) and before.vocabulary == identity)
        return Turn(
            before.user,
            before.assistant + "".join(self.text),
            interrupted,
            before.thinking + "".join(self.thinking),
            (*before.tokens, *self.tokens) if known else (),
            identity if known and (before.tokens or self.tokens) else "",
        )


class Talking:
    """Answers with a model and records the turns.

    Args:
        speaker: The model; it is loaded whenever something is asked here.
        recorder: Keeps what is said.
    """

    def __init__(self, speaker: Speaker, recorder: Recorder) -> None:
        self._speaker = speaker
        self._recorder = recorder

    def prompt(self, transcript: Transcript, turn: Turn) -> Prompt:
        """The prompt that a turn follows, with the answer that it has so far."""
        mine = self._speaker.identity
        spoken = {
            each.assistant: each.tokens for each in transcript.answered if each.tokens and each.vocabulary == mine
        }
        prompt = self._speaker.prompt(transcript.messages(turn.user), spoken)
        if not turn.assistant:
            return prompt
        return self._speaker.begun(prompt, turn.assistant, turn.tokens if turn.vocabulary == mine else ())

    def history(self) -> Prompt | None:
        """The conversation as the model sees it, its last answer included; None when nothing is there or loaded."""
        transcript = self._recorder.dialogue.transcript
        answered = transcript.answered
        if self._speaker.opened is None or not self._speaker.alive or not answered:
            return None
        index = max(at for at, turn in enumerate(transcript.turns) if turn is answered[-1])
        return self.prompt(transcript.kept(index), answered[-1])

    def lacking(self, request: Request) -> int:
        """Tokens of a prompt that the context has no room for; 0 when it fits."""
        opened = self._opened()
        tokens = len(self.prompt(self._until(request), request.turn).tokens)
        return tokens if tokens > room_of(opened.loaded.context) else 0

    def fitted(self, request: Request, policy: Overflow) -> Generator[ChatEvent, None, Prompt | None]:
        """The prompt, turns left out of it where the policy says so; None when nothing is to be answered now.

        Raises:
            PromptTooLong: Nothing that may be done makes it fit.
        """
        opened = self._opened()
        context, limit = opened.loaded.context, opened.model.context_length
        prompt = self.prompt(self._until(request), request.turn)
        window = self._window(request, prompt) if len(prompt.tokens) > room_of(context) else None
        if window is not None:
            if policy in {"stop", "enlarge"}:
                raise PromptTooLong(len(prompt.tokens), room_of(context), _choices(policy))
            if policy == "ask":
                larger = enlarged(opened, request.settings, len(prompt.tokens))
                yield Full(len(prompt.tokens), context, window.turns, window.freed, larger)
                return None
            if not (yield from self._leave_out(request, window, summarise=policy == "summarise")):
                return None
            prompt = self.prompt(self._until(request), request.turn)
        check_room(len(prompt.tokens), context, limit)
        return prompt

    def answer(self, request: Request, prompt: Prompt) -> Iterator[AnswerEvent]:
        """Answer and record the turn, before its Finished comes out."""
        yield from (Notice(notice) for notice in prompt.notices)
        if self._is_new(request):
            yield from self._recorder.record(Asked(request.turn.user), sync=False)
        answer = _Answer()
        finished = False
        try:
            for event in self._speaker.answer(prompt, request.settings, continued=bool(request.turn.assistant)):
                answer.add(event)
                told: tuple[Notice, ...] = ()
                if isinstance(event, Finished):
                    finished = True
                    told = self._keep(request, answer, interrupted=event.reason == "interrupted")
                yield event
                yield from told
        except EngineDied:
            finished = True
            raise
        finally:
            if not finished and answer.begun:
                self._keep(request, answer, interrupted=True)

    def _is_new(self, request: Request) -> bool:
        """Whether the person's words are nowhere in the transcript yet."""
        there = self._recorder.dialogue.transcript.turns[request.after : request.after + 1]
        return all(turn.user != request.turn.user for turn in there)

    def _keep(self, request: Request, answer: _Answer, *, interrupted: bool) -> tuple[Notice, ...]:
        turn = answer.turn(request.turn, self._speaker.identity, interrupted=interrupted)
        return self._recorder.record(Answered(request.after, turn))

    def _window(self, request: Request, prompt: Prompt) -> Window | None:
        """Which turns must go so that the prompt fits, measured on the prompt without them."""
        transcript, context = self._until(request), self._opened().loaded.context
        bare = len(self.prompt(replace(transcript, left_out=len(transcript.turns)), request.turn).tokens)
        rest, smaller = transcript, prompt
        while (left_out := window_for(smaller, bare, rest, context)) is not None:
            rest = replace(rest, left_out=left_out)
            smaller = self.prompt(rest, request.turn)
        if rest is transcript:
            return None
        turns = len(transcript.answered) - len(rest.answered)
        return Window(rest.left_out, turns, len(prompt.tokens) - len(smaller.tokens))

    def _leave_out(self, request: Request, window: Window, *, summarise: bool) -> Generator[ChatEvent, None, bool]:
        """Move the window; False when there is no summary and nothing changed."""
        summary: str | None = self._until(request).summary
        turns = "The oldest turn is" if window.turns == 1 else f"The oldest {window.turns} turns are"
        if summarise:
            yield Notice(f"The context is full: {turns.lower()} being summarised.")
            summary = yield from self._summary(request, window)
            if summary is None:
                return False
        yield from self._recorder.record(Windowed(window.left_out, summary or ""))
        instead = "; a summary stands for them (/show system)" if summarise else ""
        yield Notice(f"{turns} left out of the prompt from here on, {window.freed} tokens{instead}.")
        return True

    def _summary(self, request: Request, window: Window) -> Generator[ChatEvent, None, str | None]:
        """Ask the model for a summary as if it were the next message, so that what is evaluated already serves."""
        settings = request.settings.with_chat({"max_tokens": str(SUMMARY_TOKENS), "temperature": "0"})
        context = self._opened().loaded.context
        transcript = self._until(request)
        prompt = self.prompt(transcript, Turn(SUMMARISE, ""))
        if len(prompt.tokens) + SUMMARY_TOKENS > context:
            prompt = self.prompt(transcript.kept(window.left_out), Turn(SUMMARISE, ""))
        if len(prompt.tokens) >= context:
            raise PromptTooLong(len(prompt.tokens), context - 1, _UNSUMMARISED)
        answer = _Answer()
        for event in self._speaker.answer(prompt, settings):
            answer.add(event)
            if isinstance(event, Prefilling | Notice):
                yield event
            elif isinstance(event, Finished) and event.reason == "interrupted":
                yield Notice("The summary was stopped; nothing has changed.")
                return None
        summary = "".join(answer.text).strip()
        if not summary:
            yield Notice(f"The model wrote no summary; nothing has changed. {_UNSUMMARISED}")
        return summary or None

    def _until(self, request: Request) -> Transcript:
        return self._recorder.dialogue.transcript.kept(request.after)

    def _opened(self) -> Opened:
        assert self._speaker.opened is not None  # noqa: S101 - see the class
        return self._speaker.opened


def _choices(policy: Overflow) -> str:
    if policy == "enlarge":
        return "No larger context fits the model and this machine; /set overflow drop leaves out the oldest turns."
    return "Leave out the oldest turns (/set overflow drop), /undo some, or give more context: --ctx N"
