"""Metadata of which a model's shape is made, each checked to make sense.

Knows what values a key may have; refuses to know tensors and what the values mean together.
"""

import re
from typing import Final

from mixchat.errors import BadHeader
from mixchat.gguf.cursor import HINT
from mixchat.gguf.header import Header

_NAME: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")


def architecture_of(header: Header) -> str:
    """llama.cpp's name of the architecture, which most keys begin with.

    Raises:
        BadHeader: There is none, or it is no name.
    """
    architecture = header.text("general.architecture")
    if not _NAME.fullmatch(architecture):
        raise BadHeader(f"{architecture[:80]!r} is not an architecture's name.", HINT)
    return architecture


def positive(header: Header, key: str, default: int | None = None) -> int:
    """A whole number of at least 1.

    Raises:
        BadHeader: It is less, or the key is missing and no default was given.
    """
    number = header.integer(key, default)
    if number < 1:
        raise BadHeader(f"The metadata's {key} is {number}.", HINT)
    return number


def optional_text(header: Header, key: str) -> str | None:
    """A text, None when the key is missing."""
    return header.text(key) if key in header.metadata else None


def per_layer(header: Header, key: str, layers: int, default: tuple[int, ...] | None = None) -> tuple[int, ...]:
    """A whole number for each layer; files give one for each, or one for all.

    Raises:
        BadHeader: There are others, a number is negative, or the key is missing and no default was given.
    """
    numbers = header.integers(key, default)
    if len(numbers) == 1:
        numbers *= layers
    if len(numbers) != layers or min(numbers) < 0:
        raise BadHeader(f"The metadata's {key} does not give each of the {layers} layers a count.", HINT)
    return numbers


def feed_forward_widths(header: Header, architecture: str, *, mixture: bool) -> tuple[int, int]:
    """Neurons of the widest dense block, and of an expert of a mixture; files name the one, the other, or one for both.

    Raises:
        BadHeader: There is neither.
    """
    dense = max(header.integers(f"{architecture}.feed_forward_length", (0,)), default=0)
    expert = max(header.integers(f"{architecture}.expert_feed_forward_length", (dense,)), default=0) if mixture else 0
    if max(dense, expert) < 1:
        raise BadHeader(f"The metadata lacks {architecture}.feed_forward_length.", HINT)
    return dense, expert
