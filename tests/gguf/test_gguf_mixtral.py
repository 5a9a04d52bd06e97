"""Mixtral's real files, to the byte."""

from collections import Counter

import pytest

from mixchat.gguf.header import Header, parse_header
from mixchat.gguf.model import MoeModel, describe
from mixchat.gguf.roles import role_of
from tests.builders import QUANTS, QuantSizes, mixtral_header, mixtral_header_bytes, mixtral_sizes


@pytest.fixture(scope="module", params=QUANTS)
def quant(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture(scope="module")
def header(quant: str) -> Header:
    return parse_header(mixtral_header(quant))


@pytest.fixture(scope="module")
def model(header: Header) -> MoeModel:
    return describe(header)


@pytest.fixture(scope="module")
def sizes(quant: str) -> QuantSizes:
    return mixtral_sizes()["quants"][quant]


def _group(name: str) -> str:
    role = role_of(name)
    if role.routed:
        return f"ffn_{role.part}_exps"
    part = name.removesuffix(".weight").split(".")[-1]
    return "norms" if part.endswith("_norm") else {"ffn_gate_inp": "router"}.get(part, part)


def test_all_recorded_quantizations_are_checked() -> None:
    assert set(mixtral_sizes()["quants"]) == set(QUANTS)


def test_bytes_of_every_group(header: Header, sizes: QuantSizes) -> None:
    groups: Counter[str] = Counter()
    for tensor in header.tensors:
        groups[_group(tensor.name)] += tensor.nbytes
    assert groups == sizes["groups"]
    assert sum(tensor.nbytes for tensor in header.tensors) == sizes["data_bytes"]


def test_tensors_and_types(header: Header, quant: str, sizes: QuantSizes) -> None:
    assert len(header.tensors) == (995 if "legacy" in quant else 323)
    types: dict[str, Counter[str]] = {}
    for tensor in header.tensors:
        types.setdefault(_group(tensor.name), Counter())[tensor.type.name] += 1
    per_layer = 8 if "legacy" in quant else 1
    for group, recorded in sizes["types"].items():
        factor = per_layer if group.endswith("_exps") else 1
        assert types[group] == {kind: count * factor for kind, count in recorded.items()}


def test_bytes_of_the_model(model: MoeModel, sizes: QuantSizes) -> None:
    assert model.weights == sizes["data_bytes"]
    assert model.expert_bytes == sizes["experts_bytes"]
    assert model.weights - model.expert_bytes == sizes["non_expert_bytes"]
    assert model.active_bytes_per_token == sizes["active_bytes_per_token"]
    assert model.token_embd == sizes["groups"]["token_embd"]
    assert model.output == sizes["groups"]["output"]
    assert model.other == 4096 * 4
    for part in ("up", "gate", "down"):
        assert sum(getattr(layer, part) for layer in model.layers) == sizes["groups"][f"ffn_{part}_exps"]


def test_bytes_of_every_layer(model: MoeModel, sizes: QuantSizes) -> None:
    assert sorted({layer.total for layer in model.layers}) == sizes["layer_bytes_distinct"]
    assert sorted({layer.experts // 8 for layer in model.layers}) == sizes["expert_bytes_distinct"]
    assert not any(layer.experts % 8 for layer in model.layers)
    smallest = min(layer.down for layer in model.layers)
    assert [layer.index for layer in model.layers if layer.down > smallest] == sizes["layers_with_big_down"]


def test_bytes_of_the_file(header: Header, model: MoeModel, quant: str, sizes: QuantSizes) -> None:
    assert header.data_offset == mixtral_header_bytes(quant)
    expected = sizes.get("predicted_file_bytes", header.data_offset + sizes["data_bytes"])
    assert model.file_bytes == header.file_bytes == expected


def test_a_complete_file_passes_and_a_shorter_one_does_not(quant: str, header: Header) -> None:
    data = mixtral_header(quant)
    assert parse_header(data, header.file_bytes) == header
    with pytest.raises(Exception, match="cut off"):
        parse_header(data, header.file_bytes - 1)


def test_shape(model: MoeModel, quant: str) -> None:
    assert (model.name, model.architecture) == ("Mixtral 8x7B Instruct v0.1", "llama")
    assert model.layout == ("legacy" if "legacy" in quant else "merged")
    assert model.quantization == quant.split("/")[1]
    assert (model.n_layers, model.n_experts, model.n_experts_used) == (32, 8, 2)
    assert (model.context_length, model.width, model.vocab_size) == (32768, 4096, 32000)
    assert model.feed_forward == 2 * 14336
    assert (model.heads, model.kv_heads) == ((32,) * 32, (8,) * 32)
    assert (model.key_length, model.value_length) == (128, 128)
    assert not model.tied
    assert model.chat_template is None
