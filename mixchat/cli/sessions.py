"""`mixchat sessions list`, `show`, `export` and `rm`."""

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mixchat.cli.models import Json
from mixchat.cli.options import OutputOptions, command

if TYPE_CHECKING:
    from mixchat.store.session_index import SessionInfo

Ref = Annotated[str, typer.Argument(metavar="ID|NAME", help="An id, the beginning of one, or a name.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(help="Chats that are kept: list, search, show, export and remove them.")
    _register_list(group)
    _register_show(group)
    _register_export(group)
    _register_rm(group)
    app.add_typer(group, name="sessions")


def _register_list(group: typer.Typer) -> None:
    @command(group, "list")
    def list_(
        text: Annotated[str | None, typer.Argument(metavar="[TEXT]", help="Only those with all these words.")] = None,
        *,
        as_json: Json = False,
        options: OutputOptions,
    ) -> int:
        """Show the chats that are kept, the last one first."""
        from mixchat.cli.facts import json_text
        from mixchat.store.places import find_places
        from mixchat.store.session_index import list_sessions, search
        from mixchat.ui.console import write_line
        from mixchat.ui.output import print_out, write_text
        from mixchat.ui.sessions import damage_line, found_table, sessions_table

        places = find_places(os.environ)
        found = search(places, text) if text else ()
        infos = tuple(each.info for each in found) if text else list_sessions(places)
        if as_json:
            excerpts = [{"excerpt": each.excerpt} for each in found] if text else [{}] * len(infos)
            facts = [_facts(info) | more for info, more in zip(infos, excerpts, strict=True)]
            write_text(sys.stdout, json_text({"sessions": facts}))
            return 0
        if infos:
            print_out(sys.stdout, os.environ, found_table(found) if text else sessions_table(infos))
        elif not options.quiet:
            write_line(sys.stderr, "No chat has all these words." if text else "There are no chats yet: mixchat chat")
        for info in infos:
            if info.damaged:
                write_line(sys.stderr, damage_line(info))
        return 0


def _register_show(group: typer.Typer) -> None:
    @command(group, "show")
    def show(ref: Ref, *, as_json: Json = False, options: OutputOptions) -> int:
        """Show a whole chat."""
        from mixchat.app.exporting import json_export, told
        from mixchat.store.places import find_places
        from mixchat.store.session_index import read_session
        from mixchat.ui.console import write_line
        from mixchat.ui.output import write_text
        from mixchat.ui.sessions import show_conversation

        kept = read_session(find_places(os.environ), ref)
        dialogue, about = told(kept)
        for notice in () if options.quiet else kept.notices:
            write_line(sys.stderr, notice)
        if as_json:
            write_text(sys.stdout, json_export(dialogue, about))
        else:
            show_conversation(sys.stdout, os.environ, dialogue, about)
        return 0


def _register_export(group: typer.Typer) -> None:
    @command(group, "export")
    def export(
        ref: Ref,
        file: Annotated[str, typer.Argument(metavar="FILE.md|FILE.json|-", help="- is Markdown on stdout.")],
        *,
        force: Annotated[bool, typer.Option("--force", help="Replace a file that is there.")] = False,
        options: OutputOptions,
    ) -> int:
        """Write a chat into a file of your own, as Markdown or JSON."""
        from mixchat.app.exporting import export_file, told
        from mixchat.chat.export import to_markdown
        from mixchat.store.places import find_places
        from mixchat.store.session_index import read_session
        from mixchat.ui.console import write_line
        from mixchat.ui.output import write_text

        kept = read_session(find_places(os.environ), ref)
        dialogue, about = told(kept)
        for notice in () if options.quiet else kept.notices:
            write_line(sys.stderr, notice)
        if file == "-":
            write_text(sys.stdout, to_markdown(dialogue, about))
        else:
            export_file(Path(file), dialogue, about, force=force)
        return 0


def _register_rm(group: typer.Typer) -> None:
    @command(group, "rm")
    def rm(
        refs: Annotated[list[str], typer.Argument(metavar="ID|NAME...", help="Ids, beginnings of them, or names.")],
        *,
        yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
        options: OutputOptions,
    ) -> int:
        """Remove chats, with all that was kept of them."""
        from mixchat.store.places import find_places
        from mixchat.store.session_index import find, info_of
        from mixchat.store.sessions import remove
        from mixchat.ui.keeping import confirmed
        from mixchat.ui.output import write_text
        from mixchat.ui.sessions import removal_question

        places = find_places(os.environ)
        ids = list(dict.fromkeys(find(places, ref) for ref in refs))
        infos = [info_of(places, session) for session in ids]
        if not yes and not confirmed(removal_question(infos), "--yes", sys.stdin, sys.stderr):
            return 0
        for session in ids:
            remove(places, session)
            if not options.quiet:
                write_text(sys.stdout, f"Removed {session}.\n")
        return 0


def _facts(info: "SessionInfo") -> dict[str, object]:
    """A session as JSON."""
    return {
        "id": info.id,
        "name": info.name,
        "title": info.title,
        "started": info.started.isoformat(timespec="seconds"),
        "changed": info.changed.isoformat(timespec="seconds"),
        "turns": info.turns,
        "model": info.model,
        "bytes": info.nbytes,
        "damaged": info.damaged,
    }
