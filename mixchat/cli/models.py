"""`mixchat list` and `mixchat show`."""

import os
import sys
from typing import Annotated

import typer

from mixchat.cli.options import OutputOptions, command

Json = Annotated[bool, typer.Option("--json", help="As JSON, for scripts.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    _register_list(app)
    _register_show(app)


def _register_list(app: typer.Typer) -> None:
    @command(app, "list")
    def list_(*, as_json: Json = False, options: OutputOptions) -> int:
        """Show the models that are on this machine."""
        from mixchat.app.catalogue import list_models
        from mixchat.app.keeping import unfinished
        from mixchat.cli.facts import json_text, row_facts, unfinished_facts
        from mixchat.cli.wiring import open_house
        from mixchat.ui.console import write_line
        from mixchat.ui.output import print_out, write_text
        from mixchat.ui.sanitize import single_line
        from mixchat.ui.tables import list_table

        with open_house(debug=options.debug) as house:
            rows, rest = list_models(house), unfinished(house)
            if as_json:
                write_text(
                    sys.stdout, json_text({"models": [row_facts(row) for row in rows], **unfinished_facts(rest)})
                )
                return 0
            if rows or rest.partials or rest.leftovers or options.quiet:
                print_out(sys.stdout, os.environ, list_table(rows, rest))
            else:
                write_line(sys.stderr, "There are no models yet. Try: mixchat chat demo")
            for problem in (row.problem for row in rows if row.problem):
                write_line(sys.stderr, single_line(problem))
        return 0


def _register_show(app: typer.Typer) -> None:
    @command(app, "show")
    def show(
        model: Annotated[str, typer.Argument(metavar="MODEL", help="A name, or a path to a .gguf file.")],
        *,
        as_json: Json = False,
        options: OutputOptions,
    ) -> int:
        """Show what a model's file says and where its bytes are."""
        from mixchat.app.catalogue import show_model
        from mixchat.app.preflight import Preflight
        from mixchat.cli.facts import json_text, preflight_facts, source_facts
        from mixchat.cli.wiring import open_house, settings_from
        from mixchat.gguf.inventory import tensor_groups
        from mixchat.ui.output import print_out, write_text
        from mixchat.ui.tables import remote_table, show_table
        from mixchat.ui.tensors import tensor_table

        with open_house(debug=options.debug) as house:
            shown = show_model(house, model, settings_from({}))
            if as_json:
                facts = preflight_facts(shown) if isinstance(shown, Preflight) else source_facts(shown)
                write_text(sys.stdout, json_text(facts))
            elif isinstance(shown, Preflight):
                print_out(sys.stdout, os.environ, remote_table(shown))
            else:
                print_out(sys.stdout, os.environ, show_table(shown.name, shown.path, shown.model))
                print_out(sys.stdout, os.environ, tensor_table(tensor_groups(shown.header.tensors)))
        return 0
