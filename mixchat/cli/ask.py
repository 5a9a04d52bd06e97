"""`mixchat ask`."""

import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mixchat.cli.options import OutputOptions, PlacementOptions, RunOptions, command
from mixchat.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mixchat.app.asking import Question, Rehearsal
    from mixchat.app.events import ChatEvent
    from mixchat.app.house import House
    from mixchat.chat.messages import Message
    from mixchat.store.personas import Persona
    from mixchat.store.settings import Settings


@dataclass(frozen=True, slots=True)
class AskOptions:
    """What only `ask` takes."""

    messages: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help='A whole conversation as JSON: [{"role", "content"}, ...]; - is stdin.'),
    ] = None
    no_stdin: Annotated[bool, typer.Option("--no-stdin", help="Do not read stdin; for `while read` loops.")] = False
    stop: Annotated[list[str] | None, typer.Option(metavar="TEXT", help="End the answer before TEXT; repeatable.")] = (
        None
    )
    format: Annotated[str, typer.Option(metavar="text|json", help="What stdout gets.")] = "text"
    show_thinking: Annotated[
        bool, typer.Option("--show-thinking", help="What a reasoning model thinks before it answers, on stderr.")
    ] = False
    stats: Annotated[bool, typer.Option("--stats", help="Times and token counts, one line on stderr.")] = False
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the exact prompt; load no weights.")] = False


def register(app: typer.Typer) -> None:
    """Add the command."""

    @command(app, "ask")
    def ask(
        prompt: Annotated[str | None, typer.Argument(metavar="[PROMPT]", help="Comes before piped text.")] = None,
        *,
        asked: AskOptions,
        options: RunOptions,
        placement: PlacementOptions,
        output: OutputOptions,
    ) -> int:
        """Answer one prompt on stdout. Text piped into stdin is put behind PROMPT."""
        from mixchat.app.asking import Question, rehearse
        from mixchat.cli.request import model_of, persona_of, settings_of, with_system
        from mixchat.cli.wiring import open_house

        if asked.format not in {"text", "json"}:
            raise UsageError(f"--format is {asked.format!r}, not text or json.", "mixchat ask --help")
        settings = settings_of(placement, options)
        messages = with_system(settings, _messages(prompt, asked, persona_of(options), quiet=output.quiet))
        question = Question(model_of(settings, None, options.model), messages, tuple(asked.stop or ()), placement.force)
        with open_house(debug=output.debug) as house:
            if asked.dry_run:
                return _show_rehearsal(rehearse(house, settings, question), asked)
            return _answer(house, settings, question, asked, quiet=output.quiet)


def _messages(
    prompt: str | None, asked: AskOptions, persona: "Persona | None", *, quiet: bool
) -> "tuple[Message, ...]":
    from mixchat.chat.inputs import join_prompt, parse_messages
    from mixchat.chat.messages import Message
    from mixchat.cli.streams import file_text, piped_text
    from mixchat.ui.console import write_line

    def waiting() -> None:
        if not quiet:
            write_line(sys.stderr, "mixchat: waiting for text on stdin; --no-stdin ignores it.")

    if asked.messages is None:
        text = join_prompt(prompt, None if asked.no_stdin else piped_text(waiting))
        return (Message("user", persona.fill(text) if persona else text),)
    if prompt is not None:
        raise UsageError("PROMPT and --messages are both given.", "Put the prompt into the messages.")
    listed = piped_text(waiting) if str(asked.messages) == "-" else file_text(asked.messages)
    return parse_messages(listed or "")


def _answer(house: "House", settings: "Settings", question: "Question", asked: AskOptions, *, quiet: bool) -> int:
    from mixchat.app.asking import ask
    from mixchat.engine.events import Prefilling, Token
    from mixchat.ui.interrupts import interrupts
    from mixchat.ui.progress import shown

    answering = False

    def watched() -> "Iterator[ChatEvent]":
        nonlocal answering
        for event in ask(house, settings, question):
            answering = isinstance(event, Prefilling | Token)
            yield event

    def stop() -> None:
        if not (answering and house.engine.interrupt()):
            give_up()

    def give_up() -> None:
        raise KeyboardInterrupt

    with interrupts(stop, give_up) as presses:
        events = shown(watched(), question.model, sys.stderr, os.environ, quiet)
        if asked.format == "json":
            _write_json(events, asked)
        else:
            _write_text(events, asked, quiet=quiet)
    if presses.count:
        give_up()
    return 0


def _write_text(events: "Iterator[ChatEvent]", asked: AskOptions, *, quiet: bool) -> None:
    from mixchat.app.events import Opened, Thinking
    from mixchat.engine.events import Finished, Token
    from mixchat.ui.answer import AnswerWriter
    from mixchat.ui.console import write_line
    from mixchat.ui.output import write_text
    from mixchat.ui.stats import cut_line, stats_line

    opened: Opened | None = None
    thinking = False
    with AnswerWriter(sys.stdout) as writer:
        for event in events:
            match event:
                case Opened():
                    opened = event
                case Thinking(text) if asked.show_thinking:
                    write_text(sys.stderr, text)
                    thinking = True
                case Token(text):
                    if text and thinking:
                        write_text(sys.stderr, "\n\n")
                        thinking = False
                    writer.write(text)
                case Finished() if opened is not None:
                    writer.end()
                    if not quiet and (cut := cut_line(event, opened.loaded)):
                        write_line(sys.stderr, cut)
                    if asked.stats:
                        write_line(sys.stderr, stats_line(event, opened))


def _write_json(events: "Iterator[ChatEvent]", asked: AskOptions) -> None:
    from mixchat.app.events import Opened
    from mixchat.cli.facts import answer_facts, json_text
    from mixchat.engine.events import Finished, Token
    from mixchat.ui.console import write_line
    from mixchat.ui.output import put
    from mixchat.ui.stats import stats_line

    opened: Opened | None = None
    text: list[str] = []
    for event in events:
        match event:
            case Opened():
                opened = event
            case Token():
                text.append(event.text)
            case Finished() if opened is not None:
                facts = answer_facts(opened.name, "".join(text), opened.loaded.load_ms, event)
                put(sys.stdout, json_text(facts))
                if asked.stats:
                    write_line(sys.stderr, stats_line(event, opened))


def _show_rehearsal(rehearsal: "Rehearsal", asked: AskOptions) -> int:
    from mixchat.cli.facts import json_text, rehearsal_facts
    from mixchat.ui.output import write_text

    if asked.format == "json":
        write_text(sys.stdout, json_text(rehearsal_facts(rehearsal)))
        return 0
    prompt = rehearsal.prompt
    lines = [f"{len(segment.tokens):6} {segment.role:9} {segment.text!r}" for segment in prompt.segments]
    lines.append(f"{len(prompt.tokens):6} tokens of {rehearsal.context} ({rehearsal.model})")
    write_text(sys.stdout, "\n".join(lines) + "\n")
    return 0
