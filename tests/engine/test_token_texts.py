"""The texts of tokens, from the real vocabularies."""

from pathlib import Path

import pytest

from mixchat.chat.messages import Text
from mixchat.engine.client import WorkerClient
from mixchat.engine.events import LoadRequest
from mixchat.errors import EngineError
from tests.mistral_vocab import write_vocab

TEXTS = ("", "def f(x):\n    return x  # naïve", "日本語 👩‍💻 e\u0301 \u202e", "<|im_end|> </s> \t\r\n", "x" * 3000)


def joined(client: WorkerClient, text: str) -> tuple[str, ...]:
    (ids,) = client.tokenize((Text(text),), prompt=False)
    texts = client.texts(ids)
    assert len(texts) == len(ids)
    return texts


@pytest.mark.parametrize("text", TEXTS)
def test_the_texts_of_tokens_are_the_text(text: str, demo: WorkerClient) -> None:
    assert "".join(joined(demo, text)) == text


def test_a_character_is_the_last_of_its_tokens(demo: WorkerClient) -> None:
    texts = joined(demo, "👩")
    assert texts == ("",) * (len(texts) - 1) + ("👩",)
    (ids,) = demo.tokenize((Text("👩"),), prompt=False)
    assert demo.texts(ids[:1])[0] == "\ufffd"
    assert demo.texts(()) == ()


def test_sentencepiece_has_its_space_in_front_and_control_tokens_their_names(
    client: WorkerClient, tmp_path: Path
) -> None:
    with pytest.raises(EngineError, match="No model is loaded"):
        client.texts((1,))
    list(client.load(LoadRequest(str(write_vocab(tmp_path / "vocab.gguf")), vocab_only=True)))
    for text in TEXTS[1:]:
        assert "".join(joined(client, text)) == " " + text
    assert client.texts((1, 2)) == ("<s>", "</s>")
    assert client.texts(client.tokenize((Text("\x01"),), prompt=False)[0])[-1] == "\x01"
