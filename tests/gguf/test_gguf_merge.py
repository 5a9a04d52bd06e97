"""Which legacy files become merged ones, and which cannot."""

from dataclasses import replace

import pytest

from mixchat.errors import BadModel, MixchatError, UsageError
from mixchat.gguf.header import METADATA_START, Header, TensorInfo, parse_header
from mixchat.gguf.inventory import Group, tensor_groups
from mixchat.gguf.merge import merged_layout
from mixchat.gguf.types import TYPES
from mixchat.gguf.writer import TensorSpec, header_around, header_bytes, text, u32
from tests.builders import mixtral_header

Q8, F16, F32 = TYPES["Q8_0"], TYPES["F16"], TYPES["F32"]


def spec(name: str, *shape: int) -> TensorSpec:
    return f"{name}.weight", shape, Q8


def legacy(layers: int = 1, experts: int = 2) -> list[TensorSpec]:
    tensors = [spec("token_embd", 32, 4)]
    for block in (f"blk.{layer}" for layer in range(layers)):
        tensors.append((f"{block}.ffn_gate_inp.weight", (32, experts), F16))
        for expert in range(experts):  # as some converters wrote them, expert by expert
            tensors += [spec(f"{block}.ffn_{part}.{expert}", 32, 64) for part in ("gate", "down", "up")]
        tensors.append(spec(f"{block}.attn_q", 32, 32))
    return tensors


def header_of(tensors: list[TensorSpec], **more: int) -> Header:
    metadata = {"general.architecture": text("llama"), "llama.expert_count": u32(2)}
    metadata |= {key.replace("_", ".", 1): u32(value) for key, value in more.items()}
    return parse_header(header_bytes(metadata, tensors))


def test_experts_go_where_the_first_of_them_stood() -> None:
    layout = merged_layout(header_of(legacy(layers=2)))
    assert [joined.name for joined in layout] == [
        "token_embd.weight",
        *(
            f"blk.{layer}.{name}.weight"
            for layer in range(2)
            for name in ("ffn_gate_inp", "ffn_gate_exps", "ffn_down_exps", "ffn_up_exps", "attn_q")
        ),
    ]
    down = layout[3]
    assert down.shape == (32, 64, 2)
    assert [part.name for part in down.parts] == ["blk.0.ffn_down.0.weight", "blk.0.ffn_down.1.weight"]


def test_what_is_no_expert_stays_as_it_is() -> None:
    layout = merged_layout(header_of(legacy()))
    router = next(joined for joined in layout if "gate_inp" in joined.name)
    assert (router.shape, [part.type for part in router.parts]) == ((32, 2), [F16])


def test_experts_are_put_in_order() -> None:
    tensors = legacy()
    tensors[2], tensors[5] = tensors[5], tensors[2]
    layout = merged_layout(header_of(tensors))
    gate = next(joined for joined in layout if joined.name == "blk.0.ffn_gate_exps.weight")
    assert [part.name for part in gate.parts] == ["blk.0.ffn_gate.0.weight", "blk.0.ffn_gate.1.weight"]


def test_the_real_legacy_file_becomes_the_merged_one() -> None:
    old = parse_header(mixtral_header("thebloke-legacy/Q4_K_M"))
    new = parse_header(mixtral_header("static/Q4_K_M"))
    layout = merged_layout(old)
    assert (len(old.tensors), len(layout)) == (995, 323)
    assert [(joined.name, joined.shape) for joined in layout] == [(tensor.name, tensor.shape) for tensor in new.tensors]


def changed(at: int, **change: object) -> list[TensorInfo]:
    tensors = list(header_of(legacy()).tensors)
    tensors[at] = replace(tensors[at], **change)  # type: ignore[arg-type]
    return tensors


def without(*names: str) -> list[TensorSpec]:
    return [tensor for tensor in legacy() if tensor[0].removesuffix(".weight") not in names]


UP = ("blk.0.ffn_up.0", "blk.0.ffn_up.1")
REFUSED: dict[str, tuple[Header, type[MixchatError], str]] = {
    "another type": (
        replace(header_of(legacy()), tensors=tuple(changed(5, type=F32))),
        BadModel,
        r"without loss: blk\.0\.ffn_gate\.0\.weight is Q8_0, blk\.0\.ffn_gate\.1\.weight F32",
    ),
    "another shape": (
        replace(header_of(legacy()), tensors=tuple(changed(5, shape=(64, 32)))),
        BadModel,
        r"shape \(32, 64\) and blk\.0\.ffn_gate\.1\.weight \(64, 32\)",
    ),
    "a vector": (
        header_of([(name, shape[:1] if ".ffn_up." in name else shape, kind) for name, shape, kind in legacy()]),
        BadModel,
        r"shape \(32,\)",
    ),
    "an expert is missing": (header_of(without("blk.0.ffn_up.1")), BadModel, "expert 1 of 2 is missing"),
    "a part is missing": (header_of(without(*UP)), BadModel, r"Layer 0 has no experts blk\.0\.ffn_up"),
    "an expert too many": (header_of([*legacy(), spec("blk.0.ffn_up.2", 32, 64)]), BadModel, "it has 3 experts"),
    "an expert twice": (header_of([*legacy(), spec("blk.0.ffn_up.01", 32, 64)]), BadModel, "Expert 1 .* twice"),
    "a bias": (
        header_of([*legacy(), ("blk.0.ffn_up.0.bias", (32,), F32)]),
        BadModel,
        r"blk\.0\.ffn_up\.0\.bias belongs to a single expert",
    ),
    "both layouts": (header_of([*legacy(), spec("blk.0.ffn_up_exps", 32, 64, 2)]), BadModel, "beside single experts"),
    "a shard": (header_of(legacy(), split_count=3), BadModel, "one of 3 shards"),
    "merged": (header_of([spec("blk.0.ffn_up_exps", 32, 64, 2)]), UsageError, "merged experts already"),
    "dense": (header_of([spec("blk.0.ffn_up", 32, 64)]), UsageError, "a dense model"),
    "no count": (
        parse_header(header_bytes({"general.architecture": text("llama")}, legacy())),
        BadModel,
        r"lacks llama\.expert_count",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_merged_is_refused_with_the_reason(case: str) -> None:
    header, kind, reason = REFUSED[case]
    with pytest.raises(kind, match=reason) as caught:
        merged_layout(header)
    assert caught.value.hint


def test_the_metadata_s_bytes_can_be_taken_over() -> None:
    tensors = legacy()
    data = header_bytes({"general.architecture": text("llama"), "a": u32(7)}, tensors, alignment=64)
    header = parse_header(data)
    assert (header.metadata_end, len(header.metadata)) == (data.index(b"token_embd") - 8, 3)
    values = data[METADATA_START : header.metadata_end]
    assert header_around((3, 3), values, tensors, 64) == data
    again = parse_header(header_around((2, 3), values, tensors[:1], 64))
    assert (again.version, again.metadata, len(again.tensors)) == (2, header.metadata, 1)


def test_an_empty_header_s_metadata_has_no_bytes() -> None:
    assert parse_header(header_bytes({}, [])).metadata_end == METADATA_START


def test_tensors_are_counted_by_role_and_type() -> None:
    tensors = [
        *legacy(layers=2),
        ("output.weight", (32, 4), F16),
        ("output_norm.weight", (32,), F32),
        ("blk.0.attn_norm.weight", (32,), F32),
        ("blk.0.attn_k.weight", (32, 64), F16),
        ("blk.0.ffn_up_shexp.weight", (32, 64), Q8),
        ("blk.2.ffn_down.weight", (32, 64), Q8),
        ("rope_freqs.weight", (16,), F32),
    ]
    groups = tensor_groups(header_of(tensors).tensors)
    assert groups == (
        Group("experts up", "Q8_0", 4, 4 * 2176),
        Group("experts gate", "Q8_0", 4, 4 * 2176),
        Group("experts down", "Q8_0", 4, 4 * 2176),
        Group("embedding", "Q8_0", 1, 136),
        Group("head", "F16", 1, 256),
        Group("norms", "F32", 2, 256),
        Group("router", "F16", 2, 256),
        Group("shared experts", "Q8_0", 1, 2176),
        Group("attention", "F16", 1, 4096),
        Group("attention", "Q8_0", 2, 2 * 1088),
        Group("feed-forward", "Q8_0", 1, 2176),
        Group("other", "F32", 1, 64),
    )
    assert sum(group.nbytes for group in groups) == sum(tensor.nbytes for tensor in header_of(tensors).tensors)
