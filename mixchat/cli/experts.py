"""`mixchat experts`."""

import os
import sys
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from mixchat.cli.options import ModelOption, OutputOptions, PlacementOptions, command
from mixchat.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mixchat.app.events import ChatEvent, Traced
    from mixchat.app.tracing import Passage
    from mixchat.ui.experts_values import ExpertsView

_HELP: Final = "mixchat experts --help"
_LAYERS: Final = "--layers"


@dataclass(frozen=True, slots=True)
class ExpertsOptions:
    """What only `experts` takes."""

    files: Annotated[
        list[str] | None, typer.Option(metavar="FILE|GLOB", help="Trace files instead of a prompt; repeatable.")
    ] = None
    compare: Annotated[
        list[str] | None, typer.Option(metavar="FILE|GLOB", help="Hold these files against them; repeatable.")
    ] = None
    layers: Annotated[
        str | None,
        typer.Option(metavar="N[-N][,N]|all", help="Layers to show; by default the first, the middle and the last."),
    ] = None
    letters: Annotated[
        bool, typer.Option("--letters", help="Experts' letters below the coloured text, as without colour.")
    ] = False
    html: Annotated[Path | None, typer.Option(metavar="FILE", help="Write a page for the browser.")] = None
    svg: Annotated[Path | None, typer.Option(metavar="FILE", help="Write a picture.")] = None
    as_json: Annotated[bool, typer.Option("--json", help="As JSON, for scripts.")] = False
    no_stdin: Annotated[bool, typer.Option("--no-stdin", help="Do not read stdin; for `while read` loops.")] = False


def register(app: typer.Typer) -> None:
    """Add the command."""

    @command(app, "experts")
    def experts(
        prompt: Annotated[str | None, typer.Argument(metavar="[PROMPT]", help="Comes before piped text.")] = None,
        *,
        model: ModelOption = None,
        only: ExpertsOptions,
        placement: PlacementOptions,
        output: OutputOptions,
    ) -> int:
        """Show which experts the routers of a mixture choose, token by token and layer by layer.

        The text is evaluated as it stands, without the chat's format, and nothing is generated.
        """
        from mixchat.app.tracing import Inquiry, trace_texts
        from mixchat.cli.request import model_of, settings_of
        from mixchat.cli.stopping import stoppable
        from mixchat.cli.wiring import open_house
        from mixchat.store.output_file import check_output
        from mixchat.ui.experts_asked import parse_layers

        settings = settings_of(placement)
        parse_layers(only.layers, _LAYERS)
        for path in (only.html, only.svg):
            if path is not None:
                check_output(path)
        groups = _groups(prompt, only, quiet=output.quiet)
        inquiry = Inquiry(model_of(settings, None, model), groups, placement.force)
        # Between two pieces of a text nothing runs that could be interrupted, and the trace sees `asked`.
        with (
            open_house(debug=output.debug) as house,
            stoppable(lambda: house.engine.interrupt() or True, _has_begun) as stop,
        ):
            events = trace_texts(house, settings, inquiry, lambda: stop.asked)
            name, traced = _trace(stop.watched(events), inquiry.model, only.layers, quiet=output.quiet)
            _show(_view(name, traced, only), only)
        return 0


def _has_begun(event: object) -> bool:
    """The model is loaded: a trace that is stopped right after this event has something to show."""
    from mixchat.app.events import Opened, Traced, Tracing

    return isinstance(event, Opened | Tracing | Traced)


def _groups(prompt: str | None, only: ExpertsOptions, *, quiet: bool) -> "tuple[tuple[str, tuple[Passage, ...]], ...]":
    """The texts, by what they are called together."""
    if only.compare and not only.files:
        raise UsageError("--compare needs something to hold against: --files.", _HELP)
    if only.files and prompt is not None:
        raise UsageError("PROMPT and --files are both given.", "Give one of them.")
    if only.files:
        return tuple((", ".join(patterns), _passages(patterns)) for patterns in (only.files, only.compare) if patterns)
    from mixchat.app.tracing import Passage
    from mixchat.chat.inputs import join_prompt
    from mixchat.cli.ask_input import tell_waiting
    from mixchat.cli.streams import piped_text

    piped = None if only.no_stdin else piped_text(partial(tell_waiting, quiet))
    if not f"{prompt or ''}{piped or ''}".strip():
        raise UsageError("There is no text to trace.", 'Give one: mixchat experts "def f(x): return x", or pipe it in.')
    text = join_prompt(prompt, piped)
    return (("the prompt", (Passage("the prompt", len(text.encode()), lambda: text),)),)


def _passages(patterns: list[str]) -> "tuple[Passage, ...]":
    from mixchat.app.attaching import find_files
    from mixchat.app.tracing import Passage

    found = find_files(patterns, Path.cwd())
    return tuple(Passage(name, path.stat().st_size, partial(_text, name, path)) for name, path in found)


def _text(name: str, path: Path) -> str:
    from mixchat.app.attaching import read_file

    return read_file(name, path).text


def _trace(events: "Iterator[object]", model: str, layers: str | None, *, quiet: bool) -> "tuple[str, list[Traced]]":
    """What the loaded model is called, and what was traced until an interrupt.

    Raises:
        UsageError: It has no router in one of the layers.
        KeyboardInterrupt: Nothing was.
    """
    from mixchat.app.events import Opened, Traced
    from mixchat.ui.console import write_line
    from mixchat.ui.experts_asked import check_layers, parse_layers
    from mixchat.ui.progress import shown

    name, traced = model, []
    for event in shown(events, model, sys.stderr, os.environ, quiet):
        if isinstance(event, Opened):
            name = event.name
            check_layers(parse_layers(layers, _LAYERS), event, _LAYERS)
        elif isinstance(event, Traced):
            traced.append(event)
    if not any(each.report.layers for each in traced):
        raise KeyboardInterrupt
    if not traced[-1].complete and not quiet:
        write_line(sys.stderr, "mixchat: interrupted; this is what was traced until then.")
    return name, traced


def _view(name: str, traced: "list[Traced]", only: ExpertsOptions) -> "ExpertsView":
    from mixchat.routing.comparing import compare
    from mixchat.ui.experts_asked import asks_for_all, parse_layers
    from mixchat.ui.experts_values import ExpertsView, Versus

    first, *others = traced
    versus = [
        Versus(each.name, each.report, compare(first.report, each.report), complete=each.complete) for each in others
    ]
    return ExpertsView(
        model=name,
        name=first.name,
        report=first.report,
        text=None if others else first.text,
        versus=versus[0] if versus else None,
        layers=parse_layers(only.layers, _LAYERS),
        all_layers=asks_for_all(only.layers),
        letters=only.letters,
        complete=first.complete,
    )


def _show(view: "ExpertsView", only: ExpertsOptions) -> None:
    """Write the files, and whatever becomes of them, the report to stdout.

    Raises:
        OutputError: Something could not be written.
    """
    from mixchat.store.output_file import write_output
    from mixchat.ui.experts_asked import written

    try:
        for path, form in ((only.html, ".html"), (only.svg, ".svg")):
            if path is not None:
                write_output(path, written(view, path, form).encode())
    finally:
        _print(view, only)


def _print(view: "ExpertsView", only: ExpertsOptions) -> None:
    from mixchat.ui.console import draws_blocks
    from mixchat.ui.experts import experts_view
    from mixchat.ui.experts_facts import experts_json
    from mixchat.ui.output import print_out, write_text

    if only.as_json:
        write_text(sys.stdout, experts_json(view, choices=not only.files))
    else:
        print_out(sys.stdout, os.environ, experts_view(view, not draws_blocks(sys.stdout, os.environ)))


def kept_trace(events: "Iterator[ChatEvent]", path: Path) -> "Iterator[ChatEvent]":
    """Pass an answer on, and write its trace to a file, in the form that its name ends in.

    Raises:
        OutputError: It could not be written.
    """
    from mixchat.app.events import Opened, Traced
    from mixchat.store.output_file import write_output
    from mixchat.ui.experts_asked import written
    from mixchat.ui.experts_values import ExpertsView

    name = ""
    for event in events:
        if isinstance(event, Opened):
            name = event.name
        if isinstance(event, Traced) and event.report.layers:
            view = ExpertsView(name, event.name, event.report, event.text, complete=event.complete)
            write_output(path, written(view, path).encode())
        yield event
