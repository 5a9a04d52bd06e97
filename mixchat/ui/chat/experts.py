"""The command that shows which experts the last turn passed.

Knows what may be asked for; refuses to know how choices are read and drawn.
"""

from functools import partial
from pathlib import Path
from typing import Final

from mixchat.app.events import Traced
from mixchat.store.atomic import write_atomic
from mixchat.ui.chat.archive import new_file
from mixchat.ui.chat.context import Context, Outcome, Trace
from mixchat.ui.experts import experts_view
from mixchat.ui.experts_asked import asks_for_all, check_layers, has_form, parse_layers, written
from mixchat.ui.experts_values import ExpertsView
from mixchat.ui.sanitize import single_line

_WHERE: Final = "/experts"


def experts(context: Context, argument: str) -> Outcome:
    """Show the last turn, or write it to a file."""
    if has_form(Path(argument)):
        return Trace(context.talk.trace, partial(_write, context, new_file(context, argument)))
    layers, opened = parse_layers(argument or None, _WHERE, or_file=True), context.talk.opened
    if opened is not None:
        check_layers(layers, opened, _WHERE)
    return Trace(context.talk.trace, partial(_show, context, argument))


def _show(context: Context, argument: str, traced: Traced) -> None:
    view = _view(context, traced, argument)
    context.screen.draw(experts_view(view, context.screen.ascii_only))


def _write(context: Context, path: Path, traced: Traced) -> None:
    write_atomic(path, written(_view(context, traced), path).encode())
    context.screen.tell(f"Written to {single_line(str(path))}.")


def _view(context: Context, traced: Traced, layers: str = "") -> ExpertsView:
    name = context.talk.opened.name if context.talk.opened else ""
    return ExpertsView(
        model=name,
        name=traced.name,
        report=traced.report,
        text=traced.text,
        layers=parse_layers(layers or None, _WHERE),
        all_layers=asks_for_all(layers),
        complete=traced.complete,
    )
