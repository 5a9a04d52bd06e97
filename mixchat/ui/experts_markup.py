"""Foreign text and shades in markup.

Knows what XML and HTML may not hold and how dark a share is; refuses to know what is drawn.
"""

import re
from html import escape
from typing import Final

from mixchat.ui.sanitize import clean

_NO_XML: Final = re.compile("[^\t\n\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_DARKEST: Final = 0.9
HEAT: Final = "0,114,178"
"""Red, green and blue of the picture of shares."""


def escaped(text: str) -> str:
    """Text for an element or a quoted attribute; what acts or hides is shown as a mark, line ends and tabs stay."""
    return escape(_NO_XML.sub("\ufffd", clean(text)))


def heat(share: float, n_experts: int) -> float:
    """The opacity of a share: 0 for none, half of the darkest for an equal one, the darkest for twice that and more."""
    return round(min(share * n_experts / 2, 1.0) * _DARKEST, 3)
