"""What was said so far, as values.

Knows turns and the messages they make; refuses to know where they are kept and how they are rendered.
"""

from dataclasses import dataclass, replace

from mixchat.chat.messages import Message, Turn


@dataclass(frozen=True, slots=True)
class Transcript:
    """A conversation.

    Attributes:
        system: The system text; empty when there is none.
        turns: The oldest first, those without an answer included.
    """

    system: str = ""
    turns: tuple[Turn, ...] = ()

    @property
    def answered(self) -> tuple[Turn, ...]:
        """The turns that the model sees: those with an answer, a partial one included.

        A turn that was interrupted before any answer stays in `turns`, so the person's words are not lost, but not in
        the prompt: two user messages in a row are a form that most models were never taught.
        """
        return tuple(turn for turn in self.turns if turn.assistant.strip())

    def messages(self, next_user: str | None = None) -> tuple[Message, ...]:
        """The messages of the system text, of the answered turns and of what the person says next."""
        messages = [Message("system", self.system)] if self.system else []
        for turn in self.answered:
            messages += [Message("user", turn.user), Message("assistant", turn.assistant)]
        if next_user is not None:
            messages.append(Message("user", next_user))
        return tuple(messages)

    def with_turn(self, turn: Turn) -> "Transcript":
        """The conversation one turn later."""
        return replace(self, turns=(*self.turns, turn))

    def without_last(self) -> "Transcript":
        """The conversation without its last turn, answered or not; an empty one stays as it is."""
        return replace(self, turns=self.turns[:-1])
