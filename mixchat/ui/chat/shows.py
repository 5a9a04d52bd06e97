"""Commands that show something, and those that choose model, settings and looks.

Knows which view belongs to which word; refuses to know how views look.
"""

from functools import reduce

from mixchat.app.chat_settings import RELOADING
from mixchat.app.planning import Planned
from mixchat.errors import UsageError
from mixchat.store.options import nearest
from mixchat.store.settings import Settings
from mixchat.ui.chat.commands import SHOWN, help_text
from mixchat.ui.chat.context import Context, Load, Outcome
from mixchat.ui.chat.token_rows import token_table
from mixchat.ui.chat.turns import system
from mixchat.ui.chat_stats import ChatTotals, chat_stats_view
from mixchat.ui.chat_views import settings_view, tokens_view, turns_view
from mixchat.ui.plan import PlanView
from mixchat.ui.prompt_view import prompt_view
from mixchat.ui.sanitize import single_line

_UNSET = "default"


def help_(context: Context, _argument: str) -> Outcome:
    """List the commands and keys."""
    context.screen.reply(help_text(context.keys, context.screen.width))
    return None


def show(context: Context, argument: str) -> Outcome:
    """Show messages, or what the word says."""
    match argument:
        case "":
            context.screen.draw(turns_view(context.talk.transcript))
        case "system":
            system(context, "")
        case "settings":
            context.screen.draw(settings_view(context.talk.settings, context.talk.dialogue.values))
        case "plan":
            plan(context, "")
        case "prompt":
            _prompt(context)
        case "stats":
            _stats(context)
        case "thinking":
            _thinking(context)
        case _:
            near = nearest(argument, SHOWN)
            hint = f"Did you mean /show {near}?" if near else f"There are: {' '.join(SHOWN)}."
            raise UsageError(f"/show knows no {single_line(argument)!r}.", hint)
    return None


def tokens(context: Context, _argument: str) -> Outcome:
    """Show what the context is used for."""
    history = context.talk.history()
    if history is None or context.talk.opened is None:
        raise UsageError("Nothing is in the context yet.", "Say something first.")
    table = token_table(history, context.talk.transcript, context.talk.opened.loaded.context)
    context.screen.draw(tokens_view(table))
    return None


def plan(context: Context, _argument: str) -> Outcome:
    """Show where the model lies."""
    opened = context.talk.opened
    if opened is None:
        raise UsageError("No model is loaded.", "Your next message loads it; `mixchat plan` plans without loading.")
    planned = Planned(opened.name, None, opened.model, opened.plan, None, ())
    context.screen.draw(PlanView(planned, context.screen.ascii_only))
    return None


def set_(context: Context, argument: str) -> Outcome:
    """Show or change settings."""
    key, _space, text = argument.partition(" ")
    key = key.replace("-", "_")
    if not argument:
        context.screen.draw(settings_view(context.talk.settings, context.talk.dialogue.values))
        return None
    settings = context.talk.settings
    if not text and key in settings.chosen:
        chosen = settings.chosen[key]
        origin = "built in" if chosen.origin == "default" else chosen.origin
        context.screen.reply(f"{key} {_value(settings, key)} ({origin})")
        return None
    context.tell(context.talk.set_value(key, "" if text.strip() == _UNSET else text.strip()))
    after = " Your next message loads the model again." if key in RELOADING and context.talk.reloads else ""
    context.screen.tell(f"{key} is {_value(context.talk.settings, key)} now.{after}")
    return None


def model(context: Context, argument: str) -> Outcome:
    """Show or change the model."""
    if argument:
        return Load(lambda: context.talk.use_model(argument))
    name = single_line(context.talk.dialogue.model)
    loaded = "loaded" if context.talk.opened else "not loaded"
    others = ", ".join(map(single_line, context.shelf.models()))
    context.screen.reply(f"{name}, {loaded}. On this machine: {others or 'no model'}. /model MODEL changes it.")
    return None


def raw(context: Context, _argument: str) -> Outcome:
    """Toggle Markdown."""
    wished = "markdown" if context.talk.settings.value("output") == "raw" else "raw"
    context.tell(context.talk.set_value("output", wished))
    context.screen.tell("Answers are shown as they are." if wished == "raw" else "Answers are shown as Markdown.")
    return None


def _value(settings: Settings, key: str) -> str:
    value = settings.chosen[key].value
    if value is None:
        return "chosen by mixchat"
    return single_line(",".join(map(str, value)) if isinstance(value, tuple) else str(value))


def _prompt(context: Context) -> None:
    history = context.talk.history()
    if history is None or context.talk.opened is None:
        raise UsageError("Nothing is evaluated yet.", "Say something first.")
    context.screen.draw(prompt_view(history, context.talk.opened.loaded.context))


def _stats(context: Context) -> None:
    last, opened = context.talk.last, context.talk.opened
    if last is None or opened is None:
        raise UsageError("There is no answer yet.", "Say something first.")
    context.screen.draw(chat_stats_view(last, opened, reduce(ChatTotals.plus, context.talk.totals, ChatTotals())))


def _thinking(context: Context) -> None:
    thoughts = [turn.thinking for turn in context.talk.transcript.turns if turn.thinking.strip()]
    if not thoughts:
        raise UsageError("The model has not thought aloud.", "Models that reason show it here.")
    context.screen.reply(context.screen.cleaned(thoughts[-1].strip()))
