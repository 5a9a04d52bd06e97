"""Small steps of the tests that hold a conversation with a scripted engine."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from mixchat.app.conversing import Conversation
from mixchat.app.events import Notice
from mixchat.chat.journal import Record
from mixchat.chat.messages import Turn
from mixchat.engine.events import Finished, Token, Usage
from mixchat.gguf.values import ValueType
from mixchat.gguf.writer import array, text, texts, u32
from mixchat.store.sessions import Unsaved
from tests.builders import Tiny, tiny_moe
from tests.fakes.engine import SAMPLED

MIXTRAL_WORDS = 32000
_MARKS = ("<s>", "</s>", "<|im_start|>", "<|im_end|>")


class Memory(Unsaved):
    """A log that only remembers.

    Attributes:
        kept: All records, those of before included.
    """

    def __init__(self, *records: Record) -> None:
        super().__init__()
        self.records = records
        self.kept: list[Record] = [*records]

    def append(self, record: Record, *records: Record, sync: bool = True) -> None:  # noqa: ARG002 - as a session
        self.kept += [record, *records]


def write_model(path: Path, template: str = "a template", context: int = 4096) -> Path:
    """A mixture whose template a scripted engine renders."""
    words = [*_MARKS, *(f"word{index}" for index in range(len(_MARKS), 256))]
    return _write(path, words, {"model": "gpt2", "template": template}, context)


def write_mixtral(path: Path, context: int = 4096) -> Path:
    """A mixture whose header asks for Mixtral's own prompt."""
    words = ["<unk>", "<s>", "</s>", *(f"word{index}" for index in range(3, MIXTRAL_WORDS))]
    return _write(path, words, {"model": "llama", "template": "[INST] {{ content }} [/INST]"}, context)


def _write(path: Path, words: Sequence[str], named: dict[str, str], context: int) -> Path:
    kinds = [3 if word.startswith("<") else 1 for word in words]
    extra = {
        "tokenizer.ggml.model": text(named["model"]),
        "tokenizer.ggml.tokens": texts(words),
        "tokenizer.ggml.token_type": array(ValueType.INT32, kinds),
        "tokenizer.ggml.bos_token_id": u32(words.index("<s>")),
        "tokenizer.ggml.eos_token_id": u32(words.index("</s>")),
        "tokenizer.chat_template": text(named["template"]),
    }
    return tiny_moe(path, Tiny(layers=1, words=len(words), context=context), extra=extra)


def finished(events: Iterable[object]) -> Finished:
    """The only end among an answer's events."""
    (end,) = (event for event in events if isinstance(event, Finished))
    return end


def usage(events: Iterable[object]) -> Usage:
    """The tokens of an answer."""
    return finished(list(events)).usage


def held(use: Usage) -> int:
    """Tokens that are evaluated after an answer that the model ended."""
    return use.prompt_tokens + use.completion_tokens


def notices(events: Iterable[object]) -> list[str]:
    """What a person was told."""
    return [event.text for event in events if isinstance(event, Notice)]


def until(events: Iterator[object], token: str, talk: Conversation) -> list[object]:
    """Take an answer and interrupt it at a token."""
    seen = []
    for event in events:
        seen.append(event)
        if event == Token(token, SAMPLED + ord(token)):
            talk.interrupt()
    return seen


def turns(talk: Conversation) -> tuple[Turn, ...]:
    """What was said, whatever its tokens."""
    return tuple(replace(turn, tokens=(), vocabulary="") for turn in talk.transcript.turns)


def answers(talk: Conversation) -> list[str]:
    """The answers alone."""
    return [turn.assistant for turn in talk.transcript.turns]


def sampled(answer: str) -> tuple[int, ...]:
    """The tokens that a scripted engine samples for an answer."""
    return tuple(SAMPLED + ord(character) for character in answer)


def noon() -> datetime:
    """A time at which sessions begin."""
    return datetime(2025, 1, 2, 12, tzinfo=UTC)
