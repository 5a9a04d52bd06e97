from dataclasses import replace
from pathlib import Path

import pytest

from mixchat.app.catalogue import show_model
from mixchat.app.house import House
from mixchat.app.preflight import Preflight, preflight
from mixchat.app.source import located
from mixchat.engine import platform
from mixchat.engine.events import DeviceInfo
from mixchat.errors import BadModel, DoesNotFit, NetworkError, NotFound, NotPulled, UsageError
from mixchat.models import stored
from mixchat.models.registry import load_registry
from mixchat.plan.values import Machine, Wishes
from mixchat.store.places import Places
from tests.app.conftest import MakeHouse
from tests.builders import Tiny, mixtral_header, tiny_moe
from tests.fakes.engine import CPU, FakeEngine
from tests.fakes.shelf import COMMIT, ShelfHub

GIB = 1 << 30
STATIC = "mradermacher/Mixtral-8x7B-Instruct-v0.1-GGUF"
I1 = "mradermacher/Mixtral-8x7B-Instruct-v0.1-i1-GGUF"
BLOKE = "TheBloke/Mixtral-8x7B-Instruct-v0.1-GGUF"
GPU = DeviceInfo("CUDA0", "A card", "gpu", 20 * GIB, 24 * GIB)
FILES = {entry.quantization: entry.file for entry in load_registry().entries["mixtral"].files}


@pytest.fixture(autouse=True)
def _machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """32 GiB of RAM and 100 GiB of disk."""
    monkeypatch.setattr(platform, "ram_available", lambda: 32 * GIB)
    disk(monkeypatch, 100)


def disk(monkeypatch: pytest.MonkeyPatch, gib: int) -> None:
    monkeypatch.setattr("mixchat.app.preflight.free_bytes", lambda _folder: gib * GIB)


@pytest.fixture
def hub() -> ShelfHub:
    """Mixtral in both repositories, and the old one."""
    hub = ShelfHub()
    for quant in ("Q2_K", "Q3_K_M", "Q4_K_M", "Q5_K_M", "Q8_0"):
        hub.add(STATIC, FILES[quant], mixtral_header(f"static/{quant}"))
    hub.add(I1, FILES["i1-IQ2_XXS"], mixtral_header("i1/IQ2_XXS"))
    hub.add(I1, FILES["i1-IQ1_M"], mixtral_header("i1/IQ2_XXS", layers=26))
    hub.add(I1, FILES["i1-Q4_K_M"], mixtral_header("static/Q4_K_M"))
    hub.add(BLOKE, "mixtral-8x7b-instruct-v0.1.Q4_K_M.gguf", mixtral_header("thebloke-legacy/Q4_K_M"))
    return hub


@pytest.fixture
def house(make_house: MakeHouse, hub: ShelfHub) -> House:
    return replace(make_house(FakeEngine()), hub=hub)


@pytest.fixture
def house_with_card(make_house: MakeHouse, hub: ShelfHub) -> House:
    return replace(make_house(FakeEngine(devices=(CPU, GPU))), hub=hub)


def test_a_named_file_is_described_before_a_byte_of_its_weights(house: House, hub: ShelfHub) -> None:
    check = preflight(house, "mixtral:Q4_K_M")
    assert (check.name, check.problem, check.disk_free) == ("mixtral:Q4_K_M", None, 100 * GIB)
    assert (check.model.layout, check.model.n_experts, check.model.n_experts_used) == ("merged", 8, 2)
    assert (check.model.quantization, check.model.context_length) == ("Q4_K_M", 32768)
    assert check.disk_needed == check.model.file_bytes == 28448468384
    assert check.plan is not None
    assert not check.plan.on_gpu
    (file,) = check.files
    assert (file.repo, file.commit) == (STATIC, "92bb790b153033f0594934ee23bb0e12ba897f4e")
    assert hub.asked == []
    assert hub.read.total() == 8 << 20


def test_the_largest_that_fits_is_chosen_with_the_reason(house: House, hub: ShelfHub) -> None:
    check = preflight(house, "mixtral")
    assert (check.name, check.problem) == ("mixtral:i1-Q4_K_M", None)
    assert check.reasons[0].startswith(
        "i1-Q4_K_M is the largest of 15 that fits: 26.5 GiB of weights and about 752.1 MiB"
    )
    assert "31.5 GiB of memory" in check.reasons[0]
    assert list(hub.read) == [FILES["i1-Q4_K_M"]]


@pytest.mark.parametrize(("ram", "name"), [(60, "Q8_0"), (33, "Q5_K_M"), (23, "Q3_K_M"), (12, "i1-IQ1_M")])
def test_it_depends_on_the_memory(
    house: House, monkeypatch: pytest.MonkeyPatch, ram: int, name: str, hub: ShelfHub
) -> None:
    monkeypatch.setattr(platform, "ram_available", lambda: ram * GIB)
    monkeypatch.setattr("mixchat.app.preflight.offers", only("Q8_0", "Q5_K_M", "i1-Q4_K_M", "Q3_K_M", "i1-IQ1_M"))
    check = preflight(house, "mixtral")
    assert check.name == f"mixtral:{name}"
    assert len(hub.read) <= 3


def only(*quantizations: str):  # type: ignore[no-untyped-def]  # noqa: ANN201 - a stand-in for `offers`
    from mixchat.models.offers import offers

    def some(*args):  # type: ignore[no-untyped-def]  # noqa: ANN002, ANN202
        return tuple(offer for offer in offers(*args) if offer.quantization in quantizations)

    return some


@pytest.mark.parametrize(
    ("ram", "wishes", "expected"),
    [
        (4, Wishes(), ("mixtral:Q3_K_M", 27)),
        (16, Wishes(), ("mixtral:Q5_K_M", 18)),
        (18, Wishes(devices=("cpu",)), ("mixtral:Q2_K", 0)),
        (16, Wishes(devices=("CUDA0",)), ("mixtral:Q5_K_M", 18)),
    ],
)
def test_cards_and_ram_count_together(
    house_with_card: House, monkeypatch: pytest.MonkeyPatch, ram: int, wishes: Wishes, expected: tuple[str, int]
) -> None:
    monkeypatch.setattr(platform, "ram_available", lambda: ram * GIB)
    monkeypatch.setattr(
        "mixchat.app.preflight.offers", only("Q8_0", "Q5_K_M", "i1-Q4_K_M", "Q3_K_M", "Q2_K", "i1-IQ1_M")
    )
    check = preflight(house_with_card, "mixtral", wishes)
    assert check.plan is not None
    assert check.problem is None
    assert (check.name, check.plan.expert_layers) == expected


def test_the_disk_limits_the_choice_too(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    disk(monkeypatch, 17)
    assert preflight(house, "mixtral").name == "mixtral:Q2_K"


def test_when_none_fits_the_smallest_is_shown_with_numbers(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "ram_available", lambda: 2 * GIB)
    check = preflight(house, "mixtral")
    assert (check.name, check.plan) == ("mixtral:i1-IQ1_M", None)
    assert check.reasons[0] == "None of the 15 fits this machine; i1-IQ1_M is the smallest."
    assert isinstance(check.problem, DoesNotFit)
    assert (check.problem.what, check.problem.exit_code) == ("RAM", 3)
    assert "2.0 GiB are available" in check.problem.message
    assert any("--force" in remedy for remedy in check.problem.remedies)


def test_what_does_not_fit_names_what_does(house: House) -> None:
    error = preflight(house, "mixtral:Q8_0").problem
    assert isinstance(error, DoesNotFit)
    assert error.hint == "i1-Q4_K_M fits: mixchat pull mixtral:i1-Q4_K_M; --force goes on all the same."
    forced = preflight(house, "mixtral:Q8_0", Wishes(force=True))
    assert (forced.problem, forced.plan is None) == (None, False)


def test_the_one_that_fits_is_tried_before_it_is_named(house: House, hub: ShelfHub) -> None:
    before = hub.read.total()
    check = preflight(house, "mixtral:Q8_0", machine=Machine((), 23 * GIB))
    assert isinstance(check.problem, DoesNotFit)
    assert check.problem.hint == "Q3_K_M fits: mixchat pull mixtral:Q3_K_M; --force goes on all the same."
    assert "Q3_K_M" in " ".join(hub.read)
    assert hub.read.total() - before >= 16 << 20


def test_a_small_disk_is_told_before_the_download(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    disk(monkeypatch, 10)
    for wishes in (None, Wishes(force=True)):
        error = preflight(house, "mixtral:Q4_K_M", wishes).problem
        assert isinstance(error, DoesNotFit)
        assert (error.what, error.short_by) == ("disk", 28448468384 + (256 << 20) - 10 * GIB)
        assert "MIXCHAT_MODELS" in error.remedies[-1]


def test_a_part_of_an_earlier_try_needs_no_room(house: House, places: Places) -> None:
    folder = places.models / "mixtral-Q4_K_M"
    folder.mkdir(parents=True)
    part = folder / f"{FILES['Q4_K_M']}.part"
    part.write_bytes(b"GGUF" * 250)
    sha = preflight(house, "mixtral:Q4_K_M").files[0].sha256
    part.with_name(part.name + ".json").write_text(
        f'{{"commit": "92bb790b153033f0594934ee23bb0e12ba897f4e", "sha256": "{sha}", "size": 28448468384, "tag": ""}}'
    )
    assert preflight(house, "mixtral:Q4_K_M").disk_needed == 28448468384 - 1000


@pytest.mark.parametrize(
    "text", [f"hf:{BLOKE}:Q4_K_M", f"hf:{BLOKE}", f"hf:{BLOKE}/mixtral-8x7b-instruct-v0.1.Q4_K_M.gguf"]
)
def test_legacy_files_are_refused_with_one_that_works(house: House, hub: ShelfHub, text: str) -> None:
    check = preflight(house, text)
    assert check.model.layout == "legacy"
    assert isinstance(check.problem, BadModel)
    assert check.problem.exit_code == 5
    assert "mixchat pull mixtral:Q4_K_M" in check.problem.hint
    assert "Mixtral-8x7B-Instruct-v0.1.Q4_K_M.gguf" in check.problem.hint
    assert hub.read.total() <= 64 << 20
    assert preflight(house, text, Wishes(force=True)).problem is None


def test_repositories_offer_what_is_a_model(house: House, hub: ShelfHub, tmp_path: Path) -> None:
    head = tiny_moe(tmp_path / "t.gguf", Tiny(layers=1)).read_bytes()
    for path in ("mmproj-F16.gguf", "imatrix.gguf", "../x-Q8_0.gguf", "README.md", "m-Q5_K_M-00001-of-00002.gguf"):
        hub.add("o/r", path, head)
    for path in ("m-Q4_K_M.gguf", "Q8_0/m-Q8_0-00001-of-00002.gguf", "Q8_0/m-Q8_0-00002-of-00002.gguf"):
        hub.add("o/r", path, head, size=len(head) + (len(path) << 10))
    with pytest.raises(BadModel, match="in two"):
        preflight(house, "hf:o/r:Q8_0")
    assert {path for path in hub.read if hub.read[path]} == {f"Q8_0/m-Q8_0-0000{i}-of-00002.gguf" for i in (1, 2)}
    check = preflight(house, "hf:o/r:q4_k_m")
    assert (check.name, [file.path for file in check.files]) == ("hf:o/r:Q4_K_M", ["m-Q4_K_M.gguf"])
    with pytest.raises(NotFound) as caught:
        preflight(house, "hf:o/r:Q2_K")
    assert caught.value.hint == "It has Q8_0, Q4_K_M."


def test_a_revision_is_kept(house: House) -> None:
    text = f"hf:{STATIC}/{FILES['Q2_K']}@v1"
    check = preflight(house, text)
    assert (check.name, check.files[0].commit) == (text, COMMIT)


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("mixtral:Q9_Z", NotFound),
        ("nosuch", NotFound),
        ("hf:o/none", NotFound),
        (f"hf:{STATIC}/none.gguf", NotFound),
        (f"hf:{STATIC}/{FILES['Q2_K']}@v9", NotFound),
        ("./x.gguf", UsageError),
        ("demo", NotFound),
    ],
)
def test_what_is_not_there_is_told(house: House, text: str, error: type[Exception]) -> None:
    with pytest.raises(error):
        preflight(house, text)


def test_the_hub_s_file_must_be_the_registry_s(house: House, hub: ShelfHub) -> None:
    known = load_registry().entries["olmoe"].files[0]
    hub.add(known.repo, known.file, mixtral_header("static/Q2_K"))
    with pytest.raises(BadModel, match="sha256 differs"):
        preflight(house, "olmoe")


def test_a_quantization_that_the_registry_lacks_is_looked_up(house: House, hub: ShelfHub) -> None:
    hub.add(I1, "Mixtral-8x7B-Instruct-v0.1.i1-IQ2_XS.gguf", mixtral_header("i1/IQ2_XXS"))
    assert preflight(house, "mixtral:i1-IQ2_XS").name == "mixtral:i1-IQ2_XS"
    assert hub.asked == [STATIC, I1]


def test_show_tells_of_a_model_that_is_not_here(house: House) -> None:
    shown = show_model(house, "mixtral:Q4_K_M")
    assert isinstance(shown, Preflight)
    with pytest.raises(NotFound):
        show_model(house, "nosuch")


def test_ask_and_chat_fetch_nothing(house: House, hub: ShelfHub) -> None:
    for text in ("mixtral", "mixtral:Q4_K_M", f"hf:{BLOKE}:Q4_K_M", f"hf:{BLOKE}"):
        with pytest.raises(NotPulled) as caught:
            located(house, text)
        assert caught.value.hint == f"Run: mixchat pull {text}"
        assert caught.value.exit_code == 10
    assert (hub.asked, hub.read) == ([], {})


def test_without_a_network_it_is_told(make_house: MakeHouse) -> None:
    with pytest.raises(NetworkError) as caught:
        preflight(make_house(FakeEngine()), "mixtral:Q4_K_M")
    assert caught.value.exit_code == 4


def test_free_bytes_of_a_folder_to_be_made(tmp_path: Path) -> None:
    assert stored.free_bytes(tmp_path / "a" / "b") > 0
