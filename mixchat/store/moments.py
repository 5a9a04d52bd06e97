"""Moments in our own files.

Knows ISO 8601 with a time zone; refuses to know what happened then.
"""

from datetime import datetime


def parse_moment(text: str) -> datetime | None:
    """The moment; None when the text is none, or lacks its time zone."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return moment if moment.tzinfo else None
