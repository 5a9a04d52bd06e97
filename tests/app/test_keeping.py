"""Removing, verifying and importing by the words that a person types."""

import shutil
from pathlib import Path

import pytest

from mixchat.app.catalogue import list_models
from mixchat.app.house import House
from mixchat.app.keeping import import_file, remove_model, to_remove, unfinished, verify_model
from mixchat.app.opening import open_model
from mixchat.app.source import located
from mixchat.app.upgrading import upgrade_file
from mixchat.errors import InUse, NotFound, UsageError
from mixchat.models.importing import Wish
from mixchat.models.keeping import Verified
from mixchat.models.upgrade import Upgraded
from tests.app.conftest import MakeHouse, MakeSettings
from tests.builders import Tiny, legacy_twin, tiny_moe
from tests.fakes.engine import FakeEngine


@pytest.fixture
def house(make_house: MakeHouse, model_file: Path, tmp_path: Path) -> House:
    """A house with one model, `mine`, that has no other name: a file in use is so by all its names."""
    house = make_house(FakeEngine())
    own = Path(shutil.copyfile(model_file, tmp_path / "own.gguf"))
    list(import_file(house, Wish(own, name="mine")))
    return house


def test_a_name_in_the_store_wins_over_a_file_of_that_name(
    house: House, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mine").write_text("a file in the current folder")
    monkeypatch.chdir(tmp_path)
    *_progress, last = verify_model(house, "mine")
    assert isinstance(last, Verified)
    assert last.path == list_models(house)[0].installed.path
    assert to_remove(house, "mine").name == "mine"


def test_a_folder_s_name_may_be_longer_than_an_alias(house: House) -> None:
    name = "owner--" + "x" * 80
    (house.places.models / name).mkdir()
    (house.places.models / name / "m.gguf.part").write_bytes(b"123")
    assert [part.name for part in unfinished(house).partials] == [name]
    remove_model(house, to_remove(house, name))
    assert unfinished(house).partials == ()


@pytest.mark.parametrize("text", ["../home", "..", "~", "/", "nosuch", "mine/", "."])
def test_nothing_but_the_store_is_touched(text: str, house: House) -> None:
    with pytest.raises((NotFound, UsageError)):
        to_remove(house, text)
    assert len(list_models(house)) == 1


def test_a_loaded_model_is_in_use_and_used_now(house: House, settings: MakeSettings) -> None:
    assert list_models(house)[0].last_used is None
    list(open_model(house, located(house, "mine"), settings()))
    assert list_models(house)[0].last_used is not None
    with pytest.raises(InUse):
        remove_model(house, to_remove(house, "mine"))
    house.uses.end()
    remove_model(house, to_remove(house, "mine"))
    assert list_models(house) == ()


def test_an_upgraded_file_lies_beside_the_legacy_one(tmp_path: Path) -> None:
    old = legacy_twin(tiny_moe(tmp_path / "merged.gguf", Tiny(layers=1)), tmp_path / "old.gguf")
    *_progress, last = upgrade_file(old, None)
    assert isinstance(last, Upgraded)
    assert last.path == tmp_path / "old-merged.gguf"
    with pytest.raises(UsageError, match="is there already"):
        list(upgrade_file(old, None))
    *_progress, last = upgrade_file(old, None, force=True)
    *_progress, last = upgrade_file(old, tmp_path / "new.gguf")
    assert (tmp_path / "new.gguf").read_bytes() == (tmp_path / "old-merged.gguf").read_bytes()
