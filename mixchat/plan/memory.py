"""How much memory a model needs besides its weights.

Knows the KV cache and the compute buffers by arithmetic on the header; refuses to know devices. Models that cache
less than every token in every layer (sliding windows, latent attention) need less than is said here, never more.
"""

from mixchat.gguf.model import MoeModel
from mixchat.gguf.types import TYPES, GgmlType
from mixchat.plan.values import KvType

DEFAULT_CONTEXT = 8192
DEFAULT_UBATCH = 512
CONTEXT_STEP = 256
"""llama.cpp rounds a context up to a multiple of this."""

ALL_PARTS = 3
"""A layer's expert tensors: up, gate and down."""

_KV_TYPES = {"f16": TYPES["F16"], "q8_0": TYPES["Q8_0"], "q4_0": TYPES["Q4_0"]}
_FLOAT = 4
_HALF = 2


def default_context(model: MoeModel) -> int:
    """Tokens of context when nobody asked: 8192, or the model's maximum if that is less."""
    return min(DEFAULT_CONTEXT, model.context_length)


def round_context(context: int) -> int:
    """The context that llama.cpp makes of the one asked for."""
    return -(-context // CONTEXT_STEP) * CONTEXT_STEP


def kv_per_layer(model: MoeModel, context: int, kv_type: KvType) -> tuple[int, ...]:
    """Bytes of each layer's KV cache: one row of keys and one of values per token.

    Args:
        model: Whose heads count.
        context: Tokens, rounded up as llama.cpp does.
        kv_type: A row is rounded up to whole blocks of it.
    """
    kind = _KV_TYPES[kv_type]
    tokens = round_context(context)
    return tuple(
        tokens * (_row_bytes(kind, heads * model.key_length) + _row_bytes(kind, heads * model.value_length))
        for heads in model.kv_heads
    )


def kv_bytes(model: MoeModel, context: int, kv_type: KvType) -> int:
    """Bytes of the KV cache of all layers; `kv_per_layer` says how."""
    return sum(kv_per_layer(model, context, kv_type))


def compute_bytes(model: MoeModel, ubatch: int, context: int, parts: int = ALL_PARTS) -> int:
    """One device's compute buffers, with flash attention and one token's logits at a time.

    The peak of llama.cpp's graph, in vectors per token of the ubatch: while attention is computed, three of the
    embedding's width and two of the query's; in the feed-forward block one per expert tensor that lies here, of the
    chosen experts together, and four of the embedding's width. Besides, one half per token of the context and of the
    ubatch, the attention mask. llama.cpp reports 200 MiB for Mixtral on a GPU and 208 on the CPU at a context of 8192
    and a ubatch of 512, where this says 208; with attention alone it reports 48 MiB, as this does.

    Args:
        model: Whose widths count.
        ubatch: Tokens of one physical prefill batch.
        context: Tokens, rounded up as llama.cpp does.
        parts: How many of a layer's three expert tensors (or of a dense block's) lie on the device; 0: attention alone.
    """
    query = max(model.heads) * model.key_length
    attention = 3 * model.width + 2 * query
    block = parts * model.feed_forward + 4 * model.width if parts else 0
    return ubatch * _FLOAT * max(attention, block) + mask_bytes(ubatch, context) + _FLOAT * model.vocab_size


def input_bytes(model: MoeModel, ubatch: int, context: int) -> int:
    """The CPU's compute buffers when all layers are elsewhere: the embedded tokens, twice, and the mask."""
    return ubatch * _FLOAT * 2 * model.width + mask_bytes(ubatch, context)


def mask_bytes(ubatch: int, context: int) -> int:
    """The attention mask: a half for each token of the context, for each token of the ubatch."""
    return ubatch * _HALF * round_context(context)


def _row_bytes(kind: GgmlType, elements: int) -> int:
    return -(-elements // kind.elements) * kind.nbytes
