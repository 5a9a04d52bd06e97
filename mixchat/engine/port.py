"""What the rest of mixchat may ask of an engine.

Knows the questions and their answers; refuses to know whether a child process, a resident model or another machine
answers.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Protocol

from mixchat.chat.messages import Message, Piece
from mixchat.engine.events import (
    DeviceInfo,
    GenerateEvent,
    GenerateRequest,
    Loaded,
    Loading,
    LoadRequest,
    Prefilling,
    StateKept,
    StateKey,
    StateRestored,
    TraceRequest,
)
from mixchat.errors import MixchatError
from mixchat.routing.choices import Choices


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

    def texts(self, ids: Sequence[int]) -> tuple[str, ...]:
        """The text of each of consecutive tokens, control tokens by their names.

        Joined they are the text; a character of several tokens is the last one's, and what is none becomes U+FFFD.
        """

    def render(self, template: str, messages: Sequence[Message], bos: str, eos: str) -> str:
        """Render a model's own chat template.

        Raises:
            BadTemplate: It fails, hangs or grows without end.
        """

    def check_grammar(self, grammar: str) -> None:
        """See whether a grammar can be compiled; the vocabulary alone is enough for that.

        Raises:
            UsageError: It cannot; the message says why.
        """

    def generate(self, request: GenerateRequest) -> Iterator[GenerateEvent]:
        """Continue a prompt; ends with `Finished`, whose reason is "interrupted" after `interrupt`.

        Raises:
            PromptTooLong: The prompt leaves no room for an answer.
        """

    def generate_many(
        self, requests: Iterable[GenerateRequest | None]
    ) -> Iterator[tuple[int, GenerateEvent | MixchatError]]:
        """Continue several prompts at once, as many as the loaded context has sequences; each event with its index.

        Requests are taken only when there is a sequence for them, so they may be made while the answers to others
        arrive, and have no end; `tokenize` may be asked meanwhile. None says that there is none yet: it is asked for
        again once something has arrived, or at once when nothing runs.

        Each ends with `Finished`, or with an error, which ends no other. What its prompt has in common with others is
        evaluated once. After `interrupt` those that run end with the reason "interrupted", and no other begins.

        A request with a seed runs alone, since the rounding depends on what shares a batch; a greedy one does not, and
        its text may differ from that of a run on its own.
        """

    def evaluate(self, tokens: Sequence[int]) -> Iterator[Prefilling]:
        """Evaluate tokens, in the first sequence and with no answer, so that they can be kept or continued.

        Ends with all done, or before it after `interrupt`.

        Raises:
            PromptTooLong: They leave no room for an answer.
        """

    def trace(self, request: TraceRequest) -> Iterator[Prefilling | Choices]:
        """What the routers choose: evaluates tokens in a second context, made and freed by this call.

        Each batch gives its choices, layer after layer, then its progress. Ends with all done, or before it after
        `interrupt`. What is loaded stays as it is, and so does what is evaluated.

        Raises:
            AllocationFailed: A device has no room for the second context.
            EngineError: No model is loaded, or there are no tokens.
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
