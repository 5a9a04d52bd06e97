"""Small steps that several engine tests take."""

from collections.abc import Iterable
from pathlib import Path

from mixchat.chat.messages import Control, Text
from mixchat.engine.client import WorkerClient
from mixchat.engine.events import Finished, GenerateEvent, GenerateRequest, LoadRequest, Sampling, Token
from mixchat.plan.values import Plan

GREEDY = Sampling(temperature=0)


def by_plan(path: Path, plan: Plan) -> LoadRequest:
    """Load a model as a plan says, into private memory, so that llama.cpp's log has all its buffers."""
    return LoadRequest(
        str(path),
        context=plan.context,
        devices=plan.devices,
        n_gpu_layers=plan.n_gpu_layers,
        tensor_split=plan.tensor_split,
        overrides=plan.overrides,
        kv_type=plan.kv_type,
        ubatch=plan.ubatch,
        threads=2,
        load_mode="copy",
        read_ahead=False,
    )


def chatml(client: WorkerClient, user: str) -> tuple[int, ...]:
    """The demo's prompt for one user message."""
    pieces = (Control("<|im_start|>user\n"), Text(user), Control("<|im_end|>\n<|im_start|>assistant\n"))
    return tuple(token for ids in client.tokenize(pieces, prompt=True) for token in ids)


def finished(events: Iterable[GenerateEvent]) -> Finished:
    """The last of an answer's events."""
    *_others, last = events
    assert isinstance(last, Finished)
    return last


def said(events: Iterable[GenerateEvent]) -> tuple[str, tuple[int, ...], Finished]:
    """An answer's text, its sampled tokens and its end."""
    every = list(events)
    tokens = [event for event in every if isinstance(event, Token)]
    text = "".join(token.text for token in tokens)
    return text, tuple(token.id for token in tokens if token.id >= 0), finished(every)


def greedy(client: WorkerClient, tokens: tuple[int, ...], count: int) -> tuple[str, tuple[int, ...], Finished]:
    """The likeliest continuation."""
    return said(client.generate(GenerateRequest(tokens, GREEDY, count)))
