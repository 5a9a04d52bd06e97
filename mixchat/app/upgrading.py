"""`mixchat upgrade`: a legacy file into the merged layout.

Knows which path is read and which is written; refuses to know layouts and bytes.
"""

from collections.abc import Iterator
from pathlib import Path

from mixchat.models.upgrade import UpgradeEvent, default_target, upgrade


def upgrade_file(source: Path, target: Path | None, *, force: bool = False) -> Iterator[UpgradeEvent]:
    """Write the merged twin of a legacy file, beside it unless `target` says where; ends with Upgraded.

    Raises:
        UsageError: There is nothing to upgrade, or the target is there and `force` is not given.
        BadModel: It cannot be done without loss.
        NotFound: There is no such file.
        OutputError: The new file cannot be written.
    """
    source = source.expanduser()
    yield from upgrade(source, (target or default_target(source)).expanduser(), force=force)
