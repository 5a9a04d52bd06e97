"""The model of a chat: loaded when it is needed, and its evaluated state between two loads and two sessions.

Knows when the model must be loaded again and when its KV cache can be kept and restored; refuses to know what is said.
"""

from collections.abc import Generator, Iterator
from contextlib import suppress
from typing import Final

from mixchat.app.events import Notice, Opened, OpenEvent
from mixchat.app.house import House
from mixchat.app.recording import Recorder
from mixchat.app.speaker import Speaker
from mixchat.app.talking import Request, Talking
from mixchat.app.window import enlarged
from mixchat.chat.journal import ModelChosen, ValueSet
from mixchat.errors import EngineDied, EngineError, InUse, OutputError
from mixchat.store.settings import Settings
from mixchat.store.snapshots import mark_used, prune, remove_snapshot, snapshot_path

LEAST_KEPT: Final = 128
"""Tokens below which evaluating again is as quick as reading a kept state."""


class ChatModel:
    """The model that one session's records ask for.

    Args:
        house: The outside.
        speaker: What is loaded, perhaps for another session.
        recorder: The session.
        talking: Tells what the session's prompt is.

    Attributes:
        reload: The model is to be loaded in another way; the next message does it.
    """

    def __init__(self, house: House, speaker: Speaker, recorder: Recorder, talking: Talking) -> None:
        self.reload = False
        self._house = house
        self._speaker = speaker
        self._recorder = recorder
        self._talking = talking
        self._restored = False
        self._kept: tuple[int, ...] = ()

    def ready(self, settings: Settings) -> Generator[OpenEvent, None, bool]:
        """Make sure that the right model is loaded; False when that was interrupted."""
        speaker = self._speaker
        died = speaker.opened is not None and not speaker.alive
        if died:
            yield Notice("The engine has died since the last answer; it is started again.")
        wished = self._recorder.dialogue.model
        if died or self.reload or speaker.opened is None or speaker.reference != wished:
            yield from self.open(wished, settings)
        elif not self._restored:
            yield from self._restore()
        return speaker.opened is not None and not speaker.stopped

    def open(self, reference: str, settings: Settings) -> Iterator[OpenEvent]:
        """Load a model in the place of the one before, whose evaluated state is kept.

        Raises:
            MixchatError: Whatever finding and loading it may raise; a model that is not there leaves the other one.
        """
        speaker = self._speaker
        source = yield from speaker.find(reference, settings)
        if source is None:
            return
        yield from self.keep(settings)
        # What the loaded model occupies is free for the next one.
        speaker.unload()
        for event in speaker.load(reference, source, settings):
            if isinstance(event, Opened):
                self.reload = False
                if reference != self._recorder.dialogue.model:
                    yield from self._recorder.record(ModelChosen(reference))
                yield from self._restore()
            yield event

    def enlarge(self, request: Request) -> Generator[OpenEvent, None, bool]:
        """Load the model again with more context when a prompt needs it; False when that was interrupted."""
        tokens, opened, settings = self._talking.lacking(request), self._speaker.opened, request.settings
        larger = enlarged(opened, settings, tokens) if tokens and opened else None
        if larger is None:
            return True
        yield Notice(f"The context grows to {larger.context} tokens: {larger.effect}.")
        change = ValueSet("ctx", str(larger.context))
        yield from self.open(self._recorder.dialogue.model, settings.with_chat({change.key: change.text}))
        if self._speaker.opened is None:
            return False
        yield from self._recorder.record(change)
        return True

    def keep(self, settings: Settings) -> tuple[Notice, ...]:
        """Keep the evaluated state with the session that it is of, within the budget for all of them."""
        speaker, session = self._speaker, self._recorder.log.id
        budget = settings.value("snapshots")
        mine = self._restored and bool(self._recorder.dialogue.transcript.answered)
        worth = mine and len(speaker.evaluated) >= LEAST_KEPT and self._recorder.kept and budget > 0
        if not worth or speaker.evaluated == self._kept or speaker.opened is None or not speaker.alive:
            return ()
        try:
            speaker.keep(snapshot_path(self._house.places, session, make_folder=True))
            prune(self._house.places, budget, session)
            self._kept = speaker.evaluated
        except (OutputError, EngineError, InUse) as error:
            return (Notice(f"The evaluated chat is not kept: {error.message} Resuming evaluates it again."),)
        return ()

    def _restore(self) -> Iterator[Notice]:
        """Go on from the state that was kept, if there is one."""
        self._restored = True
        session = self._recorder.log.id
        if not session or not self._recorder.dialogue.transcript.answered:
            return
        places = self._house.places
        try:
            restored = self._speaker.restore(snapshot_path(places, session))
        except EngineDied:
            # What kills the engine once may do so every time.
            with suppress(OutputError):
                remove_snapshot(places, session)
            raise
        if restored.tokens:
            mark_used(places, session)
        history = self._talking.history()
        self._kept = self._speaker.evaluated = history.tokens[: restored.tokens] if history else ()
        if history and not restored.tokens and len(history.tokens) >= LEAST_KEPT:
            yield Notice(f"The {len(history.tokens)} tokens of this chat are evaluated again: {restored.reason}")
