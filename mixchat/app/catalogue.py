"""What models are here, and what a file says: `mixchat list` and `mixchat show`.

Knows which facts belong in each view; refuses to know how they are drawn.
"""

from dataclasses import dataclass

from mixchat.app.house import House
from mixchat.app.machine import machine_of
from mixchat.app.preflight import Preflight, preflight
from mixchat.app.source import Source, located
from mixchat.app.wishes import wishes_of
from mixchat.errors import BadModel, NotFound, NotPulled
from mixchat.gguf.model import MoeModel, describe
from mixchat.models.library import Installed, installed, last_used
from mixchat.models.shards import read_model
from mixchat.store.settings import Settings, built_in


@dataclass(frozen=True, slots=True)
class Row:
    """An installed model.

    Attributes:
        installed: Its record and its file.
        model: What the file says; None when it cannot be read.
        problem: The reason for that.
        last_used: When it was opened last, as ISO 8601 in UTC; None: never.
    """

    installed: Installed
    model: MoeModel | None
    problem: str = ""
    last_used: str | None = None


def list_models(house: House) -> tuple[Row, ...]:
    """Every model in the store, by name."""
    return tuple(_row(house, model) for model in installed(house.places))


def show_model(house: House, text: str, settings: Settings | None = None) -> Source | Preflight:
    """What a model's header says, fetched from the hub for one that is not on this machine; makes the demo if need be.

    Raises:
        NotFound: There is no such model.
        NetworkError: It is not on this machine, and the hub cannot be reached or says no.
        BadModel: The file is damaged or no model.
    """
    try:
        return located(house, text, settings)
    except NotPulled:
        chosen = settings or built_in()
        return preflight(house, text, wishes_of(chosen), machine_of(house, chosen))


def _row(house: House, model: Installed) -> Row:
    used = last_used(house.places, model)
    try:
        return Row(model, describe(read_model(model.path)), last_used=used)
    except (BadModel, NotFound) as error:
        return Row(model, None, error.message, used)
