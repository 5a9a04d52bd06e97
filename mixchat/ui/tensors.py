"""The table of a model's tensors by role and type in `mixchat show`.

Knows its columns; refuses to know which tensor has which role.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from mixchat.gguf.inventory import Group
from mixchat.plan.units import format_bytes

if TYPE_CHECKING:
    from rich.table import Table


def tensor_table(groups: Sequence[Group]) -> "Table":
    """A line for each role and type."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for heading in ("tensors", "type", "count", "bytes"):
        table.add_column(heading, justify="right" if heading in {"count", "bytes"} else "left", no_wrap=True)
    for group in groups:
        table.add_row(group.role, group.type, str(group.count), format_bytes(group.nbytes))
    return table
