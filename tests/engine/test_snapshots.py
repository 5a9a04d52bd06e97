"""Keeping what is evaluated and putting it back, with the real engine."""

from collections import deque
from pathlib import Path

import pytest

from mixchat.engine import protocol
from mixchat.engine.client import WorkerClient
from mixchat.engine.events import GenerateRequest, StateKept, StateKey, StateRestored
from mixchat.engine.worker.log import Log
from mixchat.errors import EngineError
from tests.engine.states import KEY, copied, kept_story, load, refusal, story
from tests.engine.steps import GREEDY, chatml, greedy, said
from tests.engine.tiny_window import write_tiny_window


@pytest.fixture(scope="module")
def prompt(demo: WorkerClient) -> tuple[int, ...]:
    return story(demo)


@pytest.fixture(scope="module")
def kept(demo: WorkerClient, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return kept_story(demo, tmp_path_factory.mktemp("kept") / "state")


@pytest.fixture(scope="module")
def windowed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_window(tmp_path_factory.mktemp("window") / "tiny.gguf")


def test_a_new_worker_goes_on_where_the_old_one_was(
    demo: WorkerClient, client: WorkerClient, demo_model: Path, kept: Path, prompt: tuple[int, ...]
) -> None:
    load(client, demo_model, 4096)
    assert client.restore_state(str(kept), KEY) == StateRestored(len(prompt))
    greedy(demo, prompt, 1)
    _text, expected, _end = greedy(demo, prompt, 16)
    _text, ids, end = greedy(client, prompt, 16)
    assert ids == expected
    assert end.usage.cached_tokens == len(prompt) - 1


def test_another_context_and_thread_count_change_nothing(
    demo: WorkerClient, client: WorkerClient, demo_model: Path, kept: Path, prompt: tuple[int, ...]
) -> None:
    load(client, demo_model, 512, threads=1)
    assert client.restore_state(str(kept), KEY).tokens == len(prompt)
    longer = (*prompt, *chatml(demo, "And then?"))
    _text, ids, end = greedy(client, longer, 4)
    assert end.usage.cached_tokens == len(prompt)
    assert ids == greedy(demo, longer, 4)[1]


def test_a_restored_state_can_be_kept_again(
    client: WorkerClient, demo_model: Path, kept: Path, prompt: tuple[int, ...], tmp_path: Path
) -> None:
    load(client, demo_model)
    client.restore_state(str(kept), KEY)
    assert client.keep_state(str(tmp_path / "again"), KEY).tokens == len(prompt)
    assert (tmp_path / "again").read_bytes() == kept.read_bytes()


def test_keeping_replaces_what_was_kept_before(
    demo: WorkerClient, kept: Path, prompt: tuple[int, ...], tmp_path: Path
) -> None:
    path = copied(kept, tmp_path / "state")
    greedy(demo, prompt[:40], 3)
    assert demo.keep_state(str(path), KEY).tokens == 42, "the last sampled token was not evaluated"
    assert path.stat().st_size < kept.stat().st_size
    assert [each.name for each in tmp_path.iterdir()] == ["state"]
    assert demo.restore_state(str(path), KEY).tokens == 42


def test_another_model_is_refused_and_a_missing_file_is_no_error(
    demo: WorkerClient, kept: Path, prompt: tuple[int, ...], tmp_path: Path
) -> None:
    assert "another model" in refusal(demo, kept, StateKey("demo, 3 experts"))
    assert refusal(demo, tmp_path / "none") == "There is no kept state."
    assert greedy(demo, prompt[:9], 1)[2].usage.cached_tokens == 0, "nothing is evaluated after a refusal"


def test_another_build_is_refused(demo: WorkerClient, kept: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mixchat.engine.client.build_identity", lambda: "another")
    assert "another build" in refusal(demo, kept)


def test_another_kv_type_is_refused(client: WorkerClient, demo_model: Path, kept: Path) -> None:
    load(client, demo_model, kv_type="q8_0")
    assert "KV cache of type f16, and it is q8_0 now" in refusal(client, kept)


def test_a_quantized_state_comes_back(client: WorkerClient, demo_model: Path, tmp_path: Path) -> None:
    load(client, demo_model, kv_type="q8_0")
    prompt = chatml(client, "What is the capital of France? One word.")
    greedy(client, prompt, 1)
    assert client.keep_state(str(tmp_path / "state"), KEY).tokens == len(prompt)
    again = greedy(client, prompt, 8)[1]
    assert client.restore_state(str(tmp_path / "state"), KEY).tokens == len(prompt)
    _text, ids, end = greedy(client, prompt, 8)
    assert (ids, end.usage.cached_tokens) == (again, len(prompt) - 1)


def test_more_tokens_than_the_context_holds_are_refused(
    client: WorkerClient, demo_model: Path, kept: Path, prompt: tuple[int, ...]
) -> None:
    load(client, demo_model, 256)
    assert refusal(client, kept) == f"The kept state has {len(prompt)} tokens and the context has room for 256."
    assert greedy(client, chatml(client, "Say yes."), 2)[1]


def test_flash_attention_is_read_from_the_log_and_decides(demo: WorkerClient, kept: Path, tmp_path: Path) -> None:
    on, path = b'"flash_attention":"on"', copied(kept, tmp_path / "state")
    assert on in kept.read_bytes()[:400], "it is computed on the CPU"
    path.write_bytes(kept.read_bytes().replace(on, b'"flash_attention":"no"'))
    assert "flash attention no, and it is on now" in refusal(demo, path)


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (["llama_context: flash_attn            = auto\n", "resolve_fused_ops: Flash Attention enabled\n"], "on"),
        (
            [
                "llama_context: flash_attn            = auto\n",
                "resolve_fused_ops: layer 0 is assigned to device X but Flash Attention is assigned to device CPU\n",
                "resolve_fused_ops: Flash Attention not supported, set to disabled\n",
            ],
            "off",
        ),
        (["llama_context: flash_attn            = enabled\n"], "on"),
        (["llama_context: flash_attn            = disabled\n"], "off"),
        (["llama_context: flash_attn            = auto\n"], "unknown"),
        ([], "unknown"),
    ],
)
def test_the_log_says_what_became_of_flash_attention(lines: list[str], expected: str) -> None:
    log = Log.__new__(Log)
    log._lines = deque(lines)
    assert log.flash_attention() == expected


def test_without_anything_evaluated_nothing_is_kept(client: WorkerClient, windowed: Path, tmp_path: Path) -> None:
    for ask in (client.keep_state, client.restore_state):
        with pytest.raises(EngineError, match="No model is loaded"):
            ask(str(tmp_path / "state"), KEY)
    load(client, windowed, vocab_only=True)
    with pytest.raises(EngineError, match="No model is loaded"):
        client.keep_state(str(tmp_path / "state"), KEY)
    load(client, windowed)
    assert client.keep_state(str(tmp_path / "state"), KEY) == StateKept(0, 0)
    assert list(tmp_path.iterdir()) == []


def test_while_an_answer_is_written_the_state_is_left_alone(
    demo: WorkerClient, prompt: tuple[int, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    events = demo.generate(GenerateRequest(prompt[:50], GREEDY, 30))
    seen = [next(events), next(events)]
    for ask in (protocol.AskRestoreState, protocol.AskKeepState):
        demo._write(protocol.encode(10_000, ask(str(tmp_path / "state"), KEY, "build")))
    refused: list[object] = []
    decode = protocol.decode

    def listen(body: bytes) -> tuple[int, object]:
        request_id, message = decode(body)
        if request_id == 10_000:
            refused.append(message)
        return request_id, message

    monkeypatch.setattr(protocol, "decode", listen)
    _text, ids, _end = said([*seen, *events])
    assert [type(each) for each in refused] == [protocol.Failed] * 2
    assert all("in use" in each.message for each in refused if isinstance(each, protocol.Failed))
    assert ids == greedy(demo, prompt[:50], 30)[1]


def test_of_layers_with_a_window_a_restored_state_is_continued_or_left(
    client: WorkerClient, windowed: Path, tmp_path: Path
) -> None:
    """Their keys before the window are not in it: a shorter prefix must be evaluated again."""
    prompt = tuple(range(100, 160))
    other = (*prompt[:30], *range(500, 520))
    load(client, windowed, 256)
    greedy(client, prompt, 1)
    again = greedy(client, prompt, 12)[1]
    greedy(client, prompt, 1)
    assert client.keep_state(str(tmp_path / "state"), KEY).tokens == len(prompt)
    _text, expected, live = greedy(client, other, 12)
    assert live.usage.cached_tokens == 30, "the engine's own cache holds all keys"

    load(client, windowed, 256)
    client.restore_state(str(tmp_path / "state"), KEY)
    _text, ids, end = greedy(client, prompt, 12)
    assert (ids, end.usage.cached_tokens) == (again, len(prompt) - 1)
    _text, ids, end = greedy(client, other, 12)
    assert (ids, end.usage.cached_tokens) == (expected, 0)
    assert greedy(client, other[:30], 2)[2].usage.cached_tokens == 29, "what was evaluated here is held whole"


def test_a_context_beyond_the_first_one_is_another_condition(
    client: WorkerClient, windowed: Path, tmp_path: Path
) -> None:
    path = tmp_path / "state"
    load(client, windowed, 512)
    greedy(client, tuple(range(100, 120)), 1)
    assert client.keep_state(str(path), KEY).tokens == 20
    load(client, windowed, 768)
    assert "first trained for" in refusal(client, path)
    load(client, windowed, 256)
    assert client.restore_state(str(path), KEY).tokens == 20
