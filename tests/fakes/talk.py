"""A conversation whose answers are written beforehand."""

import time
from collections.abc import Iterator, Sequence

from mixchat.app.events import ChatEvent, OpenEvent
from mixchat.engine.events import Finished, Timings, Token, Usage
from mixchat.errors import EngineDied, MixchatError

DONE = Finished("stop", Usage(5, 0, 3), Timings())
INTERRUPTED = Finished("interrupted", Usage(5, 0, 1), Timings())
CRASHED = EngineDied("The engine was killed by SIGSEGV.", "Say it again.", signal=11)

Script = Sequence[ChatEvent | MixchatError]


def words(text: str) -> Script:
    """An answer, word by word."""
    return (*(Token(word + " ", 7) for word in text.split()), DONE)


class ScriptedTalk:
    """Says the given answers in turn; `pause` seconds pass before each event, and a deaf one is not interrupted."""

    def __init__(self, *answers: Script, opening: Script = (), pause: float = 0.0, deaf: bool = False) -> None:
        self.said: list[str] = []
        self._opening, self._answers, self._pause, self._deaf = opening, iter(answers), pause, deaf
        self._stopped = self._killed = False

    def open(self) -> Iterator[OpenEvent]:
        yield from (event for event in self._play(self._opening) if isinstance(event, OpenEvent))

    def say(self, text: str) -> Iterator[ChatEvent]:
        self.said.append(text)
        return self._play(next(self._answers))

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
