"""`mixchat chat`."""

import os
import sys
from typing import Annotated

import typer

from mixchat.cli.options import OutputOptions, PlacementOptions, RunOptions, command


def register(app: typer.Typer) -> None:
    """Add the command."""

    @command(app, "chat")
    def chat(
        reference: Annotated[str | None, typer.Argument(metavar="[MODEL]", help="Which model; see -m.")] = None,
        *,
        options: RunOptions,
        placement: PlacementOptions,
        output: OutputOptions,
    ) -> int:
        """Chat in the terminal. Ctrl-C stops an answer, Ctrl-D leaves."""
        from mixchat.app.conversing import Conversation
        from mixchat.cli.request import model_of, settings_of
        from mixchat.cli.wiring import open_house
        from mixchat.ui.console import Terminal
        from mixchat.ui.repl import run_chat

        settings = settings_of(placement, options)
        with open_house(debug=output.debug) as house:
            name = model_of(settings, reference, options.model)
            talk = Conversation(house, settings, name, force=placement.force)
            return run_chat(talk, Terminal(sys.stdin, sys.stdout, sys.stderr, os.environ, output.quiet), name)
