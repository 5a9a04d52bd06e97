"""What a person can do with a chat, and that nothing evaluated is evaluated again."""

import os
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from mixchat.app.conversing import Conversation
from mixchat.app.events import Full
from mixchat.app.recording import Log
from mixchat.chat.journal import Answered, Asked, Forked, ModelChosen, Named, Rewound, SystemSet, ValueSet, WentBack
from mixchat.chat.messages import Turn
from mixchat.engine.client import WorkerClient
from mixchat.engine.events import Finished, GenerateEvent, GenerateRequest, Loading, Token
from mixchat.errors import EngineDied, UsageError
from mixchat.store.proofs import Proof
from tests.app.conftest import MakeHouse, MakeSettings
from tests.app.talks import (
    Memory,
    answers,
    finished,
    held,
    notices,
    sampled,
    turns,
    until,
    usage,
    write_model,
)
from tests.fakes.engine import MARKUP, SAMPLED, FakeEngine

Start = Callable[..., Conversation]
MARK = len(["<|im_start|>user\n"])


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("other") / "other.gguf", "another template")


@pytest.fixture
def start(make_house: MakeHouse, settings: MakeSettings, model_file: Path) -> Start:
    def make(engine: FakeEngine, log: Log | None = None, model: Path = model_file, **flags: object) -> Conversation:
        return Conversation(make_house(engine), settings(**flags), str(model), log or Memory())

    return make


@pytest.fixture
def real(make_house: MakeHouse, settings: MakeSettings, demo_model: Path) -> Iterator[Conversation]:
    """A chat with the demo model and llama.cpp; greedy, so that it says the same whenever it is asked the same."""
    with closing(WorkerClient(os.environ)) as engine:
        house = make_house(engine, Proof(extra_buffers=False, reason=""))
        flags = {"temperature": 0.0, "max_tokens": 12, "ctx": 1024, "threads": 2}
        yield Conversation(house, settings(**flags), str(demo_model), Memory())


def said(talk: Conversation, *texts: str) -> Finished:
    """Say these; the end of the last answer."""
    return [finished(list(talk.say(text))) for text in texts][-1]


def test_records_of_a_chat(start: Start) -> None:
    log = Memory()
    talk = start(FakeEngine("Hi", "Ho"), log, system="Be brief.")
    assert log.kept == []
    list(talk.open())
    assert log.kept == [], "a chat in which nothing was said leaves nothing"
    said(talk, "Hello")
    turn = talk.transcript.turns[0]
    assert log.kept[1:] == [SystemSet("Be brief."), Asked("Hello"), Answered(0, turn)]
    assert isinstance(log.kept[0], ModelChosen)
    assert (turn.tokens, bool(turn.vocabulary)) == (sampled("Hi"), True)
    talk.past.fork("a")
    talk.past.undo()
    talk.past.back("a")
    talk.name_it("greetings")
    assert log.kept[4:] == [Forked("a"), Rewound(0), WentBack("a"), Named("greetings")]
    assert talk.dialogue.name == "greetings"


def test_regenerate_evaluates_nothing_of_the_prompt(start: Start) -> None:
    engine, log = FakeEngine("Hi", "Fine", "Well"), Memory()
    talk = start(engine, log)
    first = said(talk, "Hello", "How are you?")
    again = usage(talk.regenerate())
    assert again.cached_tokens == first.usage.prompt_tokens - 1, "the last token's logits are not kept"
    assert again.prompt_tokens == first.usage.prompt_tokens
    assert turns(talk) == (Turn("Hello", "Hi"), Turn("How are you?", "Well"))
    assert isinstance(log.kept[-1], Answered)
    assert log.kept[-1].after == 1


def test_regenerate_says_when_it_cannot_differ(start: Start) -> None:
    talk = start(FakeEngine("Hi", "Hi", "Hi"), temperature=0.0)
    said(talk, "Hello")
    assert "the same again" in notices(talk.regenerate())[0]
    talk.set_value("temperature", "0.5")
    assert notices(talk.regenerate()) == []


def test_regenerate_answers_what_was_not_answered(start: Start) -> None:
    talk = start(FakeEngine("", "Hi"))
    said(talk, "Hello")
    assert answers(talk) == [""]
    assert usage(talk.regenerate()).prompt_tokens > 0
    assert turns(talk) == (Turn("Hello", "Hi"),)


@pytest.mark.parametrize("act", ["regenerate", "go_on", "undo"])
def test_nothing_was_said_yet(act: str, start: Start) -> None:
    talk = start(FakeEngine())
    with pytest.raises(UsageError):
        list(getattr(talk.past if act == "undo" else talk, act)())


@pytest.mark.parametrize("act", ["regenerate", "go_on"])
def test_a_dead_engine_leaves_the_last_answer(act: str, start: Start) -> None:
    engine = FakeEngine("Hi", "Fine", "!")
    talk = start(engine)
    said(talk, "Hello")
    before, engine.dies_at = talk.transcript, "decode"
    with pytest.raises(EngineDied):
        list(getattr(talk, act)())
    assert talk.transcript is before


def test_go_on_continues_with_the_tokens_of_before(start: Start) -> None:
    engine, log = FakeEngine("Hello", " there", "Yes"), Memory()
    talk = start(engine, log, max_tokens=6)
    until(talk.say("Hey"), "e", talk)
    assert turns(talk) == (Turn("Hey", "He", interrupted=True),)
    asked = log.kept.count(Asked("Hey"))
    went = usage(talk.go_on())
    assert engine.generations[-1].tokens[-2:] == sampled("He")
    assert went.cached_tokens == went.prompt_tokens - 1, "the last token was sampled and not evaluated"
    assert talk.transcript.turns == (replace(talk.transcript.turns[0], tokens=sampled("He there")),)
    assert turns(talk) == (Turn("Hey", "He there"),)
    assert log.kept.count(Asked("Hey")) == asked, "it is no new question"
    following = said(talk, "Really?")
    assert following.usage.cached_tokens == held(went) - 1, "an answer cut by its limit misses its last token"


def test_go_on_interrupted_again(start: Start) -> None:
    talk = start(FakeEngine("Hello", "lo!"))
    until(talk.say("Hey"), "e", talk)
    until(talk.go_on(), "l", talk)
    assert turns(talk) == (Turn("Hey", "Hel", interrupted=True),)
    assert talk.transcript.turns[0].tokens == sampled("Hel")


def test_go_on_when_the_tokens_are_not_known(start: Start) -> None:
    engine = FakeEngine("Hi", " there")
    talk = start(engine)
    said(talk, "Hello")
    talk.past.rewrite(0, "Good")
    went = usage(talk.go_on())
    assert engine.prompt().endswith("assistant\nGood")
    assert not any(SAMPLED <= token < MARKUP for token in engine.generations[-1].tokens)
    assert went.cached_tokens == went.prompt_tokens - len("Good")
    assert talk.transcript.turns == (Turn("Hello", "Good there"),), "half of its tokens are not known"


def test_an_empty_answer_cannot_go_on(start: Start) -> None:
    talk = start(FakeEngine(" \n"))
    said(talk, "Hello")
    with pytest.raises(UsageError, match="no answer that could go on"):
        list(talk.go_on())


def test_a_model_that_has_nothing_to_add(start: Start) -> None:
    talk = start(FakeEngine("Hi", "", "Ho"))
    said(talk, "Hello")
    assert notices(talk.go_on()) == ["The model has nothing to add."]
    assert turns(talk) == (Turn("Hello", "Hi"),)
    assert talk.transcript.turns[0].tokens == sampled("Hi")
    talk.set_value("ctx", "256")
    engine_stop = talk.go_on()
    assert isinstance(next(engine_stop), Loading)
    talk.interrupt()
    assert notices(engine_stop) == [], "nobody asked the model"


def test_undo_evaluates_nothing_again(start: Start) -> None:
    talk = start(FakeEngine(*"abcdef"))
    said(talk, "one")
    kept = usage(talk.say("two"))
    said(talk, "three", "four")
    assert talk.past.undo(2) == ()
    assert turns(talk) == (Turn("one", "a"), Turn("two", "b"))
    assert talk.context.to_evaluate() == 0
    assert said(talk, "five").usage.cached_tokens == held(kept) + MARK
    assert answers(talk) == ["a", "b", "e"]


@pytest.mark.parametrize("count", [0, -1, 3])
def test_undo_of_more_than_there_is(count: int, start: Start) -> None:
    talk = start(FakeEngine(*"ab"))
    said(talk, "one", "two")
    with pytest.raises(UsageError, match="There are 2 turns"):
        talk.past.undo(count)
    assert len(turns(talk)) == 2


def test_an_edited_message_goes_on_from_there(start: Start) -> None:
    engine, log = FakeEngine(*"abcd"), Memory()
    talk = start(engine, log)
    first = usage(talk.say("one"))
    said(talk, "two", "three")
    edited = usage(talk.say("2", after=1))
    assert edited.cached_tokens == held(first) + MARK
    assert turns(talk) == (Turn("one", "a"), Turn("2", "d"))
    assert isinstance(log.kept[-1], Answered)
    assert log.kept[-1].after == 1


@pytest.mark.parametrize("step", ["render", "tokenize", "prefill", "decode"])
def test_an_edit_whose_answer_dies_changes_nothing(step: str, start: Start) -> None:
    engine = FakeEngine(*"abcd")
    talk = start(engine)
    said(talk, "one", "two")
    before, engine.dies_at = talk.transcript, step
    with pytest.raises(EngineDied):
        list(talk.say("1", after=0))
    assert talk.transcript is before


def test_an_edit_that_does_not_fit_changes_nothing(start: Start) -> None:
    talk = start(FakeEngine("a" * 100, "b" * 100, "c"))
    said(talk, "one", "two")
    before = talk.dialogue
    (full,) = talk.say("x" * 300, after=1)
    assert isinstance(full, Full)
    assert talk.dialogue is before


def test_an_edit_interrupted_before_its_answer_is_the_person_s_choice(start: Start) -> None:
    engine = FakeEngine(*"abc")
    talk = start(engine)
    said(talk, "one", "two")
    engine.on_step = lambda name: talk.interrupt() if name == "prefill" else None
    list(talk.say("1", after=0))
    assert turns(talk) == (Turn("1", "", interrupted=True),)


def test_another_answer_is_put_in_the_place(start: Start) -> None:
    engine, log = FakeEngine("a", "b", "c"), Memory()
    talk = start(engine, log)
    first = usage(talk.say("one"))
    said(talk, "two")
    talk.past.rewrite(0, "A!")
    assert talk.transcript.turns == (Turn("one", "A!"),)
    assert log.kept[-1] == Answered(0, Turn("one", "A!"))
    assert said(talk, "three").usage.cached_tokens == first.prompt_tokens
    assert "assistant\nA!<|im_end|>" in engine.prompt()
    for empty in ("", " \n"):
        with pytest.raises(UsageError, match="cannot be empty"):
            talk.past.rewrite(0, empty)


def test_fork_and_back(start: Start) -> None:
    talk = start(FakeEngine(*"abcde"))
    first = usage(talk.say("one"))
    assert talk.past.fork() == ("fork 1", ())
    second = usage(talk.say("two"))
    assert talk.past.fork("here") == ("here", ())
    said(talk, "three")
    assert talk.past.back() == ("here", ())
    assert answers(talk) == ["a", "b"]
    assert talk.context.to_evaluate() == 0
    assert said(talk, "four").usage.cached_tokens == held(second) + MARK
    assert talk.past.back("fork 1") == ("fork 1", ())
    assert answers(talk) == ["a"]
    assert said(talk, "five").usage.cached_tokens == held(first) + MARK
    assert talk.past.back("here")[0] == "here"
    assert answers(talk) == ["a", "b"]
    assert talk.past.checkpoints == ["fork 1", "here", "left 1", "left 2", "left 3"]
    with pytest.raises(UsageError, match="a checkpoint 'here' already"):
        talk.past.fork("here")


def test_back_without_a_checkpoint(start: Start) -> None:
    with pytest.raises(UsageError, match="There is no checkpoint"):
        start(FakeEngine()).past.back()


def test_going_back_and_forth_between_two_branches(start: Start) -> None:
    engine = FakeEngine(*"abcd")
    talk = start(engine)
    said(talk, "one")
    talk.past.fork("left")
    end = said(talk, "two")
    talk.past.fork("right")
    talk.past.undo()
    said(talk, "zwei")
    talk.past.back("right")
    assert answers(talk) == ["a", "b"]
    again = said(talk, "three")
    assert again.usage.cached_tokens == end.usage.prompt_tokens - len("two") - 1, "only the last branch is evaluated"


def test_the_system_text_costs_what_is_said(start: Start) -> None:
    engine, log = FakeEngine(*"abc"), Memory()
    talk = start(engine, log, system="Be brief.")
    assert talk.context.to_evaluate() == 0
    end = said(talk, "one", "two")
    assert talk.context.to_evaluate() == 0
    talk.set_system("Be kind.")
    assert log.kept[-1] == SystemSet("Be kind.")
    cost = talk.context.to_evaluate()
    same = 1 + len("Be ")
    assert cost == held(end.usage) - len("brief.") + len("kind.") - same
    assert said(talk, "three").usage.cached_tokens == same
    assert "system\nBe kind.<|im_end|>" in engine.prompt()
    talk.set_system("Be brief.")
    talk.set_system("")
    said_before = len(engine.generations)
    assert talk.context.to_evaluate() > 0
    assert len(engine.generations) == said_before


def test_a_setting_counts_from_the_next_answer_on(start: Start) -> None:
    engine, log = FakeEngine("abc", "abc", "abc"), Memory()
    talk = start(engine, log, max_tokens=1)
    said(talk, "one")
    talk.set_value("max_tokens", "2")
    assert not talk.reloads
    said(talk, "two")
    talk.set_value("max_tokens", "")
    said(talk, "three")
    assert answers(talk) == ["a", "ab", "a"]
    assert [each for each in log.kept if isinstance(each, ValueSet)] == [
        ValueSet("max_tokens", "2"),
        ValueSet("max_tokens", ""),
    ]


def test_a_setting_of_loading_loads_again_with_the_next_message(start: Start) -> None:
    engine = FakeEngine(*"abc")
    talk = start(engine)
    talk.set_value("ctx", "256")
    assert not talk.reloads, "nothing is loaded yet"
    said(talk, "one")
    assert [request.context for request in engine.loads] == [256]
    talk.set_value("threads", "3")
    assert talk.reloads
    assert len(engine.loads) == 1
    said(talk, "two", "three")
    assert [request.threads for request in engine.loads][1:] == [3]
    assert not talk.reloads


@pytest.mark.parametrize(
    ("key", "text", "hint"),
    [
        ("temprature", "1", "Did you mean temperature?"),
        ("max-tokens", "1", "Did you mean max_tokens?"),
        ("model", "demo", "There are: temperature, "),
        ("temperature", "warm", "Correct it"),
        ("ctx", "0", "Correct it"),
        ("overflow", "dropp", "Did you mean drop?"),
    ],
)
def test_a_wrong_setting_changes_nothing(key: str, text: str, hint: str, start: Start) -> None:
    log = Memory()
    talk = start(FakeEngine(), log)
    before = talk.dialogue
    with pytest.raises(UsageError) as caught:
        talk.set_value(key, text)
    assert caught.value.hint.startswith(hint)
    assert (talk.dialogue, log.kept, talk.reloads) == (before, [], False)


def test_used_is_what_the_conversation_takes(start: Start, other: Path) -> None:
    engine = FakeEngine("Hi", "Fine")
    talk = start(engine)
    assert talk.context.used == 0
    assert talk.history() is None
    end = said(talk, "Hello")
    assert talk.context.used == held(end.usage)
    asked = len(engine.tokenized)
    assert talk.context.used == held(end.usage)
    assert len(engine.tokenized) == asked, "it is counted once"
    said(talk, "How are you?")
    history = talk.history()
    assert history is not None
    assert talk.context.used == len(history.tokens)
    assert "".join(each.text for each in history.segments).endswith("assistant\nFine")
    engine.close()
    assert talk.history() is None
    assert talk.context.count("abc") is None
    list(talk.use_model(str(other)))
    assert talk.context.used == len(history.tokens)
    assert talk.context.count("abc") == 3


def test_used_of_a_chat_that_goes_on_is_known_when_its_model_is_loaded(start: Start) -> None:
    log = Memory(Answered(0, Turn("Hello", "Hi")))
    talk = start(FakeEngine(), log)
    assert talk.context.used == 0
    list(talk.open())
    assert talk.context.used == len("HelloHi") + 2
    talk.close()


def test_history_ends_with_the_last_answer(start: Start) -> None:
    talk = start(FakeEngine("Hi", ""))
    said(talk, "Hello", "Anybody?")
    history = talk.history()
    assert history is not None
    assert [each.text for each in history.segments if each.role != "template"] == ["Hello", "Hi"]


def test_text_that_came_without_a_token_is_tokenized_again(start: Start) -> None:
    class HoldsBack(FakeEngine):
        def generate(self, request: GenerateRequest) -> Iterator[GenerateEvent]:
            for event in super().generate(request):
                if isinstance(event, Finished):
                    yield Token("!", -1)
                yield event

    talk = start(HoldsBack("Hi", "Fine"))
    said(talk, "Hello")
    assert talk.transcript.turns == (Turn("Hello", "Hi!"),)
    assert talk.context.to_evaluate() == len("Hi!")


def test_an_interrupt_while_the_prompt_is_evaluated_counts_what_is_done(start: Start) -> None:
    engine = FakeEngine("Hi", "Fine", "Well")
    talk = start(engine)
    first = said(talk, "Hello")
    engine.on_step = lambda name: talk.interrupt() if name == "prefill" else None
    list(talk.say("How are you?"))
    engine.on_step = lambda _name: None
    assert talk.context.to_evaluate() == 0
    assert said(talk, "How are you?").usage.cached_tokens == held(first.usage)


def test_real_llama_cpp_evaluates_nothing_twice(real: Conversation) -> None:
    """Each operation in turn, with the counts that the worker itself gives."""
    talk = real
    first = finished(list(talk.say("Name three colours, please.")))
    assert (first.reason, first.usage.completion_tokens) == ("length", 12)
    assert talk.context.used == held(first.usage)

    went = usage(talk.go_on())
    assert went.prompt_tokens == held(first.usage)
    assert went.cached_tokens == went.prompt_tokens - 1, "the token that was sampled last"

    talk.past.fork("here")
    second = usage(talk.say("And three animals?"))
    assert second.cached_tokens == held(went) - 1

    again = usage(talk.regenerate())
    assert again.cached_tokens == second.prompt_tokens - 1

    edited = usage(talk.say("And three rivers?", after=1))
    assert edited.cached_tokens >= held(went), "the template's own mark too"
    assert edited.cached_tokens < edited.prompt_tokens

    said(talk, "Thank you.")
    talk.past.undo(2)
    undone = usage(talk.say("And three towns?"))
    assert undone.cached_tokens >= held(went)

    talk.past.back("here")
    assert talk.context.to_evaluate() == 0
    back = usage(talk.say("And three trees?"))
    assert back.cached_tokens >= held(went)

    turn = talk.transcript.turns[0]
    assert turn.tokens
    talk.set_system("Be brief.")
    cost = talk.context.to_evaluate()
    changed = usage(talk.say("And three cars?"))
    assert changed.cached_tokens < 40 < cost


def test_real_llama_cpp_after_an_interrupt(real: Conversation) -> None:
    talk = real
    list(talk.open())
    talk.set_value("max_tokens", "200")
    seen = 0
    for event in talk.say("Write a long story about a lighthouse."):
        seen += isinstance(event, Token)
        if seen == 3:
            talk.interrupt()
    (turn,) = talk.transcript.turns
    assert turn.interrupted
    assert len(turn.tokens) >= 3
    talk.set_value("max_tokens", "5")
    went = usage(talk.go_on())
    assert went.cached_tokens == went.prompt_tokens - 1
    assert talk.transcript.turns[0].assistant.startswith(turn.assistant)
    following = usage(talk.say("Go on."))
    assert following.cached_tokens == held(went) - 1
