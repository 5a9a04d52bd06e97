"""Which turns still fit the context.

Knows token counts; refuses to know texts, and to cut anything silently: the caller announces the number.
"""

from collections.abc import Sequence

from mixchat.errors import PromptTooLong


def fit(turn_tokens: Sequence[int], fixed: int, room: int) -> int:
    """How many of the oldest turns must be left out, whole, so that the prompt fits.

    Args:
        turn_tokens: Tokens of each turn, the oldest first.
        fixed: Tokens that cannot be left out: the system text, the new user message, the format's own.
        room: Tokens that the context has for the prompt.

    Raises:
        PromptTooLong: What cannot be left out exceeds the room by itself.
    """
    if fixed > room:
        raise PromptTooLong(fixed, room, "Shorten the text, or give the model more context with --ctx.")
    total = fixed + sum(turn_tokens)
    left_out = 0
    while total > room:
        total -= turn_tokens[left_out]
        left_out += 1
    return left_out
