"""Commands that take text in and out: files for the next message, the clipboard.

Knows what a person is told of it; refuses to know how files are read and what a terminal does with a copy.
"""

import shlex

from mixchat.app.attaching import read_attachments
from mixchat.chat.attachments import render_attachment
from mixchat.errors import UsageError
from mixchat.ui.chat.context import Context, Outcome
from mixchat.ui.clipboard import copied_line, last_code, osc52
from mixchat.ui.sanitize import single_line


def attach(context: Context, argument: str) -> Outcome:
    """Put files on the desk, with their tokens; without any show what is there."""
    desk, screen = context.desk, context.screen
    if argument == "none":
        desk.attachments = ()
        screen.tell("No files go with the next message.")
        return None
    if argument:
        new = read_attachments(_split(argument), context.folder)
        known = {each.name for each in new}
        desk.attachments = (*(each for each in desk.attachments if each.name not in known), *new)
    elif not desk.attachments:
        screen.reply("No files go with the next message. /file PATH... adds some; * and ** match many.")
        return None
    texts = [render_attachment(each) for each in desk.attachments]
    counts = [context.talk.context.count(text) for text in texts]
    lines = [
        f"{_size(text, count)}  {single_line(each.name)}"
        for each, text, count in zip(desk.attachments, texts, counts, strict=True)
    ]
    screen.reply("\n".join(lines))
    screen.tell("They go with your next message; /file none takes them back.")
    opened = context.talk.opened
    if opened is not None and sum(count or 0 for count in counts) >= opened.loaded.context:
        most = opened.model.context_length
        screen.tell(f"The context of {opened.loaded.context} tokens does not hold them; /set ctx N, at most {most}.")
    return None


def copy(context: Context, argument: str) -> Outcome:
    """Copy the last answer, or the last code block in it, by way of the terminal."""
    if argument not in {"", "code"}:
        raise UsageError(f"/copy takes no {single_line(argument)!r}.", "Type /copy or /copy code.")
    answers = [turn.assistant for turn in context.talk.transcript.turns if turn.assistant.strip()]
    if not answers:
        raise UsageError("There is no answer to copy.", "Say something first.")
    text = last_code(answers[-1]) if argument else answers[-1]
    environ = context.screen.terminal.environ
    if not context.screen.send(osc52(text, environ)):
        raise UsageError("There is no terminal to copy by.", "/export FILE writes the chat to a file.")
    context.screen.tell(copied_line(text, environ))
    return None


def _split(argument: str) -> list[str]:
    try:
        return shlex.split(argument)
    except ValueError as exc:
        raise UsageError("A quotation mark has no partner.", "Write names with spaces like 'this one.txt'.") from exc


def _size(text: str, tokens: int | None) -> str:
    """Tokens, or characters as long as no model is loaded."""
    return f"{len(text):>9,} characters" if tokens is None else f"{tokens:>9,} tokens"
