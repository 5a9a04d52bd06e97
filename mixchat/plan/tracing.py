"""Memory of the second context that traces what a model's routers choose.

Knows what it needs besides the chat's own: a KV cache for the traced tokens, compute buffers on every device, and the
logits of a whole batch (they are not computed, but llama.cpp reserves them, because the last layer's router sees only
tokens whose logits are wanted). Refuses to know where things lie: a plan says it.
"""

from collections.abc import Mapping
from dataclasses import replace

from mixchat.gguf.model import MoeModel
from mixchat.plan.compute import cpu_compute, parts_on
from mixchat.plan.experts import with_experts_used
from mixchat.plan.memory import ALL_PARTS, compute_bytes, kv_per_layer, round_context
from mixchat.plan.values import CPU, Plan, Share

_FLOAT = 4


def trace_bytes(model: MoeModel, plan: Plan, tokens: int) -> Mapping[str, int]:
    """Bytes that tracing takes on each of a plan's devices while it runs.

    1. The KV cache of each layer lies where its attention does; tokens are rounded up to 256.
    2. The compute buffers are those of a context of that size (`plan.memory`); a device that prompts copy experts to
       copies them for the second context too.
    3. The head's device needs the logits of a batch and twice its normed embeddings at the end, where nothing else is
       needed any more; with all the rest on a GPU llama.cpp reports 98.25 MiB for the demo model, as this does.
    4. RAM holds the logits once more, for whoever might want to read them.

    Args:
        model: As the file says.
        plan: By which it is loaded, or will be.
        tokens: Of the traced text; none: no second context.
    """
    if not tokens:
        return {share.device: 0 for share in plan.shares}
    running = with_experts_used(model, plan.experts_used)
    cells = kv_per_layer(running, tokens, plan.kv_type)
    kv = {share.device: 0 for share in plan.shares}
    for layer, nbytes in zip(plan.layers, cells, strict=True):
        kv[layer.attention] += nbytes
    return {share.device: kv[share.device] + _compute(running, plan, share, tokens) for share in plan.shares}


def with_trace(model: MoeModel, plan: Plan, tokens: int) -> Plan:
    """The plan with that memory in its footprints.

    Args:
        model: As it runs.
        plan: Of it.
        tokens: See `trace_bytes`.
    """
    needed = trace_bytes(model, plan, tokens)
    shares = (replace(share, footprint=replace(share.footprint, trace=needed[share.device])) for share in plan.shares)
    return replace(plan, shares=tuple(shares))


def trace_ubatch(ubatch: int, tokens: int) -> int:
    """Tokens of one batch of the second context."""
    return min(ubatch, round_context(tokens))


def head_bytes(model: MoeModel, ubatch: int, tokens: int) -> int:
    """Compute buffers while the head would be computed, for all tokens of a batch."""
    return min(ubatch, tokens) * _FLOAT * (model.vocab_size + 2 * model.width)


def _compute(model: MoeModel, plan: Plan, share: Share, tokens: int) -> int:
    ubatch = trace_ubatch(plan.ubatch, tokens)
    head = head_bytes(model, plan.ubatch, tokens) if plan.head == share.device else 0
    if share.device == CPU:
        logits = min(ubatch, tokens) * _FLOAT * model.vocab_size
        return max(cpu_compute(model, plan.layers, ubatch, tokens), head) + logits
    if share.device not in plan.devices:
        return 0
    parts = parts_on(plan.layers, share.device)
    copies = max(0, share.footprint.compute - compute_bytes(model, plan.ubatch, plan.context, ALL_PARTS))
    return max(compute_bytes(model, ubatch, tokens, parts), head) + copies
