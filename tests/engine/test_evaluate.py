"""Tokens that the real engine evaluates with no answer to them."""

from pathlib import Path

import pytest

from mixchat.engine.client import WorkerClient
from mixchat.engine.events import GenerateRequest, Prefilling
from mixchat.errors import EngineError, PromptTooLong
from tests.engine.states import KEY, load, story
from tests.engine.steps import GREEDY, greedy, said


def test_what_is_evaluated_is_continued(demo: WorkerClient) -> None:
    tokens = story(demo)
    events = list(demo.evaluate(tokens[:200]))
    assert events[0].done == events[0].cached
    assert events[-1] == Prefilling(200, 200, events[0].cached)
    assert greedy(demo, tokens, 2)[2].usage.cached_tokens == 200


def test_only_new_tokens_are_evaluated_and_others_are_forgotten(demo: WorkerClient, tmp_path: Path) -> None:
    tokens = story(demo)
    list(demo.evaluate(tokens[:120]))
    assert list(demo.evaluate(tokens[:150])) == [Prefilling(120, 150, 120), Prefilling(150, 150, 120)]
    assert list(demo.evaluate(tokens[:90])) == [Prefilling(90, 90, 90)]
    assert demo.keep_state(str(tmp_path / "state"), KEY).tokens == 90


def test_a_kept_prefix_gives_the_answer_that_an_evaluated_one_gives(
    client: WorkerClient, demo_model: Path, tmp_path: Path
) -> None:
    load(client, demo_model, 1024)
    tokens = (*story(client)[:-5], *story(client)[-60:])
    request = GenerateRequest(tokens, GREEDY, 24, own_batch=300)
    at_once = said(client.generate(request))
    assert at_once[2].usage.cached_tokens == 0
    list(client.evaluate(tokens[:300]))
    client.keep_state(str(tmp_path / "state"), KEY)
    load(client, demo_model, 1024)
    assert client.restore_state(str(tmp_path / "state"), KEY).tokens == 300
    restored = said(client.generate(request))
    assert restored[2].usage.cached_tokens == 300
    assert restored[:2] == at_once[:2]


def test_a_part_of_a_prefix_of_its_own_is_not_reused(demo: WorkerClient) -> None:
    tokens = story(demo)
    list(demo.evaluate(tokens[:50]))
    end = said(demo.generate(GenerateRequest(tokens, GREEDY, 1, own_batch=100)))[2]
    assert end.usage.cached_tokens == 0


def test_an_interrupt_leaves_it_unfinished(client: WorkerClient, demo_model: Path) -> None:
    load(client, demo_model, 4096)
    tokens = (story(client) * 12)[:4000]
    events = []
    for event in client.evaluate(tokens):
        events.append(event)
        if 0 < event.done < event.total:
            client.interrupt()
    assert 0 < events[-1].done < 4000
    assert greedy(client, tokens[:600], 1)[2].usage.cached_tokens >= min(events[-1].done, 599)


def test_too_many_tokens_and_none_are_errors(demo: WorkerClient, client: WorkerClient) -> None:
    with pytest.raises(PromptTooLong):
        list(demo.evaluate(story(demo) * 20))
    with pytest.raises(EngineError, match="empty prompt"):
        list(demo.evaluate(()))
    with pytest.raises(EngineError, match="No model"):
        list(client.evaluate((1, 2)))
