from pathlib import Path

import pytest

from mixchat.errors import NotFound, NotPulled, UsageError
from mixchat.models.finding import Found, find, to_be_made
from mixchat.models.library import Record, write_record
from mixchat.models.origin import Origin
from mixchat.models.reference import Alias, HubFile, HubQuant, HubRepo, LocalPath, Reference
from mixchat.models.registry import load_registry
from mixchat.store.places import Places

REGISTRY = load_registry()
MIXTRAL = REGISTRY.entries["mixtral"]
Q8 = "Mixtral-8x7B-Instruct-v0.1.Q8_0.gguf"
I1_Q4 = "Mixtral-8x7B-Instruct-v0.1.i1-Q4_K_M.gguf"
COMMIT = "c" * 40


def install(places: Places, name: str, file: str, source: str = "a test", content: bytes = b"GGUF") -> Path:
    path = places.models / name / file
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    write_record(places, Record(name, file, len(content), "0" * 64, source, "2025-01-01T00:00:00+00:00"))
    return path


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
        file: install(places, folder, file, content=b"GGUF larger" if file == Q8 else b"GGUF")
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
        (Alias("mixtral"), "mixtral (Mixtral 8x7B Instruct v0.1) is not on this machine.", "Run: mixchat pull mixtral"),
        (Alias("mixtral", "Q5_K_M"), "mixtral:Q5_K_M (Mixtral", "Run: mixchat pull mixtral:Q5_K_M"),
        (Alias("mixtrl"), "There is no model mixtrl.", "Did you mean mixtral?"),
        (Alias("zzz"), "There is no model zzz.", "Known are demo, mixtral, qwen3"),
        (HubFile("a/b", "c.gguf"), "hf:a/b/c.gguf is not", "Run: mixchat pull hf:a/b/c.gguf"),
        (HubFile("a/b", "c.gguf", "v1"), "hf:a/b/c.gguf@v1 is not", "Run: mixchat pull hf:a/b/c.gguf@v1"),
        (HubQuant("a/b", "Q8_0"), "hf:a/b:Q8_0 is not on this machine.", "Run: mixchat pull hf:a/b:Q8_0"),
        (HubRepo("a/b"), "hf:a/b is not on this machine.", "Run: mixchat pull hf:a/b"),
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


def test_of_several_the_largest_that_fits_is_meant(places: Places) -> None:
    small = install(places, "a", I1_Q4, content=b"GGUF")
    large = install(places, "b", Q8, content=b"GGUF larger")
    asked: list[Path] = []

    def fits(path: Path) -> bool:
        asked.append(path)
        return path == small

    assert find(places, REGISTRY, Alias("mixtral")).path == large
    assert find(places, REGISTRY, Alias("mixtral"), fits) == Found(small, MIXTRAL, "mixtral:i1-Q4_K_M")
    assert asked == [large, small]
    assert find(places, REGISTRY, Alias("mixtral"), lambda _path: False).path == small


def test_one_alone_is_not_asked_whether_it_fits(places: Places) -> None:
    path = install(places, "a", Q8)

    def fits(_path: Path) -> bool:
        raise AssertionError

    assert find(places, REGISTRY, Alias("mixtral"), fits).path == path


def test_downloaded_models_are_found_by_their_origin(places: Places) -> None:
    origin = Origin("a/b", "sub/m-Q8_0.gguf", COMMIT, "v1")
    path = install(places, "a--m-Q8_0", "m-Q8_0.gguf", str(origin))
    i1 = install(places, "a--m-i1", "m.i1-Q4_K_M.gguf", str(Origin("a/b", "m.i1-Q4_K_M.gguf", COMMIT)), b"G")
    file = HubFile("a/b", "sub/m-Q8_0.gguf")
    for reference in (
        file,
        HubFile(file.repo, file.file, "v1"),
        HubFile(file.repo, file.file, COMMIT),
        HubQuant("a/b", "Q8_0"),
        HubRepo("a/b"),
    ):
        assert find(places, REGISTRY, reference).path == path
    assert find(places, REGISTRY, HubQuant("a/b", "Q4_K_M")).path == i1
    for absent in (HubFile(file.repo, file.file, "v2"), HubFile("a/c", file.file), HubQuant("a/b", "Q2_K")):
        with pytest.raises(NotPulled):
            find(places, REGISTRY, absent)


def test_a_quantization_that_the_registry_lacks_is_found_by_its_repository(places: Places) -> None:
    repo = MIXTRAL.files[0].repo
    path = install(places, "mixtral-Q3_K_L", "x.Q3_K_L.gguf", str(Origin(repo, "x.Q3_K_L.gguf", COMMIT)))
    assert find(places, REGISTRY, Alias("mixtral", "Q3_K_L")) == Found(path, MIXTRAL, "mixtral:Q3_K_L")
