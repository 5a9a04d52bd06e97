"""Mixtral's own tokenizer, from the wheel of mistral-common: as a vocabulary-only GGUF, and as the reference.

Its imports are inside functions: whoever collects the tests does not pay for them.
"""

import warnings
from collections.abc import Iterable
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from mixchat.chat.messages import Message

if TYPE_CHECKING:
    from gguf import GGUFWriter
    from mistral_common.tokens.tokenizers.mistral import MistralTokenizer
    from sentencepiece import SentencePieceProcessor


_TINY = {
    "block_count": 1,
    "context_length": 4096,
    "embedding_length": 64,
    "feed_forward_length": 64,
    "attention.head_count": 2,
    "attention.head_count_kv": 2,
    "rope.dimension_count": 32,
    "expert_count": 8,
    "expert_used_count": 2,
    "vocab_size": 32000,
}
# In short what files of that time carry: it refuses a system message.
_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}{% if message['role'] == 'user' %}"
    "{{ '[INST] ' + message['content'] + ' [/INST]' }}{% elif message['role'] == 'assistant' %}"
    "{{ message['content'] + eos_token }}{% else %}"
    "{{ raise_exception('Only user and assistant roles are supported!') }}"
    "{% endif %}{% endfor %}"
)


def tokenizer_path() -> Path:
    """Where mistral-common keeps the SentencePiece model of Mixtral 8x7B."""
    spec = find_spec("mistral_common")
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent / "data" / "tokenizer.model.v1"


def write_vocab(path: Path, add_space_prefix: bool | None = True) -> Path:
    """Write a GGUF with Mixtral's hyperparameters and vocabulary and no tensor, for a load with `vocab_only`.

    Args:
        path: The file to write.
        add_space_prefix: `tokenizer.ggml.add_space_prefix`; None leaves the key out, as older files do.
    """
    from gguf import GGUFWriter

    writer = GGUFWriter(path, "llama")
    _add_hyperparameters(writer)
    _add_tokens(writer)
    if add_space_prefix is not None:
        writer.add_add_space_prefix(add_space_prefix)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()
    return path


def write_tiny_mixtral(path: Path) -> Path:
    """Write a model of one layer with Mixtral's vocabulary, layout and published template, and random weights."""
    import numpy as np
    from gguf import GGUFWriter

    writer = GGUFWriter(path, "llama")
    for key, value in _TINY.items():
        writer.add_uint32(f"llama.{key}", value)
    writer.add_layer_norm_rms_eps(1e-5)
    _add_tokens(writer)
    writer.add_chat_template(_TEMPLATE)
    random = np.random.default_rng(0)
    width, wide, words = _TINY["embedding_length"], _TINY["feed_forward_length"], _TINY["vocab_size"]
    shapes = {
        **{f"{name}.weight": (words, width) for name in ("token_embd", "output")},
        **{f"blk.0.attn_{name}.weight": (width, width) for name in ("q", "k", "v", "output")},
        "blk.0.ffn_gate_inp.weight": (8, width),
        **{f"blk.0.ffn_{name}_exps.weight": (8, wide, width) for name in ("gate", "up")},
        "blk.0.ffn_down_exps.weight": (8, width, wide),
    }
    for name, shape in shapes.items():
        writer.add_tensor(name, random.normal(0, 0.05, shape).astype(np.float32))
    for name in ("output_norm.weight", "blk.0.attn_norm.weight", "blk.0.ffn_norm.weight"):
        writer.add_tensor(name, np.ones(width, np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def reference_tokens(messages: Iterable[Message]) -> list[int]:
    """The tokens that `MistralTokenizer.v1()` makes of a conversation.

    Raises:
        mistral_common.exceptions.MistralCommonException: The reference refuses the conversation.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from mistral_common.protocol.instruct.request import ChatCompletionRequest

        request = ChatCompletionRequest(
            messages=[{"role": message.role, "content": message.text} for message in messages]
        )
        return [int(token) for token in _reference().encode_chat_completion(request).tokens]


def _add_hyperparameters(writer: "GGUFWriter") -> None:
    writer.add_block_count(32)
    writer.add_context_length(32768)
    writer.add_embedding_length(4096)
    writer.add_feed_forward_length(14336)
    writer.add_head_count(32)
    writer.add_head_count_kv(8)
    writer.add_rope_dimension_count(128)
    writer.add_rope_freq_base(1e6)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_expert_count(8)
    writer.add_expert_used_count(2)
    writer.add_vocab_size(32000)


def _add_tokens(writer: "GGUFWriter") -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from sentencepiece import SentencePieceProcessor

        model = SentencePieceProcessor(model_file=str(tokenizer_path()))
    ids = range(model.vocab_size())
    writer.add_tokenizer_model("llama")
    writer.add_token_list([model.id_to_piece(token) for token in ids])
    writer.add_token_scores([model.get_score(token) for token in ids])
    writer.add_token_types([_token_type(model, token) for token in ids])
    writer.add_bos_token_id(model.bos_id())
    writer.add_eos_token_id(model.eos_id())
    writer.add_unk_token_id(model.unk_id())
    writer.add_add_bos_token(True)
    writer.add_add_eos_token(False)


def _token_type(model: "SentencePieceProcessor", token: int) -> int:
    """The token's `llama_token_type`."""
    from gguf import TokenType

    if model.is_unknown(token):
        return int(TokenType.UNKNOWN)
    if model.is_control(token):
        return int(TokenType.CONTROL)
    return int(TokenType.BYTE if model.is_byte(token) else TokenType.NORMAL)


@cache
def _reference() -> "MistralTokenizer":
    from mistral_common.tokens.tokenizers.mistral import MistralTokenizer

    return MistralTokenizer.v1()
