"""Answers of the real engine that obey a grammar."""

import json
import re
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from mixchat.chat.gbnf import choices_grammar
from mixchat.chat.messages import Control, Text
from mixchat.chat.schema import compile_schema
from mixchat.engine.client import WorkerClient
from mixchat.engine.events import Finished, GenerateRequest, LoadRequest, Prefilling, Sampling
from mixchat.errors import EngineDied, UsageError
from tests.engine.steps import GREEDY, chatml, greedy, said
from tests.random_schemas import random_schema

SEEDED = Sampling(temperature=1.2, seed=5)


def obeying(
    client: WorkerClient, grammar: str, sampling: Sampling = SEEDED, count: int = 60
) -> tuple[str, tuple[int, ...], Finished]:
    prompt = chatml(client, "What is the capital of France?")
    return said(client.generate(GenerateRequest(prompt, sampling, count, grammar=grammar)))


@pytest.mark.parametrize("sampling", [GREEDY, SEEDED, Sampling(top_k=0, min_p=0, top_p=1, repeat_penalty=1.3)])
@pytest.mark.parametrize(
    ("grammar", "pattern"),
    [
        ('root ::= [a-z]{3,9} " " [0-9]{2}', "[a-z]{3,9} [0-9]{2}"),
        ('root ::= "é" ("ß" | "€"){2,3} "\U0001f600"', "é[ß€]{2,3}\U0001f600"),
        ('root ::= <[500]> !<[500]> "."', "(?s).+\\."),
        ('root ::= "a" | "ab" | "abc"', "a|ab|abc"),
    ],
)
def test_an_answer_obeys(demo: WorkerClient, grammar: str, pattern: str, sampling: Sampling) -> None:
    text, _ids, end = obeying(demo, grammar, sampling)
    assert re.fullmatch(pattern, text)
    assert end.reason == "stop"


@pytest.mark.parametrize("sampling", [GREEDY, SEEDED])
def test_choices(demo: WorkerClient, sampling: Sampling) -> None:
    choices = ("yes, of course", "no", "I am not sure")
    text, _ids, end = obeying(demo, choices_grammar(choices), sampling)
    assert text in choices
    assert end.reason == "stop"


def test_random_schemas(demo: WorkerClient) -> None:
    for seed in range(5):
        schema = random_schema(seed)
        text, _ids, end = obeying(demo, compile_schema(schema).grammar, Sampling(seed=seed), 256)
        if end.reason == "stop":
            Draft202012Validator(schema).validate(json.loads(text))


def test_an_answer_is_reproducible_with_a_seed(demo: WorkerClient) -> None:
    grammar = compile_schema({"type": "object"}).grammar

    def once(seed: int, penalty: float = 1.0) -> tuple[str, tuple[int, ...]]:
        greedy(demo, chatml(demo, "Something else, so that the same tokens are evaluated in the same batches."), 1)
        return obeying(demo, grammar, Sampling(temperature=1.2, seed=seed, repeat_penalty=penalty), 30)[:2]

    first = once(5)
    assert once(5) == first
    assert once(6) != first
    assert once(5, 1.2) == once(5, 1.2)


def test_a_grammar_that_refuses_nothing_changes_nothing(demo: WorkerClient) -> None:
    free = greedy(demo, chatml(demo, "What is the capital of France?"), 12)[:2]
    assert obeying(demo, "root ::= .*", GREEDY, 12)[:2] == free


def test_a_grammar_that_comes_to_its_only_end_needs_no_end_token(demo: WorkerClient) -> None:
    text, ids, end = obeying(demo, 'root ::= "Paris"', GREEDY)
    assert (text, end.reason, end.usage.completion_tokens) == ("Paris", "stop", len(ids))


def test_the_model_may_end_only_where_the_grammar_may(demo: WorkerClient) -> None:
    text, ids, end = obeying(demo, "root ::= [A-Za-z ]{20} [a-z]*", GREEDY, 8)
    assert (end.reason, len(ids)) == ("length", 8)
    assert re.fullmatch("[A-Za-z ]+", text)


def test_control_tokens_do_not_count_as_their_text(demo: WorkerClient) -> None:
    text, ids, _end = obeying(demo, 'root ::= "<|im_start|>"', GREEDY)
    assert text == "<|im_start|>"
    assert len(ids) > 1
    pieces = (Control("<|im_start|>user\n"), Text("Hi"), Control("<|im_end|>\n"))
    prompt = tuple(token for ids in demo.tokenize(pieces, prompt=True) for token in ids)
    shown = GenerateRequest(prompt, GREEDY, 9, (), ("<|im_start|>",), 'root ::= "<|im_start|>" [a-z]')
    text, ids, _end = said(demo.generate(shown))
    assert text.startswith("<|im_start|>")
    assert len(ids) == 2


@pytest.mark.parametrize(
    ("grammar", "words"),
    [
        ('root ::= "a"\nother ::= (\n"b"\nlast ::= "c"', "expecting ')' in line 4"),
        ('other ::= "a"', "it does not contain a 'root' symbol"),
        ("root ::= other", "Undefined rule identifier 'other'"),
        ('root ::= root "a" | "b"', "left recursion"),
        ('root ::= "a', "unexpected end of input"),
        ("root ::= " + "(" * 1000 + '"a"' + ")" * 1000, "nested 1000 deep"),
        ("root ::= " + '"a" ' * 300_000, "1048576 are the most"),
        ('root ::= "\0"', "NUL"),
        (" ", "no rules"),
    ],
)
def test_a_grammar_that_cannot_be_compiled(demo: WorkerClient, grammar: str, words: str) -> None:
    prompt = chatml(demo, "Something that was never evaluated before.")
    seen: list[object] = []
    with pytest.raises(UsageError) as caught:
        seen.extend(demo.generate(GenerateRequest(prompt, GREEDY, 5, grammar=grammar)))
    assert words in caught.value.message
    assert "\n" not in caught.value.message
    assert not [event for event in seen if isinstance(event, Prefilling) and event.done > event.cached]
    assert greedy(demo, prompt, 2)[2].usage.completion_tokens == 2


def test_a_grammar_that_no_token_continues(demo: WorkerClient) -> None:
    with pytest.raises(UsageError, match="no token of this model continues it"):
        obeying(demo, 'root ::= "a" [^\\x00-\\U0010FFFF]')
    assert obeying(demo, 'root ::= "a"')[0] == "a"


@pytest.fixture(scope="module")
def doomed(demo_model: Path) -> Iterator[WorkerClient]:
    """A worker that may end."""
    with closing(WorkerClient({})) as started:
        list(started.load(LoadRequest(str(demo_model), context=512, threads=2, read_ahead=False)))
        yield started


def test_a_grammar_without_end_is_ended(doomed: WorkerClient) -> None:
    """llama.cpp does not see this left recursion: an empty rule behind another one."""
    with pytest.raises(EngineDied, match="the grammar has too many ways to go on"):
        obeying(doomed, 'root ::= a\na ::= e a "x" | "y"\ne ::= f\nf ::= "" | "z"')
