"""The reference and the vocabulary that other rooms' tests lean on are what they are said to be."""

import json
from pathlib import Path

import pytest

from mixchat.chat.messages import Message
from tests.mistral_vocab import reference_tokens, write_vocab

GOLDEN = json.loads((Path(__file__).parents[1] / "data" / "mistral_v1_prompts.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("case", GOLDEN, ids=lambda case: str(case["name"]))
def test_the_reference_gives_the_golden_tokens(case: dict[str, object]) -> None:
    raw = case["messages"]
    assert isinstance(raw, list)
    assert reference_tokens(Message(item["role"], item["content"]) for item in raw) == case["token_ids"]


@pytest.mark.parametrize(
    ("add_space_prefix", "stored"),
    [(True, [b"\7\0\0\0\1"]), (False, [b"\7\0\0\0\0"]), (None, [])],
)
def test_the_vocabulary_file(tmp_path: Path, add_space_prefix: bool | None, stored: list[bytes]) -> None:
    data = write_vocab(tmp_path / "vocab.gguf", add_space_prefix).read_bytes()
    assert data.startswith(b"GGUF\3\0\0\0" + bytes(8)), "version 3 without tensors"
    assert [rest[:5] for rest in data.split(b"tokenizer.ggml.add_space_prefix")[1:]] == stored
    assert (32000).to_bytes(8, "little") + b"\5\0\0\0\0\0\0\0<unk>\3\0\0\0\0\0\0\0<s>" in data
