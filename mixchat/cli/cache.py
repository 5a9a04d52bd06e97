"""`mixchat cache`."""

import os
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Final

import typer

from mixchat.cli.models import Json
from mixchat.cli.options import OutputOptions, command

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mixchat.store.places import Places
    from mixchat.store.prompt_cache import Entry
    from mixchat.store.snapshots import KeptSnapshot

_NS: Final = 10**9


def register(app: typer.Typer) -> None:
    """Add the command."""

    @command(app, "cache")
    def cache(
        *,
        clear: Annotated[bool, typer.Option("--clear", help="Remove all of it but what open chats need.")] = False,
        as_json: Json = False,
        options: OutputOptions,
    ) -> int:
        """Show what is kept of evaluated prompts and chats, so that they need not be evaluated again."""
        from mixchat.store.places import find_places
        from mixchat.store.prompt_cache import entries
        from mixchat.store.snapshots import list_snapshots

        places = find_places(os.environ)
        if clear:
            return _clear(places, as_json=as_json, quiet=options.quiet)
        return _show(entries(places), list_snapshots(places), as_json=as_json, quiet=options.quiet)


def _show(prompts: "Sequence[Entry]", chats: "Sequence[KeptSnapshot]", *, as_json: bool, quiet: bool) -> int:
    from mixchat.cli.facts import json_text
    from mixchat.ui.cache import cache_table
    from mixchat.ui.console import write_line
    from mixchat.ui.output import print_out, write_text

    if as_json:
        facts = {
            "prompts": [_facts(each, {"id": each.name, "tokens": each.tokens}) for each in prompts],
            "chats": [_facts(each, {"session": each.session}) for each in chats],
            "bytes": sum(each.nbytes for each in prompts) + sum(each.nbytes for each in chats),
        }
        write_text(sys.stdout, json_text(facts))
    elif prompts or chats:
        print_out(sys.stdout, os.environ, cache_table(prompts, chats))
    elif not quiet:
        write_line(sys.stderr, "Nothing is kept yet.")
    return 0


def _clear(places: "Places", *, as_json: bool, quiet: bool) -> int:
    from mixchat.cli.facts import json_text
    from mixchat.store.prompt_cache import clear
    from mixchat.store.snapshots import clear_snapshots
    from mixchat.ui.cache import cleared_line
    from mixchat.ui.output import write_text

    prompts, chats = clear(places), clear_snapshots(places)
    nbytes = prompts.nbytes + sum(each.nbytes for each in chats)
    if as_json:
        write_text(sys.stdout, json_text({"prompts": prompts.count, "chats": len(chats), "bytes": nbytes}))
    elif not quiet:
        write_text(sys.stdout, cleared_line(prompts.count, len(chats), nbytes))
    return 0


def _facts(each: "Entry | KeptSnapshot", more: dict[str, object]) -> dict[str, object]:
    """Something that is kept, as JSON."""
    used = datetime.fromtimestamp(each.used / _NS, UTC)
    return {**more, "bytes": each.nbytes, "last_used": used.isoformat(timespec="seconds")}
