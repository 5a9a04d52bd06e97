"""Markdown on a terminal while it streams.

Knows the way from a model's text to lines of a terminal, append-only: what is printed is never touched again. Only what
cannot be known yet waits: a word until it ends, an inline mark until it closes or can no longer close, a line of code
until it is complete, a table until it ends. Refuses to know where the text comes from.

    writer    the surface: pieces in, one write to the terminal for each
    document  lines to blocks: containers, and the block that is open
    blocks    what a line is, as soon as that can be told
    inline    emphasis, code, links
    words     characters to words
    page      words and lines onto the terminal's lines
    table     tables, when they are complete
    code      highlighting, line by line
    style     what all of this looks like
"""

from mixchat.ui.markdown.writer import MarkdownWriter

__all__ = ["MarkdownWriter"]
