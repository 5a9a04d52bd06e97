"""A list of messages as the turns that it tells of.

Knows roles and their order; refuses to know what becomes of the turns.
"""

from collections.abc import Sequence

from mixchat.chat.messages import Message, Turn
from mixchat.chat.transcript import Transcript


def told_by(messages: Sequence[Message]) -> tuple[Transcript, str]:
    """What was said before, and what the person says last.

    Several messages of one role in a row count as one with blank lines between; so do all system messages.

    Args:
        messages: A conversation that a person begins and in which a person speaks last.
    """
    system = "\n\n".join(message.text for message in messages if message.role == "system")
    turns: list[Turn] = []
    said: list[str] = []
    for message in messages:
        if message.role == "user":
            said.append(message.text)
        elif message.role == "assistant" and said:
            turns.append(Turn("\n\n".join(said), message.text))
            said = []
        elif message.role == "assistant":
            turns[-1] = Turn(turns[-1].user, f"{turns[-1].assistant}\n\n{message.text}")
    return Transcript(system, tuple(turns)), "\n\n".join(said)
