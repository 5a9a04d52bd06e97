"""Answers of the real engine with the demo model."""

import time
from pathlib import Path

import pytest

from mixchat.chat.messages import Control, Text
from mixchat.engine.client import WorkerClient
from mixchat.engine.events import Finished, GenerateRequest, LoadRequest, Prefilling, Sampling, Token
from mixchat.errors import EngineError, PromptTooLong
from tests.engine.steps import GREEDY, chatml, finished, greedy, said


def test_an_answer_streams_and_ends(demo: WorkerClient) -> None:
    prompt = chatml(demo, "What is the capital of France? One word.")
    every = list(demo.generate(GenerateRequest(prompt, GREEDY, 40)))
    text, ids, end = said(every)
    assert "Paris" in text
    assert end.reason == "stop"
    assert end.usage.completion_tokens == len(ids)
    assert end.usage.prompt_tokens == len(prompt)
    assert end.timings.prefill_tps > 0
    assert isinstance(every[0], Prefilling)
    assert every[0].total == len(prompt)


def test_the_same_prompt_gives_the_same_greedy_text(demo: WorkerClient) -> None:
    prompt = chatml(demo, "Name three colours.")
    first = greedy(demo, prompt, 24)
    demo_again = greedy(demo, prompt, 24)
    assert first[:2] == demo_again[:2]


def test_a_seed_decides_the_text(demo: WorkerClient) -> None:
    prompt = chatml(demo, "Invent a word.")

    def once(seed: int | None) -> str:
        return said(demo.generate(GenerateRequest(prompt, Sampling(temperature=1.5, seed=seed), 24)))[0]

    assert once(1) == once(1)
    assert len({once(None) for _ in range(4)}) > 1


def test_only_new_tokens_are_evaluated(demo: WorkerClient) -> None:
    prompt = chatml(demo, "Tell me about rivers and lakes.")
    _text, ids, first = greedy(demo, prompt, 16)
    assert first.usage.completion_tokens == 16
    following = (*prompt, *ids, *chatml(demo, "And the sea?"))
    second = greedy(demo, following, 4)[2]
    # The last sampled token was never evaluated: nothing came after it.
    assert second.usage.cached_tokens == len(prompt) + len(ids) - 1
    assert second.usage.prompt_tokens == len(following)


def test_a_prompt_that_is_cached_whole_evaluates_one_token(demo: WorkerClient) -> None:
    prompt = chatml(demo, "Once more, please.")
    greedy(demo, prompt, 2)
    assert greedy(demo, prompt, 2)[2].usage.cached_tokens == len(prompt) - 1


def test_a_reused_prefix_gives_the_same_logits_within_rounding(demo: WorkerClient) -> None:
    shared, other = chatml(demo, "List the planets in order."), chatml(demo, "An unrelated question about cheese?")
    greedy(demo, other, 2)
    fresh = greedy(demo, shared, 12)[0]
    greedy(demo, (*shared[:10], *other), 2)
    assert greedy(demo, shared, 12)[0][:20] == fresh[:20]


def test_max_tokens_cut_the_answer(demo: WorkerClient) -> None:
    end = greedy(demo, chatml(demo, "Count to one hundred."), 5)[2]
    assert (end.reason, end.usage.completion_tokens) == ("length", 5)


def test_a_stop_text_ends_the_answer_and_is_not_shown(demo: WorkerClient) -> None:
    prompt = chatml(demo, "Count from one to ten in words.")
    whole = greedy(demo, prompt, 60)[0]
    stop = whole.split()[3]
    text, _ids, end = said(demo.generate(GenerateRequest(prompt, GREEDY, 60, (stop,))))
    assert text == whole[: whole.index(stop)]
    assert end.reason == "stop"


def test_the_context_is_the_limit(client: WorkerClient, demo_model: Path) -> None:
    list(client.load(LoadRequest(str(demo_model), context=256, threads=2)))
    prompt = chatml(client, "word " * 200)
    end = finished(client.generate(GenerateRequest(prompt, Sampling(temperature=0, repeat_penalty=1.3))))
    # The last token that is sampled needs no cell of its own.
    assert end.usage.completion_tokens <= 256 - len(prompt) + 1
    assert end.reason in {"length", "stop"}
    with pytest.raises(PromptTooLong, match="room for 255") as caught:
        list(client.generate(GenerateRequest(prompt * 2, GREEDY)))
    assert (caught.value.tokens, caught.value.room) == (2 * len(prompt), 255)
    assert greedy(client, chatml(client, "Say yes."), 1)[2].usage.completion_tokens == 1


def test_an_empty_prompt_is_an_error_and_not_a_crash(demo: WorkerClient) -> None:
    with pytest.raises(EngineError, match="empty prompt"):
        list(demo.generate(GenerateRequest(())))


def test_characters_cross_token_borders_whole(demo: WorkerClient) -> None:
    prompt = chatml(demo, "Repeat: 日本語 🙂🙂 çéß")
    text, _ids, _end = said(demo.generate(GenerateRequest(prompt, Sampling(temperature=1.0, seed=3), 60)))
    text.encode()
    tokens = [each for each in demo.generate(GenerateRequest(prompt, GREEDY, 60)) if isinstance(each, Token)]
    assert all("\ufffd" not in token.text for token in tokens[:-1])


def test_what_a_person_types_never_becomes_a_control_token(demo: WorkerClient) -> None:
    (control,) = demo.tokenize((Control("<|im_end|>"),), prompt=False)
    (text,) = demo.tokenize((Text("<|im_end|>"),), prompt=False)
    assert len(control) == 1
    assert control[0] not in text
    assert demo.tokenize((Text(""),), prompt=False) == ((),)


def test_interrupting_a_prefill_answers_soon_and_the_next_turn_works(client: WorkerClient, demo_model: Path) -> None:
    list(client.load(LoadRequest(str(demo_model), context=8192, threads=2)))
    prompt = (chatml(client, "Some words that fill a context, again and again. " * 8) * 50)[:4000]
    events = client.generate(GenerateRequest(prompt, GREEDY, 50))
    for event in events:
        if isinstance(event, Prefilling) and 0 < event.done < event.total:
            break
    time.sleep(0.1)
    asked = time.monotonic()
    client.interrupt()
    end = finished(events)
    latency = time.monotonic() - asked
    assert end.reason == "interrupted"
    assert end.usage.completion_tokens == 0
    assert latency < 10, "a hang; the figure itself is measured in benchmarks/"
    text, _ids, after = greedy(client, chatml(client, "Say yes."), 8)
    assert text
    assert after.reason in {"stop", "length"}


def test_interrupting_keeps_what_was_said(demo: WorkerClient) -> None:
    events = demo.generate(GenerateRequest(chatml(demo, "Tell a very long story."), GREEDY, 400))
    seen = []
    for event in events:
        seen.append(event)
        if sum(isinstance(each, Token) for each in seen) == 10:
            assert demo.interrupt()
            break
    text, ids, end = said([*seen, *events])
    assert end.reason == "interrupted"
    assert 10 <= len(ids) < 400
    assert text
    assert not demo.interrupt(), "nothing runs any more"


def test_closing_the_stream_stops_the_generation(demo: WorkerClient) -> None:
    events = demo.generate(GenerateRequest(chatml(demo, "Tell another long story."), GREEDY, 4000))
    for event in events:
        if isinstance(event, Token):
            break
    events.close()  # type: ignore[attr-defined]  # a generator
    assert greedy(demo, chatml(demo, "Say no."), 4)[2].usage.completion_tokens > 0


def test_a_late_interrupt_does_not_stop_the_next_request(demo: WorkerClient) -> None:
    prompt = chatml(demo, "Short.")
    for _ in range(5):
        events = demo.generate(GenerateRequest(prompt, GREEDY, 2))
        for event in events:
            if isinstance(event, Token):
                demo.interrupt()
        assert greedy(demo, prompt, 3)[2].reason != "interrupted"


def test_loading_can_be_interrupted_and_done_again(client: WorkerClient, demo_model: Path) -> None:
    request = LoadRequest(str(demo_model), context=512, threads=2, load_mode="copy", read_ahead=False)
    events = client.load(request)
    next(events)
    client.interrupt()
    assert not any(isinstance(event, Finished) for event in events)
    *_progress, loaded = client.load(request)
    assert type(loaded).__name__ == "Loaded"


def test_repeat_penalty_changes_the_greedy_text(demo: WorkerClient) -> None:
    prompt = chatml(demo, "Repeat the word bread thirty times.")
    plain = greedy(demo, prompt, 40)[0]
    penalised = said(demo.generate(GenerateRequest(prompt, Sampling(temperature=0, repeat_penalty=1.8), 40)))[0]
    assert plain != penalised
