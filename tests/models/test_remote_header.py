import pytest

from mixchat.errors import BadHeader, BadModel, NotGguf
from mixchat.gguf.header import Header, parse_header
from mixchat.gguf.model import describe
from mixchat.gguf.shards import complete, join, shard_names, stem_of
from mixchat.gguf.types import ggml_type
from mixchat.gguf.writer import header_bytes, text
from mixchat.models import remote_header
from mixchat.models.remote_header import read_remote
from tests.builders import mixtral_header
from tests.fakes.shelf import ShelfHub

F32 = ggml_type(0)
SMALL = header_bytes({"general.architecture": text("llama"), "x": text("y" * 5000)}, [("a", (64,), F32)])


@pytest.fixture
def hub() -> ShelfHub:
    return ShelfHub()


def test_a_real_header_costs_one_read_of_8_mib(hub: ShelfHub) -> None:
    file = hub.add("o/r", "m.gguf", mixtral_header("static/Q4_K_M"))
    model = describe(read_remote(hub, [file]))
    assert (model.layout, model.quantization, model.file_bytes) == ("merged", "Q4_K_M", 28448468384)
    assert hub.read["m.gguf"] == 8 << 20


def test_a_small_file_is_read_to_its_end_and_no_further(hub: ShelfHub) -> None:
    file = hub.add("o/r", "m.gguf", SMALL)
    assert read_remote(hub, [file]).tensors[0].name == "a"
    assert hub.read["m.gguf"] == file.size < 8 << 20


def test_long_headers_are_read_on_demand_and_nothing_twice(hub: ShelfHub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote_header, "FIRST_READ", 16)
    file = hub.add("o/r", "m.gguf", SMALL, size=len(SMALL) + 99_999)
    assert read_remote(hub, [file]).tensors[0].name == "a"
    assert len(SMALL) <= hub.read["m.gguf"] < 2 * len(SMALL)


def test_endless_headers_are_given_up(hub: ShelfHub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote_header, "FIRST_READ", 16)
    monkeypatch.setattr(remote_header, "LAST_READ", 1024)
    with pytest.raises(BadModel, match="header of more than"):
        read_remote(hub, [hub.add("o/r", "m.gguf", SMALL)])
    assert hub.read["m.gguf"] == 1024


@pytest.mark.parametrize("size", [5, 24, 5000, len(SMALL) - 40, len(SMALL) + 255])
def test_incomplete_files_are_told(hub: ShelfHub, size: int) -> None:
    with pytest.raises(BadModel, match=r"hf:o/r/m\.gguf is incomplete"):
        read_remote(hub, [hub.add("o/r", "m.gguf", SMALL, size=size)])


@pytest.mark.parametrize(("head", "error"), [(b"<!DOCTYPE html>", NotGguf), (SMALL[:8] + b"\xff" * 99, BadHeader)])
def test_what_is_no_model_is_told_with_its_name(hub: ShelfHub, head: bytes, error: type[BadModel]) -> None:
    with pytest.raises(error, match=r"hf:o/r/m\.gguf: "):
        read_remote(hub, [hub.add("o/r", "m.gguf", head, size=999)])


def shard(names: dict[str, int], **metadata: str) -> bytes:
    keys = {key.replace("_", "."): text(value) for key, value in metadata.items()}
    return header_bytes(keys, [(name, (size,), F32) for name, size in names.items()])


def test_shards_are_one_model(hub: ShelfHub) -> None:
    first, second = shard({"a": 64, "b": 8}, general_architecture="llama"), shard({"c": 32})
    files = [hub.add("o/r", f"m-0000{i}-of-00002.gguf", data) for i, data in ((1, first), (2, second))]
    header = read_remote(hub, files)
    assert [tensor.name for tensor in header.tensors] == ["a", "b", "c"]
    assert header.text("general.architecture") == "llama"
    assert header.file_bytes == sum(file.size for file in files)


def parsed(*names: str) -> Header:
    return parse_header(shard(dict.fromkeys(names, 8)))


def test_a_tensor_in_two_shards_is_wrong() -> None:
    with pytest.raises(BadHeader, match="in two"):
        join([parsed("a", "b"), parsed("b")])


def test_shards_are_named_by_number() -> None:
    names = shard_names("x-00002-of-00003.gguf")
    assert names == ("x-00001-of-00003.gguf", "x-00002-of-00003.gguf", "x-00003-of-00003.gguf")
    assert complete(reversed(names))
    assert not complete(names[1:])
    assert not complete(())
    assert shard_names("x.gguf") == ("x.gguf",)
    assert (stem_of(names[0]), stem_of("x.Q4_K_M.gguf"), stem_of("X.GGUF")) == ("x", "x.Q4_K_M", "X")


@pytest.mark.parametrize("name", ["x-00000-of-00002.gguf", "x-00003-of-00002.gguf", "x-00001-of-99999.gguf"])
def test_impossible_shards_are_refused(name: str) -> None:
    with pytest.raises(BadHeader):
        shard_names(name)
