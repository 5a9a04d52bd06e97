from collections.abc import Mapping, Sequence

import pytest

from mixchat.errors import BadHeader
from mixchat.gguf.header import parse_header
from mixchat.gguf.model import Layer, MoeModel, describe
from mixchat.gguf.quantization import FILE_TYPES
from mixchat.gguf.roles import Role, role_of
from mixchat.gguf.types import TYPES
from mixchat.gguf.values import ValueType
from mixchat.gguf.writer import TensorSpec, Typed, array, f32, header_bytes, text, texts, u32

BASE: dict[str, Typed] = {
    "general.architecture": text("qwen3moe"),
    "general.file_type": u32(15),
    "qwen3moe.context_length": u32(1000),
    "qwen3moe.embedding_length": u32(64),
    "qwen3moe.block_count": u32(2),
    "qwen3moe.feed_forward_length": u32(96),
    "qwen3moe.expert_feed_forward_length": u32(32),
    "qwen3moe.expert_count": u32(4),
    "qwen3moe.expert_used_count": u32(2),
    "qwen3moe.attention.head_count": u32(4),
    "qwen3moe.attention.head_count_kv": u32(2),
    "tokenizer.ggml.model": text("gpt2"),
    "tokenizer.ggml.tokens": texts(["a", "b", "c"]),
}


def f32_tensor(name: str, *shape: int) -> TensorSpec:
    return name, shape, TYPES["F32"]


EMBEDDING = f32_tensor("token_embd.weight", 64, 3)
MERGED = [
    EMBEDDING,
    f32_tensor("blk.0.ffn_up_exps.weight", 64, 4),
    f32_tensor("blk.0.ffn_gate_exps.weight", 64, 4),
    f32_tensor("blk.0.ffn_down_exps.weight", 64, 4),
]


def model(
    changed: Mapping[str, Typed | None] | None = None,
    tensors: Sequence[TensorSpec] = MERGED,
) -> MoeModel:
    """Describe the base header with some keys changed; None takes a key out."""
    metadata = {**BASE, **(changed or {})}
    kept = {key: typed for key, typed in metadata.items() if typed is not None}
    return describe(parse_header(header_bytes(kept, tensors)))


def bytes_of(layer: Layer) -> tuple[int, ...]:
    return layer.index, layer.dense, layer.up, layer.gate, layer.down


@pytest.mark.parametrize(
    ("name", "role"),
    [
        ("token_embd.weight", Role("token_embd")),
        ("token_embd_norm.weight", Role("other")),
        ("output.weight", Role("output")),
        ("output.bias", Role("output")),
        ("output_norm.weight", Role("other")),
        ("rope_freqs.weight", Role("other")),
        ("blk.0.attn_q.weight", Role("dense", 0)),
        ("blk.31.ffn_gate_inp.weight", Role("dense", 31)),
        ("blk.1.exp_probs_b.bias", Role("dense", 1)),
        ("blk.1.ffn_down.weight", Role("dense", 1)),
        ("blk.1.ffn_gate_shexp.weight", Role("dense", 1)),
        ("blk.1.ffn_norm_exps.weight", Role("dense", 1)),
        ("blk.12.ffn_gate_exps.weight", Role("gate", 12)),
        ("blk.12.ffn_up_exps.bias", Role("up", 12)),
        ("blk.12.ffn_down_exps.scale", Role("down", 12)),
        ("blk.12.ffn_gate_up_exps.weight", Role("gate_up", 12)),
        ("blk.12.ffn_down_chexps.weight", Role("down", 12)),
        ("blk.3.ffn_gate.7.weight", Role("gate", 3, 7)),
        ("blk.3.ffn_up.0.weight", Role("up", 3, 0)),
        ("blk.3.ffn_down.10.weight", Role("down", 3, 10)),
        ("enc.blk.3.attn_q.weight", Role("other")),
    ],
)
def test_roles(name: str, role: Role) -> None:
    assert role_of(name) == role
    assert role_of(name).routed == (role.part in {"up", "gate", "down", "gate_up"})


def test_file_types_agree_with_the_gguf_package() -> None:
    from gguf import LlamaFileType

    theirs = {kind.value: kind.name.removeprefix("MOSTLY_").removeprefix("ALL_") for kind in LlamaFileType}
    del theirs[1024]
    assert {number: FILE_TYPES[number] for number in theirs} == theirs
    assert FILE_TYPES.keys() - theirs.keys() <= {41}


def test_merged() -> None:
    found = model(tensors=[*MERGED, f32_tensor("blk.1.attn_q.weight", 64, 64), f32_tensor("output_norm.weight", 64)])
    assert found.layout == "merged"
    assert [bytes_of(layer) for layer in found.layers] == [(0, 0, 1024, 1024, 1024), (1, 64 * 64 * 4, 0, 0, 0)]
    assert (found.layers[0].experts, found.layers[1].total) == (3072, 16384)
    assert (found.expert_bytes, found.weights) == (3072, 3072 + 16384 + 768 + 256)
    assert (found.other, found.n_experts, found.n_experts_used) == (256, 4, 2)


def test_legacy() -> None:
    tensors = [f32_tensor(f"blk.1.ffn_{part}.{expert}.weight", 64) for expert in range(4) for part in ("up", "down")]
    found = model(tensors=tensors)
    assert found.layout == "legacy"
    assert bytes_of(found.layers[1]) == (1, 0, 1024, 0, 1024)
    assert found.n_experts == 4


def test_dense() -> None:
    experts = {"qwen3moe.expert_count": None, "qwen3moe.expert_used_count": None}
    found = model(experts, [EMBEDDING, f32_tensor("blk.0.ffn_up.weight", 64, 96)])
    assert found.layout == "dense"
    assert (found.n_experts, found.n_experts_used, found.expert_bytes) == (0, 0, 0)
    assert found.active_bytes_per_token == found.weights
    assert (found.feed_forward, found.dense_feed_forward, found.expert_feed_forward) == (96, 96, 0)


def test_joined_gate_and_up_count_by_half() -> None:
    found = model(
        tensors=[("blk.0.ffn_gate_up_exps.weight", (5,), TYPES["I8"]), f32_tensor("blk.0.ffn_up_exps.bias", 1)]
    )
    assert bytes_of(found.layers[0]) == (0, 0, 3 + 4, 2, 0)
    assert found.layout == "merged"


def test_a_tied_head_is_read_for_every_token() -> None:
    tied = model()
    assert tied.tied
    assert tied.active_bytes_per_token == 3072 * 2 // 4 + 768
    untied = model(tensors=[*MERGED, f32_tensor("output.weight", 64, 3)])
    assert not untied.tied
    assert untied.active_bytes_per_token == tied.active_bytes_per_token


def test_without_weights_nothing_is_tied() -> None:
    found = model(tensors=[])
    assert not found.tied
    assert found.weights == found.active_bytes_per_token == 0


@pytest.mark.parametrize(
    ("file_type", "name"),
    [(u32(15), "Q4_K_M"), (u32(0), "F32"), (u32(1024 + 15), "F32"), (u32(33), "F32"), (None, "F32")],
)
def test_quantization(file_type: Typed | None, name: str) -> None:
    assert model({"general.file_type": file_type}).quantization == name


def test_quantization_by_bytes() -> None:
    tensors = [*MERGED, ("output.weight", (256, 200), TYPES["Q6_K"])]
    assert model({"general.file_type": None}, tensors).quantization == "Q6_K"
    assert model({"general.file_type": None}, []).quantization == "none"


def test_name() -> None:
    assert model().name == "qwen3moe"
    assert model({"general.name": text("Qwen")}).name == "Qwen"


def test_template_and_tokenizer() -> None:
    assert (model().chat_template, model().tokenizer) == (None, "gpt2")
    assert model({"tokenizer.chat_template": text("{{ x }}")}).chat_template == "{{ x }}"


@pytest.mark.parametrize(
    ("vocab_size", "tokens", "expected"),
    [(u32(9), BASE["tokenizer.ggml.tokens"], 9), (None, BASE["tokenizer.ggml.tokens"], 3), (None, None, 5)],
)
def test_vocabulary(vocab_size: Typed | None, tokens: Typed | None, expected: int) -> None:
    changed = {"qwen3moe.vocab_size": vocab_size, "tokenizer.ggml.tokens": tokens}
    tensors = [f32_tensor("output_norm.weight", 64), f32_tensor("token_embd.weight", 64, 5)]
    assert model(changed, tensors).vocab_size == expected


def test_heads_may_differ_by_layer() -> None:
    kv_heads = array(ValueType.UINT32, [2, 0])
    found = model({"qwen3moe.attention.head_count_kv": kv_heads})
    assert (found.heads, found.kv_heads, found.key_length) == ((4, 4), (2, 0), 16)
    found = model({"qwen3moe.attention.head_count_kv": None, "qwen3moe.attention.key_length": u32(24)})
    assert (found.kv_heads, found.key_length, found.value_length) == ((4, 4), 24, 16)


def test_used_experts_may_differ_by_layer() -> None:
    found = model({"qwen3moe.expert_used_count": array(ValueType.UINT32, [1, 3])})
    assert (found.n_experts_used, found.used_by_layer) == (3, True)
    assert not model({}).used_by_layer


@pytest.mark.parametrize(("dense", "expert", "widest"), [(96, 32, 96), (96, 64, 128), (96, None, 192), (None, 32, 64)])
def test_feed_forward(dense: int | None, expert: int | None, widest: int) -> None:
    changed = {
        "qwen3moe.feed_forward_length": None if dense is None else u32(dense),
        "qwen3moe.expert_feed_forward_length": None if expert is None else u32(expert),
    }
    assert model(changed).feed_forward == widest


@pytest.mark.parametrize(
    "key",
    [
        "general.architecture",
        "qwen3moe.block_count",
        "qwen3moe.context_length",
        "qwen3moe.embedding_length",
        "qwen3moe.attention.head_count",
        "qwen3moe.expert_count",
        "qwen3moe.expert_used_count",
        "tokenizer.ggml.model",
    ],
)
def test_a_missing_key_is_named(key: str) -> None:
    with pytest.raises(BadHeader) as caught:
        model({key: None})
    assert caught.value.message == f"The metadata lacks {key}."


def test_other_missing_keys_are_named() -> None:
    widths = {"qwen3moe.feed_forward_length": None, "qwen3moe.expert_feed_forward_length": None}
    with pytest.raises(BadHeader, match=r"lacks qwen3moe\.feed_forward_length"):
        model(widths)
    for tensors in ([], [f32_tensor("output_norm.weight", 64)]):
        with pytest.raises(BadHeader, match=r"lacks qwen3moe\.vocab_size"):
            model({"tokenizer.ggml.tokens": None}, tensors)


@pytest.mark.parametrize(
    ("key", "typed", "cause"),
    [
        ("general.architecture", text("a\x1b[31mb"), r"'a\\x1b\[31mb' is not an architecture's name"),
        ("general.architecture", text(""), "is not an architecture's name"),
        ("general.name", u32(1), "general.name is not a text"),
        ("general.file_type", text("Q4"), "general.file_type is not a whole number"),
        ("tokenizer.chat_template", u32(1), "tokenizer.chat_template is not a text"),
        ("qwen3moe.block_count", u32(0), "block_count is 0"),
        ("qwen3moe.block_count", u32(513), "block_count is 513; llama.cpp's limit is 512"),
        ("qwen3moe.context_length", u32(0), "context_length is 0"),
        ("qwen3moe.embedding_length", f32(1), "embedding_length is not a whole number"),
        ("qwen3moe.vocab_size", u32(0), "vocab_size is 0"),
        ("qwen3moe.expert_count", u32(0), "expert_count is 0"),
        ("qwen3moe.expert_used_count", u32(0), "expert_used_count is 0, of 4 experts"),
        ("qwen3moe.expert_used_count", u32(5), "expert_used_count is 5, of 4 experts"),
        ("qwen3moe.expert_used_count", array(ValueType.UINT32, []), "expert_used_count is 0"),
        ("qwen3moe.attention.head_count", array(ValueType.UINT32, [1, 1, 1]), "each of the 2 layers"),
        ("qwen3moe.attention.head_count", array(ValueType.UINT32, []), "each of the 2 layers"),
        ("qwen3moe.attention.head_count_kv", array(ValueType.INT32, [1, -1]), "each of the 2 layers"),
        ("qwen3moe.attention.head_count", u32(65), "key_length is 0"),
    ],
)
def test_a_wrong_value_is_named(key: str, typed: Typed, cause: str) -> None:
    with pytest.raises(BadHeader, match=cause):
        model({key: typed})


def test_a_layer_past_the_last() -> None:
    with pytest.raises(BadHeader, match=r"'blk\.2\.attn_q\.weight' lies past the last of 2 layers"):
        model(tensors=[f32_tensor("blk.2.attn_q.weight", 64)])
