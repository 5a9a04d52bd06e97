r'''How a message of several lines is typed.

Knows the trailing `\` and the `"""` block; refuses to know keys and streams.
'''

from typing import Final

MARK: Final = '"""'
_ESCAPE: Final = "\\"


def is_open(text: str) -> bool:
    r'''Whether the text begins with `"""` and does not end with a closing one.'''
    return text.startswith(MARK) and not _is_block(text)


def goes_on(text: str) -> bool:
    r"""Whether Enter begins a new line here: in an open block, or after an odd number of `\` outside of one."""
    if text.startswith(MARK):
        return is_open(text)
    return _ends_in_escape(text)


def with_new_line(text: str) -> str:
    r"""A text that goes on, at the beginning of its next line; outside of a block without the `\`."""
    return text + "\n" if is_open(text) else text.removesuffix(_ESCAPE) + "\n"


def unquoted(text: str) -> str:
    """The message: the inside of a block without its outer line ends, else the text as it is."""
    if not _is_block(text):
        return text
    return text.rstrip()[len(MARK) : -len(MARK)].removeprefix("\n").removesuffix("\n")


def quoted(message: str) -> str:
    """What a person would type for the message, so that `unquoted` gives it back: a block only where one is needed."""
    if message.startswith(MARK) or _ends_in_escape(message):
        return f"{MARK}\n{message}\n{MARK}"
    return message


def _is_block(text: str) -> bool:
    inside = text.rstrip()
    return inside.startswith(MARK) and inside.endswith(MARK) and len(inside) >= 2 * len(MARK)


def _ends_in_escape(text: str) -> bool:
    return (len(text) - len(text.rstrip(_ESCAPE))) % 2 == 1
