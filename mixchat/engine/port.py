"""What the rest of mixchat may ask of an engine.

Knows the questions and their answers; refuses to know whether a child process, a resident model or another machine
answers.
"""

from collections.abc import Iterator, Sequence
from typing import Protocol

from mixchat.chat.messages import Message, Piece
from mixchat.engine.events import (
    DeviceInfo,
    GenerateEvent,
    GenerateRequest,
    Loaded,
    Loading,
    LoadRequest,
    StateKept,
    StateKey,
    StateRestored,
)


class Engine(Protocol):
    """A place where one model at a time is loaded and run.

    Every method may raise EngineDied; the next call starts a new engine, without a model.
    """

    def devices(self, rpc: Sequence[str] = ()) -> tuple[DeviceInfo, ...]:
        """What llama.cpp can compute on here, and on RPC servers.

        A server's devices have names of their own (`RPC0`, `RPC1`, ...), which hold until the engine dies; a load that
        names one needs this question before it.

        Args:
            rpc: Servers as HOST:PORT.

        Raises:
            UsageError: One is not written so.
            EngineError: One does not answer within 3 seconds, or this build of llama.cpp has no RPC.
        """

    def load(self, request: LoadRequest) -> Iterator[Loading | Loaded]:
        """Load a model in the place of the one before; ends with `Loaded`, or without it after `interrupt`.

        Raises:
            BadModel: llama.cpp refuses the file.
            AllocationFailed: A device has no room for its part.
            EngineError: It loads but cannot run, or there is no device of a name.
        """

    def tokenize(self, pieces: Sequence[Piece], *, prompt: bool) -> tuple[tuple[int, ...], ...]:
        """Token ids, one tuple for each piece; `prompt` adds BOS where the vocabulary wants it."""

    def render(self, template: str, messages: Sequence[Message], bos: str, eos: str) -> str:
        """Render a model's own chat template.

        Raises:
            BadTemplate: It fails, hangs or grows without end.
        """

    def generate(self, request: GenerateRequest) -> Iterator[GenerateEvent]:
        """Continue a prompt; ends with `Finished`, whose reason is "interrupted" after `interrupt`.

        Raises:
            PromptTooLong: The prompt leaves no room for an answer.
        """

    def keep_state(self, path: str, key: StateKey) -> StateKept:
        """Write what is evaluated (the KV cache and its tokens) to a file of ours, private, whole or not at all.

        Raises:
            OutputError: It could not be written.
            EngineError: No model is loaded.
        """

    def restore_state(self, path: str, key: StateKey) -> StateRestored:
        """Put a kept state in the place of what is evaluated, when it is whole, ours and fits what is loaded.

        A file that is missing, damaged or of anything else is not an error: nothing is evaluated then.

        Raises:
            EngineError: No model is loaded.
        """

    def alive(self) -> bool:
        """Whether it still runs what was loaded; False before anything was asked."""

    def interrupt(self) -> bool:
        """Stop what runs, soon; may be called from a signal handler. False when nothing runs."""

    def close(self) -> None:
        """End the engine, at once, whatever it does, and forget its log."""

    def log(self) -> str:
        """llama.cpp's whole log so far, not cleaned for a terminal."""
