"""`mixchat pull`."""

import os
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from mixchat.cli.options import OutputOptions, command

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mixchat.app.preflight import Preflight
    from mixchat.app.pulling import PullEvent

_HELP = "A name such as mixtral or mixtral:Q4_K_M, hf:owner/repo:QUANT, or hf:owner/repo/file.gguf."


def register(app: typer.Typer) -> None:
    """Add the command."""

    @command(app, "pull")
    def pull(
        model: Annotated[str, typer.Argument(metavar="MODEL", help=_HELP)],
        *,
        endpoint: Annotated[
            str | None, typer.Option(metavar="URL", help="Another hub; by default HF_ENDPOINT, else Hugging Face.")
        ] = None,
        force: Annotated[bool, typer.Option("--force", help="Go on although it may not fit or load.")] = False,
        options: OutputOptions,
    ) -> int:
        """Fetch a model. It is checked before the first byte: layout, memory, disk; Ctrl-C keeps what is there."""
        from mixchat.app.pulling import pull as pulled
        from mixchat.cli.wiring import open_house, settings_from

        with open_house(debug=options.debug, endpoint=endpoint) as house:
            _show(pulled(house, model, settings_from({}), force=force), model, quiet=options.quiet)
        return 0


def _show(events: "Iterator[PullEvent]", model: str, *, quiet: bool) -> None:
    from mixchat.app.events import Making
    from mixchat.app.preflight import Preflight
    from mixchat.app.pulling import Pulled
    from mixchat.ui.progress import Progress
    from mixchat.ui.transfer import Transfer

    bar, making = Transfer(sys.stderr, os.environ, quiet), Progress(sys.stderr, os.environ, quiet)
    name, begun = model, False
    try:
        for event in events:
            match event:
                case Making():
                    making.show(event, name)
                case Preflight():
                    name, begun = event.name, event.problem is None
                    _say(_lines(event), quiet=quiet)
                case Pulled():
                    making.end()
                    bar.end()
                    there = "is on this machine already" if event.before else "is ready"
                    _say((f"{event.name} {there}: {event.path}",), quiet=quiet)
                case _:
                    bar.show(event, name)
    except KeyboardInterrupt:
        bar.end()
        if begun:
            _say((f"Stopped. What is there stays; the same command goes on: mixchat pull {name}",), quiet=quiet)
        raise
    finally:
        making.end()
        bar.end()


def _lines(check: "Preflight") -> "tuple[str, ...]":
    from mixchat.ui.tables import preflight_lines

    return preflight_lines(check)


def _say(lines: "tuple[str, ...]", *, quiet: bool) -> None:
    from mixchat.ui.console import write_line
    from mixchat.ui.sanitize import single_line

    for line in () if quiet else lines:
        write_line(sys.stderr, single_line(line))
