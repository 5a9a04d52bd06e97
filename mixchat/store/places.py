"""Where mixchat keeps its files.

Knows the folders and how to make them; refuses to know what lies in them. The only user of platformdirs, which
reads the operating system's own variables (HOME, XDG_*) itself.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from mixchat.errors import OutputError, UsageError


@dataclass(frozen=True, slots=True)
class Places:
    """The folders, absolute; none of them need exist yet.

    Attributes:
        config: What the user writes (`config.toml`).
        data: What is dear: sessions, models unless they lie elsewhere.
        cache: What can be made again.
        state: What mixchat remembers about this machine.
        models: One folder per model.
    """

    config: Path
    data: Path
    cache: Path
    state: Path
    models: Path


def find_places(environ: Mapping[str, str]) -> Places:
    """Choose the folders from MIXCHAT_HOME and MIXCHAT_MODELS, else by the platform's custom; creates nothing.

    Raises:
        UsageError: One of them is there and no folder.
    """
    home = environ.get("MIXCHAT_HOME")
    _check_folder("MIXCHAT_HOME", home)
    _check_folder("MIXCHAT_MODELS", environ.get("MIXCHAT_MODELS"))
    config, data, cache, state = _under(_absolute(home)) if home else _by_custom()
    models = environ.get("MIXCHAT_MODELS")
    return Places(config, data, cache, state, _absolute(models) if models else data / "models")


def ensure_folder(folder: Path) -> Path:
    """Make a folder and its parents where they are missing.

    Raises:
        OutputError: It cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as exc:
        raise _no_folder(folder, exc) from exc
    return folder


def ensure_private(folder: Path) -> Path:
    """Make a folder that only its owner can enter (0700), and close it when it is there and open to others.

    Raises:
        OutputError: It cannot be made or closed.
    """
    ensure_folder(folder.parent)
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        if folder.stat().st_mode & 0o077:
            folder.chmod(0o700)
    except OSError as exc:
        raise _no_folder(folder, exc) from exc
    return folder


def _check_folder(variable: str, value: str | None) -> None:
    if value and (path := _absolute(value)).exists() and not path.is_dir():
        raise UsageError(f"{variable} is {path}, which is not a folder.", "Set it to a folder, or unset it.")


def _under(home: Path) -> tuple[Path, Path, Path, Path]:
    return home / "config", home / "data", home / "cache", home / "state"


def _by_custom() -> tuple[Path, Path, Path, Path]:
    from platformdirs import PlatformDirs

    dirs = PlatformDirs("mixchat", appauthor=False)
    return dirs.user_config_path, dirs.user_data_path, dirs.user_cache_path, dirs.user_state_path


def _absolute(text: str) -> Path:
    return Path(text).expanduser().absolute()


def _no_folder(folder: Path, exc: OSError) -> OutputError:
    return OutputError(
        f"The folder {folder} cannot be made: {exc.strerror or exc}.",
        "Check its permissions, or set MIXCHAT_HOME (for models MIXCHAT_MODELS) to a folder you can write to.",
    )
