"""What a chat is held with, what its commands work with, and what follows from them.

Knows the values; refuses to know what any command does.
"""

from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from mixchat.app.conversing import Conversation
from mixchat.app.events import ChatEvent, Notice, OpenEvent, Traced, Tracing
from mixchat.app.shelf import Shelf
from mixchat.chat.attachments import Attachment
from mixchat.store.settings import Overflow
from mixchat.ui.chat.screen import Screen
from mixchat.ui.line_input import Lines
from mixchat.ui.sanitize import single_line


@dataclass(frozen=True, slots=True)
class Editing:
    """The next text replaces a message: turn `index` (0 is the first), the person's words or the answer."""

    index: int
    whose: Literal["user", "assistant"]


@dataclass(slots=True)
class Desk:
    """What lies ready for the next message.

    Attributes:
        draft: Text to be edited at the prompt.
        editing: The message that it replaces.
        attachments: Files that go with it.
    """

    draft: str = ""
    editing: Editing | None = None
    attachments: tuple[Attachment, ...] = ()


@dataclass(frozen=True, slots=True)
class Context:
    """What commands work with.

    Attributes:
        talk: The conversation.
        screen: Where they write.
        desk: What lies ready.
        shelf: The sessions.
        folder: What paths are relative to.
        keys: What the keys do, one a line.
    """

    talk: Conversation
    screen: Screen
    desk: Desk
    shelf: Shelf
    folder: Path
    keys: str

    def tell(self, notices: tuple[Notice, ...]) -> None:
        """Show notices."""
        for notice in notices:
            self.screen.mark(single_line(notice.text))


@dataclass(frozen=True, slots=True)
class Chat:
    """What a chat is held with.

    Attributes:
        talk: The conversation; its model is not loaded yet.
        screen: Where it is shown.
        lines: Where the person's words come from.
        shelf: The sessions.
        folder: What paths are relative to.
        fill: Gives the first message the form of a persona; None leaves it.
        desk: What lies ready.
    """

    talk: Conversation
    screen: Screen
    lines: Lines
    shelf: Shelf
    folder: Path
    fill: Callable[[str], str] | None = None
    desk: Desk = field(default_factory=Desk)


@dataclass(frozen=True, slots=True)
class Stream:
    """An answer to be streamed.

    Attributes:
        make: Begins it, with what to do when the context is full.
        draft: What goes back to the prompt when nothing comes of it.
    """

    make: Callable[[Overflow | None], Generator[ChatEvent, None, None]]
    draft: str = ""


@dataclass(frozen=True, slots=True)
class Load:
    """A model to be loaded."""

    make: Callable[[], Iterator[OpenEvent]]


@dataclass(frozen=True, slots=True)
class Trace:
    """A turn to be traced, and what becomes of the result."""

    make: Callable[[], Iterator[Tracing | Traced]]
    finish: Callable[[Traced], None]


@dataclass(frozen=True, slots=True)
class Leave:
    """The chat ends."""


Outcome = Stream | Load | Trace | Leave | None
