"""A scripted engine: a token per character, another one when it is sampled, and one per markup; it dies on command."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from mixchat.chat.messages import Control, Message, Piece
from mixchat.chat.prefix import common_prefix
from mixchat.engine.events import (
    DeviceInfo,
    Finished,
    GenerateEvent,
    GenerateRequest,
    Loaded,
    Loading,
    LoadRequest,
    Prefilling,
    StateKept,
    StateKey,
    StateRestored,
    Timings,
    Token,
    TraceRequest,
    Usage,
)
from mixchat.errors import EngineDied, EngineError, MixchatError, UsageError
from mixchat.plan.memory import round_context
from mixchat.routing.choices import Choices

SAMPLED = 1_000_000
MARKUP = 2_000_000
CPU = DeviceInfo("CPU", "A processor", "cpu", 8 << 30, 16 << 30)
REMOTE = DeviceInfo("RPC0", "127.0.0.1:50052", "gpu", 8 << 30, 16 << 30, remote=True, backend="RPC")

Render = Callable[[Sequence[Message]], str]
Route = Callable[[int, int], tuple[tuple[int, ...], tuple[float, ...]]]


def chatml(messages: Sequence[Message]) -> str:
    """The template of many models, the demo among them."""
    turns = "".join(f"<|im_start|>{message.role}\n{message.text}<|im_end|>\n" for message in messages)
    return f"{turns}<|im_start|>assistant\n"


def by_token(layer: int, token: int) -> tuple[tuple[int, ...], tuple[float, ...]]:
    """Two of four experts, by the token's id and the layer; the first with three quarters of the weight."""
    return ((token + layer) % 4, (token + layer + 1) % 4), (0.75, 0.25)


class FakeEngine:
    """An Engine without a process.

    Attributes:
        dies_at: `devices`, `load`, `tokenize`, `render`, `prefill`, `decode` or `trace`: raises EngineDied there, once.
        on_step: Called at each of those with its name, before anything else.
        loads: The requests it got; `generations`, `evaluations`, `tokenized` and `rendered` likewise.
        servers: The RPC servers of each question for devices; each answers with a device like REMOTE.
        closed: How often it was closed.
        kept: Evaluated states by path; another engine may be given them.
        traces: The requests for traces.
        route: Which experts a layer chooses for a token, and their weights, of `routers`, the layers that have one.
    """

    def __init__(
        self, *replies: str, template: Render = chatml, devices: tuple[DeviceInfo, ...] = (CPU,), dies_at: str = ""
    ) -> None:
        self.dies_at = dies_at
        self.on_step: Callable[[str], object] = lambda _step: None
        self.loads: list[LoadRequest] = []
        self.generations: list[GenerateRequest] = []
        self.evaluations: list[tuple[int, ...]] = []
        self.tokenized: list[tuple[Piece, ...]] = []
        self.rendered: list[tuple[Message, ...]] = []
        self.servers: list[tuple[str, ...]] = []
        self.closed = 0
        self.kept: dict[str, tuple[StateKey, tuple[int, ...]]] = {}
        self.traces: list[TraceRequest] = []
        self.route: Route = by_token
        self.routers: tuple[int, ...] = (0, 1)
        self._replies = iter(replies)
        self._template = template
        self._devices = devices
        self._markup: list[str] = []
        self._held: tuple[int, ...] = ()
        self._model: LoadRequest | None = None
        self._running = self._stopped = False

    def devices(self, rpc: Sequence[str] = ()) -> tuple[DeviceInfo, ...]:
        self._step("devices")
        self.servers.append(tuple(rpc))
        remote = (replace(REMOTE, name=f"RPC{i}", description=server) for i, server in enumerate(rpc))
        return (*self._devices, *remote)

    def load(self, request: LoadRequest) -> Iterator[Loading | Loaded]:
        self.loads.append(request)
        self._running, self._stopped, self._model, self._held = True, False, None, ()
        for fraction in (0.0, 0.5, 1.0):
            self._step("load")
            if self._stopped:
                return
            yield Loading(fraction)
        self._running, self._model = False, request
        yield Loaded(0 if request.vocab_only else round_context(request.context), (), 12.0)

    def tokenize(self, pieces: Sequence[Piece], *, prompt: bool) -> tuple[tuple[int, ...], ...]:
        self._step("tokenize")
        self._need_model()
        if prompt:
            self.tokenized.append(tuple(pieces))
        return tuple(self._ids(piece) for piece in pieces)

    def texts(self, ids: Sequence[int]) -> tuple[str, ...]:
        return tuple(map(self._text, ids))

    def render(self, template: str, messages: Sequence[Message], bos: str, eos: str) -> str:  # noqa: ARG002
        self._step("render")
        self.rendered.append(tuple(messages))
        return self._template(messages)

    def check_grammar(self, grammar: str) -> None:
        self._need_model()
        if "root" not in grammar:
            raise UsageError("The grammar has no root.", "Correct it.")

    def generate(self, request: GenerateRequest) -> Iterator[GenerateEvent]:
        self.generations.append(request)
        assert not self._need_model().vocab_only
        self._running, self._stopped = True, False
        total, limit = len(request.tokens), len(request.tokens) - 1
        room = round_context(self._need_model().context) - total
        assert room > 0
        most = min(request.max_tokens or room + 1, room + 1)
        cached = min(common_prefix(self._held, request.tokens), limit)
        self._step("prefill")
        yield Prefilling(cached, total, cached)
        said: list[int] = []
        reason = "interrupted"
        try:
            for character in next(self._replies)[:most]:
                self._step("decode")
                if self._stopped:
                    break
                said.append(SAMPLED + ord(character))
                yield Token(character, said[-1])
            reason = "interrupted" if self._stopped else "length" if len(said) == most else "stop"
        finally:
            self._running = False
            done = total if said or reason == "stop" else cached
            self._held = (*request.tokens[:done], *(said if reason == "stop" else said[:-1]))
        yield Finished(reason, Usage(total, cached, len(said)), Timings(ttft_ms=1.0))  # type: ignore[arg-type]

    def generate_many(
        self, requests: Iterable[GenerateRequest | None]
    ) -> Iterator[tuple[int, GenerateEvent | MixchatError]]:
        """One after the other."""
        for index, request in enumerate(each for each in requests if each is not None):
            try:
                for event in self.generate(request):
                    yield index, event
            except MixchatError as error:
                yield index, error
            if self._stopped:
                return

    def evaluate(self, tokens: Sequence[int]) -> Iterator[Prefilling]:
        self.evaluations.append(tuple(tokens))
        self._need_model()
        self._running, self._stopped = True, False
        cached = common_prefix(self._held, tokens)
        self._held = tuple(tokens[:cached])
        try:
            self._step("evaluate")
            yield Prefilling(cached, len(tokens), cached)
            if cached < len(tokens) and not self._stopped:
                self._held = tuple(tokens)
                yield Prefilling(len(tokens), len(tokens), cached)
        finally:
            self._running = False

    def trace(self, request: TraceRequest) -> Iterator[Prefilling | Choices]:
        """Four tokens at a time."""
        self.traces.append(request)
        self._need_model()
        self._running, self._stopped = True, False
        total = len(request.tokens)
        try:
            yield Prefilling(0, total)
            for first in range(0, total, 4):
                self._step("trace")
                if self._stopped:
                    return
                tokens = request.tokens[first : first + 4]
                for layer in (each for each in self.routers if request.layers is None or each in request.layers):
                    yield self._choices(layer, first, tokens)
                yield Prefilling(first + len(tokens), total)
        finally:
            self._running = False

    def keep_state(self, path: str, key: StateKey) -> StateKept:
        self._step("keep")
        self._need_model()
        self.kept[path] = (key, self._held)
        return StateKept(len(self._held), 8 * len(self._held))

    def restore_state(self, path: str, key: StateKey) -> StateRestored:
        self._step("restore")
        self._need_model()
        known, held = self.kept.get(path, (None, ()))
        self._held = ()
        if known != key:
            return StateRestored(0, "It was kept for another model." if known else "There is no kept state.")
        self._held = held
        return StateRestored(len(held))

    def prompt(self, index: int = -1) -> str:
        """The text of a prompt that it was asked to continue, answers included."""
        return "".join(map(self._text, self.generations[index].tokens))

    def alive(self) -> bool:
        return self._model is not None

    def interrupt(self) -> bool:
        self._stopped = True
        return self._running

    def close(self) -> None:
        self.closed += 1
        self._model = None

    def log(self) -> str:
        return ""

    def _choices(self, layer: int, first: int, tokens: Sequence[int]) -> Choices:
        rows = [self.route(layer, token) for token in tokens]
        experts = tuple(expert for row, _weights in rows for expert in row)
        return Choices(layer, first, len(rows[0][0]), experts, tuple(weight for _row, each in rows for weight in each))

    def _ids(self, piece: Piece) -> tuple[int, ...]:
        if not isinstance(piece, Control):
            return tuple(map(ord, piece.text))
        if piece.name not in self._markup:
            self._markup.append(piece.name)
        return (MARKUP + self._markup.index(piece.name),)

    def _text(self, token: int) -> str:
        return self._markup[token - MARKUP] if token >= MARKUP else chr(token % SAMPLED)

    def _need_model(self) -> LoadRequest:
        if self._model is None:
            raise EngineError("No model is loaded.", "Load one first.")
        return self._model

    def _step(self, name: str) -> None:
        self.on_step(name)
        if self.dies_at == name:
            self.dies_at = ""
            self._running, self._model = False, None
            raise EngineDied(f"The engine was killed by SIGSEGV at {name}.", "Say it again.", 11)


class KeepingEngine(FakeEngine):
    """A scripted engine whose states are files, too."""

    def keep_state(self, path: str, key: StateKey) -> StateKept:
        kept = super().keep_state(path, key)
        Path(path).write_bytes(bytes(1024 * kept.tokens))
        return kept
