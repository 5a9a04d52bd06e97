"""Models that are divided into several files: `name-00001-of-00003.gguf`.

Knows the names that llama.cpp's `gguf-split` gives and how the files' headers make one; refuses to know where the files
are. The first file has the metadata, each lists its own tensors.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace

from mixchat.errors import BadHeader
from mixchat.gguf.cursor import HINT
from mixchat.gguf.header import Header

MAX_SHARDS = 999
_SHARD = re.compile(r"(.+)-([0-9]{5})-of-([0-9]{5})(\.gguf)", re.IGNORECASE)


def stem_of(name: str) -> str:
    """A model file's name without the suffix and the number of the shard."""
    match = _SHARD.fullmatch(name)
    return match[1] if match else re.sub(r"\.gguf$", "", name, flags=re.IGNORECASE)


def shard_names(name: str) -> tuple[str, ...]:
    """The names of all files of a model, in their order, given one of them; a file that is no shard is alone.

    Raises:
        BadHeader: Its count is 0 or absurd, or its number is above the count.
    """
    match = _SHARD.fullmatch(name)
    if match is None:
        return (name,)
    number, count = int(match[2]), int(match[3])
    if not 0 < number <= count <= MAX_SHARDS:
        raise BadHeader(f"{name[-80:]!r} is shard {number} of {count}, which cannot be.", HINT)
    return tuple(f"{match[1]}-{index:05}-of-{match[3]}{match[4]}" for index in range(1, count + 1))


def complete(names: Iterable[str]) -> bool:
    """Whether these are all files of one model."""
    found = tuple(names)
    return bool(found) and set(found) == set(shard_names(found[0]))


def join(headers: Sequence[Header]) -> Header:
    """The header that the model would have in one file; `file_bytes` is the sum of the files'.

    Raises:
        BadHeader: A tensor is in two files.
    """
    first, *others = headers
    tensors, end = list(first.tensors), first.file_bytes - first.data_offset
    for header in others:
        tensors += [replace(tensor, offset=tensor.offset + end) for tensor in header.tensors]
        end += header.file_bytes - header.data_offset
    if len({tensor.name for tensor in tensors}) != len(tensors):
        raise BadHeader("A tensor is in two of the model's files.", HINT)
    return replace(first, tensors=tuple(tensors), data_offset=sum(header.data_offset for header in headers))
