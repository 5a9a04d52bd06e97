"""What the hub's HTTP answers mean.

Knows status codes and headers; refuses to know how they were obtained. No text of an answer gets into an error.

Error codes: https://github.com/huggingface/huggingface_hub (hf_raise_for_status)
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus

from mixchat.errors import MixchatError, NetworkError, NotFound, Transient

REDIRECTS = frozenset({301, 302, 303, 307, 308})
LATER = "Run the same command later: it goes on where it stopped."

_LINK_GONE = frozenset({401, 403, 404, 410})
_BUSY = frozenset({408, 416, 425, 429})
_RANGE = re.compile(r"bytes (\d{1,18})-(\d{1,18})/(\d{1,18}|\*)")
_RATE_LIMIT = re.compile(r"\br=0\b.*\bt=(\d{1,6})\b")


@dataclass(frozen=True, slots=True)
class Asked:
    """What a request was about.

    Attributes:
        repo: `owner/name`.
        what: The file or the revision, for errors.
        page: Where a person can read about the repository.
    """

    repo: str
    what: str
    page: str


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer that brings no file.

    Attributes:
        headers: Found without regard to case.
        by_hub: It came from the hub itself, not from where the hub sent us.
    """

    status: int
    headers: Mapping[str, str]
    by_hub: bool


def refusal(answer: Answer, asked: Asked) -> MixchatError:
    """The error that an answer means."""
    status, code = answer.status, answer.headers.get("x-error-code", "")
    if not answer.by_hub and status in _LINK_GONE:
        return Transient(f"The link to {asked.what} has expired ({status}).", LATER)
    if status in _BUSY or status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return Transient(f"The hub answers {_named(status)}.", LATER, retry_after(answer.headers))
    if code == "GatedRepo" or status == HTTPStatus.FORBIDDEN:
        hint = f"Open {asked.page} and accept the licence, then run: hf auth login"
        return NetworkError(f"The hub does not give {asked.repo} to everybody: it is gated.", hint)
    if status == HTTPStatus.UNAUTHORIZED and "credentials" in answer.headers.get("x-error-message", "").lower():
        return NetworkError("The hub refuses the token that it was sent.", "Run: hf auth login")
    if status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.NOT_FOUND}:
        return _missing(code, asked)
    return NetworkError(f"The hub answers {_named(status)}.", f"Look at {asked.page} for what is wrong.")


def content_range(text: str | None) -> tuple[int, int | None] | None:
    """First byte and total size (None when it is unknown) of a Content-Range; None when it is none."""
    found = _RANGE.fullmatch(text.strip()) if text else None
    if found is None:
        return None
    start, end, total = found.groups()
    if int(end) < int(start):
        return None
    return int(start), None if total == "*" else int(total)


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds that an answer asks to wait; None when it does not."""
    text = headers.get("retry-after", "").strip()
    if text.isascii() and text.isdecimal():
        return float(text[:9])
    try:
        when = parsedate_to_datetime(text)
    except ValueError:
        limit = _RATE_LIMIT.search(headers.get("ratelimit", ""))
        return float(limit[1]) if limit else None
    return max((when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp() - datetime.now(UTC).timestamp(), 0.0)


def _missing(code: str, asked: Asked) -> NotFound:
    if code == "EntryNotFound":
        return NotFound(f"{asked.repo} has no {asked.what}.", f"See which files it has: {asked.page}/tree/main")
    if code == "RevisionNotFound":
        return NotFound(f"{asked.repo} has no such revision ({asked.what}).", f"See what it has: {asked.page}")
    return NotFound(
        f"The hub has no repository {asked.repo}, or it is private.",
        "Check its name; if it is private or gated, run: hf auth login",
    )


def _named(status: int) -> str:
    try:
        return f"{status} ({HTTPStatus(status).phrase})"
    except ValueError:
        return str(status)
