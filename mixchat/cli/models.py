"""`mixchat list` and `mixchat show`."""

import os
import sys
from typing import Annotated

import typer

from mixchat.cli.options import OutputOptions, command

Json = Annotated[bool, typer.Option("--json", help="As JSON, for scripts.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""

    @command(app, "list")
    def list_(*, as_json: Json = False, options: OutputOptions) -> int:
        """Show the models that are on this machine."""
        from mixchat.app.catalogue import list_models
        from mixchat.cli.facts import json_text, row_facts
        from mixchat.cli.wiring import open_house
        from mixchat.ui.console import write_line
        from mixchat.ui.output import print_out, write_text
        from mixchat.ui.sanitize import single_line
        from mixchat.ui.tables import list_table

        with open_house(debug=options.debug) as house:
            rows = list_models(house)
            if as_json:
                write_text(sys.stdout, json_text({"models": [row_facts(row) for row in rows]}))
                return 0
            if rows or options.quiet:
                print_out(sys.stdout, os.environ, list_table(rows))
            else:
                write_line(sys.stderr, "There are no models yet. Try: mixchat chat demo")
            for problem in (row.problem for row in rows if row.problem):
                write_line(sys.stderr, single_line(problem))
        return 0

    @command(app, "show")
    def show(
        model: Annotated[str, typer.Argument(metavar="MODEL", help="A name, or a path to a .gguf file.")],
        *,
        as_json: Json = False,
        options: OutputOptions,
    ) -> int:
        """Show what a model's file says and where its bytes are."""
        from mixchat.app.catalogue import show_model
        from mixchat.cli.facts import json_text, source_facts
        from mixchat.cli.wiring import open_house
        from mixchat.ui.output import print_out, write_text
        from mixchat.ui.tables import show_table

        with open_house(debug=options.debug) as house:
            source = show_model(house, model)
            if as_json:
                write_text(sys.stdout, json_text(source_facts(source)))
            else:
                print_out(sys.stdout, os.environ, show_table(source.name, source.path, source.model))
        return 0
