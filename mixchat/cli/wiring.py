"""Chooses the outside things: places, registry, and which engine fulfils the port.

The only place that knows them all; refuses to decide anything else.
"""

import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial

from mixchat.app.house import House
from mixchat.engine.client import WorkerClient
from mixchat.engine.proof import prove
from mixchat.engine.speed import speed_of
from mixchat.models.hub import Hub
from mixchat.models.hub_cache import cache_folder
from mixchat.models.registry import load_registry
from mixchat.store.places import find_places
from mixchat.store.settings import Settings, read_config, resolve
from mixchat.ui.console import write_line
from mixchat.ui.sanitize import clean


@contextmanager
def open_house(*, debug: bool = False, endpoint: str | None = None) -> Iterator[House]:
    """Everything the use cases need; the engine ends with the block.

    Args:
        debug: Show llama.cpp's log at the end.
        endpoint: Address of the hub; None leaves it to HF_ENDPOINT.
    """
    places = find_places(os.environ)
    engine = WorkerClient(os.environ)
    try:
        yield House(
            places,
            load_registry(places.config / "models.toml"),
            engine,
            lambda: prove(places, lambda: WorkerClient(os.environ)),
            Hub(endpoint or None, is_offline(os.environ)),
            cache_folder(os.environ),
            calibrate=partial(speed_of, places, os.environ),
        )
    finally:
        if debug:
            write_line(sys.stderr, clean(engine.log()))
        engine.close()


def is_offline(environ: Mapping[str, str]) -> bool:
    """Whether HF_HUB_OFFLINE says so, by the hub library's own reading of it."""
    return environ.get("HF_HUB_OFFLINE", "").upper() in {"1", "ON", "YES", "TRUE"}


def settings_from(flags: Mapping[str, object]) -> Settings:
    """The settings in force.

    Raises:
        UsageError: A flag, a variable or the configuration file has a wrong value.
    """
    path = find_places(os.environ).config / "config.toml"
    return resolve(flags, os.environ, read_config(path), path)
