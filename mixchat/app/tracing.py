"""Which experts the routers choose for texts: what `mixchat experts`, `/experts` and `ask --trace-experts` do.

Knows how texts become pieces of tokens and their choices a report, and that there must be room for the second context;
refuses to know how choices are read and shown. However long the texts are, a piece and the counts are in memory.
"""

from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import Final

from mixchat.app.events import Notice, Opened, OpenEvent, Traced, Tracing
from mixchat.app.house import House
from mixchat.app.machine import machine_of
from mixchat.app.opening import Use, open_model
from mixchat.app.prompt import Prompt
from mixchat.app.source import finding, loadable
from mixchat.chat.messages import Text
from mixchat.engine.events import Prefilling, TraceRequest
from mixchat.engine.port import Engine
from mixchat.errors import DoesNotFit, NotFound, UsageError
from mixchat.gguf.model import MoeModel
from mixchat.plan.memory import CONTEXT_STEP, default_context, round_context
from mixchat.plan.tracing import trace_bytes
from mixchat.plan.units import format_bytes
from mixchat.plan.values import CPU
from mixchat.routing.choices import Choices
from mixchat.routing.classes import token_class
from mixchat.routing.routed_text import RoutedText
from mixchat.routing.tally import Tally
from mixchat.store.settings import Settings

SHOWN: Final = 4096
"""Tokens of a text whose choices are kept one by one, to be shown; all are counted."""
_LETTERS: Final = 3.0
"""Characters of a token, before any was seen."""
_PROBE: Final = "a"
_LEFT: Final = 1 << 28
"""Bytes that must stay free on a device beside the second context."""


@dataclass(frozen=True, slots=True)
class Passage:
    """A text to trace.

    Attributes:
        name: What a person calls it.
        nbytes: How large it is, for the progress.
        read: Gives the text.
    """

    name: str
    nbytes: int
    read: Callable[[], str]


@dataclass(frozen=True, slots=True)
class Inquiry:
    """What to trace.

    Attributes:
        model: A model reference.
        groups: Texts that are counted together, by the name of all of them.
        force: Load the model although it may not fit.
    """

    model: str
    groups: tuple[tuple[str, tuple[Passage, ...]], ...]
    force: bool = False


def trace_texts(
    house: House, settings: Settings, inquiry: Inquiry, stopped: Callable[[], bool] = lambda: False
) -> Iterator[OpenEvent | Tracing | Traced]:
    """Load a model and trace each group; ends after an interrupt, with what was traced until then.

    The model's own context is as small as can be; `--ctx` says how long the pieces are that a text is traced in.

    Args:
        house: Whose engine loads the model.
        settings: Those in force.
        inquiry: What to trace.
        stopped: Whether to end before the next piece; the engine's `interrupt` ends one that runs.

    Raises:
        UsageError: The model has no routers, or there is no text.
        MixchatError: Whatever finding, loading and running the model, and reading the texts, may raise.
    """
    for name, passages in inquiry.groups:
        if not any(passage.nbytes for passage in passages):
            raise _nothing(name)
    source = yield from finding(house, inquiry.model, settings)
    loadable(source)
    check_routers(source.name, source.model)
    size = round_context(settings.value("ctx") or default_context(source.model))
    opened = yield from open_model(house, source, settings, Use(inquiry.force, context=CONTEXT_STEP, trace=size))
    if opened is None:
        return
    for name, passages in inquiry.groups:
        tracer = Tracer(house.engine, opened)
        complete = yield from _group(tracer, _Group(name, passages, size, stopped))
        yield tracer.traced(name, complete=complete)
        if not complete:
            return


def check_routers(name: str, model: MoeModel) -> None:
    """Refuse a model that has no routers.

    Raises:
        UsageError: It is dense.
    """
    if not model.n_experts:
        raise UsageError(f"{name} is a dense model: it has no experts.", "Name a mixture: mixchat list shows them.")


def check_trace(house: House, settings: Settings, opened: Opened, tokens: int) -> None:
    """Refuse a trace that the memory which is free now has no room for.

    Raises:
        DoesNotFit: With the numbers.
    """
    needed = trace_bytes(opened.model, opened.plan, tokens)
    machine = machine_of(house, settings)
    free = {device.name: device.free for device in machine.gpus} | {CPU: machine.ram_available}
    for device, nbytes in needed.items():
        lacks = nbytes + _LEFT - free.get(device, 0)
        if nbytes and lacks > 0:
            what = "RAM" if device == CPU else device
            raise DoesNotFit(
                f"Tracing {tokens} tokens takes {format_bytes(nbytes)} of {what} beside the loaded model, and "
                f"{format_bytes(free.get(device, 0))} are free.",
                what,
                lacks,
                ("Trace a shorter text, or load the model with a smaller context: --ctx N",),
            )


def trace_turn(
    house: House, opened: Opened, prompt: Prompt, answer: Sequence[int] = (), name: str = "the last turn"
) -> Iterator[Tracing | Traced]:
    """Trace a conversation from the person's last words on; ends after an interrupt, with what was traced until then.

    Args:
        house: Whose engine has the model loaded.
        opened: How it was.
        prompt: The conversation.
        answer: What follows it.
        name: What a person calls it.

    Raises:
        EngineError: llama.cpp fails.
    """
    last = max((at for at, segment in enumerate(prompt.segments) if segment.role == "user"), default=0)
    before = sum(len(segment.tokens) for segment in prompt.segments[:last])
    tokens, tracer = (*prompt.tokens, *answer), Tracer(house.engine, opened)
    done = -before
    for done in tracer.trace(tokens, before):
        yield Tracing(name, (before + done) / len(tokens), max(0, done))
    yield tracer.traced(name, complete=before + done == len(tokens))


class Tracer:
    """Counts the choices of one loaded model's routers.

    Args:
        engine: Has it loaded.
        opened: How.

    Attributes:
        lead: The tokens that this model wants in front of a text.
    """

    def __init__(self, engine: Engine, opened: Opened) -> None:
        self._engine = engine
        self._n_experts = opened.model.n_experts
        self._tally = Tally(self._n_experts)
        self._tokens: list[str] = []
        self._shown: dict[int, list[Choices]] = {}
        self._letters = _LETTERS
        (marked,) = engine.tokenize((Text(_PROBE),), prompt=True)
        self.lead = marked[: len(marked) - len(self._tokens_of(_PROBE))]

    def pieces(self, text: str, size: int) -> Iterator[tuple[int, tuple[int, ...]]]:
        """Cut a text where lines or words end; yields each piece's end, in characters, and its tokens.

        Args:
            text: All of it.
            size: The most tokens that a piece may have, with those in front of it.
        """
        start, room = 0, size - len(self.lead)
        while start < len(text):
            end = _cut(text, start, start + max(1, int(room * self._letters)))
            while len(ids := self._tokens_of(text[start:end])) > room:
                end = _cut(text, start, start + max(1, (end - start) * room // len(ids) * 9 // 10))
            if ids:
                self._letters = max(1.0, 0.9 * (end - start) / len(ids))
                yield end, ids
            start = end

    def trace(self, ids: Sequence[int], skip: int = 0) -> Iterator[int]:
        """Trace tokens that are evaluated from the first one; ends after an interrupt.

        Args:
            ids: The tokens.
            skip: So many of the first ones are not counted: what the text is seen behind.

        Yields:
            How many of those that are counted were evaluated; negative while it is those before them.
        """
        texts = self._engine.texts(ids)[skip:]
        classes = [token_class(text) for text in texts]
        done, room = 0, SHOWN - len(self._tokens)
        for event in self._engine.trace(TraceRequest(tuple(ids))):
            if isinstance(event, Prefilling):
                done = event.done
                yield done - skip
            elif (choices := between(event, skip, len(ids))).count:
                self._tally.add(choices, classes[choices.first : choices.first + choices.count])
                if (kept := between(event, skip, skip + room)).count:
                    self._shown.setdefault(choices.layer, []).append(kept)
        self._tokens += texts[: min(room, max(0, done - skip))]
        self._tally.end_piece()

    def traced(self, name: str, *, complete: bool) -> Traced:
        """What was traced so far."""
        layers = tuple(_joined(blocks) for _layer, blocks in sorted(self._shown.items()))
        text = RoutedText(self._n_experts, tuple(self._tokens), layers)
        return Traced(name, text, self._tally.report(), complete)

    def _tokens_of(self, text: str) -> tuple[int, ...]:
        (ids,) = self._engine.tokenize((Text(text),), prompt=False)
        return ids


def between(choices: Choices, start: int, end: int) -> Choices:
    """The choices for a text's tokens from `start` to before `end`; positions count from `start`."""
    first = max(start, choices.first)
    cut = slice((first - choices.first) * choices.used, max(0, end - choices.first) * choices.used)
    return replace(choices, first=first - start, experts=choices.experts[cut], weights=choices.weights[cut])


def _joined(blocks: Sequence[Choices]) -> Choices:
    experts = tuple(chain.from_iterable(block.experts for block in blocks))
    weights = tuple(chain.from_iterable(block.weights for block in blocks))
    return Choices(blocks[0].layer, 0, blocks[0].used, experts, weights)


@dataclass(frozen=True, slots=True)
class _Group:
    """Texts that are counted together, tokens of a piece of them, and whether to end before the next piece."""

    name: str
    passages: Sequence[Passage]
    size: int
    stopped: Callable[[], bool]


def _group(tracer: Tracer, group: _Group) -> Generator[Tracing | Notice, None, bool]:
    """Trace texts that belong together, in pieces; whether it went to the end."""
    total, before, tokens = sum(passage.nbytes for passage in group.passages) or 1, 0, 0
    for passage in group.passages:
        try:
            text = passage.read()
        except (UsageError, NotFound) as error:
            yield Notice(f"{error.message.removesuffix('.')}; it is left out.")
            text = ""
        start = 0
        for end, ids in tracer.pieces(text, group.size):
            done = 0
            for done in () if group.stopped() else tracer.trace((*tracer.lead, *ids), len(tracer.lead)):
                at = start + (end - start) * max(0, done) / len(ids)
                yield Tracing(group.name, (before + passage.nbytes * at / len(text)) / total, tokens + max(0, done))
            if done < len(ids):
                return False
            start, tokens = end, tokens + len(ids)
        before += passage.nbytes
    if not tokens:
        raise _nothing(group.name)
    return True


def _nothing(name: str) -> UsageError:
    return UsageError(f"There is no text to trace in {name}.", "Give a prompt, pipe text into it, or name files.")


def _cut(text: str, start: int, end: int) -> int:
    """Where a piece that may go to `end` ends: behind a line in its second half, before its last word, or there."""
    if end >= len(text):
        return len(text)
    line = text.rfind("\n", (start + end) // 2, end) + 1
    return line or max(text.rfind(" ", start + 1, end), 0) or end
