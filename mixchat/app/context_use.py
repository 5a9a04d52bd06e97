"""What the context of a chat is used for.

Knows how many tokens are evaluated, would be and are there; refuses to change any of that.
"""

from typing import TYPE_CHECKING

from mixchat.app.recording import Recorder
from mixchat.app.speaker import Speaker
from mixchat.app.talking import Talking
from mixchat.errors import EngineError

if TYPE_CHECKING:
    from mixchat.app.events import Opened
    from mixchat.chat.transcript import Transcript


class ContextUse:
    """The context of one session's conversation.

    Args:
        speaker: The model.
        recorder: The session.
        talking: Tells what the session's prompt is.
    """

    def __init__(self, speaker: Speaker, recorder: Recorder, talking: Talking) -> None:
        self._speaker = speaker
        self._recorder = recorder
        self._talking = talking
        self._measured: tuple[Transcript, Opened | None, int] | None = None

    @property
    def used(self) -> int:
        """Tokens that the conversation takes; 0 while nobody knows."""
        transcript, opened = self._recorder.dialogue.transcript, self._speaker.opened
        if self._measured is None or self._measured[0] is not transcript or self._measured[1] is not opened:
            try:
                history = self._talking.history()
            except EngineError:
                return 0
            self._measured = (transcript, opened, len(history.tokens) if history else 0)
        return self._measured[2]

    @property
    def state_bytes(self) -> int:
        """Bytes of KV cache that are evaluated, about."""
        opened = self._speaker.opened
        if opened is None:
            return 0
        cache = sum(share.footprint.kv for share in opened.plan.shares)
        return cache * len(self._speaker.evaluated) // opened.plan.context

    def to_evaluate(self) -> int:
        """Tokens of the conversation so far that the next message makes the engine evaluate again."""
        history, evaluated = self._talking.history(), self._speaker.evaluated
        tokens = history.tokens if history else ()
        pairs = enumerate(zip(tokens, evaluated, strict=False))
        return len(tokens) - next((i for i, (a, b) in pairs if a != b), min(len(tokens), len(evaluated)))

    def count(self, text: str) -> int | None:
        """Tokens of a text; None while no model is loaded."""
        loaded = self._speaker.opened is not None and self._speaker.alive
        return len(self._speaker.tokens(text)) if loaded else None
