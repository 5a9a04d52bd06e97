import json
from dataclasses import asdict
from pathlib import Path

import pytest

from mixchat.errors import NotFound, UsageError
from mixchat.models.library import Found, Record, find, installed, to_be_made, write_record
from mixchat.models.reference import Alias, HubFile, HubQuant, LocalPath, Reference
from mixchat.models.registry import load_registry
from mixchat.store.places import Places

REGISTRY = load_registry()
MIXTRAL = REGISTRY.entries["mixtral"]
Q8 = "Mixtral-8x7B-Instruct-v0.1.Q8_0.gguf"
I1_Q4 = "Mixtral-8x7B-Instruct-v0.1.i1-Q4_K_M.gguf"


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


@pytest.mark.parametrize(
    ("reference", "file", "name"),
    [
        (Alias("mine"), "some.gguf", "mine"),
        (Alias("mixtral"), Q8, "mixtral:Q8_0"),
        (Alias("mixtral", "Q8_0"), Q8, "mixtral:Q8_0"),
        (Alias("mixtral", "I1-Q4_K_M"), I1_Q4, "mixtral:i1-Q4_K_M"),
    ],
)
def test_aliases_find_what_is_there(places: Places, reference: Alias, file: str, name: str) -> None:
    paths = {
        file: install(places, folder, file)
        for folder, file in (("mine", "some.gguf"), ("a", I1_Q4), ("b", Q8), ("c", "x.gguf"))
    }
    assert find(places, REGISTRY, reference) == Found(paths[file], REGISTRY.get(reference.name), name)


def test_the_folder_s_name_comes_first(places: Places) -> None:
    install(places, "a", Q8)
    path = install(places, "mixtral", "own.gguf")
    assert find(places, REGISTRY, Alias("mixtral")) == Found(path, MIXTRAL, "mixtral")


def test_paths(places: Places, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    for name, entry in (("other.gguf", None), (Q8, MIXTRAL)):
        (tmp_path / name).write_bytes(b"")
        assert find(places, REGISTRY, LocalPath(Path("~") / name)) == Found(
            tmp_path / name, entry, name.removesuffix(".gguf")
        )


@pytest.mark.parametrize(
    ("reference", "message", "hint"),
    [
        (Alias("demo"), "demo is not made yet.", "Run: mixchat chat demo"),
        (Alias("mixtral"), "mixtral (Mixtral 8x7B Instruct v0.1) is not on this machine.", "mixchat chat demo"),
        (Alias("mixtral", "Q5_K_M"), "mixtral:Q5_K_M (Mixtral", "path of a .gguf"),
        (Alias("mixtrl"), "There is no model mixtrl.", "Did you mean mixtral?"),
        (Alias("zzz"), "There is no model zzz.", "Known are demo, mixtral."),
        (HubFile("a/b", "c.gguf"), "hf:a/b/c.gguf is not on this machine.", "mixchat chat demo"),
        (HubQuant("a/b", "Q8_0"), "hf:a/b:Q8_0 is not on this machine.", "mixchat chat demo"),
        (LocalPath(Path("/none/x.gguf")), "/none/x.gguf does not exist.", "mixchat chat demo"),
        (LocalPath(Path("/dev/null/x.gguf")), "/dev/null/x.gguf cannot be read: Not a directory.", "path"),
        (LocalPath(Path("/" + "x" * 300)), "/xxx", "path"),
        (LocalPath(Path("~nobody-of-this-name/x.gguf")), "~nobody-of-this-name/x.gguf cannot be read", "path"),
    ],
)
def test_what_is_missing_is_told(places: Places, reference: Reference, message: str, hint: str) -> None:
    install(places, "a", Q8)
    if reference == Alias("mixtral"):
        (places.models / "a" / Q8).unlink()
    with pytest.raises(NotFound) as caught:
        find(places, REGISTRY, reference)
    assert caught.value.message.startswith(message)
    assert hint in caught.value.hint


def test_a_folder_is_wrong_usage(places: Places, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is a folder"):
        find(places, REGISTRY, LocalPath(tmp_path))


def test_only_a_missing_packaged_model_is_to_be_made(places: Places) -> None:
    others = (Alias("mixtral"), Alias("zzz"), Alias("demo", "Q8_0"), LocalPath(Path("demo")))
    assert all(to_be_made(places, REGISTRY, reference) is None for reference in others)
    assert to_be_made(places, REGISTRY, Alias("demo")) == REGISTRY.get("demo")
    install(places, "demo", "x.gguf")
    assert to_be_made(places, REGISTRY, Alias("demo")) is None
