"""A model in shards is one model to llama.cpp too."""

import os
from contextlib import closing
from pathlib import Path

from mixchat.engine.client import WorkerClient
from mixchat.engine.events import LoadRequest
from mixchat.gguf.header import METADATA_START, Header, parse_header
from mixchat.gguf.values import ValueType
from mixchat.gguf.writer import Typed, header_around, header_bytes, scalar
from mixchat.models.shards import read_model
from tests.engine.steps import greedy
from tests.mistral_vocab import write_tiny_mixtral


def _split(whole: Path, folder: Path) -> Path:
    """Two shards of a model, as llama.cpp's own tool names and marks them; returns the first."""
    data = whole.read_bytes()
    header = parse_header(data, len(data))
    half = len(header.tensors) // 2
    for number, tensors in enumerate((header.tensors[:half], header.tensors[half:])):
        marks: dict[str, Typed] = {
            "split.no": scalar(ValueType.UINT16, number),
            "split.count": scalar(ValueType.UINT16, 2),
            "split.tensors.count": scalar(ValueType.INT32, len(header.tensors)),
        }
        start = _start(data, header, marks, first=number == 0)
        count = len(marks) + (len(header.metadata) if number == 0 else 0)
        specs = [(tensor.name, tensor.shape, tensor.type) for tensor in tensors]
        shard = bytearray(header_around((header.version, count), start, specs, header.alignment))
        data_offset = len(shard)
        for tensor, new in zip(tensors, parse_header(bytes(shard)).tensors, strict=True):
            shard += bytes(data_offset + new.offset - len(shard))
            begin = header.data_offset + tensor.offset
            shard += data[begin : begin + tensor.nbytes]
        shard += bytes(-len(shard) % header.alignment)
        (folder / f"tiny-{number + 1:05}-of-00002.gguf").write_bytes(shard)
    return folder / "tiny-00001-of-00002.gguf"


def _start(data: bytes, header: Header, marks: dict[str, Typed], *, first: bool) -> bytes:
    """Raw metadata: the whole model's in the first shard, and the marks in each."""
    alone = header_bytes(marks, [])
    raw = alone[METADATA_START : parse_header(alone).metadata_end]
    return data[METADATA_START : header.metadata_end] + raw if first else raw


def test_shards_give_the_whole_model_s_answer(tmp_path: Path) -> None:
    whole = write_tiny_mixtral(tmp_path / "whole.gguf")
    first = _split(whole, tmp_path)
    assert {t.name for t in read_model(first).tensors} == {t.name for t in read_model(whole).tensors}
    answers = []
    for path in (whole, first):
        with closing(WorkerClient(os.environ)) as client:
            list(client.load(LoadRequest(str(path), context=256)))
            answers.append(greedy(client, tuple(range(300, 330)), 8)[1])
    assert answers[0] == answers[1]
    assert answers[0]
