"""What models are here, and what a file says: `mixchat list` and `mixchat show`.

Knows which facts belong in each view; refuses to know how they are drawn.
"""

from dataclasses import dataclass

from mixchat.app.house import House
from mixchat.app.source import Source, located
from mixchat.errors import BadModel, NotFound
from mixchat.gguf.model import MoeModel, describe
from mixchat.models.header_file import read_header
from mixchat.models.library import Installed, installed


@dataclass(frozen=True, slots=True)
class Row:
    """An installed model; `model` is None, with the reason, when its file cannot be read."""

    installed: Installed
    model: MoeModel | None
    problem: str = ""


def list_models(house: House) -> tuple[Row, ...]:
    """Every model in the store, by name."""
    return tuple(_row(model) for model in installed(house.places))


def show_model(house: House, text: str) -> Source:
    """What a model's header says; makes the demo when it is asked for and not there.

    Raises:
        NotFound: There is no such model on this machine.
        BadModel: The file is damaged or no model.
    """
    return located(house, text)


def _row(model: Installed) -> Row:
    try:
        return Row(model, describe(read_header(model.path)))
    except (BadModel, NotFound) as error:
        return Row(model, None, error.message)
