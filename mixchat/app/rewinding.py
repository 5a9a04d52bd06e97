"""Changes to what was said: taken back, rewritten, and gone back to.

Knows that whatever is given up stays a checkpoint; refuses to know what is evaluated. The next prompt begins as one
that is evaluated already, and the engine keeps that beginning.
"""

from mixchat.app.events import Notice
from mixchat.app.recording import Recorder
from mixchat.chat.checkpoints import Kind, free_name, last_name
from mixchat.chat.journal import Answered, Forked, Rewound, WentBack
from mixchat.chat.messages import Turn
from mixchat.chat.transcript import Transcript
from mixchat.errors import UsageError


class Rewinding:
    """The past of one session's conversation.

    Args:
        recorder: The session.
    """

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder

    @property
    def checkpoints(self) -> list[str]:
        """The names of what can be gone back to, the oldest first."""
        return [checkpoint.name for checkpoint in self._recorder.dialogue.checkpoints]

    def undo(self, turns: int = 1) -> tuple[Notice, ...]:
        """Take back the last turns; a checkpoint keeps them.

        Raises:
            UsageError: There are not so many.
        """
        count = len(self._transcript.turns)
        if not 1 <= turns <= count:
            what = "There is no turn to undo" if not count else f"There are {count} turns, so {turns} cannot be undone"
            raise UsageError(f"{what}.", "/tokens lists them.")
        self.mark("undone")
        return self._recorder.record(Rewound(count - turns))

    def rewrite(self, index: int, answer: str) -> tuple[Notice, ...]:
        """Put another answer in the place of turn `index`'s (0 is the first); a checkpoint keeps what was there.

        Raises:
            UsageError: The answer is empty.
        """
        if not answer.strip():
            raise UsageError("An answer cannot be empty.", "/undo takes back the turn.")
        self.mark("edited")
        return self._recorder.record(Answered(index, Turn(self._transcript.turns[index].user, answer)))

    def fork(self, name: str = "") -> tuple[str, tuple[Notice, ...]]:
        """Set a checkpoint; its name, and what there is to know.

        Raises:
            UsageError: There is one of that name.
        """
        if name in self.checkpoints:
            raise UsageError(f"There is a checkpoint {name!r} already.", "Give another name.")
        name = name or free_name(self.checkpoints, "fork")
        return name, self._recorder.record(Forked(name))

    def back(self, name: str = "") -> tuple[str, tuple[Notice, ...]]:
        """Go to a checkpoint, the last one without a name; where the chat is now becomes one, too.

        Returns:
            The checkpoint's name, and what there is to know.

        Raises:
            UsageError: There is none, or none of that name.
        """
        known = self.checkpoints
        if not known:
            raise UsageError("There is no checkpoint.", "/fork sets one.")
        if name and name not in known:
            raise UsageError(f"There is no checkpoint {name!r}.", f"There are: {', '.join(known)}.")
        name = name or last_name(known)
        self.mark("left")
        return name, self._recorder.record(WentBack(name))

    def mark(self, kind: Kind) -> None:
        """Set a checkpoint before something is given up; one that holds the same is enough."""
        if self._transcript.turns and all(
            checkpoint.transcript != self._transcript for checkpoint in self._recorder.dialogue.checkpoints
        ):
            self._recorder.prepare(Forked(free_name(self.checkpoints, kind)))

    @property
    def _transcript(self) -> Transcript:
        return self._recorder.dialogue.transcript
