from pathlib import Path

import pytest

from mixchat.app.catalogue import list_models, show_model
from mixchat.app.source import Source
from mixchat.errors import BadModel, NotFound
from mixchat.models.library import Record, write_record
from mixchat.store.places import Places
from tests.app.conftest import MakeHouse
from tests.builders import mixtral_header, sparse_file
from tests.fakes.engine import FakeEngine


def install(places: Places, name: str, content: bytes) -> Path:
    path = places.models / name / f"{name}.gguf"
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    write_record(places, Record(name, path.name, len(content), "0" * 64, "a test", "2025-01-01T00:00:00+00:00"))
    return path


def test_an_empty_store_lists_nothing(make_house: MakeHouse) -> None:
    assert list_models(make_house(FakeEngine())) == ()


def test_every_installed_model_is_listed_with_what_is_wrong_with_it(
    make_house: MakeHouse, places: Places, model_file: Path
) -> None:
    whole = model_file.read_bytes()
    install(places, "good", whole)
    install(places, "cut", whole[:-1])
    install(places, "stub", whole[:100])
    install(places, "page", b"<!doctype html>")
    install(places, "void", b"")
    engine = FakeEngine()
    rows = {row.installed.record.name: row for row in list_models(make_house(engine))}
    assert list(rows) == ["cut", "good", "page", "stub", "void"]
    assert rows["good"].model is not None
    assert (rows["good"].model.layout, rows["good"].problem) == ("merged", "")
    problems = {name: row.problem for name, row in rows.items() if row.model is None}
    expected = {"cut": "incomplete", "stub": "incomplete", "page": "GGUF", "void": "empty"}
    assert problems.keys() == expected.keys()
    assert all(words in problems[name] for name, words in expected.items())
    assert engine.loads == []


def test_show_says_what_a_header_says(make_house: MakeHouse, tmp_path: Path) -> None:
    path = sparse_file(tmp_path / "Mixtral-8x7B-Instruct-v0.1.Q4_K_M.gguf", mixtral_header("static/Q4_K_M"))
    source = show_model(make_house(FakeEngine()), str(path))
    assert (source.model.layout, source.model.n_experts, source.model.n_experts_used) == ("merged", 8, 2)
    assert isinstance(source, Source)
    assert source.entry is not None
    assert source.entry.alias == "mixtral"


def test_show_tells_what_is_wrong(make_house: MakeHouse, tmp_path: Path) -> None:
    house = make_house(FakeEngine())
    (tmp_path / "page.gguf").write_bytes(b"<!doctype html>")
    with pytest.raises(BadModel, match=r"page\.gguf"):
        show_model(house, str(tmp_path / "page.gguf"))
    with pytest.raises(NotFound, match="does not exist"):
        show_model(house, str(tmp_path / "none.gguf"))
