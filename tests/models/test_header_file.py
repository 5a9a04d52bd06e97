import os
from pathlib import Path

import pytest

from mixchat.errors import BadHeader, BadModel, NotFound, NotGguf
from mixchat.gguf.types import ggml_type
from mixchat.gguf.writer import header_bytes, text
from mixchat.models import header_file
from mixchat.models.header_file import read_header

F32 = ggml_type(0)
HEADER = header_bytes({"general.architecture": text("llama"), "x": text("y" * 5000)}, [("a", (64,), F32)])


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "model.gguf"
    path.write_bytes(HEADER + bytes(256))
    return path


def test_header_is_read(model: Path) -> None:
    header = read_header(model)
    assert header.metadata["general.architecture"] == "llama"
    assert header.file_bytes == len(HEADER) + 256


def test_long_headers_are_read_in_doubling_pieces(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(header_file, "FIRST_READ", 16)
    assert read_header(model).tensors[0].name == "a"


def test_endless_headers_are_given_up(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(header_file, "FIRST_READ", 16)
    monkeypatch.setattr(header_file, "LAST_READ", 1024)
    with pytest.raises(BadModel, match="its header exceeds"):
        read_header(model)


@pytest.mark.parametrize("cut", [1, 4, 23, 24, 100, 5000, len(HEADER) - 40, len(HEADER), len(HEADER) + 255])
def test_cut_files_are_incomplete(model: Path, cut: int) -> None:
    model.write_bytes((HEADER + bytes(256))[:cut])
    with pytest.raises(BadModel, match="the file is incomplete") as caught:
        read_header(model)
    assert str(model) in caught.value.message
    assert (caught.value.exit_code, caught.value.hint) == (5, "Fetch the file again.")


@pytest.mark.parametrize(
    ("content", "error"), [(b"", BadModel), (b"<!DOCTYPE html>" * 99, NotGguf), (HEADER[:8] + b"\xff" * 99, BadHeader)]
)
def test_files_that_are_no_model(model: Path, content: bytes, error: type[BadModel]) -> None:
    model.write_bytes(content)
    with pytest.raises(error) as caught:
        read_header(model)
    assert str(model) in caught.value.message
    assert caught.value.exit_code == 5


def test_folders_pipes_and_devices_are_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.gguf")
    for path in (tmp_path, tmp_path / "pipe.gguf", Path("/dev/zero")):
        with pytest.raises(BadModel, match="not a model file"):
            read_header(path)


@pytest.mark.parametrize("name", ["none.gguf", "a\0b.gguf", "x" * 300 + ".gguf"])
def test_files_that_are_not_there(tmp_path: Path, name: str) -> None:
    with pytest.raises(NotFound) as caught:
        read_header(tmp_path / name)
    assert caught.value.exit_code == 10
    assert "mixchat chat demo" in caught.value.hint


def test_files_that_may_not_be_read(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(*_args: object, **_kwargs: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", denied)
    with pytest.raises(NotFound, match="cannot be read: Permission denied"):
        read_header(model)
