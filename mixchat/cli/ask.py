"""`mixchat ask`."""

import os
import sys
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated

import typer

from mixchat.cli.ask_options import AskOptions, check
from mixchat.cli.options import OutputOptions, PlacementOptions, RunOptions, command

if TYPE_CHECKING:
    from mixchat.app.asking import Question, Rehearsal
    from mixchat.app.batching import Take
    from mixchat.app.constraints import Constraint
    from mixchat.app.house import House
    from mixchat.app.remembering import Memory
    from mixchat.cli.ask_input import Spoken
    from mixchat.store.personas import Persona
    from mixchat.store.settings import Settings


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
        """Answer one prompt on stdout, or many with one load. Text piped into stdin is put behind PROMPT."""
        from mixchat.cli.ask_input import constraint
        from mixchat.cli.request import persona_of, settings_of
        from mixchat.cli.wiring import open_house

        prompt = None if prompt == "-" else prompt
        check(asked, prompt)
        settings, persona = settings_of(placement, options), persona_of(options)
        wanted = constraint(asked, quiet=output.quiet)
        asking = _Asking(asked, settings, persona, options.model, placement.force, output.quiet, wanted)
        if asked.in_batch:
            return _batch(asking, prompt, debug=output.debug)
        from mixchat.cli.ask_input import spoken

        said = spoken(prompt, asked, quiet=output.quiet)
        with open_house(debug=output.debug) as house:
            return _chat(house, asking, said) if asked.interactive else _once(house, asking, said)


@dataclass(frozen=True, slots=True)
class _Asking:
    """What the command line says."""

    asked: AskOptions
    settings: "Settings"
    persona: "Persona | None"
    model: str | None
    force: bool
    quiet: bool
    constraint: "Constraint | None"

    def question(self, model: str) -> "Question":
        """What is common to all that is asked."""
        from mixchat.app.asking import Question

        asked, wanted = self.asked, self.constraint
        question = Question(model, (), tuple(asked.stop or ()), self.force, overflow=asked.policy)
        question = replace(question, cache=not (asked.no_cache or asked.no_save))
        question = replace(question, trace=asked.trace_experts is not None)
        return replace(question, grammar=wanted.grammar, check=wanted.check) if wanted else question

    def filled(self, text: str) -> str:
        """The first thing that is said, in the persona's form."""
        return self.persona.fill(text) if self.persona else text


def _once(house: "House", asking: _Asking, said: "Spoken") -> int:
    """Answer one question."""
    from mixchat.app.asking import rehearse
    from mixchat.app.remembering import log_for, remember

    asked = asking.asked
    log = log_for(house, saving=not (asked.no_save or asked.dry_run), go_on=asked.go_on)
    try:
        memory = remember(log, asking.settings, asking.model)
        question = _question(asking, said, memory)
        if asked.dry_run:
            return _show_rehearsal(rehearse(house, asking.settings, question), asked)
        return _answer(house, asking, question, memory)
    finally:
        log.close()


def _question(asking: _Asking, said: "Spoken", memory: "Memory") -> "Question":
    from mixchat.cli.request import with_system

    if said.messages:
        messages = with_system(asking.settings, said.messages)
    else:
        messages = memory.messages(said.text if memory.dialogue.transcript.turns else asking.filled(said.text))
    question = replace(asking.question(memory.dialogue.model), messages=messages)
    return replace(question, attachments=said.attachments, changing=said.changing)


def _answer(house: "House", asking: _Asking, question: "Question", memory: "Memory") -> int:
    from contextlib import closing

    from mixchat.app.asking import ask
    from mixchat.app.extracting import first_block
    from mixchat.cli.ask_output import has_begun, write_answer
    from mixchat.cli.experts import kept_trace
    from mixchat.cli.stopping import stoppable
    from mixchat.ui.console import write_line
    from mixchat.ui.progress import shown
    from mixchat.ui.sanitize import single_line

    engine, quiet = house.engine, asking.quiet
    for notice in () if quiet else memory.notices:
        write_line(sys.stderr, single_line(notice))
    answered = memory.keeping(ask(house, asking.settings, question), question.messages)
    with stoppable(engine.interrupt, has_begun) as stop, closing(answered) as kept:
        events = stop.watched(kept)
        wanted = first_block(events, engine.interrupt, memory.log.id) if asking.asked.extract else events
        if asking.asked.trace_experts is not None:
            wanted = kept_trace(wanted, asking.asked.trace_experts)
        write_answer(shown(wanted, question.model, sys.stderr, os.environ, quiet), asking.asked, quiet=quiet)
    return 0


def _batch(asking: _Asking, prompt: str | None, *, debug: bool) -> int:
    """Answer many questions."""
    from mixchat.chat.messages import Message
    from mixchat.cli.ask_batch import Batch, answer_batch
    from mixchat.cli.ask_input import items_of
    from mixchat.cli.request import model_of, with_system
    from mixchat.cli.wiring import open_house

    asked, settings = asking.asked, asking.settings

    def say(text: str) -> tuple[Message, ...]:
        return with_system(settings, (Message("user", asking.filled(text)),))

    take = items_of(prompt, asked, say, quiet=asking.quiet)
    question = asking.question(model_of(settings, None, asking.model))
    with open_house(debug=debug) as house:
        if asked.dry_run:
            return _rehearse_first(house, asking, question, take)
        answer_batch(Batch(house, settings, question, asked, asking.quiet), take)
    return 0


def _rehearse_first(house: "House", asking: _Asking, question: "Question", take: "Take") -> int:
    """The first item of a batch stands for all."""
    from mixchat.app.asking import rehearse
    from mixchat.errors import MixchatError, UsageError
    from mixchat.ui.console import write_line

    item = take(wait=True)
    if item is None:
        raise UsageError("There are no items.", "Pipe lines into it, or name files.")
    if isinstance(item.messages, MixchatError):
        raise item.messages
    if not asking.quiet:
        write_line(sys.stderr, "mixchat: this is the first item's prompt.")
    return _show_rehearsal(rehearse(house, asking.settings, replace(question, messages=item.messages)), asking.asked)


def _chat(house: "House", asking: _Asking, said: "Spoken") -> int:
    """Answer one question, then hold a chat."""
    from mixchat.app.conversing import Conversation
    from mixchat.app.remembering import log_for
    from mixchat.app.shelf import Shelf
    from mixchat.cli.ask_chat import Going, answer_and_chat, open_terminal

    asked, persona = asking.asked, asking.persona
    with open_terminal(quiet=asking.quiet) as terminal:
        shelf = Shelf(house, saving=not asked.no_save)
        log = log_for(house, saving=shelf.saving, go_on=asked.go_on, purpose="chat")
        talk = Conversation(house, asking.settings, asking.model, log, force=asking.force)
        try:
            text = said.text if talk.transcript.turns else asking.filled(said.text)
            return answer_and_chat(talk, text, asked, Going(shelf, terminal, persona))
        finally:
            talk.close()


def _show_rehearsal(rehearsal: "Rehearsal", asked: AskOptions) -> int:
    from mixchat.cli.facts import json_text, rehearsal_facts
    from mixchat.plan.units import format_bytes
    from mixchat.ui.output import write_text

    if asked.format != "text":
        write_text(sys.stdout, json_text(rehearsal_facts(rehearsal)))
        return 0
    prompt, source = rehearsal.prompt, rehearsal.source
    lines = [f"{len(segment.tokens):6} {segment.role:9} {segment.text!r}" for segment in prompt.segments]
    lines += [f"{tokens:6} of them are {name}" for name, tokens in rehearsal.files]
    lines.append(f"It would load {source.path} ({format_bytes(source.model.file_bytes)}).")
    lines.append(f"{len(prompt.tokens):6} tokens of {rehearsal.context} ({source.name})")
    write_text(sys.stdout, "\n".join(lines) + "\n")
    return 0
