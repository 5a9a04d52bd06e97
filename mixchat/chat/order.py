"""What order of messages makes a conversation that can be answered.

Knows roles and their order; refuses to know prompt formats.
"""

from collections.abc import Sequence

from mixchat.chat.messages import Message
from mixchat.errors import UsageError


def check_order(messages: Sequence[Message]) -> None:
    """Refuse a conversation that leaves a model nothing to answer.

    Raises:
        UsageError: No message but the system's, the assistant speaks first, or a person does not speak last.
    """
    spoken = [message for message in messages if message.role != "system"]
    if not spoken:
        raise UsageError("The conversation has no user message.", "Add a message with the role user at its end.")
    if spoken[0].role != "user":
        raise UsageError(
            "The conversation begins with the assistant.", "Put a message with the role user before the first answer."
        )
    if messages[-1].role != "user":
        raise UsageError(
            f"The conversation ends with a message of the role {messages[-1].role}.",
            "End it with the user message to be answered.",
        )
