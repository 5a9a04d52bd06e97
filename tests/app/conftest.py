"""A house around a scripted engine, and a model file whose header is sound."""

from collections.abc import Callable
from pathlib import Path

import pytest

from mixchat.app.house import House
from mixchat.app.source import Format
from mixchat.gguf.values import ValueType
from mixchat.gguf.writer import array, text, texts, u32
from mixchat.models.registry import load_registry
from mixchat.store.places import Places
from mixchat.store.proofs import Proof
from mixchat.store.settings import Settings, resolve
from tests.builders import Tiny, tiny_moe
from tests.fakes.engine import FakeEngine

SOUND = Proof(extra_buffers=True, reason="")
WORDS = 256

MakeHouse = Callable[..., House]
MakeSettings = Callable[..., Settings]


def chatting_mixture(path: Path, layers: int) -> Path:
    """A mixture with a chat template and 512 tokens of context."""
    words = ["<s>", "</s>", "<|im_start|>", "<|im_end|>", *(f"word{index}" for index in range(4, WORDS))]
    extra = {
        "tokenizer.ggml.model": text("gpt2"),
        "tokenizer.ggml.tokens": texts(words),
        "tokenizer.ggml.token_type": array(ValueType.INT32, [3, 3, 3, 4, *[1] * (WORDS - 4)]),
        "tokenizer.ggml.bos_token_id": u32(0),
        "tokenizer.ggml.eos_token_id": u32(3),
        "tokenizer.chat_template": text("a template"),
    }
    return tiny_moe(path, Tiny(layers=layers, words=WORDS), extra=extra)


@pytest.fixture(scope="session")
def model_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A mixture of one layer."""
    return chatting_mixture(tmp_path_factory.mktemp("app") / "small.gguf", 1)


@pytest.fixture(scope="session")
def two_layers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same of two layers, as many as the scripted engine has routers in."""
    return chatting_mixture(tmp_path_factory.mktemp("app") / "small.gguf", 2)


@pytest.fixture
def make_house(places: Places) -> MakeHouse:
    """A house around an engine; the build's proof is as given."""

    def make(engine: FakeEngine, proof: Proof = SOUND, *, new: bool = False) -> House:
        return House(places, load_registry(), engine, lambda: (proof, new))

    return make


@pytest.fixture
def settings() -> MakeSettings:
    """Settings with these flags."""
    return lambda **flags: resolve(flags, {}, None, Path("config.toml"))


@pytest.fixture
def chatml_form() -> Format:
    """What the model file's header says about its prompt."""
    control = ("<s>", "</s>", "<|im_start|>", "<|im_end|>")
    return Format("template", "a template", "<s>", "<|im_end|>", control, ("<|im_end|>",))
