"""Commands that change what was said: regenerate, continue, undo, edit, fork, back, system text.

Knows messages by their numbers; refuses to know how a change is kept and evaluated.
"""

from mixchat.errors import UsageError
from mixchat.ui.chat.commands import unquoted
from mixchat.ui.chat.context import Context, Editing, Outcome, Stream
from mixchat.ui.editor import edit_text
from mixchat.ui.sanitize import single_line

_SHOWN = 60


def regenerate(context: Context, _argument: str) -> Outcome:
    """Answer the last message again."""
    return Stream(lambda overflow: context.talk.regenerate(overflow=overflow))


def go_on(context: Context, _argument: str) -> Outcome:
    """Let the last answer go on."""
    return Stream(lambda overflow: context.talk.go_on(overflow=overflow))


def undo(context: Context, argument: str) -> Outcome:
    """Take back the last turn, or the last N."""
    count = _number(argument or "1", "/undo 2")
    turns = context.talk.transcript.turns
    first = turns[-count].user if 0 < count <= len(turns) else ""
    context.tell(context.talk.past.undo(count))
    taken = "The last turn is" if count == 1 else f"The last {count} turns are"
    name = context.talk.past.checkpoints[-1]
    context.screen.tell(f"{taken} taken back, from: {single_line(first, _SHOWN)}. /back {name} brings it back.")
    return None


def edit(context: Context, argument: str) -> Outcome:
    """Put a message at the prompt; without a number write the next one in an editor."""
    if not context.screen.interactive:
        raise UsageError("There is no terminal to edit at.", "Leave /edit to a chat on a terminal.")
    if not argument:
        context.desk.draft = edit_text("", context.screen.terminal.environ) or ""
        return None
    number = _number(argument, "/edit 3")
    turns = context.talk.transcript.turns
    index, is_answer = divmod(number - 1, 2)
    if not 1 <= number <= 2 * len(turns):
        have = f"There are {2 * len(turns)} messages" if turns else "There is no message"
        raise UsageError(f"{have}, so {number} cannot be edited.", "/show lists them.")
    turn = turns[index]
    context.desk.editing = Editing(index, "assistant" if is_answer else "user")
    context.desk.draft = turn.assistant if is_answer else turn.user
    later = 2 * len(turns) - number
    gone = f" The {later} later messages are given up then; a checkpoint keeps them." if later > 1 else ""
    what = "Enter puts it in the answer's place" if is_answer else "Enter sends it"
    context.screen.tell(f"Message {number} is at the prompt. {what}; an empty line leaves it as it is.{gone}")
    return None


def fork(context: Context, argument: str) -> Outcome:
    """Set a checkpoint."""
    name, notices = context.talk.past.fork(unquoted(argument))
    context.tell(notices)
    context.screen.tell(f"Checkpoint {single_line(name)!r} is set; /back returns to it.")
    return None


def back(context: Context, argument: str) -> Outcome:
    """Go back to a checkpoint."""
    before = context.talk.past.checkpoints
    name, notices = context.talk.past.back(unquoted(argument))
    context.tell(notices)
    kept = [each for each in context.talk.past.checkpoints if each not in before]
    left = f" /back {kept[0]} returns to where you were." if kept else ""
    turns = _turns(len(context.talk.transcript.turns))
    context.screen.tell(f"Back at {single_line(name)!r}: {turns}.{left}")
    return None


def system(context: Context, argument: str) -> Outcome:
    """Show or change the system text, and say what a change costs."""
    transcript = context.talk.transcript
    if not argument:
        context.screen.reply(
            context.screen.cleaned(transcript.system or "There is no system text. /system TEXT sets one.")
        )
        if transcript.summary:
            context.screen.reply(context.screen.cleaned(f"Summary of the turns left out:\n{transcript.summary}"))
        return None
    if argument == "none" and not transcript.system:
        context.screen.reply("There is no system text.")
        return None
    context.tell(context.talk.set_system("" if argument == "none" else argument))
    cost, last = context.talk.context.to_evaluate(), context.talk.last
    speed = last.timings.prefill_tps if last else 0.0
    time = f", about {cost / speed:.0f} s" if speed and cost > speed else ""
    more = f" Your next message evaluates {cost} tokens again{time}." if cost else ""
    context.screen.tell(f"The system text is {'gone' if argument == 'none' else 'set'}.{more}")
    return None


def _number(text: str, example: str) -> int:
    if not text.isdecimal() or len(text) > 6 or int(text) < 1:  # noqa: PLR2004 - more than any chat has
        raise UsageError(f"{single_line(text, _SHOWN)!r} is no number of messages.", f"Write it like {example}")
    return int(text)


def _turns(count: int) -> str:
    return "1 turn" if count == 1 else f"{count} turns"
