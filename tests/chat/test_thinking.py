"""Thinking and answer told apart, wherever the chunks are cut."""

import re
from collections.abc import Iterable
from itertools import groupby, pairwise

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from mixchat.chat.messages import Message, Turn
from mixchat.chat.thinking import Kind, Style, Tags, reasoning_of
from mixchat.chat.transcript import Transcript
from mixchat.engine.worker.template import render

QWEN = "{% if '</think>' in content %}{% endif %}<|im_start|>"
GPT_OSS = "{{ '<|start|>assistant<|channel|>final<|message|>' }}"
GPT_OSS_TOKENS = (
    "<|startoftext|>",
    "<|return|>",
    "<|constrain|>",
    "<|channel|>",
    "<|start|>",
    "<|end|>",
    "<|message|>",
)


def style_of(template: str, *tokens: str) -> Style:
    style = reasoning_of("template", template, tokens)
    assert style is not None
    return style


THINK = style_of(QWEN)
FRAMED = Style((), Tags("<think>", "</think>", (("<response>", "</response>"), ("<answer>", "</answer>"))))
HARMONY = style_of(GPT_OSS, *GPT_OSS_TOKENS)


def split(style: Style, chunks: Iterable[str], tail: str = "") -> list[tuple[Kind, str]]:
    """All parts, neighbours of one kind joined."""
    splitter = style.splitter(tail)
    parts = [part for chunk in chunks for part in splitter.feed(chunk)]
    parts += splitter.finish()
    assert splitter.finish() == ()
    assert all(part.text for part in parts)
    return [(kind, "".join(part.text for part in run)) for kind, run in groupby(parts, lambda part: part.kind)]


def whole(style: Style, text: str, tail: str = "") -> list[tuple[Kind, str]]:
    return split(style, [text], tail)


@pytest.mark.parametrize(
    ("template", "tokens", "tags", "shown"),
    [
        (QWEN, ("<|im_end|>",), ("<think>", "</think>"), ()),
        ("{{ '<think>' }}", ("</think>", "<think>"), ("<think>", "</think>"), ("</think>", "<think>")),
        ("<think> <|START_THINKING|>", ("<|START_THINKING|>",), ("<|START_THINKING|>", "<|END_THINKING|>"), None),
        ("'<seed:think>'", (), ("<seed:think>", "</seed:think>"), ()),
        ("no mark", ("<s>", "[THINK]", "[/THINK]"), ("[THINK]", "[/THINK]"), ("[/THINK]", "[THINK]")),
        ("<|channel>thought", ("<channel|>", "<|channel>"), ("<|channel>thought", "<channel|>"), None),
    ],
)
def test_template_and_vocabulary_tell_the_marks(
    template: str, tokens: tuple[str, ...], tags: tuple[str, str], shown: tuple[str, ...] | None
) -> None:
    style = style_of(template, *tokens)
    assert style.tags is not None
    assert (style.tags.start, style.tags.end) == tags
    assert style.shown == (tuple(sorted(tokens)) if shown is None else shown)


def test_frames_are_those_that_the_template_mentions() -> None:
    assert THINK.tags == Tags("<think>", "</think>")
    assert style_of("<think> <response>").tags == Tags("<think>", "</think>", (("<response>", "</response>"),))


def test_harmony_needs_both_of_its_marks() -> None:
    assert HARMONY.tags is None
    assert set(HARMONY.shown) == {"<|constrain|>", "<|channel|>", "<|start|>", "<|end|>", "<|message|>"}
    assert style_of("<|channel|><|message|>") == Style((), None)
    assert reasoning_of("template", "<|channel|>", ()) is None


def test_without_marks_there_is_no_style() -> None:
    assert reasoning_of("mistral-v1", QWEN, ("[THINK]",)) is None
    assert reasoning_of("template", "{{ '<|im_start|>' }}", ("<|im_start|>", "<|im_end|>")) is None


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("<think>\nA\nB\n</think>\n\nC\n", [("thinking", "A\nB"), ("answer", "C\n")]),
        ("\n <think>A</think>B", [("thinking", "A"), ("answer", "B")]),
        ("<think>\n\n</think>\n\nB", [("answer", "B")]),
        ("<think></think>", []),
        ("<think>A", [("thinking", "A")]),
        ("<think>A</thin", [("thinking", "A</thin")]),
        ("<think>A\n\n", [("thinking", "A\n\n")]),
        ("<think>A<think>B</think>C</think>D", [("thinking", "A<think>B"), ("answer", "C</think>D")]),
        ("Use <think>x</think>.", [("answer", "Use <think>x</think>.")]),
        ("</think>B", [("answer", "</think>B")]),
        ("  B", [("answer", "  B")]),
        ("<thin", [("answer", "<thin")]),
        ("<b>", [("answer", "<b>")]),
        ("  ", [("answer", "  ")]),
        ("", []),
    ],
)
def test_tags(text: str, parts: list[tuple[Kind, str]]) -> None:
    assert whole(THINK, text) == parts
    assert split(THINK, text) == parts


@pytest.mark.parametrize("tail", ["<|Assistant|><think>\n", "Assistant\n<think>\n\n", "<think>"])
def test_a_prompt_may_begin_the_thinking(tail: str) -> None:
    assert whole(THINK, "\nA\n</think>\n\nB", tail) == [("thinking", "A"), ("answer", "B")]


def test_a_prompt_may_end_the_thinking() -> None:
    assert whole(THINK, "B</think>", "<think>\n\n</think>\n\n") == [("answer", "B</think>")]


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("\n<response>\nB\n</response>\n", "B"),
        ("<answer>B</answer>", "B"),
        ("\n\nB</response>\n", "B</response>\n"),
        ("<response>B</response> C </response>", "B</response> C"),
        ("<response>B </resp", "B </resp"),
        ("<response>B  ", "B  "),
        ("<response></response>", ""),
        ("<response>", ""),
        ("<res", "<res"),
        ("<response>B</response></response>", "B</response>"),
        ("<response><answer>B", "<answer>B"),
        ("See <response>", "See <response>"),
    ],
)
def test_a_frame_around_the_answer_is_markup(text: str, answer: str) -> None:
    expected = [("thinking", "A"), *([("answer", answer)] if answer else [])]
    assert whole(FRAMED, "<think>A</think>" + text) == expected
    assert split(FRAMED, "<think>A</think>" + text) == expected


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        (
            "<|channel|>analysis<|message|>A.<|end|><|start|>assistant<|channel|>final<|message|>B",
            [("thinking", "A."), ("answer", "B")],
        ),
        ("<|channel|>final<|message|>B", [("answer", "B")]),
        ("<|channel|>final <|constrain|>json<|message|>{}", [("answer", "{}")]),
        ("<|message|>B", [("answer", "B")]),
        ("<|channel|>analysis<|message|>A", [("thinking", "A")]),
        ("<|channel|>analysis<|message|>A<|en", [("thinking", "A<|en")]),
        (
            "<|channel|>analysis<|message|>A<|end|><|start|>assistant<|channel|>commentary<|message|>B<|end|>",
            [("thinking", "A\n\nB")],
        ),
        (" to=functions.x<|channel|>commentary json<|message|>{}", [("thinking", "{}")]),
        ("<|channel|>commentary to=assistant<|channel|>analysis<|message|>A", [("thinking", "A")]),
        (
            "<|channel|>analysis<|message|>A<|channel|>final<|message|>B <|channel|>x",
            [("thinking", "A"), ("answer", "B <|channel|>x")],
        ),
        (
            "<|channel|>analysis<|message|>A<|start|>assistant<|message|>B",
            [("thinking", "A"), ("answer", "B")],
        ),
        ("Hello <|channel|>", [("answer", "Hello <|channel|>")]),
        (" to", [("answer", " to")]),
        (" ", [("answer", " ")]),
        (" to be", [("answer", " to be")]),
        ("<|chan", [("answer", "<|chan")]),
        ("<|channel|>final", []),
        ("<|channel|>final<|mess", []),
        ("<|channel|>Well, yes", [("answer", "Well, yes")]),
        ("<|channel|>final<b>", [("answer", "final<b>")]),
        ("", []),
    ],
)
def test_harmony(text: str, parts: list[tuple[Kind, str]]) -> None:
    assert whole(HARMONY, text, "<|end|><|start|>assistant") == parts
    assert split(HARMONY, text, "<|end|><|start|>assistant") == parts


@pytest.mark.parametrize(
    ("tail", "text", "parts"),
    [
        ("<|start|>assistant<|channel|>final<|message|>", "B", [("answer", "B")]),
        ("<|start|>assistant<|channel|>", "analysis<|message|>A", [("thinking", "A")]),
        ("<|message|>hi<|end|><|start|>assistant", "Hello.", [("answer", "Hello.")]),
        ("", "<|channel|>analysis<|message|>A", [("thinking", "A")]),
    ],
)
def test_a_prompt_may_begin_the_first_message(tail: str, text: str, parts: list[tuple[Kind, str]]) -> None:
    assert whole(HARMONY, text, tail) == parts


def test_what_is_certain_comes_at_once() -> None:
    splitter = THINK.splitter("")
    chunks = ["<thi", "nk>", "\nA", " <", "b>\n", "</", "think>", "\n", "B <"]
    assert ["".join(part.text for part in splitter.feed(chunk)) for chunk in chunks] == [
        *("", "", "A", " ", "<b>", "", "", "", "B <"),
    ]


BITS = st.sampled_from(
    [
        *("<think>", "</think>", "<", ">", "think", "/", "\n", " ", "a", "b<", "</", "<response>", "</response>"),
        *(
            "<|channel|>",
            "<|message|>",
            "<|start|>",
            "<|end|>",
            "<|",
            "|>",
            "analysis",
            "final",
            "assistant",
            " to=",
            ".",
        ),
    ]
)
TEXTS = st.lists(BITS, max_size=14).map("".join)
STYLES = st.sampled_from([THINK, FRAMED, HARMONY])
TAILS = st.sampled_from(["", "<think>\n", "<|start|>assistant", "<|start|>assistant<|channel|>"])


@given(STYLES, TAILS, TEXTS, st.lists(st.integers(0, 80)))
def test_where_the_chunks_are_cut_makes_no_difference(style: Style, tail: str, text: str, cuts: list[int]) -> None:
    marks = [0, *sorted(cuts), len(text)]
    chunks = [text[begin:end] for begin, end in pairwise(marks)]
    assert split(style, ["".join(chunks)], tail) == split(style, chunks, tail)
    assert split(style, text, tail) == whole(style, text, tail)


@given(TAILS, TEXTS)
def test_nothing_but_marks_and_blanks_beside_them_is_lost(tail: str, text: str) -> None:
    said = "".join(part for _kind, part in whole(THINK, text, tail))
    assert re.sub(r"</?think>|\s", "", said) == re.sub(r"</?think>|\s", "", text)
    assert said.count("<think>") + 1 >= text.count("<think>")


@given(st.text(alphabet="ab<>/\n thinkresponse|"), STYLES)
def test_an_answer_without_marks_passes_unchanged(text: str, style: Style) -> None:
    if "<think>" not in text:
        assert whole(style, text, "") == ([("answer", text)] if text else [])


@given(st.text(min_size=1), st.text(min_size=1))
def test_thinking_and_answer_come_back(thinking: str, answer: str) -> None:
    assume("think>" not in thinking + answer and "<|" not in thinking + answer)
    thinking, answer = thinking.strip("\n") or "t", answer.lstrip("\n") or "a"
    for text, style in (
        (f"<think>\n{thinking}\n</think>\n\n{answer}", THINK),
        (
            f"<|channel|>analysis<|message|>{thinking}<|end|><|start|>assistant<|channel|>final<|message|>{answer}",
            HARMONY,
        ),
    ):
        assert split(style, text) == [("thinking", thinking), ("answer", answer)]


# Written after what the models' own templates do with earlier answers, without their tools.
QWEN3_LIKE = """\
{%- for message in messages %}
{%- set content = message.content.split('</think>')[-1].lstrip('\\n') %}
{{- '<|im_start|>' + message.role + '\\n' + content + '<|im_end|>\\n' }}
{%- endfor %}
{{- '<|im_start|>assistant\\n' }}"""
R1_LIKE = """\
{{- bos_token }}
{%- for message in messages %}
{%- if message.role == 'user' %}{{- '<User>' + message.content }}{% endif %}
{%- if message.role == 'assistant' %}{{- '<Assistant>' + message.content.split('</think>')[-1] + '<end>' }}{% endif %}
{%- endfor %}
{{- '<Assistant><think>\\n' }}"""
GPT_OSS_LIKE = """\
{%- for message in messages %}
{%- if message.role == 'assistant' %}
{%- if '<|channel|>analysis<|message|>' in message.content %}{{ raise_exception('channels in the content') }}{% endif %}
{{- '<|start|>assistant<|channel|>final<|message|>' + message.content + '<|end|>' }}
{%- else %}
{{- '<|start|>' + message.role + '<|message|>' + message.content + '<|end|>' }}
{%- endif %}
{%- endfor %}
{{- '<|start|>assistant' }}"""
GLM_LIKE = """\
{%- for message in messages %}
{{- '<|' + message.role + '|>\\n' }}
{%- if message.role == 'assistant' %}{{- '<think></think>\\n' }}{% endif %}
{{- message.content.split('</think>')[-1].strip() }}
{%- endfor %}
{{- '<|assistant|>' }}"""


@pytest.mark.parametrize(
    ("template", "raw", "before", "after"),
    [
        (
            QWEN3_LIKE,
            "<think>\nhm\n</think>\n\nYes.",
            "<|im_start|>assistant\nYes.<|im_end|>\n",
            "<|im_start|>assistant\n",
        ),
        (R1_LIKE, "hm\n</think>\n\nYes.", "<Assistant>Yes.<end>", "<Assistant><think>\n"),
        (
            GPT_OSS_LIKE,
            "<|channel|>analysis<|message|>hm<|end|><|start|>assistant<|channel|>final<|message|>Yes.",
            "<|start|>assistant<|channel|>final<|message|>Yes.<|end|>",
            "<|start|>assistant",
        ),
        (GLM_LIKE, "\n<think>hm</think>\nYes.", "<|assistant|>\n<think></think>\nYes.", "<|assistant|>"),
    ],
)
def test_earlier_turns_need_the_answer_only(template: str, raw: str, before: str, after: str) -> None:
    """An answer is split, kept in its turn, and the next prompt holds what the template makes of the answer alone."""
    style = style_of(template)
    first = render(template, [Message("user", "Well?")], "", "")
    said = dict(split(style, raw, first))
    turn = Turn("Well?", said["answer"], thinking=said["thinking"])
    messages = Transcript(turns=(turn,)).messages("Sure?")
    assert Message("assistant", "Yes.") in messages
    prompt = render(template, messages, "", "")
    assert "hm" not in prompt
    assert before in prompt
    assert prompt.endswith(after)
