"""What was said so far, as values.

Knows turns and the messages they make; refuses to know where they are kept and how they are rendered.
"""

from dataclasses import dataclass, replace
from typing import Final

from mixchat.chat.messages import Message, Turn

SUMMARY: Final = "Summary of the conversation before this:\n"
"""Stands in front of a summary, which goes behind the system text."""


@dataclass(frozen=True, slots=True)
class Transcript:
    """A conversation.

    Attributes:
        system: The system text; empty when there is none.
        turns: The oldest first, those without an answer included.
        left_out: So many of the oldest turns are no longer part of the prompt, because a person or a setting chose so.
        summary: Stands in the prompt for the turns that are left out; empty when nothing does.
    """

    system: str = ""
    turns: tuple[Turn, ...] = ()
    left_out: int = 0
    summary: str = ""

    @property
    def answered(self) -> tuple[Turn, ...]:
        """The turns that the model sees: those within the window with an answer, a partial one included.

        A turn that was interrupted before any answer stays in `turns`, so the person's words are not lost, but not in
        the prompt: two user messages in a row are a form that most models were never taught.
        """
        return tuple(turn for turn in self.turns[self.left_out :] if turn.assistant.strip())

    def messages(self, next_user: str | None = None) -> tuple[Message, ...]:
        """The messages of the system text and summary, of the answered turns and of what the person says next."""
        summary = SUMMARY + self.summary if self.summary else ""
        system = "\n\n".join(part for part in (self.system, summary) if part)
        messages = [Message("system", system)] if system else []
        for turn in self.answered:
            messages += [Message("user", turn.user), Message("assistant", turn.assistant)]
        if next_user is not None:
            messages.append(Message("user", next_user))
        return tuple(messages)

    def with_turn(self, turn: Turn) -> "Transcript":
        """The conversation one turn later."""
        return replace(self, turns=(*self.turns, turn))

    def kept(self, turns: int) -> "Transcript":
        """The conversation as it was after so many turns; what had been left out of the prompt by then stays out."""
        if turns < self.left_out:
            return replace(self, turns=self.turns[:turns], left_out=0, summary="")
        return replace(self, turns=self.turns[:turns])

    def without_last(self) -> "Transcript":
        """The conversation without its last turn, answered or not; an empty one stays as it is."""
        return self.kept(max(len(self.turns) - 1, 0))
