"""Several sequences in one context of the real engine."""

import os
from collections.abc import Iterable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from mixchat.engine.client import WorkerClient
from mixchat.engine.events import Finished, GenerateEvent, GenerateRequest, LoadRequest, Prefilling, Sampling, Token
from mixchat.errors import EngineError, MixchatError, PromptTooLong
from tests.engine.states import KEY, load
from tests.engine.steps import GREEDY, chatml, greedy, said
from tests.mistral_vocab import write_tiny_mixtral

SLOTS = 3
CLERK = "You are a clerk who sorts letters. Say nothing but the name of the box that the letter belongs to. " * 3
QUESTIONS = ("The invoice is wrong.", "Hello!", "My parcel has not come, and I have waited for two weeks now.", "Stop.")
Many = Iterable[tuple[int, GenerateEvent | MixchatError]]


@pytest.fixture(scope="module")
def many(demo_model: Path) -> Iterator[WorkerClient]:
    """A worker with the demo model loaded for several sequences."""
    with closing(WorkerClient(os.environ)) as started:
        list(started.load(LoadRequest(str(demo_model), context=1024, threads=2, sequences=SLOTS)))
        yield started


@pytest.fixture(scope="module")
def random_mixtral(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_mixtral(tmp_path_factory.mktemp("mixtral") / "mixtral.gguf")


def beginning(prompts: list[tuple[int, ...]]) -> tuple[int, ...]:
    """What all begin with."""
    alike = (len(set(tokens)) == 1 for tokens in zip(*prompts, strict=False))
    return prompts[0][: next(index for index, same in enumerate(alike) if not same)]


def sorted_out(events: Many) -> dict[int, list[GenerateEvent]]:
    """The events of each request; none of them failed."""
    found: dict[int, list[GenerateEvent]] = {}
    for index, event in events:
        assert not isinstance(event, MixchatError), event
        found.setdefault(index, []).append(event)
    return found


def test_all_at_once_give_what_each_gives_alone(many: WorkerClient) -> None:
    prompts = [chatml(many, question) for question in QUESTIONS]
    together = sorted_out(many.generate_many([GenerateRequest(prompt, GREEDY, 12) for prompt in prompts]))
    for index, prompt in enumerate(prompts):
        _text, ids, end = said(together[index])
        assert end.usage.prompt_tokens == len(prompt)
        # Another batch rounds differently, which may turn a close decision later on.
        assert ids[0] == greedy(many, prompt, 1)[1][0]


def test_answers_stay_apart_in_a_random_model(client: WorkerClient, random_mixtral: Path) -> None:
    """Random weights in F32: what leaks from one sequence to another changes the tokens at once."""
    load(client, random_mixtral, sequences=4)
    prompts = [tuple((7919 * i + 104729 * j * j) % 30000 + 300 for j in range(3 + 5 * i)) for i in range(7)]
    together = sorted_out(client.generate_many([GenerateRequest(prompt, GREEDY, 8) for prompt in prompts]))
    load(client, random_mixtral)
    assert {i: said(events)[1] for i, events in together.items()} == {
        i: greedy(client, prompt, 8)[1] for i, prompt in enumerate(prompts)
    }


def test_a_common_beginning_is_evaluated_once(client: WorkerClient, demo_model: Path) -> None:
    list(client.load(LoadRequest(str(demo_model), context=1024, threads=2, sequences=SLOTS)))
    prompts = [chatml(client, CLERK + question) for question in QUESTIONS]
    shared = len(beginning(prompts))
    assert shared > 50
    together = sorted_out(client.generate_many([GenerateRequest(prompt, GREEDY, 6) for prompt in prompts]))
    cached = [said(together[index])[2].usage.cached_tokens for index in range(len(prompts))]
    assert cached[0] == 0
    assert all(shared <= each <= shared + 2 for each in cached[1:]), "two may go on alike for a token"


def test_requests_are_taken_when_there_is_room_for_them(many: WorkerClient) -> None:
    made: list[int] = []
    ended: list[int] = []

    def endless() -> Iterator[GenerateRequest]:
        while True:
            assert len(made) - len(ended) < SLOTS
            made.append(len(made))
            yield GenerateRequest(chatml(many, QUESTIONS[len(made) % 4]), GREEDY, 2 + len(made) % 3)

    events = many.generate_many(endless())
    for index, event in events:
        if isinstance(event, Finished):
            ended.append(index)
        if len(ended) == 8:
            break
    events.close()  # type: ignore[attr-defined]  # a generator
    assert len(made) <= 8 + SLOTS
    assert greedy(many, chatml(many, "Hello!"), 2)[2].usage.completion_tokens == 2


def test_a_request_that_is_not_there_yet_holds_nothing_up(many: WorkerClient) -> None:
    prompt = chatml(many, "Hello!")
    answered: list[int] = []

    def conversation() -> Iterator[GenerateRequest | None]:
        for number in range(3):
            yield GenerateRequest(prompt, GREEDY, 2)
            while len(answered) <= number:
                yield None

    for index, event in many.generate_many(conversation()):
        if isinstance(event, Finished):
            answered.append(index)
    assert answered == [0, 1, 2]


def test_lengths_are_each_ones_own(many: WorkerClient) -> None:
    limits = [1, 9, 3, 30, 2]
    requests = [GenerateRequest(chatml(many, "Count to one hundred."), GREEDY, limit) for limit in limits]
    together = sorted_out(many.generate_many(requests))
    assert [said(together[i])[2].usage.completion_tokens for i in range(5)] == limits
    order = [i for i in together if isinstance(together[i][-1], Finished)]
    assert sorted(order) == list(range(5))


def test_one_that_fails_ends_alone(many: WorkerClient) -> None:
    prompt = chatml(many, "Count to one hundred.")
    requests = [GenerateRequest(each, GREEDY, 4) for each in (prompt, prompt * 200, (), prompt)]
    failed: dict[int, MixchatError] = {}
    ends: dict[int, Finished] = {}
    for index, event in many.generate_many(requests):
        if isinstance(event, MixchatError):
            failed[index] = event
        elif isinstance(event, Finished):
            ends[index] = event
    assert failed.keys() == {1, 2}
    assert isinstance(failed[1], PromptTooLong)
    assert (failed[1].tokens, failed[1].room) == (200 * len(prompt), 1023)
    assert "empty prompt" in failed[2].message
    assert [ends[index].usage.completion_tokens for index in (0, 3)] == [4, 4]


def test_an_interrupt_stops_all_and_begins_no_other(many: WorkerClient) -> None:
    begun: set[int] = set()
    reasons: dict[int, str] = {}
    requests = (GenerateRequest(chatml(many, "Tell a very long story."), GREEDY, 200) for _ in range(20))
    for index, event in many.generate_many(requests):
        begun.add(index)
        if isinstance(event, Token) and len(begun) == SLOTS and not reasons:
            assert many.interrupt()
        if isinstance(event, Finished):
            reasons[index] = event.reason
    assert reasons == dict.fromkeys(range(SLOTS), "interrupted")
    assert not many.interrupt()


def test_cancelling_one_leaves_the_others(many: WorkerClient) -> None:
    """The abort stops the batch of all; the others' share of it is evaluated again."""
    prompts = [chatml(many, f"Tell a very long story about {what}.") for what in ("a cat", "the sea", "two brothers")]
    events = many.generate_many([GenerateRequest(prompt, GREEDY, 40) for prompt in prompts])
    together: dict[int, list[GenerateEvent]] = {}
    for index, event in events:
        assert not isinstance(event, MixchatError)
        together.setdefault(index, []).append(event)
        if isinstance(event, Token) and sum(map(len, together.values())) == 30:
            many._cancel(many._running[1:2])
    assert [said(together[i])[2].reason == "interrupted" for i in range(SLOTS)] == [False, True, False]
    assert [said(together[i])[2].usage.completion_tokens for i in (0, 2)] == [40, 40]


def test_what_does_not_fit_together_goes_on_later(client: WorkerClient, random_mixtral: Path) -> None:
    """Three prompts of 100 tokens and their answers in 256 cells: the youngest gives way, comes back, goes on."""
    prompts = [tuple((7919 * i + 104729 * j * j) % 30000 + 300 for j in range(100)) for i in range(3)]
    requests = [GenerateRequest(prompt, GREEDY, 50) for prompt in prompts]
    load(client, random_mixtral, 256, sequences=3)
    together = sorted_out(client.generate_many(requests))
    load(client, random_mixtral, 256)
    for index, request in enumerate(requests):
        _text, ids, end = said(client.generate(request))
        assert said(together[index])[1] == ids
        assert said(together[index])[2].usage == end.usage


def test_a_seed_gives_the_same_text_among_others(many: WorkerClient) -> None:
    prompts = [chatml(many, question) for question in QUESTIONS]
    hot = Sampling(temperature=1.5, seed=4)
    other = GenerateRequest(prompts[2], hot, 1)
    list(many.generate(other))
    mixed = [GenerateRequest(prompts[0], GREEDY, 30), GenerateRequest(prompts[1], hot, 20)]
    mixed += [GenerateRequest(prompt, GREEDY, 30) for prompt in prompts[2:]]
    together = sorted_out(many.generate_many(mixed))
    among = said(together[1])[1]
    list(many.generate(other))
    assert said(many.generate(GenerateRequest(prompts[1], hot, 20)))[1] == among
    assert together[1][-1].usage.completion_tokens == len(among)  # type: ignore[union-attr]  # Finished


def test_with_a_seed_a_prefix_of_its_own_makes_the_text_independent_of_what_came_before(many: WorkerClient) -> None:
    """Nothing behind the prefix is reused, so that every request's batches are the same."""
    prompts = [chatml(many, CLERK + question) for question in (*QUESTIONS, QUESTIONS[0])]
    prefix = len(beginning(prompts))
    hot = Sampling(temperature=1.5, seed=4)
    answers = sorted_out(many.generate_many([GenerateRequest(each, hot, 12, own_batch=prefix) for each in prompts]))
    assert [said(answers[i])[2].usage.cached_tokens for i in range(1, 5)] == [prefix] * 4
    assert said(answers[0])[1] == said(answers[4])[1]


def test_a_prefix_of_its_own_is_a_batch_of_its_own(many: WorkerClient) -> None:
    prompt = chatml(many, "Nobody else asks about the weights of letters and parcels. " * 4)
    events = list(many.generate(GenerateRequest(prompt, Sampling(temperature=0, seed=1), 2, own_batch=20)))
    assert [event.done for event in events if isinstance(event, Prefilling)] == [0, 20, len(prompt)]


def test_nothing_is_kept_while_answers_are_written(many: WorkerClient, tmp_path: Path) -> None:
    def requests() -> Iterator[GenerateRequest]:
        yield GenerateRequest(chatml(many, "Tell a long story."), GREEDY, 20)
        with pytest.raises(EngineError, match="in use"):
            many.keep_state(str(tmp_path / "state"), KEY)
        with pytest.raises(EngineError, match="in use"):
            many.restore_state(str(tmp_path / "state"), KEY)

    assert said(sorted_out(many.generate_many(requests()))[0])[2].usage.completion_tokens == 20
    assert not (tmp_path / "state").exists()


def test_a_state_that_one_sequence_left_is_continued_by_several(
    client: WorkerClient, demo_model: Path, tmp_path: Path
) -> None:
    list(client.load(LoadRequest(str(demo_model), context=1024, threads=2)))
    prompts = [chatml(client, CLERK + question) for question in QUESTIONS]
    prefix = beginning(prompts)
    list(client.evaluate(prefix))
    client.keep_state(str(tmp_path / "state"), KEY)
    list(client.load(LoadRequest(str(demo_model), context=1024, threads=2, sequences=SLOTS)))
    assert client.restore_state(str(tmp_path / "state"), KEY).tokens == len(prefix)
    together = sorted_out(client.generate_many([GenerateRequest(prompt, GREEDY, 3) for prompt in prompts]))
    assert all(said(together[i])[2].usage.cached_tokens >= len(prefix) for i in range(4))
