"""A conversation whose answers are written beforehand."""

import time
from collections.abc import Generator, Iterator, Sequence
from pathlib import Path

from mixchat.app.conversing import Conversation
from mixchat.app.events import ChatEvent, OpenEvent
from mixchat.app.house import House
from mixchat.chat.journal import Answered
from mixchat.chat.messages import Turn
from mixchat.engine.events import Finished, Timings, Token, Usage
from mixchat.errors import EngineDied, MixchatError
from mixchat.models.registry import load_registry
from mixchat.store.places import Places
from mixchat.store.proofs import Proof
from mixchat.store.settings import Overflow, resolve
from tests.fakes.engine import FakeEngine

DONE = Finished("stop", Usage(5, 0, 3), Timings())
INTERRUPTED = Finished("interrupted", Usage(5, 0, 1), Timings())
CRASHED = EngineDied("The engine was killed by SIGSEGV.", "Say it again.", signal=11)
NOWHERE = Path("/nowhere")
EMPTY_HOUSE = House(
    Places(*(NOWHERE / name for name in ("config", "data", "cache", "state", "models"))),
    load_registry(),
    FakeEngine(),
    lambda: (Proof(extra_buffers=False, reason=""), False),
)

Script = Sequence[ChatEvent | MixchatError]


def words(text: str) -> Script:
    """An answer, word by word."""
    return (*(Token(word + " ", 7) for word in text.split()), DONE)


class ScriptedTalk(Conversation):
    """Says the given answers in turn; `pause` seconds pass before each event, and a deaf one is not interrupted."""

    def __init__(
        self, *answers: Script, opening: Script = (), pause: float = 0.0, deaf: bool = False, output: str = "raw"
    ) -> None:
        super().__init__(EMPTY_HOUSE, resolve({"output": output}, {}, None, NOWHERE), "mixtral")
        self.said: list[str] = []
        self._opening, self._answers, self._pause, self._deaf = opening, iter(answers), pause, deaf
        self._stopped = self._killed = False

    def open(self) -> Iterator[OpenEvent]:
        yield from (event for event in self._play(self._opening) if isinstance(event, OpenEvent))

    def say(
        self,
        text: str,
        *,
        after: int | None = None,
        overflow: Overflow | None = None,  # noqa: ARG002 - as a conversation has it
    ) -> Generator[ChatEvent, None, None]:
        self.said.append(text)
        answer = []
        for event in self._play(next(self._answers)):
            answer += [event.text] if isinstance(event, Token) else []
            if isinstance(event, Finished):
                turns = len(self.transcript.turns) if after is None else after
                self._recorder.record(Answered(turns, Turn(text, "".join(answer))))
            yield event

    def interrupt(self) -> None:
        self._stopped = not self._deaf

    def kill(self) -> None:
        self._killed = True

    def _play(self, script: Script) -> Iterator[ChatEvent]:
        self._stopped = self._killed = False
        for event in script:
            time.sleep(self._pause)
            if self._killed or isinstance(event, MixchatError):
                raise event if isinstance(event, MixchatError) else CRASHED
            if self._stopped:
                yield INTERRUPTED
                return
            yield event
