"""What a chat writes beside and between the answers.

Knows which stream takes what, and who is helped by it; refuses to know what is happening.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, Self

from mixchat.errors import MixchatError
from mixchat.ui.answer import AnswerWriter
from mixchat.ui.chat.hints import in_chat
from mixchat.ui.console import Terminal, draws_blocks, is_dumb, is_terminal, paint, width_of, wrapped, write_line
from mixchat.ui.errors import show_error
from mixchat.ui.output import print_out, put, write_text
from mixchat.ui.progress import E, shown
from mixchat.ui.sanitize import clean

if TYPE_CHECKING:
    from types import TracebackType

    from rich.console import RenderableType


class Writer(Protocol):
    """Writes an answer while it comes."""

    def write(self, text: str) -> None:
        """Write a piece; it may be empty."""

    def think(self, text: str) -> None:
        """Take a piece of what the model thinks before it answers."""

    def end(self) -> None:
        """End what is open: a line, a style."""

    def __enter__(self) -> Self: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: "TracebackType | None"
    ) -> None: ...


@dataclass(frozen=True, slots=True)
class Screen:
    """A chat's streams."""

    terminal: Terminal

    @property
    def interactive(self) -> bool:
        """Whether a person sits there."""
        return is_terminal(self.terminal.stdin)

    @property
    def width(self) -> int:
        """Columns."""
        return width_of(self.terminal.stdout, self.terminal.environ)

    @property
    def ascii_only(self) -> bool:
        """Whether pictures must do without blocks."""
        return not draws_blocks(self.terminal.stderr, self.terminal.environ)

    def cleaned(self, text: str) -> str:
        """Text that we did not write, harmless."""
        return clean(text)

    def writer(self, *, raw: bool) -> Writer:
        """What writes an answer: as Markdown on a terminal that can show it, unless it is to be raw."""
        to = self.terminal
        if raw or not is_terminal(to.stdout) or is_dumb(to.environ):
            return AnswerWriter(to.stdout, to.environ)
        from mixchat.ui.markdown.writer import MarkdownWriter  # noqa: PLC0415 - a pipe needs none of it

        return MarkdownWriter(to.stdout, to.environ)

    def shown(self, events: Iterator[E], name: str) -> Iterator[E]:
        """Events, with a bar for those that tell progress."""
        to = self.terminal
        return shown(events, name, to.stderr, to.environ, to.quiet)

    def tell(self, text: str) -> None:
        """Say something helpful to a person; a pipe and --quiet go without."""
        if self.interactive and not self.terminal.quiet:
            self.mark(text)

    def mark(self, text: str) -> None:
        """Say something about the answer above."""
        to = self.terminal
        write_line(to.stderr, paint(wrapped(text, to.stderr, to.environ), "dim", to.stderr, to.environ))

    def reply(self, text: str) -> None:
        """Show what a command was asked for."""
        write_line(self.terminal.stderr, wrapped(text, self.terminal.stderr, self.terminal.environ))

    def draw(self, renderable: "RenderableType") -> None:
        """Show a table or a picture."""
        print_out(self.terminal.stderr, self.terminal.environ, renderable)

    def fail(self, error: MixchatError) -> None:
        """Show an error."""
        error.hint = in_chat(error.hint)
        show_error(error, self.terminal.stderr, self.terminal.environ)

    def blank(self) -> None:
        """An empty line behind an answer on a terminal."""
        if is_terminal(self.terminal.stdout):
            write_text(self.terminal.stdout, "\n")

    def separate(self) -> None:
        """An empty line between two answers in a pipe."""
        if not is_terminal(self.terminal.stdout):
            write_text(self.terminal.stdout, "\n")

    def send(self, sequence: str) -> bool:
        """Send the terminal an escape sequence of ours; False when stdout is none."""
        if not is_terminal(self.terminal.stdout):
            return False
        put(self.terminal.stdout, sequence)
        return True
