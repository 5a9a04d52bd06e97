"""What to do next, in the words of the chat.

Knows how an option of the command line is said in a chat; refuses to know errors.
"""

import re
from typing import Final

_SAID: Final = (
    (re.compile(r"mixchat sessions list shows them\."), "/sessions lists them."),
    (re.compile(r"mixchat chat ([\w.:/-]+)"), r"/model \1"),
    (re.compile(r"--(ctx|kv-type|vram|ram|device|expert-layers|gpu-layers|max-tokens|ubatch|threads) "), r"/set \1 "),
    (re.compile(r"Shorten the prompt or the piped text\."), "Shorten the text, or take files back: /file none"),
)


def in_chat(hint: str) -> str:
    """A hint with options and commands as one types them in a chat."""
    for pattern, said in _SAID:
        hint = pattern.sub(said, hint)
    return hint
