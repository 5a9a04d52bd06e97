import pytest

from mixchat.errors import NotFound, UsageError
from mixchat.gguf.types import ggml_type
from mixchat.gguf.writer import header_bytes
from mixchat.models.offers import offers, resolved, siblings
from mixchat.models.origin import Origin, folder_for, parse_origin, quantization_in
from mixchat.models.reference import parse_reference
from mixchat.models.registry import load_registry
from tests.fakes.shelf import ShelfHub

HEAD = header_bytes({}, [("a", (64,), ggml_type(0))])
REGISTRY = load_registry()
COMMIT = "c" * 40


@pytest.fixture
def hub() -> ShelfHub:
    return ShelfHub()


def names(hub: ShelfHub, text: str) -> list[str]:
    return [offer.name for offer in offers(REGISTRY, hub, parse_reference(text, REGISTRY.entries))]


def test_the_registry_s_offers_come_largest_first_without_the_hub(hub: ShelfHub) -> None:
    found = names(hub, "mixtral")
    assert (found[0], found[-1], len(found)) == ("mixtral:Q8_0", "mixtral:i1-IQ1_M", 15)
    assert names(hub, "mixtral:i1-q4_k_m") == ["mixtral:i1-Q4_K_M"]
    assert hub.asked == []


def test_files_that_share_a_quantization_are_named_in_full(hub: ShelfHub) -> None:
    for path in ("a-Q4_K_M.gguf", "b-Q4_K_M.gguf", "c-Q8_0.gguf", "plain.gguf"):
        hub.add("o/r", path, HEAD, size=100 + len(path))
    assert names(hub, "hf:o/r") == [
        "hf:o/r/a-Q4_K_M.gguf", "hf:o/r/b-Q4_K_M.gguf", "hf:o/r:Q8_0", "hf:o/r/plain.gguf"
    ]  # fmt: skip
    with pytest.raises(NotFound) as caught:
        names(hub, "hf:o/r:Q4_K_M")
    assert caught.value.hint == "Name one of hf:o/r/a-Q4_K_M.gguf, hf:o/r/b-Q4_K_M.gguf."


def test_a_prefix_may_be_left_out_where_that_is_clear(hub: ShelfHub) -> None:
    hub.add("o/r", "m.i1-Q4_K_M.gguf", HEAD)
    assert names(hub, "hf:o/r:Q4_K_M") == ["hf:o/r:i1-Q4_K_M"]
    hub.add("o/r", "m-Q4_K_M.gguf", HEAD)
    assert names(hub, "hf:o/r:Q4_K_M") == ["hf:o/r:Q4_K_M"]


def test_any_shard_means_all_of_them(hub: ShelfHub) -> None:
    for index in (1, 2):
        hub.add("o/r", f"m-0000{index}-of-00002.gguf", HEAD, size=50)
    (offer,) = offers(REGISTRY, hub, parse_reference("hf:o/r/m-00002-of-00002.gguf"))
    assert ([file.path[-19:] for file in offer.files], offer.nbytes) == (
        ["m-00001-of-00002.gguf"[-19:], "m-00002-of-00002.gguf"[-19:]], 100
    )  # fmt: skip
    assert resolved(hub, offer) == offer
    with pytest.raises(NotFound, match=r"no n-00001-of-00002\.gguf"):
        names(hub, "hf:o/r/n-00002-of-00002.gguf")


def test_what_has_no_model_is_told(hub: ShelfHub) -> None:
    for path in ("README.md", "mmproj-F16.gguf", "m-00001-of-00002.gguf"):
        hub.add("o/r", path, HEAD)
    with pytest.raises(NotFound, match="has no GGUF model"):
        names(hub, "hf:o/r")
    with pytest.raises(UsageError):
        names(hub, "./x.gguf")


def test_siblings_are_the_other_quantizations(hub: ShelfHub) -> None:
    for path in ("m-Q4_K_M.gguf", "m-Q8_0.gguf"):
        hub.add("o/r", path, HEAD)
    for text, count in (("mixtral:Q8_0", 15), ("hf:o/r:Q8_0", 2), ("hf:o/r/m-Q8_0.gguf", 0)):
        assert len(siblings(REGISTRY, hub, parse_reference(text, REGISTRY.entries))) == count


@pytest.mark.parametrize(
    ("path", "quantization"),
    [
        ("Mixtral-8x7B-Instruct-v0.1.Q4_K_M.gguf", "Q4_K_M"),
        ("Mixtral-8x7B-Instruct-v0.1.i1-IQ2_XXS.gguf", "i1-IQ2_XXS"),
        ("gpt-oss-20b-mxfp4.gguf", "mxfp4"),
        ("Q8_0/model-00001-of-00003.gguf", "Q8_0"),
        ("M-UD-Q4_K_XL-00001-of-00002.gguf", "UD-Q4_K_XL"),
        ("qwen3-bf16.gguf", "bf16"),
        ("model.gguf", ""),
    ],
)
def test_quantizations_in_names(path: str, quantization: str) -> None:
    assert quantization_in(path) == quantization


@pytest.mark.parametrize("revision", [None, "main", "refs/pr/1"])
def test_origins_are_words_and_back(revision: str | None) -> None:
    origin = Origin("o/r", "a b/m (1)@x.gguf", COMMIT, revision)
    assert parse_origin(str(origin)) == origin
    assert parse_origin("upcycled from something") is None


@pytest.mark.parametrize("path", ["m.gguf", "x/" + "y" * 190 + ".gguf", "_a+b (c).gguf", "-.gguf"])
def test_folders_have_safe_names(path: str) -> None:
    for owner in ("o", "_o"):
        folder = folder_for(Origin(f"{owner}/r", path, COMMIT))
        assert folder[0].isalnum()
        assert set(folder) <= set("abcdefghijklmnopqrstuvwxyz0123456789._-")
        assert len(folder) <= 110
