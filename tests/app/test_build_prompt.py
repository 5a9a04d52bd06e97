from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mixchat.app.prompt import Prompt, Segment, build
from mixchat.app.source import Format
from mixchat.chat.messages import Control, Message, Text
from mixchat.engine.events import LoadRequest
from mixchat.errors import BadTemplate, UsageError
from tests.fakes.engine import MARKUP, SAMPLED, FakeEngine, Render, chatml

MISTRAL = Format("mistral-v1", "", "<s>", "</s>", ("<s>", "</s>", "<unk>"))
CHATML = Format("template", "a template", "<s>", "<|im_end|>", ("<|im_start|>", "<|im_end|>", "<s>"))
SYSTEM = Message("system", "Be brief.")
HELLO = Message("user", "Hello")
TALK = (SYSTEM, HELLO, Message("assistant", "Hi!"), Message("user", "Bye"))


def loaded(template: Render = chatml) -> FakeEngine:
    engine = FakeEngine(template=template)
    list(engine.load(LoadRequest("a.gguf", vocab_only=True)))
    return engine


def shape(prompt: Prompt) -> list[tuple[str, str]]:
    return [(segment.role, segment.text) for segment in prompt.segments]


def test_mixtral_s_prompt_is_our_own() -> None:
    engine = loaded()
    prompt = build(engine, MISTRAL, TALK, {})
    assert shape(prompt) == [
        ("template", "<s>"),
        ("user", "[INST] Be brief.\n\nHello [/INST]"),
        ("assistant", "Hi!"),
        ("template", "</s>"),
        ("user", "[INST] Bye [/INST]"),
    ]
    assert engine.rendered == []
    assert prompt.notices == ()
    assert prompt.tokens == tuple(token for segment in prompt.segments for token in segment.tokens)


def test_mixtral_s_marks_typed_by_a_person_are_kept_with_one_notice() -> None:
    prompt = build(loaded(), MISTRAL, (Message("user", "what is [/INST]?"),), {})
    assert shape(prompt)[1] == ("user", "[INST] what is [/INST]? [/INST]")
    assert len(prompt.notices) == 1


def test_a_template_s_prompt_is_split_into_its_own_text_and_the_contents() -> None:
    prompt = build(loaded(), CHATML, TALK, {})
    assert shape(prompt) == [
        ("template", "<|im_start|>system\n"),
        ("system", "Be brief."),
        ("template", "<|im_end|>\n<|im_start|>user\n"),
        ("user", "Hello"),
        ("template", "<|im_end|>\n<|im_start|>assistant\n"),
        ("assistant", "Hi!"),
        ("template", "<|im_end|>\n<|im_start|>user\n"),
        ("user", "Bye"),
        ("template", "<|im_end|>\n<|im_start|>assistant\n"),
    ]
    assert prompt.notices == ()


def test_equal_texts_keep_their_own_roles() -> None:
    talk = (Message("user", "Echo"), Message("assistant", "Echo"), Message("user", "Echo"))
    roles = [segment.role for segment in build(loaded(), CHATML, talk, {}).segments if segment.role != "template"]
    assert roles == ["user", "assistant", "user"]


@given(st.lists(st.sampled_from(["<|im_end|>", "<|im_start|>system\n", "<s>", "</s>", "x", "\n"]), max_size=6))
def test_control_tokens_that_a_person_types_stay_text(parts: list[str]) -> None:
    typed = "say " + "".join(parts) + "."
    for form in (CHATML, MISTRAL):
        engine = loaded()
        build(engine, form, (Message("user", typed),), {})
        (pieces,) = engine.tokenized
        texts = [piece.text for piece in pieces if isinstance(piece, Text)]
        assert [typed in text for text in texts] == [True]
        plain = build(loaded(), form, (Message("user", "say this."),), {})
        own = [segment.text for segment in plain.segments if segment.role == "template"]
        assert [piece.name for piece in pieces if isinstance(piece, Control)] == own


def test_a_token_of_the_vocabulary_s_own_never_comes_of_a_person_s_text() -> None:
    form = replace(CHATML, defined_tokens=("<|start|>", "<think>", "  ", "[X]", "<a b>"))
    engine = loaded()
    typed = "a <|start|>system<think> [X] <a b>  b"
    (segment,) = (each for each in build(engine, form, (Message("user", typed),), {}).segments if each.role == "user")
    (pieces,) = engine.tokenized
    texts = [piece.text for piece in pieces if isinstance(piece, Text)]
    assert texts == ["a <", "|start|>system<", "think> [", "X] <a b>  b"]
    assert (segment.text, segment.tokens) == (typed, tuple(map(ord, typed)))


def test_sampled_tokens_stand_in_for_the_answer_s_own() -> None:
    spoken = {"Hi!": (SAMPLED + 1, SAMPLED + 2), "Hello": (7,)}
    for form in (CHATML, MISTRAL):
        segments = build(loaded(), form, TALK, spoken).segments
        assert Segment("assistant", "Hi!", (SAMPLED + 1, SAMPLED + 2)) in segments
        assert all(segment.tokens != (7,) for segment in segments)


def refusing(messages: Sequence[Message]) -> str:
    if messages[0].role == "system":
        raise BadTemplate("The model's chat template refuses the conversation: no system", "Try another.")
    return chatml(messages)


def dropping(messages: Sequence[Message]) -> str:
    return chatml([message for message in messages if message.role != "system"])


@pytest.mark.parametrize("template", [refusing, dropping])
def test_a_system_text_without_a_place_goes_to_the_first_message(template: Render) -> None:
    prompt = build(loaded(template), CHATML, TALK, {})
    assert shape(prompt)[:2] == [("template", "<|im_start|>user\n"), ("user", "Be brief.\n\nHello")]
    assert [("no place for a system prompt" in notice) for notice in prompt.notices] == [True]


def test_a_template_that_refuses_without_a_system_text_is_told() -> None:
    def broken(_messages: Sequence[Message]) -> str:
        raise BadTemplate("The model's chat template fails: x", "Try another.")

    for talk in ((HELLO,), (Message("system", " "), HELLO), TALK):
        with pytest.raises(BadTemplate, match="fails: x"):
            build(loaded(broken), CHATML, talk, {})


@pytest.mark.parametrize("talk", [TALK, (HELLO,)])
def test_a_template_that_leaves_out_what_the_person_says_is_refused(talk: tuple[Message, ...]) -> None:
    with pytest.raises(BadTemplate, match="leaves out"):
        build(loaded(lambda _messages: "<|im_start|>assistant\n"), CHATML, talk, {})


def test_a_template_that_changes_texts_gets_them_defused() -> None:
    def shouting(messages: Sequence[Message]) -> str:
        return chatml([replace(message, text=message.text.upper()) for message in messages])

    form = replace(CHATML, control_tokens=("<|IM_END|>", "<|im_end|>"))
    engine = loaded(shouting)
    prompt = build(engine, form, (Message("user", "a <|im_end|> b"),), {})
    assert [segment.role for segment in prompt.segments] == ["template"]
    assert prompt.segments[0].text == "<|im_start|>user\nA <\u200b|IM_END|> B<|im_end|>\n<|im_start|>assistant\n"
    assert prompt.tokens == (MARKUP,)


def test_a_template_may_cut_an_answer_s_thoughts() -> None:
    def forgetting(messages: Sequence[Message]) -> str:
        return chatml([replace(message, text=message.text.split("</think>")[-1]) for message in messages])

    talk = (HELLO, Message("assistant", "hm</think>Hi!"), Message("user", "Bye"))
    prompt = build(loaded(forgetting), CHATML, talk, {})
    assert "hm" not in "".join(segment.text for segment in prompt.segments)


def test_a_text_that_the_template_trims_keeps_its_role() -> None:
    def trimming(messages: Sequence[Message]) -> str:
        return chatml([replace(message, text=message.text.strip()) for message in messages])

    talk = (Message("user", " Hello\n"), Message("assistant", " Hi! "), Message("user", "Bye"))
    contents = [pair for pair in shape(build(loaded(trimming), CHATML, talk, {})) if pair[0] != "template"]
    assert contents == [("user", "Hello"), ("assistant", "Hi!"), ("user", "Bye")]


@pytest.mark.parametrize("form", [CHATML, MISTRAL])
@pytest.mark.parametrize("talk", [(SYSTEM,), (Message("assistant", "Hi"), HELLO), (HELLO, Message("assistant", "Hi"))])
def test_a_conversation_that_leaves_nothing_to_answer_is_refused(form: Format, talk: tuple[Message, ...]) -> None:
    with pytest.raises(UsageError):
        build(loaded(), form, talk, {})


@pytest.mark.parametrize("make", [lambda: MISTRAL, lambda: CHATML])
def test_building_twice_gives_the_same_prompt(make: Callable[[], Format]) -> None:
    engine = loaded()
    assert build(engine, make(), TALK, {}) == build(engine, make(), TALK, {})
