"""Which build of llama.cpp is installed.

Knows llama-cpp-python's files; refuses to know what the build can do.
"""

import hashlib
import importlib.metadata
from pathlib import Path

from mixchat.errors import EngineError


def build_identity() -> str:
    """A name that changes whenever llama-cpp-python or its libraries are replaced; loads neither.

    Raises:
        EngineError: It is not installed.
    """
    try:
        package = importlib.metadata.distribution("llama-cpp-python")
    except importlib.metadata.PackageNotFoundError as error:
        raise EngineError("llama-cpp-python is not installed.", "pip install llama-cpp-python") from error
    digest = hashlib.sha256(package.version.encode())
    for library in sorted(Path(str(package.locate_file("llama_cpp/lib"))).glob("*")):
        stat = library.stat()
        digest.update(f"{library.name} {stat.st_size} {stat.st_mtime_ns}".encode())
    return digest.hexdigest()[:16]
