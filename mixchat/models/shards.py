"""Reads the header of a model on this machine that may be divided into several files.

Knows that the shards lie side by side; refuses to know the format, which is `gguf`'s.
"""

from pathlib import Path

from mixchat.errors import BadModel
from mixchat.gguf.header import Header
from mixchat.gguf.shards import join, shard_names
from mixchat.models.header_file import read_header


def read_model(path: Path) -> Header:
    """Read a model's header; of a shard the headers of all of them, joined.

    Raises:
        NotFound: A file is not there, or may not be read.
        BadModel: A file is no GGUF file, damaged or incomplete; or it is not the first shard.
    """
    names = shard_names(path.name)
    if path.name != names[0]:
        raise BadModel(f"{path} is a part of a model in {len(names)} files.", f"Give the first: {names[0]}")
    return join([read_header(path.with_name(name)) for name in names])
