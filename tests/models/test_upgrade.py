"""Legacy files become their merged twins, byte for byte; whatever is in the way is told, and leaves nothing."""

import errno
import os
import signal
import subprocess
import sys
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO

import pytest

from mixchat.errors import BadModel, NotFound, OutputError, UsageError
from mixchat.gguf.header import METADATA_START, Header, TensorInfo, parse_header
from mixchat.gguf.writer import u32
from mixchat.models import streaming
from mixchat.models import upgrade as upgrading
from mixchat.models.streaming import Checking, Copying
from mixchat.models.upgrade import Upgraded, default_target, upgrade
from tests.builders import Tiny, legacy_twin, mixtral_header, sparse_file, tiny_moe

WEIGHTS = ("F16", "Q8_0", "Q4_K", "Q6_K")
LOGITS = """
import sys
from llama_cpp import llama_cpp as llama
llama.llama_backend_init()
for path in sys.argv[1:]:
    model_params = llama.llama_model_default_params()
    model_params.use_extra_bufts = False
    model = llama.llama_model_load_from_file(path.encode(), model_params)
    if not model:
        print("refused")
        continue
    context_params = llama.llama_context_default_params()
    context_params.n_ctx = 256
    context = llama.llama_init_from_model(model, context_params)
    tokens = (llama.llama_token * 5)(7, 3, 200, 41, 7)
    assert llama.llama_decode(context, llama.llama_batch_get_one(tokens, 5)) == 0
    words = llama.llama_vocab_n_tokens(llama.llama_model_get_vocab(model))
    print([value.hex() for value in llama.llama_get_logits(context)[:words]])
"""
RUN = """
import sys
from pathlib import Path
from mixchat.models.upgrade import upgrade
for event in upgrade(Path(sys.argv[1]), Path(sys.argv[2])):
    print(event, flush=True)
"""


@pytest.fixture
def legacy(tmp_path: Path) -> Path:
    """A small legacy file, alone in a folder."""
    folder = tmp_path / "old"
    folder.mkdir()
    return legacy_twin(tiny_moe(tmp_path / "merged.gguf", Tiny(layers=1)), folder / "old.gguf")


def run(source: Path, target: Path, *, force: bool = False) -> Upgraded:
    *_progress, last = upgrade(source, target, force=force)
    assert isinstance(last, Upgraded)
    return last


@pytest.mark.parametrize("weight", WEIGHTS)
def test_the_upgraded_file_is_the_merged_twin(weight: str, tmp_path: Path) -> None:
    merged = tiny_moe(tmp_path / "merged.gguf", replace(Tiny(experts=3), weight=weight))  # type: ignore[arg-type]
    old = legacy_twin(merged, tmp_path / "old.gguf")
    assert len(parse_header(old.read_bytes()).tensors) == 3 + 2 * (7 + 3 * 3)
    done = run(old, tmp_path / "new.gguf")
    assert done == Upgraded(tmp_path / "new.gguf", merged.stat().st_size, 2 * 3 * 3, 3 + 2 * 10)
    assert (tmp_path / "new.gguf").read_bytes() == merged.read_bytes()


def test_llama_cpp_gets_the_same_logits_and_refuses_the_legacy_file(tmp_path: Path) -> None:
    paths: list[Path] = []
    for weight in WEIGHTS:
        merged = tiny_moe(tmp_path / f"{weight}.gguf", replace(Tiny(), weight=weight))  # type: ignore[arg-type]
        old = legacy_twin(merged, tmp_path / f"{weight}-old.gguf")
        run(old, default_target(old))
        paths += [merged, default_target(old), old]
    done = subprocess.run([sys.executable, "-c", LOGITS, *paths], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    for twin, upgraded, old in zip(*[iter(lines)] * 3, strict=True):
        assert twin == upgraded != "refused"
        assert len(set(twin.split())) > 200
        assert old == "refused"


def test_the_metadata_is_copied_byte_for_byte(tmp_path: Path) -> None:
    merged = tiny_moe(tmp_path / "merged.gguf", Tiny(layers=1), extra={"general.alignment": u32(64)})
    old = bytearray(legacy_twin(merged, tmp_path / "old.gguf").read_bytes())
    name = old.index(b"tiny")
    old[name : name + 4] = b"\xff\0\xfe\x80"  # no UTF-8: nothing that passes through text would survive
    (tmp_path / "old.gguf").write_bytes(old)
    run(tmp_path / "old.gguf", tmp_path / "new.gguf")
    new = (tmp_path / "new.gguf").read_bytes()
    before, after = parse_header(bytes(old)), parse_header(new)
    assert new[METADATA_START : after.metadata_end] == bytes(old[METADATA_START : before.metadata_end])
    assert (after.alignment, before.alignment) == (64, 64)


def test_progress_counts_every_byte_twice(legacy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streaming, "PIECE", 10_000)
    events = list(upgrade(legacy, legacy.with_name("new.gguf")))
    total = sum(tensor.nbytes for tensor in parse_header(legacy.read_bytes()).tensors)
    for kind in (Copying, Checking):
        steps = [event for event in events if isinstance(event, kind)]
        assert {step.total for step in steps} == {total}
        assert [step.done for step in steps] == sorted({step.done for step in steps})
        assert steps[-1].done == total
        assert len(steps) > total // 10_000


def only(legacy: Path, *others: str) -> bool:
    return sorted(path.name for path in legacy.parent.iterdir()) == sorted(["old.gguf", *others])


def test_a_target_that_is_there_is_kept_unless_forced(legacy: Path) -> None:
    target = legacy.with_name("new.gguf")
    target.write_bytes(b"dear")
    with pytest.raises(UsageError, match=r"new\.gguf is there already"):
        run(legacy, target)
    assert target.read_bytes() == b"dear"
    assert run(legacy, target, force=True).nbytes == target.stat().st_size
    assert only(legacy, "new.gguf")


def test_the_source_is_never_the_target(legacy: Path) -> None:
    before = legacy.read_bytes()
    link = legacy.with_name("link.gguf")
    link.hardlink_to(legacy)
    for target in (legacy, link):
        with pytest.raises(UsageError, match="is the file to upgrade"):
            run(legacy, target, force=True)
    with pytest.raises(UsageError, match="is a folder"):
        run(legacy, legacy.parent, force=True)
    assert legacy.read_bytes() == before


def test_what_there_is_nothing_to_do_for_is_named(tmp_path: Path) -> None:
    merged = tiny_moe(tmp_path / "merged.gguf", Tiny(layers=1))
    with pytest.raises(UsageError, match=r"merged\.gguf: The file has merged experts already"):
        run(merged, tmp_path / "new.gguf")
    with pytest.raises(NotFound, match=r"none\.gguf does not exist"):
        run(tmp_path / "none.gguf", tmp_path / "new.gguf")
    assert not (tmp_path / "new.gguf").exists()


def test_a_damaged_source_is_refused(legacy: Path) -> None:
    os.truncate(legacy, legacy.stat().st_size - 5000)
    with pytest.raises(BadModel, match="incomplete"):
        run(legacy, legacy.with_name("new.gguf"))
    assert only(legacy)


def test_a_full_disk_is_told_before_anything_is_written(legacy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    status = os.statvfs(legacy.parent)
    small = os.statvfs_result((*tuple(status)[:4], 1000, *tuple(status)[5:]))
    monkeypatch.setattr(os, "statvfs", lambda _path: small)
    with pytest.raises(OutputError, match=r"bytes are needed .* free") as caught:
        run(legacy, legacy.with_name("new.gguf"))
    assert f"{1000 * status.f_frsize:,} are free" in caught.value.message
    assert only(legacy)


def test_a_folder_that_is_not_there_is_told(legacy: Path) -> None:
    with pytest.raises(OutputError, match="No such file"):
        run(legacy, legacy.parent / "none" / "new.gguf")


def test_a_disk_that_fills_up_leaves_nothing(legacy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = upgrading._copied

    def full(*args: object) -> Iterator[object]:
        yield from list(real(*args))[:2]  # type: ignore[arg-type]
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(upgrading, "_copied", full)
    with pytest.raises(OutputError, match="No space left"):
        run(legacy, legacy.with_name("new.gguf"))
    assert only(legacy)


def test_a_source_that_changes_meanwhile_is_noticed(legacy: Path) -> None:
    with pytest.raises(BadModel, match="changed while it was read"):
        for event in upgrade(legacy, legacy.with_name("new.gguf")):
            if isinstance(event, Copying):
                os.utime(legacy, ns=(event.done, event.done))
    assert only(legacy)


@pytest.mark.parametrize("where", ["header", "tensor"])
def test_a_file_that_reads_back_differently_is_not_kept(
    where: str, legacy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = upgrading._checked

    def damaged(target: Path, out: BinaryIO, *rest: Any) -> Iterator[Checking]:  # noqa: ANN401 - as they come
        at = 30 if where == "header" else os.fstat(out.fileno()).st_size - 5000
        os.pwrite(out.fileno(), bytes([os.pread(out.fileno(), 1, at)[0] ^ 1]), at)
        yield from real(target, out, *rest)

    monkeypatch.setattr(upgrading, "_checked", damaged)
    with pytest.raises(OutputError, match="reads back differently") as caught:
        run(legacy, legacy.with_name("new.gguf"))
    assert ("its header" in caught.value.message) == (where == "header")
    assert only(legacy)


def test_a_run_that_is_given_up_leaves_nothing(legacy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streaming, "PIECE", 10_000)
    events = upgrade(legacy, legacy.with_name("new.gguf"))
    assert isinstance(next(events), Copying)
    events.close()  # type: ignore[attr-defined]
    assert only(legacy)


def can_be_nameless(folder: Path) -> bool:
    try:
        os.close(os.open(folder, os.O_RDWR | os.O_TMPFILE))
    except (OSError, AttributeError):
        return False
    return True


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_a_killed_run_leaves_nothing(number: signal.Signals, tmp_path: Path) -> None:
    folder = tmp_path / "old"
    folder.mkdir()
    if not can_be_nameless(folder):
        pytest.skip("this file system has no files without a name")
    old = sparse_file(folder / "old.gguf", mixtral_header("thebloke-legacy/Q4_K_M", layers=1))
    command = [sys.executable, "-c", RUN, str(old), str(folder / "new.gguf")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("Copying")
        assert only(old)
        process.send_signal(number)
        process.wait(30)
    assert process.returncode == -number
    assert only(old)


PEAK = """
import sys
from pathlib import Path
from mixchat.models.upgrade import upgrade
*_progress, last = upgrade(Path(sys.argv[1]), Path(sys.argv[2]))
(peak,) = (line.split()[1] for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
print(last.nbytes, peak)
"""


@pytest.mark.long
def test_memory_stays_small_on_a_large_file(tmp_path: Path) -> None:
    """1.8 GB with experts as large as in the real file; ru_maxrss would count the process that started it too."""
    old = sparse_file(tmp_path / "old.gguf", mixtral_header("thebloke-legacy/Q4_K_M", layers=2))
    command = [sys.executable, "-c", PEAK, str(old), str(tmp_path / "new.gguf")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    nbytes, peak = map(int, done.stdout.split())
    assert nbytes > 1_800_000_000
    assert peak * 1024 < 200_000_000
    expected = parse_header(mixtral_header("static/Q4_K_M", 2)).tensors
    assert shapes(_header(tmp_path / "new.gguf").tensors) == shapes(expected)


def shapes(tensors: Iterable[TensorInfo]) -> list[tuple[str, tuple[int, ...]]]:
    return [(tensor.name, tensor.shape) for tensor in tensors]


def _header(path: Path) -> Header:
    with path.open("rb") as file:
        return parse_header(file.read(2 << 20))
