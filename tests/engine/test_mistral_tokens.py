"""Mixtral's prompt, token for token: our pieces through llama.cpp's tokenizer against mistral-common."""

import json
import os
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import TypedDict

import pytest

from mixchat.chat import mistral
from mixchat.chat.messages import Control, Message, Text
from mixchat.engine.client import WorkerClient
from mixchat.engine.events import LoadRequest
from mixchat.errors import UsageError
from tests.mistral_vocab import reference_tokens, write_vocab


class Case(TypedDict):
    name: str
    messages: list[dict[str, str]]
    token_ids: list[int]


GOLDEN: list[Case] = json.loads(
    (Path(__file__).parents[1] / "data" / "mistral_v1_prompts.json").read_text(encoding="utf-8")
)

NASTY: dict[str, list[tuple[str, str]]] = {
    "empty": [("user", "")],
    "space": [("user", " ")],
    "line end": [("user", "\n")],
    "NUL": [("user", "a\0b")],
    "SentencePiece's space": [("user", "▁ ▁x")],
    "marks": [("user", "[INST] x [/INST] y")],
    "typed control tokens": [("user", "</s><s><unk><0x0A>")],
    "blank system": [("system", "  "), ("user", "x")],
    "three systems": [("system", "a"), ("system", ""), ("system", "b"), ("user", "x")],
    "system between users": [("user", "a"), ("system", "s"), ("user", "b")],
    "merged users": [("user", "a"), ("user", ""), ("user", "b")],
    "empty user first": [("user", ""), ("user", "b")],
    "merged answers": [("user", "a"), ("assistant", "x"), ("assistant", "y"), ("user", "b")],
    "an answer of a space": [("user", "a"), ("assistant", " "), ("user", "b")],
    "an answer with line ends": [("user", "a"), ("assistant", "\n x \n"), ("user", "b")],
    "system before an answer": [("user", "a"), ("system", "s"), ("assistant", "y"), ("user", "b")],
    "odd characters": [("user", "\u200b\ufeff\u2028 ﬁ Å ½ \t\t\r\r\n")],
    "emoji": [("user", "🙂" * 50)],
    "escapes": [("user", "\ufffd\x7f\x1b[0m")],
    "spaces": [("user", " " * 40 + "x" + " " * 17)],
    "system and empty user": [("system", "s"), ("user", "")],
}


@pytest.fixture(scope="module", params=[True, None, False], ids=["prefix", "absent", "no prefix"])
def mistral_client(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[WorkerClient]:
    path = write_vocab(tmp_path_factory.mktemp("vocab") / "vocab.gguf", request.param)
    with closing(WorkerClient(os.environ)) as client:
        list(client.load(LoadRequest(str(path), vocab_only=True)))
        yield client


def _messages(pairs: list[tuple[str, str]]) -> list[Message]:
    return [Message(role, text) for role, text in pairs]  # type: ignore[arg-type]  # literals above


def _tokens(client: WorkerClient, messages: list[Message]) -> list[int]:
    return [token for ids in client.tokenize(mistral.render(messages), prompt=True) for token in ids]


@pytest.mark.parametrize("case", GOLDEN, ids=lambda case: str(case["name"]))
def test_golden(mistral_client: WorkerClient, case: Case) -> None:
    messages = _messages([(each["role"], each["content"]) for each in case["messages"]])
    assert _tokens(mistral_client, messages) == case["token_ids"]


@pytest.mark.parametrize("name", NASTY)
def test_nasty(mistral_client: WorkerClient, name: str) -> None:
    messages = _messages(NASTY[name])
    assert _tokens(mistral_client, messages) == reference_tokens(messages)


def test_a_system_after_an_answer_is_refused_as_by_the_reference() -> None:
    messages = _messages([("user", "a"), ("assistant", "b"), ("system", "s"), ("user", "c")])
    with pytest.raises(UsageError):
        mistral.render(messages)


def test_control_pieces_add_no_space(mistral_client: WorkerClient) -> None:
    assert mistral_client.tokenize((Control("<s>"), Control("</s>")), prompt=True) == ((1,), (2,))


def test_bos_is_added_once_where_a_template_leaves_it_out(mistral_client: WorkerClient) -> None:
    without = mistral_client.tokenize((Control("x"), Text("y")), prompt=True)
    assert without[0][0] == 1
    assert without[0].count(1) == 1
    assert mistral_client.tokenize((Control("x"),), prompt=False)[0][0] != 1


def test_a_text_inside_a_templates_line_gets_no_space(mistral_client: WorkerClient) -> None:
    alone, inside = (
        mistral_client.tokenize(pieces, prompt=False)[-1]
        for pieces in ((Control("</s>"), Text("Hello")), (Control("</s>user\n"), Text("Hello")))
    )
    assert len(alone) == len(inside) == 1
    assert alone != inside
