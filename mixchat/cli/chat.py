"""`mixchat chat`."""

import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mixchat.cli.options import OutputOptions, PlacementOptions, RunOptions, command
from mixchat.errors import UsageError

if TYPE_CHECKING:
    from mixchat.app.conversing import Conversation
    from mixchat.app.recording import Log
    from mixchat.app.shelf import Shelf
    from mixchat.store.personas import Persona
    from mixchat.ui.console import Terminal


@dataclass(frozen=True, slots=True)
class ChatOptions:
    """What only `chat` takes."""

    go_on: Annotated[bool, typer.Option("--continue", "-c", help="Go on with the last session.")] = False
    resume: Annotated[str | None, typer.Option(metavar="ID", help="Go on with this session: its id, or its name.")] = (
        None
    )
    no_save: Annotated[bool, typer.Option("--no-save", help="Keep nothing of this chat on disk.")] = False


def register(app: typer.Typer) -> None:
    """Add the command."""

    @command(app, "chat")
    def chat(
        reference: Annotated[str | None, typer.Argument(metavar="[MODEL]", help="Which model; see -m.")] = None,
        *,
        only: ChatOptions,
        options: RunOptions,
        placement: PlacementOptions,
        output: OutputOptions,
    ) -> int:
        """Chat in the terminal. Ctrl-C stops an answer, Ctrl-D leaves; every turn is saved as it ends."""
        from mixchat.app.conversing import Conversation
        from mixchat.app.shelf import Shelf
        from mixchat.cli.request import persona_of, settings_of
        from mixchat.cli.wiring import open_house
        from mixchat.ui.console import Terminal

        settings, persona = settings_of(placement, options), persona_of(options)
        if reference is not None and options.model is not None:
            raise UsageError(f"Two models are given: {reference} and {options.model}.", "Give one of them.")
        with open_house(debug=output.debug) as house:
            shelf = Shelf(house, saving=not only.no_save)
            log = _log(shelf, only)
            talk = Conversation(house, settings, reference or options.model, log, force=placement.force)
            try:
                return hold(talk, shelf, persona, Terminal(sys.stdin, sys.stdout, sys.stderr, os.environ, output.quiet))
            finally:
                talk.close()


def hold(talk: "Conversation", shelf: "Shelf", persona: "Persona | None", terminal: "Terminal") -> int:
    """Hold a chat; one whose model is loaded already goes on where it is."""
    from mixchat.ui.chat.context import Chat, Desk
    from mixchat.ui.chat.prompting import status_of, words_for
    from mixchat.ui.chat.repl import run_chat
    from mixchat.ui.chat.screen import Screen
    from mixchat.ui.line_input import InputOptions, line_source

    history = shelf.house.places.state / "history" / "chat" if shelf.saving else None
    desk = Desk()
    status = status_of(talk, persona.name if persona else "", desk)
    options = InputOptions(words_for(talk, shelf), status, history, talk.settings.value("keys"))
    lines = line_source(terminal, options)
    fill = persona.fill if persona else None
    return run_chat(Chat(talk, Screen(terminal), lines, shelf, Path.cwd(), fill, desk))


def _log(shelf: "Shelf", only: ChatOptions) -> "Log":
    if only.go_on and only.resume is not None:
        raise UsageError("--continue and --resume are both given.", "Give one of them.")
    return shelf.open(only.resume or "") if only.go_on or only.resume is not None else shelf.new()
