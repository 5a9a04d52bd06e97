"""From what a person pipes, types or writes into a file to text and messages.

Knows encodings and the JSON of `--messages`; refuses to know files, streams and prompt formats.
"""

import codecs
import json
import re
from typing import get_args

from mixchat.chat.messages import Message, Role
from mixchat.errors import UsageError

MAX_MESSAGES = 10_000
MAX_MESSAGES_CHARS = 64 * 1024 * 1024

_NOT_TEXT = "Give it as text; `iconv -t UTF-8` converts other encodings."
_FORMAT = 'Write them as [{"role": "user", "content": "..."}, ...].'
# UTF-32 first: its little-endian mark begins with UTF-16's.
_MARKED = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
# Control characters that text does not have; the escape of coloured logs is not among them.
_ODD = re.compile("[\x01-\x07\x0e-\x1a\x1c-\x1f\x7f]")
_ODD_LIMIT = 20
_SHOWN = 40
_SURROGATE = re.compile("[\ud800-\udfff]")


def decode_text(data: bytes, source: str) -> str:
    """Decode what was read from stdin or a file; line ends stay as they are.

    1. A byte-order mark decides: UTF-8, UTF-16 or UTF-32. It is not part of the text.
    2. Otherwise UTF-8; with a few broken characters, a cut last one for example, these become U+FFFD.
    3. Otherwise Windows-1252, which Latin-1 text is in practice.

    Args:
        data: All bytes.
        source: What to call them in an error, such as `stdin` or a file's name.

    Raises:
        UsageError: It is not text: a NUL, more than one odd character in twenty, or not what its mark says.
    """
    text = _decode_marked(data, source)
    if text is None:
        text = _decode_unmarked(data)
    if "\0" in text or len(_ODD.findall(text)) * _ODD_LIMIT > len(text):
        raise UsageError(f"{source} is binary, not text.", _NOT_TEXT)
    return text


def without_surrogates(text: str) -> str:
    r"""Replace what is no character by U+FFFD: half a surrogate pair, from `"\ud800"` in JSON or undecodable argv."""
    return _SURROGATE.sub("\ufffd", text)


def join_prompt(prompt: str | None, piped: str | None) -> str:
    """Join the prompt argument and the piped text: the prompt first, then a blank line, then the piped text.

    The piped text loses its trailing line ends, as in a shell's `$( )`; all else stays. A blank part is left out.

    Raises:
        UsageError: Both are blank or missing.
    """
    parts = [prompt or "", (piped or "").rstrip("\r\n")]
    spoken = [without_surrogates(part) for part in parts if part.strip()]
    if not spoken:
        raise UsageError("There is no prompt.", 'Give one: mixchat ask "Why is the sky blue?", or pipe text into it.')
    return "\n\n".join(spoken)


def parse_messages(text: str) -> tuple[Message, ...]:
    """Read a whole conversation from JSON: a list of objects with a `role` and a `content`, both strings.

    Raises:
        UsageError: Anything else; the message names the index and the key.
    """
    if len(text) > MAX_MESSAGES_CHARS:
        raise UsageError(f"The messages have more than {MAX_MESSAGES_CHARS} characters.", "Shorten them.")
    items = _load(text)
    if not isinstance(items, list) or not items:
        raise UsageError("The messages are not a list with at least one message.", _FORMAT)
    if len(items) > MAX_MESSAGES:
        raise UsageError(f"There are {len(items)} messages, more than {MAX_MESSAGES}.", "Leave out the oldest.")
    return tuple(_message(index, item) for index, item in enumerate(items))


def _decode_marked(data: bytes, source: str) -> str | None:
    for mark, encoding in _MARKED:
        if data.startswith(mark):
            try:
                return data[len(mark) :].decode(encoding)
            except UnicodeDecodeError as exc:
                raise UsageError(f"{source} begins as {encoding.upper()} text and is broken.", _NOT_TEXT) from exc
    return None


def _decode_unmarked(data: bytes) -> str:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        text = data.decode("utf-8", "replace")
    broken = text.count("\ufffd") - data.count(b"\xef\xbf\xbd")
    whole = sum(not char.isascii() for char in text) - text.count("\ufffd")
    return text if whole >= broken else data.decode("cp1252", "replace")


def _load(text: str) -> object:
    try:
        loaded: object = json.loads(text)
    except json.JSONDecodeError as exc:
        raise UsageError(
            f"The messages are not JSON: line {exc.lineno}, column {exc.colno}: {exc.msg}.", _FORMAT
        ) from exc
    except (ValueError, RecursionError) as exc:
        raise UsageError("The messages hold a number or a nesting that is too large.", _FORMAT) from exc
    return loaded


def _message(index: int, item: object) -> Message:
    if not isinstance(item, dict):
        raise UsageError(f"messages[{index}] is not an object.", _FORMAT)
    for key in item:
        if key not in {"role", "content"}:
            raise UsageError(f"messages[{index}] has the unknown key {_shown(key)}.", _FORMAT)
    return Message(_role(index, _string(index, item, "role")), without_surrogates(_string(index, item, "content")))


def _string(index: int, item: "dict[str, object]", key: str) -> str:
    if key not in item:
        raise UsageError(f"messages[{index}] has no {key!r}.", _FORMAT)
    value = item[key]
    if not isinstance(value, str):
        raise UsageError(f"messages[{index}].{key} is not a string.", _FORMAT)
    return value


def _role(index: int, name: str) -> Role:
    roles: tuple[Role, ...] = get_args(Role)
    for role in roles:
        if name == role:
            return role
    raise UsageError(f"messages[{index}].role is {_shown(name)}, not system, user or assistant.", _FORMAT)


def _shown(text: str) -> str:
    return repr(text if len(text) <= _SHOWN else text[:_SHOWN] + "...")
