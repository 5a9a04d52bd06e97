"""What `mixchat cache` shows.

Knows how what is kept looks in a list, and the sentences; refuses to know files.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from mixchat.plan.units import format_bytes
from mixchat.store.prompt_cache import Entry
from mixchat.store.snapshots import KeptSnapshot
from mixchat.ui.by_width import NOTHING, ByWidth

_HEADINGS: Final = ("kept", "tokens", "size", "last use")
_NS: Final = 10**9
_NAME: Final = 8


def cache_table(prompts: Sequence[Entry], chats: Sequence[KeptSnapshot]) -> ByWidth:
    """The prompts, then the chats, then all together."""
    total = sum(each.nbytes for each in prompts) + sum(each.nbytes for each in chats)
    rows = (
        *(
            (f"prompt {each.name[-_NAME:]}", str(each.tokens), format_bytes(each.nbytes), _when(each))
            for each in prompts
        ),
        *((f"chat {each.session}", NOTHING, format_bytes(each.nbytes), _when(each)) for each in chats),
        ("all", NOTHING, format_bytes(total), NOTHING),
    )
    return ByWidth(_HEADINGS, rows, frozenset({"kept", "last use"}))


def cleared_line(prompts: int, chats: int, nbytes: int) -> str:
    """What was removed."""
    return (
        f"Removed what was kept of {_count(prompts, 'prompt')} and {_count(chats, 'chat')} ({format_bytes(nbytes)}).\n"
    )


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'s'[: number != 1]}"


def _when(each: Entry | KeptSnapshot) -> str:
    return f"{datetime.fromtimestamp(each.used / _NS).astimezone():%Y-%m-%d %H:%M}"
