"""A streaming Markdown document: characters in, blocks out.

Knows which containers and which leaf are open, and what a new line does to them; refuses to know how they are printed.
Everything depends on the characters alone, never on how they were cut into pieces.
"""

from typing import TYPE_CHECKING, Final

from mixchat.ui.markdown.blocks import Context, Opening, Start, is_delimiter, read_beginning, read_line, without_quotes
from mixchat.ui.markdown.leaves import Fence, Heading, Indented, Leaf, Paragraph
from mixchat.ui.markdown.page import Edge, Page
from mixchat.ui.markdown.style import DIM, Look
from mixchat.ui.markdown.table import Table

if TYPE_CHECKING:
    from collections.abc import Callable

_LONGEST_RULE: Final = 24


class Document:
    """Takes clean text and prints it as soon as it can be known what it is.

    Args:
        page: Where to.
        look: How it is drawn.
    """

    def __init__(self, page: Page, look: Look) -> None:
        self._page = page
        self._look = look
        self._containers: list[Opening] = []
        self._leaf: Leaf | None = None
        self._head: str | None = None
        self._blank = False
        self._begin_line()

    @property
    def waiting(self) -> str:
        """What is held back until it is complete, in a few words; empty when that is next to nothing."""
        return self._leaf.waiting if isinstance(self._leaf, Table) else ""

    def feed(self, text: str) -> None:
        """Take a piece."""
        for char in text:
            if char == "\n":
                self._end_line()
            elif self._take is not None:
                self._take(char)
            else:
                self._consider(char)

    def end(self) -> None:
        """The document is complete: print all that waits."""
        if self._take is not None or self._line:
            self._end_line()
        self._print_head()
        self._close(0)
        self._page.end_line()

    def _begin_line(self) -> None:
        self._line = ""
        self._stay = ""
        self._whole: list[str] = []
        self._take: Callable[[str], None] | None = None
        paragraph = isinstance(self._leaf, Paragraph)
        piped = isinstance(self._leaf, Paragraph) and self._leaf.piped
        held = self._head is not None
        self._context = Context(tuple(self._containers), paragraph or held, piped or held)

    def _consider(self, char: str) -> None:
        """A character of a line that is not known yet."""
        if isinstance(self._leaf, Fence):
            self._collect(char)
            return
        if char == "\t":
            char = " " * (4 - len(self._line) % 4)
        self._line += char
        if char[0] in self._stay:
            return
        found = read_beginning(self._line, self._context)
        if isinstance(found, Start):
            self._begin(found)
        elif found.stay is None:
            self._collect(self._line)
        else:
            self._stay = found.stay

    def _collect(self, text: str) -> None:
        """Keep the line until its end."""
        self._whole = [text]
        self._take = self._whole.append

    def _end_line(self) -> None:
        if isinstance(self._leaf, Fence):
            self._add_code(self._leaf, "".join(self._whole))
        elif self._take is not None and not self._whole:
            self._finish_line()
        else:
            self._read_whole("".join(self._whole) or self._line)
        self._begin_line()

    def _read_whole(self, line: str) -> None:
        found = read_line(line, self._context)
        self._begin(found)
        if found.kind != "blank":
            self._finish_line()

    def _finish_line(self) -> None:
        if self._leaf is not None and self._head is None:
            self._leaf.end_line()
        if isinstance(self._leaf, Heading):
            self._close_leaf()

    def _add_code(self, fence: Fence, raw: str) -> None:
        line = without_quotes(raw, self._containers)
        if line is None:
            self._close_leaf()
            self._begin_line()
            self.feed(raw + "\n")
        elif fence.is_end(line):
            self._close_leaf()
        else:
            fence.add(line)

    def _begin(self, start: Start) -> None:
        """A line is known: end what it ends, open what it opens, and pass on its text."""
        if self._head is not None and self._is_delimiter(start):
            self._begin_table(self._head, start.rest)
            return
        self._print_head()
        if start.kind == "blank" and not start.opened:
            self._skip_line(start.kept)
            return
        if not self._goes_on(start):
            self._close(start.kept)
            self._space()
            for opening in start.opened:
                self._open(opening)
            self._leaf = self._opened_leaf(start)
        elif isinstance(self._leaf, Paragraph):
            self._leaf.begin_line()
        self._blank = False
        self._pass_on(start)

    def _pass_on(self, start: Start) -> None:
        if start.kind == "row" and not isinstance(self._leaf, Table):
            self._head = start.rest
        elif self._leaf is not None:
            if start.kind == "delimiter" and isinstance(self._leaf, Paragraph):
                self._leaf.break_line()
                self._leaf.verse = True
            self._leaf.take(start.rest)
            self._take = self._leaf.take

    def _goes_on(self, start: Start) -> bool:
        """Whether the open leaf takes this line too."""
        if start.opened or start.kept != len(self._containers):
            return False
        match self._leaf:
            case Paragraph():
                return start.kind in {"text", "delimiter", "row"}
            case Table():
                return start.kind == "row"
            case Indented():
                return start.kind == "indented"
        return False

    def _is_delimiter(self, start: Start) -> bool:
        """Whether the line stands directly below a head, and makes it one."""
        direct = start.kept == len(self._containers) and not start.opened
        return direct and start.kind in {"row", "delimiter"} and is_delimiter(start.rest)

    def _begin_table(self, head: str, delimiter: str) -> None:
        self._head = None
        self._close_leaf()
        self._leaf = Table(self._page, self._look, head, delimiter)
        self._take = self._leaf.begin

    def _print_head(self) -> None:
        """What might have been a table's head is text."""
        head, self._head = self._head, None
        if head is None:
            return
        if not isinstance(self._leaf, Paragraph):
            self._leaf = Paragraph(self._page, self._look)
        self._leaf.break_line()
        self._leaf.take(head)
        self._leaf.end_line()
        self._leaf.break_line()

    def _opened_leaf(self, start: Start) -> Leaf | None:
        match start.kind:
            case "text" | "delimiter":
                return Paragraph(self._page, self._look)
            case "heading":
                return Heading(self._page, self._look, start.level)
            case "fence":
                return Fence(self._page, self._look, start.rest, start.indent)
            case "indented":
                return Indented(self._page)
            case "rule":
                self._page.line(self._rule())
            case "underline":
                self._page.line(self._look.paint(start.rest.strip(), DIM))
        return None

    def _rule(self) -> str:
        length = min(self._page.room(), _LONGEST_RULE) if self._look.colour else 3
        return self._look.paint(self._look.dash * length, DIM)

    def _open(self, opening: Opening) -> None:
        self._containers.append(opening)
        if opening.label:
            mark = opening.label if opening.label[:-1] else self._look.bullet
            self._page.enter(Edge(mark + " ", " " * (len(mark) + 1)))
        else:
            self._page.enter(Edge(self._look.bar + " ", self._look.bar + " ", quote=True))

    def _skip_line(self, kept: int) -> None:
        if isinstance(self._leaf, Indented) and kept == len(self._containers):
            self._leaf.skip()
        else:
            self._close(kept)
        self._blank = True

    def _space(self) -> None:
        if self._blank:
            self._page.skip_line()

    def _close(self, kept: int) -> None:
        """Close the leaf, and the containers but the outermost `kept`."""
        self._close_leaf()
        self._page.leave(kept)
        del self._containers[kept:]

    def _close_leaf(self) -> None:
        if self._leaf is not None:
            self._leaf.close()
        self._leaf = None
