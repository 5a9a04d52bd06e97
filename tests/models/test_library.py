import json
from dataclasses import asdict
from pathlib import Path

import pytest

from mixchat.models.library import Record, installed, write_record
from mixchat.store.places import Places


def install(places: Places, name: str, file: str) -> Path:
    path = places.models / name / file
    path.parent.mkdir(parents=True)
    path.write_bytes(b"GGUF")
    write_record(places, Record(name, file, 4, "0" * 64, "a test", "2025-01-01T00:00:00+00:00"))
    return path


def test_an_empty_store_has_no_models(places: Places) -> None:
    assert installed(places) == ()
    assert not places.models.exists()


def test_models_come_by_name(places: Places) -> None:
    for name in ("zebra", "ant"):
        install(places, name, f"{name}.gguf")
    assert [(model.record.name, model.path.name) for model in installed(places)] == [
        ("ant", "ant.gguf"),
        ("zebra", "zebra.gguf"),
    ]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[" * 99_999,
        b"\xff\xfe",
        b"[]",
        b"{}",
        b" " * 99_999 + b"{}",
        {"bytes": "4"},
        {"name": "other"},
        {"file": "../good/good.gguf"},
        {"file": "/etc/passwd"},
        {"file": "none.gguf"},
        {"file": ""},
        {"sha256": None},
    ],
)
def test_damaged_records_are_skipped(places: Places, content: bytes | dict[str, object]) -> None:
    install(places, "good", "good.gguf")
    path = install(places, "bad", "bad.gguf")
    record = asdict(installed(places)[0].record)
    data = content if isinstance(content, bytes) else json.dumps({**record, **content}).encode()
    (path.parent / "model.json").write_bytes(data)
    assert [model.record.name for model in installed(places)] == ["good"]


def test_folders_without_a_record_are_no_models(places: Places) -> None:
    path = install(places, "part", "part.gguf")
    (path.parent / "model.json").unlink()
    (places.models / "loose.gguf").write_bytes(b"GGUF")
    assert installed(places) == ()
