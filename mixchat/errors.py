"""The tree of expected errors, and the exit codes they become.

MixchatError
├── UsageError             2   the command line or its input is wrong
├── DoesNotFit             3   the model needs more memory than there is
├── NetworkError           4   download, network or hub; or offline
│   └── Transient              the same request may work later
├── BadModel               5   the model file is bad or unsupported
│   ├── NotGguf                its first bytes are not GGUF's
│   ├── UnsupportedVersion     a GGUF version that mixchat does not read
│   ├── TruncatedHeader        more bytes are needed to finish the header
│   ├── BadHeader              the header contradicts itself or a limit
│   └── BadTemplate            its chat template fails, hangs or grows without end
├── EngineError            6   llama.cpp said no
│   ├── EngineDied             the worker process ended by itself
│   └── AllocationFailed       a device had no room for a buffer
├── PromptTooLong          7   the prompt exceeds the context
├── AnswerCut              8   the answer was cut at the most tokens
├── BadAnswer              9   the answer is not what was asked for
├── NotFound              10   no such model, file or optional part
│   └── NotPulled              a model that is not on this machine and can be fetched
├── SomeFailed            11   some items of a batch failed
├── OutputError           12   stdout or a file of ours could not be written
└── InUse                 13   another process holds it

It knows what can go wrong and what to do next; it refuses to know where in the program that happens.
Exit code 1 belongs to bugs, so no class here has it.
"""

from typing import ClassVar


class MixchatError(Exception):
    """An error that a user can understand and act upon.

    Attributes:
        message: One line: the cause.
        hint: One line: the command to run or the thing to do next.
        exit_code: What the process returns.
    """

    exit_code: ClassVar[int]

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class UsageError(MixchatError):
    """The command line or its input is wrong."""

    exit_code = 2


class DoesNotFit(MixchatError):
    """The model needs more memory than there is.

    Attributes:
        what: The memory that is too small ("RAM", a device's name).
        short_by: Missing bytes.
        remedies: What would make it fit, best first.
    """

    exit_code = 3

    def __init__(self, message: str, what: str, short_by: int, remedies: tuple[str, ...]) -> None:
        super().__init__(message, remedies[0] if remedies else "Use a smaller model.")
        self.what = what
        self.short_by = short_by
        self.remedies = remedies


class NetworkError(MixchatError):
    """The network or the hub did not give what was asked, or mixchat is to stay offline."""

    exit_code = 4


class Transient(NetworkError):
    """The same request may work later.

    Attributes:
        retry_after: Seconds that the other side asked to wait; None when it did not.
    """

    def __init__(self, message: str, hint: str, retry_after: float | None = None) -> None:
        super().__init__(message, hint)
        self.retry_after = retry_after


class BadModel(MixchatError):
    """The model file is bad or unsupported."""

    exit_code = 5


class NotGguf(BadModel):
    """The first bytes are not GGUF's."""


class UnsupportedVersion(BadModel):
    """A GGUF version that mixchat does not read."""


class TruncatedHeader(BadModel):
    """The header goes on after the given bytes.

    Attributes:
        have: Bytes that were given.
        need: Bytes that are needed at the least before parsing can go on.
    """

    def __init__(self, have: int, need: int) -> None:
        super().__init__(
            f"The header is cut off: {have} bytes are there and it needs at least {need}.",
            "Fetch the file again.",
        )
        self.have = have
        self.need = need


class BadHeader(BadModel):
    """The header contradicts itself or exceeds a limit."""


class BadTemplate(BadModel):
    """The file's chat template fails, hangs or grows without end."""


class EngineError(MixchatError):
    """llama.cpp could not do what was asked."""

    exit_code = 6


class EngineDied(EngineError):
    """The worker process ended by itself.

    Attributes:
        signal: The signal that killed it; 0 when it was none.
    """

    def __init__(self, message: str, hint: str, signal: int = 0) -> None:
        super().__init__(message, hint)
        self.signal = signal


class AllocationFailed(EngineError):
    """A device had no room for a buffer of weights, KV cache or computation.

    Attributes:
        device: llama.cpp's name of it, `CPU` for RAM; empty when it does not tell.
    """

    def __init__(self, message: str, hint: str, device: str = "") -> None:
        super().__init__(message, hint)
        self.device = device


class PromptTooLong(MixchatError):
    """The prompt exceeds the context.

    Attributes:
        tokens: Length of the prompt.
        room: Tokens that the context has for it.
        about: The length is an estimate from a part of the prompt.
    """

    exit_code = 7

    def __init__(self, tokens: int, room: int, hint: str, *, about: bool = False) -> None:
        count = f"about {tokens}" if about else str(tokens)
        super().__init__(f"The prompt has {count} tokens and the context has room for {room}.", hint)
        self.tokens = tokens
        self.room = room


class AnswerCut(MixchatError):
    """The answer was cut at the most tokens, and that was to count as a failure."""

    exit_code = 8


class BadAnswer(MixchatError):
    """The answer is not what was asked for: no code block is in it, or it does not satisfy the schema."""

    exit_code = 9


class NotFound(MixchatError):
    """No such model, file or optional part."""

    exit_code = 10


class NotPulled(NotFound):
    """A model that is not on this machine and can be fetched."""


class SomeFailed(MixchatError):
    """Some items of a batch failed; each was told by itself."""

    exit_code = 11


class OutputError(MixchatError):
    """stdout or a file of ours could not be written."""

    exit_code = 12


class InUse(MixchatError):
    """Another process holds what is needed."""

    exit_code = 13
