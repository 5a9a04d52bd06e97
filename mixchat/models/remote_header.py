"""Reads the header of a model file that is still on the hub.

Knows how much to fetch, and that a file may be divided into shards; refuses to know the protocol, which is `hub`'s, and
the format, which is `gguf`'s.
"""

from collections.abc import Iterable
from typing import Final

from mixchat.errors import BadModel, TruncatedHeader
from mixchat.gguf.header import Header, parse_header
from mixchat.gguf.shards import join
from mixchat.models.hub import Hub
from mixchat.models.remote import RemoteFile

FIRST_READ: Final = 8 << 20
LAST_READ: Final = 64 << 20
_OTHER: Final = "Pull another file of this model."


def read_remote(hub: Hub, files: Iterable[RemoteFile]) -> Header:
    """Read the header of a model, of its shards together, and check that the hub's files hold all that it lists.

    Raises:
        NetworkError: The hub cannot be reached or says no.
        BadModel: It is no GGUF file, damaged or incomplete.
    """
    return join([_header(hub, file) for file in files])


def _header(hub: Hub, file: RemoteFile) -> Header:
    try:
        header = _parsed(hub, file)
    except TruncatedHeader as exc:
        why = "is incomplete" if file.size <= LAST_READ else f"has a header of more than {LAST_READ >> 20} MiB"
        raise BadModel(f"{_named(file)} {why}.", _OTHER) from exc
    except BadModel as exc:
        raise type(exc)(f"{_named(file)}: {exc.message}", _OTHER) from exc
    if header.tensors and header.file_bytes > file.size:
        raise BadModel(f"{_named(file)} is incomplete: it has {file.size} of {header.file_bytes} bytes.", _OTHER)
    return header


def _parsed(hub: Hub, file: RemoteFile) -> Header:
    """Fetch 8 MiB and double while the header goes on; real headers end at 1 to 2 MB."""
    limit = min(file.size, LAST_READ)
    data = hub.head(file, min(FIRST_READ, limit))
    while True:
        try:
            return parse_header(data)
        except TruncatedHeader:
            wanted = min(2 * len(data), limit) - len(data)
            more = hub.head(file, wanted, len(data)) if wanted > 0 else b""
            if not more:
                raise
            data += more


def _named(file: RemoteFile) -> str:
    return f"hf:{file.repo}/{file.path}"
