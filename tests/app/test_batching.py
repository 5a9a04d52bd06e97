from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from mixchat.app.asking import Question
from mixchat.app.batching import Answered, BatchEvent, Failed, Item, Take, ask_each
from mixchat.app.events import Opened
from mixchat.chat.messages import Message
from mixchat.engine.events import Prefilling
from mixchat.errors import BadAnswer, EngineDied, PromptTooLong, UsageError
from tests.app.conftest import MakeHouse, MakeSettings
from tests.fakes.engine import FakeEngine

BROKEN = UsageError("It is broken.", "Mend it.")


def item(index: int, text: str) -> Item:
    return Item(index, text, (Message("user", text),))


def taking(*items: Item | None) -> Take:
    """The items, one by one; None: nothing has come for now."""
    rest = list(items)

    def take(*, wait: bool) -> Item | None:
        while rest:
            item = rest.pop(0)
            if item is not None or not wait:
                return item
        return None

    return take


def shared(path: Path) -> Question:
    return Question(str(path), (), ("END",), grammar='root ::= "x"')


def ends(events: Iterator[BatchEvent]) -> list[tuple[int, str]]:
    found = []
    for event in events:
        if isinstance(event, Answered):
            found.append((event.item.index, event.text))
        elif isinstance(event, Failed):
            found.append((event.item.index, type(event.error).__name__))
    return found


def test_one_load_answers_all_and_a_bad_item_stops_no_other(
    make_house: MakeHouse, settings: MakeSettings, model_file: Path
) -> None:
    engine = FakeEngine("A", "B", "C")
    take = taking(item(0, "a"), Item(1, "?", BROKEN), item(2, "word " * 200), None, item(3, "b"), item(4, "c"))
    found = ends(ask_each(make_house(engine), settings(max_tokens=9), shared(model_file), take))
    assert sorted(found) == [(0, "A"), (1, "UsageError"), (2, "PromptTooLong"), (3, "B"), (4, "C")]
    assert [load.sequences for load in engine.loads if not load.vocab_only] == [4]
    assert {(request.stop, request.grammar, request.max_tokens) for request in engine.generations} == {
        (("END",), 'root ::= "x"', 9)
    }


@pytest.mark.parametrize("items", [[], [Item(0, "?", BROKEN)]])
def test_without_a_question_no_model_is_loaded(
    items: Sequence[Item], make_house: MakeHouse, settings: MakeSettings
) -> None:
    engine = FakeEngine()
    events = list(ask_each(make_house(engine), settings(), Question("nosuch.gguf", ()), taking(*items)))
    assert [type(event) for event in events] == [Failed for _item in items]
    assert engine.loads == []


def test_a_dead_engine_ends_the_batch(make_house: MakeHouse, settings: MakeSettings, model_file: Path) -> None:
    engine = FakeEngine("A", "B")
    events = ask_each(make_house(engine), settings(), shared(model_file), taking(item(0, "a"), item(1, "b")))
    seen: list[BatchEvent] = []
    with pytest.raises(EngineDied):
        for event in events:
            seen.append(event)
            if isinstance(event, Answered):
                engine.dies_at = "prefill"
    assert ends(iter(seen)) == [(0, "A")]


def test_an_interrupt_ends_the_batch_and_half_an_answer_is_not_told(
    make_house: MakeHouse, settings: MakeSettings, model_file: Path
) -> None:
    engine = FakeEngine("A", "B")
    seen: list[BatchEvent] = []
    for event in ask_each(make_house(engine), settings(), shared(model_file), taking(item(0, "a"), item(1, "b"))):
        seen.append(event)
        if isinstance(event, Prefilling):
            engine.interrupt()
    assert ends(iter(seen)) == []
    assert len(engine.generations) == 1


def test_an_interrupted_load_ends_it(make_house: MakeHouse, settings: MakeSettings, model_file: Path) -> None:
    engine = FakeEngine("A")
    seen: list[BatchEvent] = []
    for event in ask_each(make_house(engine), settings(), shared(model_file), taking(item(0, "a"))):
        seen.append(event)
        engine.interrupt()
    assert not any(isinstance(event, Opened | Answered) for event in seen)


def test_a_check_fails_the_item_alone(make_house: MakeHouse, settings: MakeSettings, model_file: Path) -> None:
    def check(text: str) -> None:
        if text == "A":
            raise BadAnswer("It is an A.", "Try again.")

    question = Question(str(model_file), (), check=check)
    take = taking(item(0, "a"), item(1, "b"))
    assert ends(ask_each(make_house(FakeEngine("A", "B")), settings(), question, take)) == [
        (0, "BadAnswer"),
        (1, "B"),
    ]


def test_a_line_of_a_megabyte_is_refused_from_a_part(
    make_house: MakeHouse, settings: MakeSettings, model_file: Path
) -> None:
    engine = FakeEngine()
    events = list(ask_each(make_house(engine), settings(), shared(model_file), taking(item(0, "x" * 1_000_000))))
    (failed,) = [event for event in events if isinstance(event, Failed)]
    assert isinstance(failed.error, PromptTooLong)
    assert "about 1000000" in failed.error.message
