"""A conversation into a file of its own.

Knows which form a file's name asks for, and that no file is replaced unasked; refuses to know what the forms are.
"""

import json
import os
from pathlib import Path
from typing import Final

from mixchat.chat.export import About, answerers, to_markdown, to_object
from mixchat.chat.journal import Dialogue, replay
from mixchat.errors import UsageError
from mixchat.store.output_file import write_output
from mixchat.store.session_file import Kept
from mixchat.store.session_index import title_of

_MARKDOWN: Final = (".md", ".markdown")
_JSON: Final = ".json"


def export_file(path: Path, dialogue: Dialogue, about: About, *, force: bool = False) -> None:
    """Write a conversation as Markdown or JSON, as the file's name ends; private (0600), whole or not at all.

    Args:
        path: Ends in `.md`, `.markdown` or `.json`.
        dialogue: The conversation.
        about: What is known of it.
        force: Replace a file that is there.

    Raises:
        UsageError: The name ends otherwise, or there is something of that name.
        OutputError: It could not be written.
    """
    form = path.suffix.lower()
    if form not in {*_MARKDOWN, _JSON}:
        raise UsageError(f"{path} ends neither in .md nor in .json.", "Give the file one of these endings.")
    if path.is_dir():
        raise UsageError(f"{path} is a folder.", "Give another name.")
    if os.path.lexists(path) and not force:
        raise UsageError(f"{path} is there already.", "Give another name, or --force to replace it.")
    text = json_export(dialogue, about) if form == _JSON else to_markdown(dialogue, about)
    write_output(path, text.encode("utf-8", "replace"))


def json_export(dialogue: Dialogue, about: About) -> str:
    """The JSON of a conversation, indented, with a line end."""
    return json.dumps(to_object(dialogue, about), ensure_ascii=False, indent=1) + "\n"


def told(kept: Kept) -> tuple[Dialogue, About]:
    """What a session that was read comes to, ready for an export."""
    dialogue = replay(kept.records)
    about = About(kept.id, title_of(dialogue), kept.created, kept.changed, answerers(kept.records))
    return dialogue, about
