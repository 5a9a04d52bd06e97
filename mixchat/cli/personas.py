"""`mixchat personas list`, `show` and `edit`."""

import os
import sys
from typing import TYPE_CHECKING, Annotated, Final

import typer

from mixchat.cli.models import Json
from mixchat.cli.options import OutputOptions, command
from mixchat.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path

    from mixchat.store.personas import Persona

Name = Annotated[str, typer.Argument(metavar="NAME", help="A name that mixchat personas list shows.")]

_SKELETON: Final = '''\
# A persona for `mixchat chat -p {name}` and `mixchat ask -p {name}`. All keys may be left out.
description = ""

system = """
"""

# The form of the prompt; in a chat, of its first message. {{input}} is what you type or pipe in.
# prompt = """
# {{input}}
# """

# model = "mixtral"
# temperature = 0.7
# top_p = 0.95
# top_k = 40
# min_p = 0.05
# repeat_penalty = 1.0
# max_tokens = 500
# seed = 1
'''


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(name="personas", help="System text, sampling and form of the prompt, under a name for -p.")
    _register_list(group)
    _register_show(group)
    _register_edit(group)
    app.add_typer(group, name="personas")


def _register_list(group: typer.Typer) -> None:
    @command(group, "list")
    def list_(*, as_json: Json = False, options: OutputOptions) -> int:  # noqa: ARG001 - takes what all commands take
        """Show the personas, yours and those that come with mixchat."""
        from mixchat.cli.facts import json_text
        from mixchat.store.personas import list_personas
        from mixchat.store.places import find_places
        from mixchat.ui.output import print_out, write_text
        from mixchat.ui.personas import personas_table

        personas = list_personas(find_places(os.environ))
        if as_json:
            facts = [
                _facts(listed.persona)
                if listed.persona
                else {"name": listed.name, "path": str(listed.path), "problem": listed.problem}
                for listed in personas
            ]
            write_text(sys.stdout, json_text({"personas": facts}))
        else:
            print_out(sys.stdout, os.environ, personas_table(personas))
        return 0


def _register_show(group: typer.Typer) -> None:
    @command(group, "show")
    def show(name: Name, *, as_json: Json = False, options: OutputOptions) -> int:  # noqa: ARG001 - as above
        """Show all of a persona."""
        from mixchat.cli.facts import json_text
        from mixchat.store.personas import read_persona
        from mixchat.store.places import find_places
        from mixchat.ui.output import write_text
        from mixchat.ui.personas import persona_lines

        persona = read_persona(find_places(os.environ), name)
        write_text(sys.stdout, json_text(_facts(persona)) if as_json else persona_lines(persona))
        return 0


def _register_edit(group: typer.Typer) -> None:
    @command(group, "edit")
    def edit(
        name: Annotated[str, typer.Argument(metavar="NAME", help="An old name, or a new one.")],
        *,
        options: OutputOptions,
    ) -> int:
        """Write a persona of your own in $VISUAL or $EDITOR, beginning with the one of that name if there is one.

        Without a terminal its path is printed instead.
        """
        from mixchat.store.personas import persona_path, persona_text
        from mixchat.store.places import find_places
        from mixchat.ui.console import is_terminal
        from mixchat.ui.output import write_text

        places = find_places(os.environ)
        path, text = persona_path(places, name), persona_text(places, name)
        before = _SKELETON.format(name=name) if text is None else text
        if is_terminal(sys.stdin) and is_terminal(sys.stdout):
            line = _edited(path, name, before)
            write_text(sys.stdout, "" if options.quiet else line)
        else:
            _make(path, before)
            write_text(sys.stdout, f"{path}\n")
        return 0


def _make(path: "Path", text: str) -> None:
    """Make the person's own file where there is none."""
    if not path.exists():
        _write(path, text)


def _write(path: "Path", text: str) -> None:
    from mixchat.store.output_file import write_output
    from mixchat.store.places import ensure_folder

    ensure_folder(path.parent)
    write_output(path, text.encode())


def _edited(path: "Path", name: str, before: str) -> str:
    """Let the person edit; returns what came of it.

    Raises:
        UsageError: There is no editor, or what was written has a mistake; it is kept.
    """
    from mixchat.store.personas import parse_persona
    from mixchat.ui.editor import edit_text

    if not (os.environ.get("VISUAL") or os.environ.get("EDITOR")):
        _make(path, before)
        raise UsageError(f"No editor is set; the file is {path}.", "Edit it, or choose one: export EDITOR=nano")
    after = edit_text(before.removesuffix("\n"), os.environ)
    if after is None:
        return "Nothing was changed.\n"
    _write(path, after + "\n")
    try:
        parse_persona(name, after, path)
    except UsageError as error:
        raise UsageError(error.message, f"{error.hint} Again: mixchat personas edit {name}") from error
    return f"Wrote {path}. Try: mixchat chat -p {name}\n"


def _facts(persona: "Persona") -> dict[str, object]:
    settings = {key: value for key, value in persona.values.items() if key != "system"}
    return {
        "name": persona.name,
        "description": persona.description,
        "path": str(persona.path),
        "shipped": persona.shipped,
        "system": persona.values.get("system"),
        "prompt": persona.prompt,
        "settings": settings,
    }
