"""Find a model and read what its file says, before anything is loaded.

Knows references, the store and headers; refuses to know devices and memory.
"""

from collections.abc import Collection, Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from mixchat.app.events import Making
from mixchat.app.house import House
from mixchat.app.machine import fits_here
from mixchat.chat.family import Family, choose_family
from mixchat.errors import BadModel
from mixchat.gguf.header import Header
from mixchat.gguf.model import MoeModel, describe
from mixchat.models.demo import make_demo
from mixchat.models.finding import find, to_be_made
from mixchat.models.reference import parse_reference
from mixchat.models.registry import Entry
from mixchat.models.shards import read_model
from mixchat.store.settings import Settings

_DEFINED_TYPES: Final = frozenset({4})  # LLAMA_TOKEN_TYPE_USER_DEFINED
_CONTROL_TYPES: Final = _DEFINED_TYPES | {3}  # LLAMA_TOKEN_TYPE_CONTROL


@dataclass(frozen=True, slots=True)
class Source:
    """A model file on this machine and what its header says.

    Attributes:
        name: What the person calls it.
        path: The file.
        entry: What the registry knows about it.
        header: All of its header.
        model: Shape and bytes.
    """

    name: str
    path: Path
    entry: Entry | None
    header: Header
    model: MoeModel


@dataclass(frozen=True, slots=True)
class Format:
    """How a model wants its prompt.

    Attributes:
        family: mixchat's own rendering or the file's template.
        template: The file's Jinja source; empty in the mistral family.
        bos: Text of the token that begins a prompt; empty when there is none.
        eos: Text of the token that ends an answer.
        control_tokens: Texts that the tokenizer turns into control tokens.
        defined_tokens: Those among them that it makes of any text, wherever it stands.
    """

    family: Family
    template: str
    bos: str
    eos: str
    control_tokens: tuple[str, ...]
    defined_tokens: tuple[str, ...] = ()


def locate(house: House, text: str, settings: Settings | None = None) -> Iterator[Making | Source]:
    """Find the model that `text` means, making the demo when it is asked for; ends with its Source.

    Args:
        house: The outside.
        text: A model reference; when it leaves the quantization open, the largest is meant that fits.
        settings: What to fit; None: with nothing special wished.

    Raises:
        UsageError: `text` is no model reference.
        NotPulled: It is not on this machine and can be fetched.
        NotFound: There is no such model.
        BadModel: The file is damaged or no model.
    """
    reference = parse_reference(text, house.registry.entries)
    if (entry := to_be_made(house.places, house.registry, reference)) is not None:
        for fraction in make_demo(house.places, entry):
            yield Making(fraction)
    found = find(house.places, house.registry, reference, fits_here(house, settings))
    header = read_model(found.path)
    yield Source(found.name, found.path, found.entry, header, describe(header))


def finding(house: House, text: str, settings: Settings | None = None) -> Generator[Making, None, Source]:
    """`locate` for those who pass the making on."""
    for event in locate(house, text, settings):
        if isinstance(event, Source):
            return event
        yield event
    raise AssertionError("locate ends with a source")


def located(house: House, text: str, settings: Settings | None = None) -> Source:
    """`locate` for those who do not show the making."""
    *_making, source = locate(house, text, settings)
    assert isinstance(source, Source)  # noqa: S101 - it is what locate ends with
    return source


def loadable(source: Source) -> None:
    """Refuse a file that llama.cpp no longer loads, before it is tried.

    Raises:
        BadModel: Its experts are stored one tensor each.
    """
    if source.model.layout == "legacy":
        raise BadModel(
            f"{source.path} stores each expert as a tensor of its own (legacy layout of before April 2024); "
            "llama.cpp no longer loads that.",
            f"Run: mixchat upgrade {source.path}, or get a conversion with merged experts, such as "
            "Mixtral-8x7B-Instruct-v0.1.Q4_K_M.gguf of mradermacher.",
        )


def prompt_format(source: Source) -> Format:
    """How this model wants its prompt.

    Raises:
        BadModel: It is a base model without a chat template.
    """
    model, header = source.model, source.header
    family = choose_family(model.tokenizer, model.chat_template, model.architecture, model.n_experts, model.vocab_size)
    return Format(
        family,
        (model.chat_template or "") if family == "template" else "",
        _token_text(header, "tokenizer.ggml.bos_token_id"),
        _token_text(header, "tokenizer.ggml.eos_token_id"),
        _tokens_of(header, _CONTROL_TYPES),
        _tokens_of(header, _DEFINED_TYPES),
    )


def _tokens(header: Header) -> tuple[object, ...]:
    tokens = header.metadata.get("tokenizer.ggml.tokens", ())
    return tokens if isinstance(tokens, tuple) else ()


def _token_text(header: Header, key: str) -> str:
    tokens = _tokens(header)
    index = header.integer(key, -1)
    return str(tokens[index]) if 0 <= index < len(tokens) else ""


def _tokens_of(header: Header, kinds: Collection[int]) -> tuple[str, ...]:
    types = header.metadata.get("tokenizer.ggml.token_type", ())
    if not isinstance(types, tuple):
        return ()
    pairs = zip(_tokens(header), types, strict=False)
    return tuple(str(token) for token, kind in pairs if kind in kinds)
