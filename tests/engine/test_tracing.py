"""A trace beside a chat: the second context comes and goes, and the chat's own stays as it is."""

import resource
import sys
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from mixchat.engine.client import WorkerClient
from mixchat.engine.events import LoadRequest, Prefilling, TraceRequest
from mixchat.errors import AllocationFailed, EngineError
from mixchat.routing.choices import Choices
from tests.engine.numpy_moe import Shape
from tests.engine.states import story
from tests.engine.steps import chatml, greedy
from tests.engine.traces import by_layer, load, model, traced

MIB = 1 << 20
TEXT = tuple(range(64)) * 4


def test_an_answer_goes_on_as_if_nothing_had_been_traced(demo: WorkerClient) -> None:
    prompt = chatml(demo, "Name three ships.")
    follow = chatml(demo, "And one more.")

    def conversation(trace: bool) -> list[tuple[str, tuple[int, ...]]]:
        greedy(demo, chatml(demo, "Something else."), 1)
        first = greedy(demo, prompt, 12)
        if trace:
            assert len(by_layer(traced(demo, story(demo)))) == 30
        second = greedy(demo, (*prompt, *first[1], *follow), 12)
        assert second[2].usage.cached_tokens >= len(prompt) + 11
        return [first[:2], second[:2]]

    assert conversation(trace=True) == conversation(trace=False)


def test_a_trace_is_the_same_every_time(demo: WorkerClient) -> None:
    tokens = story(demo)
    assert traced(demo, tokens) == traced(demo, tokens)


def test_a_text_longer_than_the_chats_context(client: WorkerClient, tmp_path: Path) -> None:
    load(client, model(tmp_path, Shape()), ubatch=128)
    seen = by_layer(traced(client, TEXT * 3))
    assert {len(experts) for experts, _weights in seen.values()} == {2 * len(TEXT) * 3}


def test_an_interrupt_ends_a_trace_soon(demo: WorkerClient) -> None:
    tokens = (story(demo) * 8)[:2200]
    greedy(demo, tokens[:300], 1)
    events = []
    for event in demo.trace(TraceRequest(tokens)):
        events.append(event)
        if isinstance(event, Prefilling) and event.done == 512:
            demo.interrupt()
    assert events[-1] == Prefilling(512, 2200)
    assert len([event for event in events if isinstance(event, Choices)]) == 30
    assert greedy(demo, tokens[:310], 1)[2].usage.cached_tokens == 300


def test_an_interrupt_before_it_begins(demo: WorkerClient) -> None:
    events = []
    for event in demo.trace(TraceRequest(tuple(story(demo)))):
        events.append(event)
        demo.interrupt()
    assert not any(isinstance(event, Choices) for event in events)


def _work(process: psutil.Process, act: Callable[[], object]) -> float:
    """CPU seconds of a process meanwhile."""
    before = sum(process.cpu_times()[:2])
    act()
    return sum(process.cpu_times()[:2]) - before


def test_a_trace_that_nobody_reads_to_its_end_is_stopped(demo: WorkerClient) -> None:
    tokens = (story(demo) * 8)[:2200]
    assert len(by_layer(traced(demo, tokens[:512]))) == 30
    worker = psutil.Process(demo.pid)
    whole = _work(worker, lambda: traced(demo, tokens[:512]))
    events = demo.trace(TraceRequest(tokens))
    assert next(events) == Prefilling(0, 2200)
    events.close()  # type: ignore[attr-defined]
    rest = _work(worker, lambda: traced(demo, tokens[:10]))
    assert rest < 2 * whole, "of the 2200 tokens one batch of 512 at most was evaluated"


def test_the_second_context_is_given_back(client: WorkerClient, tmp_path: Path) -> None:
    load(client, model(tmp_path, Shape()))
    tokens = TEXT * 2
    for _ in range(10):
        traced(client, tokens)
    process = psutil.Process(client.pid)
    before = process.memory_info().rss
    for _ in range(20):
        traced(client, tokens)
    assert process.memory_info().rss - before < 4 * MIB


def test_what_cannot_be_traced(client: WorkerClient, tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="No model is loaded"):
        list(client.trace(TraceRequest((1, 2))))
    path = model(tmp_path, Shape())
    load(client, path)
    list(client.load(LoadRequest(str(path), vocab_only=True)))
    with pytest.raises(EngineError, match="No model is loaded"):
        list(client.trace(TraceRequest((1, 2))))
    load(client, path)
    with pytest.raises(EngineError, match="nothing to trace"):
        list(client.trace(TraceRequest(())))
    with pytest.raises(EngineError, match="cannot evaluate the text"):
        list(client.trace(TraceRequest((1, 100_000))))
    assert by_layer(traced(client, (1, 2)))


@pytest.mark.skipif(sys.platform != "linux", reason="limits another process")
@pytest.mark.parametrize(("tokens", "ubatch"), [(1 << 20, 512), (8192, 8192)], ids=["kv", "compute"])
def test_a_trace_without_room_leaves_the_chat_alone(client: WorkerClient, tiny: Path, tokens: int, ubatch: int) -> None:
    """Of the tiny model a token takes 1 KiB of KV cache."""
    load(client, tiny, context=256, ubatch=ubatch)
    assert client.pid is not None
    limit = psutil.Process(client.pid).memory_info().vms + 30 * MIB
    resource.prlimit(client.pid, resource.RLIMIT_AS, (limit, resource.RLIM_INFINITY))
    with pytest.raises(AllocationFailed, match="RAM has no room for the trace's second context") as caught:
        list(client.trace(TraceRequest((1,) * tokens)))
    assert caught.value.device == "CPU"
    assert "shorter text" in caught.value.hint
    resource.prlimit(client.pid, resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    assert list(client.evaluate((1, 2, 3)))[-1] == Prefilling(3, 3)
    assert len(by_layer(traced(client, (1, 2, 3)))) == 2
