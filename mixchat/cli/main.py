"""The `mixchat` command: its commands, its one error handler, its exit code.

Knows how errors and signals end a process; refuses to know what a command does.
"""

import errno
import os
import sys
from collections.abc import Sequence
from itertools import pairwise
from typing import Annotated, Final

import typer

from mixchat import __version__
from mixchat.cli import ask, bench, cache, chat, experts, keep, models, personas, plan, pull, rpc_worker, sessions
from mixchat.cli.signals import Signalled, as_signals, die_by, ends_by_signal
from mixchat.cli.streams import prepare_streams
from mixchat.errors import MixchatError, OutputError, UsageError
from mixchat.ui.output import discard, put

_USAGE: Final = 2

app = typer.Typer(
    name="mixchat",
    help="Mixture-of-experts models in GGUF files: chat, one-shot prompts, offline.",
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for module in (chat, ask, plan, bench, experts, pull, models, keep, sessions, personas, cache, rpc_worker):
    module.register(app)


@app.callback(invoke_without_command=True)
def _root(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Show the version.", is_eager=True)] = False,
) -> None:
    """Chat with mixture-of-experts models in GGUF files, in the terminal or in a pipeline, offline."""
    if version:
        put(sys.stdout, f"mixchat {__version__}\n")
        raise typer.Exit
    if context.invoked_subcommand is None:
        raise typer.Exit(_bare())


def _bare() -> int:
    """`mixchat` alone: a chat on a terminal, else a mistake."""
    if not sys.stdin.isatty():
        raise UsageError("There is no command.", "mixchat --help shows them; in a pipeline: mixchat ask PROMPT")
    return run(["chat"])


def main() -> None:
    """Run the command line and end the process as its contract says."""
    prepare_streams()
    try:
        with ends_by_signal(), as_signals():
            code = run(sys.argv[1:])
    except Signalled as signalled:
        die_by(signalled.number)
    sys.exit(code)


def run(arguments: Sequence[str]) -> int:
    """Run a command line; returns the exit code, expected errors shown."""
    try:
        code = app(args=list(arguments), prog_name="mixchat", standalone_mode=False)
        put(sys.stdout, "")
    except MixchatError as error:
        if "--debug" in arguments:
            sys.excepthook(type(error), error, error.__traceback__)
        _show(error, arguments)
        return error.exit_code
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        discard(sys.stdout)
        _show(OutputError("The output could not be written: the disk is full.", "Free space."), arguments)
        return OutputError.exit_code
    except typer.TyperException as error:
        known = {each.name for each in app.registered_commands} | {each.name for each in app.registered_groups}
        names = [name for name in arguments[:1] if name in known]
        _show(UsageError(_sentence(error), " ".join(["mixchat", *names, "--help"])), arguments)
        return _USAGE
    return code if isinstance(code, int) else 0


def _show(error: MixchatError, arguments: Sequence[str]) -> None:
    from mixchat.ui.errors import show_error

    formats = {*_values(arguments, "--format"), *(each.removeprefix("--format=") for each in arguments)}
    as_json = "--json" in arguments or not formats.isdisjoint({"json", "ndjson"})
    show_error(error, sys.stderr, os.environ, as_json=as_json)


def _values(arguments: Sequence[str], option: str) -> set[str]:
    return {value for name, value in pairwise(arguments) if name == option}


def _sentence(error: typer.TyperException) -> str:
    text = str(getattr(error, "format_message", lambda: error)())
    return text if text.endswith((".", "?")) else f"{text}."
