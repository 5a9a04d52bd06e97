"""What the commands that keep the store say, and the question before something is removed.

Knows the sentences; refuses to know what is done. Everything shown is cleaned.
"""

from typing import TextIO

from mixchat.errors import UsageError
from mixchat.models.importing import Imported
from mixchat.models.keeping import Removal, Verified
from mixchat.models.upgrade import Upgraded
from mixchat.plan.units import format_bytes
from mixchat.ui.console import is_terminal, make_encodable
from mixchat.ui.sanitize import single_line

_YES = {"y", "yes"}


def confirmed(question: str, option: str, stdin: TextIO, stderr: TextIO) -> bool:
    """Ask on a terminal; anything but `y` or `yes` is a no.

    Raises:
        UsageError: There is nobody to ask, and `option` was not given.
    """
    if not is_terminal(stdin):
        raise UsageError("It cannot be asked whether to remove it: stdin is no terminal.", f"Add {option}.")
    make_encodable(stderr).write(f"{question} [y/N] ")
    stderr.flush()
    return stdin.readline().strip().lower() in _YES


def removal_question(what: Removal) -> str:
    """What is going to be removed, as a question."""
    files = f"; the model's files stay in {single_line(str(what.kept))}" if what.kept else ""
    return f"Remove {single_line(what.name)} ({format_bytes(what.nbytes)}{files})?"


def removed_line(what: Removal) -> str:
    """What was removed."""
    files = f" Its files stay in {single_line(str(what.kept))}." if what.kept else ""
    return f"Removed {single_line(what.name)} ({format_bytes(what.nbytes)}).{files}\n"


def verified_line(file: Verified) -> str:
    """What is sound about a file, and how much that says."""
    path, size = single_line(str(file.path)), format_bytes(file.nbytes)
    if file.sha256 is None:
        return f"{path}: header and length are sound ({size}); nobody knows its hash, so its bytes are not checked.\n"
    return f"{path}: {size}, sha256 {file.sha256}, as {single_line(file.authority)} says.\n"


def imported_line(done: Imported) -> str:
    """What is in the store now, and how to use it."""
    name = single_line(done.record.name)
    return f"Imported {name} ({format_bytes(done.record.total)}, {done.how}). Try: mixchat chat {name}\n"


def upgraded_line(done: Upgraded) -> str:
    """What was written."""
    return (
        f"Wrote {single_line(str(done.path))} ({format_bytes(done.nbytes)}): {done.merged} tensors of single experts "
        f"merged, every byte checked. Try: mixchat chat {single_line(str(done.path))}\n"
    )
