from dataclasses import replace

import pytest

from mixchat.gguf.header import parse_header
from mixchat.gguf.model import MoeModel, describe
from mixchat.plan.memory import compute_bytes, default_context, kv_bytes, kv_per_layer, round_context
from mixchat.plan.values import KvType
from tests.builders import mixtral_header


@pytest.fixture(scope="module")
def mixtral() -> MoeModel:
    return describe(parse_header(mixtral_header("static/Q4_K_M")))


@pytest.mark.parametrize(
    ("kv_type", "per_token"), [("f16", 131_072), ("q8_0", 131_072 * 34 // 64), ("q4_0", 131_072 * 18 // 64)]
)
@pytest.mark.parametrize("context", [256, 8192, 32768])
def test_kv_of_mixtral(mixtral: MoeModel, context: int, kv_type: KvType, per_token: int) -> None:
    assert kv_bytes(mixtral, context, kv_type) == context * per_token
    assert kv_per_layer(mixtral, context, kv_type) == (context * per_token // 32,) * 32


def test_the_full_cache_of_mixtral_is_4_gib(mixtral: MoeModel) -> None:
    assert kv_bytes(mixtral, 32768, "f16") == 4 << 30


@pytest.mark.parametrize(("asked", "got"), [(1, 256), (255, 256), (256, 256), (257, 512), (1000, 1024), (8192, 8192)])
def test_contexts_are_rounded_up(mixtral: MoeModel, asked: int, got: int) -> None:
    assert round_context(asked) == got
    assert kv_bytes(mixtral, asked, "f16") == kv_bytes(mixtral, got, "f16")
    assert compute_bytes(mixtral, 512, asked) == compute_bytes(mixtral, 512, got)


def test_layers_without_a_cache_take_nothing(mixtral: MoeModel) -> None:
    mixed = replace(mixtral, kv_heads=(8, 0, 4))
    assert kv_per_layer(mixed, 256, "f16") == (256 * 4096, 0, 256 * 2048)


def test_rows_are_whole_blocks(mixtral: MoeModel) -> None:
    odd = replace(mixtral, kv_heads=(1,), key_length=40, value_length=33)
    assert kv_bytes(odd, 256, "q8_0") == 256 * (2 * 34 + 2 * 34)
    assert kv_bytes(odd, 256, "f16") == 256 * 2 * 73


# What llama.cpp 0.3.36's bindings logged as "CPU compute buffer size" for Mixtral's widths, in MiB, flash attention on.
LOGGED = {(512, 8192): 208.01, (512, 32768): 232.01, (2048, 8192): 832.05, (128, 8192): 52.00}


@pytest.mark.parametrize(("ubatch", "context"), LOGGED)
def test_compute_is_an_upper_estimate_and_not_far_off(mixtral: MoeModel, ubatch: int, context: int) -> None:
    logged = LOGGED[ubatch, context] * 2**20
    assert logged < compute_bytes(mixtral, ubatch, context) < 1.5 * logged


def test_the_docstring_states_the_estimate(mixtral: MoeModel) -> None:
    said = compute_bytes(mixtral, 512, 8192) / 2**20
    assert f"where this says {said:.0f}" in (compute_bytes.__doc__ or "")


@pytest.mark.parametrize(("trained", "default"), [(32768, 8192), (8192, 8192), (2048, 2048), (1, 1)])
def test_default_context(mixtral: MoeModel, trained: int, default: int) -> None:
    assert default_context(replace(mixtral, context_length=trained)) == default
