"""The worker's client: what can be asked of it, and what it answers.

Knows the questions and the worker's environment; refuses to know what the answers are for, and pipes: `link` does.
llama.cpp ends its process on a bad file, a full card or a CPU fault, and Python cannot catch that; here it is one line.
"""

import signal
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

from mixchat.chat.messages import Message, Piece
from mixchat.engine import protocol
from mixchat.engine.build import build_identity
from mixchat.engine.endpoint import parse_endpoint
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
    Token,
    TraceRequest,
)
from mixchat.engine.link import WorkerLink
from mixchat.engine.tracing import AskTrace, Routed, choices_of
from mixchat.errors import BadTemplate, EngineDied, MixchatError
from mixchat.routing.choices import Choices

_SECRETS: Final = ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HUGGINGFACE_TOKEN", "MIXCHAT_TOKEN")


def worker_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """The environment that llama.cpp's libraries read when they load.

    libgomp spins at its barriers by default, and one busy neighbour then slows decoding 30-fold; a thousand rounds,
    then sleep, keeps the quiet speed and a third of it under load. A value that the user set stays. No secrets go in.
    """
    ours = {name: value for name, value in environ.items() if name not in _SECRETS}
    if not {"GOMP_SPINCOUNT", "OMP_WAIT_POLICY"} & ours.keys():
        ours["GOMP_SPINCOUNT"] = "1000"
    return ours | {"GGML_NO_BACKTRACE": "1", "PYTHONUTF8": "1"}


class WorkerClient(WorkerLink):
    """An Engine in a child process, started at the first request."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        super().__init__(worker_environment(environ))
        self._sequences = 1

    def devices(self, rpc: Sequence[str] = ()) -> tuple[DeviceInfo, ...]:
        """See Engine."""
        wanted = tuple(str(parse_endpoint(server)) for server in rpc)
        self.alive()
        self._servers = tuple(dict.fromkeys((*self._servers, *wanted)))
        answer = self._one(protocol.AskDevices(wanted), "looking for devices")
        assert isinstance(answer, protocol.Devices)  # noqa: S101 - the protocol's promise
        return answer.devices

    def load(self, request: LoadRequest) -> Iterator[Loading | Loaded]:
        """See Engine."""
        self._sequences = request.sequences
        for event in self._ask(protocol.AskLoad(request), "loading the model"):
            if isinstance(event, Loading | Loaded):
                yield event

    def tokenize(self, pieces: Sequence[Piece], *, prompt: bool) -> tuple[tuple[int, ...], ...]:
        """See Engine."""
        answer = self._one(protocol.AskTokens(tuple(pieces), prompt), "tokenizing")
        assert isinstance(answer, protocol.Tokens)  # noqa: S101 - the protocol's promise
        return answer.ids

    def texts(self, ids: Sequence[int]) -> tuple[str, ...]:
        """See Engine."""
        answer = self._one(protocol.AskTexts(tuple(ids)), "reading tokens")
        assert isinstance(answer, protocol.Texts)  # noqa: S101 - the protocol's promise
        return answer.texts

    def render(self, template: str, messages: Sequence[Message], bos: str, eos: str) -> str:
        """See Engine."""
        try:
            answer = self._one(protocol.AskRender(template, tuple(messages), bos, eos), "rendering the template")
        except EngineDied as error:
            if error.signal != signal.SIGALRM:
                raise
            raise BadTemplate(
                "The model's chat template does not come to an end.",
                "Its file is broken or hostile; try another conversion of this model.",
            ) from error
        assert isinstance(answer, protocol.Rendered)  # noqa: S101 - the protocol's promise
        return answer.text

    def check_grammar(self, grammar: str) -> None:
        """See Engine."""
        self._one(protocol.AskGrammar(grammar), "compiling the grammar")

    def generate(self, request: GenerateRequest) -> Iterator[GenerateEvent]:
        """See Engine."""
        for event in self._ask(protocol.AskGenerate(request), "evaluating the prompt"):
            if isinstance(event, Token):
                self._doing = "generating"
            yield event  # type: ignore[misc]  # the worker answers a generate request with these only

    def generate_many(
        self, requests: Iterable[GenerateRequest | None]
    ) -> Iterator[tuple[int, GenerateEvent | MixchatError]]:
        """See Engine."""
        self._doing = "answering the prompts"
        messages = (request and protocol.AskGenerate(request) for request in requests)
        yield from self._many(messages, self._sequences)  # type: ignore[misc]  # the worker answers with these only

    def evaluate(self, tokens: Sequence[int]) -> Iterator[Prefilling]:
        """See Engine."""
        for event in self._ask(protocol.AskEvaluate(tuple(tokens)), "evaluating the prompt"):
            if isinstance(event, Prefilling):
                yield event

    def trace(self, request: TraceRequest) -> Iterator[Prefilling | Choices]:
        """See Engine."""
        for event in self._ask(AskTrace(request), "tracing the experts"):
            if isinstance(event, Routed):
                yield choices_of(event)
            elif isinstance(event, Prefilling):
                yield event

    def keep_state(self, path: str, key: StateKey) -> StateKept:
        """See Engine; an interrupt keeps nothing."""
        answer = self._one(protocol.AskKeepState(path, key, build_identity()), "keeping the evaluated tokens")
        assert isinstance(answer, StateKept)  # noqa: S101 - the protocol's promise
        return answer

    def restore_state(self, path: str, key: StateKey) -> StateRestored:
        """See Engine."""
        answer = self._one(protocol.AskRestoreState(path, key, build_identity()), "restoring evaluated tokens")
        assert isinstance(answer, StateRestored)  # noqa: S101 - the protocol's promise
        return answer

    def probe(self, path: str, *, extra_buffers: bool) -> tuple[float, ...]:
        """Logits of the self test's tiny model, written to `path` when it is not there."""
        answer = self._one(protocol.AskProbe(path, extra_buffers), "testing itself")
        assert isinstance(answer, protocol.Probed)  # noqa: S101 - the protocol's promise
        return answer.logits

    def measure(self, asked: protocol.AskMeasure) -> protocol.Measured:
        """How fast a device computes; takes about a second."""
        answer = self._one(asked, "measuring this machine")
        assert isinstance(answer, protocol.Measured)  # noqa: S101 - the protocol's promise
        return answer
