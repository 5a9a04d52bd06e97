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


def compute_bytes(model: MoeModel, ubatch: int, context: int) -> int:
    """Upper estimate of one device's compute buffers, with flash attention.

    Per token of the ubatch, in floats: its logits, three vectors of the feed-forward block (gate, up and their
    product, of the chosen experts together), four of the embedding's width and four of the query's; and one half per
    token of context, the attention mask. llama.cpp reports 208 MiB for Mixtral at 8192 tokens of context and a ubatch
    of 512, where this says 302; the difference leaves room for logits that llama.cpp overlaps with the rest, and for
    the CPU's scratch memory, which it does not report.

    Args:
        model: Whose widths count.
        ubatch: Tokens of one physical prefill batch.
        context: Tokens, rounded up as llama.cpp does.
    """
    query = max(model.heads) * model.key_length
    floats = model.vocab_size + 3 * model.feed_forward + 4 * (model.width + query)
    return ubatch * (_FLOAT * floats + _HALF * round_context(context))


def _row_bytes(kind: GgmlType, elements: int) -> int:
    return -(-elements // kind.elements) * kind.nbytes
