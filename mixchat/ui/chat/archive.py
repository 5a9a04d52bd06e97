"""Commands about sessions: name, list, load, export, begin again.

Knows what a person is told of them; refuses to know how they are kept.
"""

from pathlib import Path

from mixchat.app.exporting import export_file
from mixchat.chat.journal import Dialogue
from mixchat.errors import UsageError
from mixchat.ui.chat.commands import unquoted
from mixchat.ui.chat.context import Context, Outcome
from mixchat.ui.sanitize import single_line
from mixchat.ui.sessions import found_table, sessions_table

_LAST = 400


def save(context: Context, argument: str) -> Outcome:
    """Name the session."""
    if not context.shelf.saving:
        raise UsageError("This chat is not saved, so it can have no name.", "/export FILE writes it to a file.")
    name = unquoted(argument)
    context.tell(context.talk.name_it(name))
    context.screen.tell(f"This session is called {single_line(name)!r}; /load {single_line(name)} returns to it.")
    return None


def sessions(context: Context, argument: str) -> Outcome:
    """List the sessions, or those that hold some words."""
    table = found_table(context.shelf.search(argument)) if argument else sessions_table(context.shelf.all())
    if not table.infos:
        context.screen.reply("No session has these words." if argument else "There is no session yet.")
        return None
    context.screen.draw(table)
    return None


def load(context: Context, argument: str) -> Outcome:
    """Go on with another session."""
    wanted = context.shelf.other(unquoted(argument), context.talk.session)
    if wanted == context.talk.session:
        raise UsageError("That is this session.", "/sessions lists them.")
    session = context.shelf.open(wanted)
    context.tell(context.talk.take_up(session))
    for notice in session.notices:
        context.screen.mark(single_line(notice))
    recall(context, context.talk.dialogue)
    return None


def recall(context: Context, dialogue: Dialogue) -> None:
    """Remind the person of where a session was, and put words that were never answered back."""
    turns = dialogue.transcript.turns
    title = f" {single_line(dialogue.name)!r}" if dialogue.name else ""
    count = "1 turn" if len(turns) == 1 else f"{len(turns)} turns"
    context.screen.tell(f"Session{title} of {count} with {single_line(dialogue.model)}; the last one was:")
    if turns:
        context.screen.tell("> " + _beginning(turns[-1].user))
        context.screen.tell(_beginning(turns[-1].assistant) or "(no answer)")
    context.desk.draft = dialogue.draft
    if dialogue.draft:
        context.screen.tell("What you said after that was not answered: it is back at the prompt.")


def write(context: Context, argument: str) -> Outcome:
    """Export the chat to a file, which must not be there yet."""
    path = new_file(context, argument)
    export_file(path, *context.shelf.told(context.talk))
    context.screen.tell(f"Written to {single_line(str(path))}.")
    return None


def new_file(context: Context, argument: str) -> Path:
    """The path of a file that is to be written.

    Raises:
        UsageError: It is there already, or its folder is not.
    """
    path = context.folder / Path(argument).expanduser()
    if path.exists():
        raise UsageError(f"{argument} is there already.", "Give another name.")
    if not path.parent.is_dir():
        raise UsageError(f"There is no folder {path.parent}.", "Make it first, or give another name.")
    return path


def clear(context: Context, _argument: str) -> Outcome:
    """Begin a new chat."""
    before = context.talk.session
    context.tell(context.talk.begin_again(context.shelf.new()))
    context.desk.attachments = ()
    kept = f" The one before is session {before}." if before else ""
    context.screen.tell(f"A new chat begins.{kept}")
    return None


def _beginning(text: str) -> str:
    return single_line(" ".join(text.split()), _LAST)
