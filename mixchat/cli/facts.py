"""What commands print as JSON; scripts rely on these keys.

Knows the contract's names; refuses to know how values came about.
"""

import json

from mixchat.app.asking import Rehearsal
from mixchat.app.batching import Item
from mixchat.app.catalogue import Row
from mixchat.app.keeping import Unfinished
from mixchat.app.planning import Planned, Quantization
from mixchat.app.preflight import Preflight
from mixchat.app.source import Source
from mixchat.engine.events import Finished
from mixchat.errors import MixchatError
from mixchat.gguf.inventory import tensor_groups
from mixchat.gguf.model import MoeModel
from mixchat.plan.values import Forecast, Placement, Plan

Facts = dict[str, object]


def json_text(facts: Facts) -> str:
    """One line of JSON with its line end."""
    return json.dumps(facts, ensure_ascii=False) + "\n"


def row_facts(row: Row) -> Facts:
    """An installed model."""
    record = row.installed.record
    return {
        "name": record.name,
        "path": str(row.installed.path),
        "bytes": record.total,
        "source": record.source,
        "added": record.added,
        "last_used": row.last_used,
        **(_model_facts(row.model) if row.model else {"problem": row.problem}),
    }


def source_facts(source: Source) -> Facts:
    """What a model's file says."""
    tensors = [
        {"role": group.role, "type": group.type, "count": group.count, "bytes": group.nbytes}
        for group in tensor_groups(source.header.tensors)
    ]
    return {**_shown(source.name, str(source.path), source.model.file_bytes, source.model), "tensors": tensors}


def plan_facts(planned: Planned) -> Facts:
    """Where a model lies or would lie."""
    plan, error = planned.plan, planned.problem
    return {
        "model": planned.name,
        "path": planned.path and str(planned.path),
        "quantization": planned.model.quantization,
        "file_bytes": planned.model.file_bytes,
        "experts_used": planned.model.n_experts_used,
        **_placement_facts(plan),
        "fits": error is None,
        "devices": [
            {
                "name": share.device,
                "kind": share.kind,
                "budget": share.budget,
                "weights": share.footprint.weights,
                "kv": share.footprint.kv,
                "compute": share.footprint.compute,
                "copies": share.footprint.copies,
            }
            for share in plan.shares
        ],
        "layers": [
            {"index": layer.index, "attention": layer.attention, "experts": layer.experts or _parts(layer)}
            for layer in plan.layers
        ],
        "head": plan.head,
        "overrides": [{"pattern": each.pattern, "device": each.device} for each in plan.overrides],
        "forecast": plan.forecast and _forecast_facts(plan.forecast),
        "reasons": list(plan.reasons),
        "what_if": [{"change": what.change, "effect": what.effect} for what in planned.what_ifs],
        "problem": error and _problem_facts(error),
    }


def quantization_facts(row: Quantization) -> Facts:
    """One of a model's quantizations."""
    plan = row.plan
    return {
        "model": row.name,
        "quantization": row.quantization,
        "file_bytes": row.nbytes,
        "fits": plan is not None,
        **(_placement_facts(plan) if plan else {}),
        "expert_layers": plan and plan.expert_layers,
        "forecast": plan and plan.forecast and _forecast_facts(plan.forecast),
        "problem": row.problem and _problem_facts(row.problem),
    }


def _placement_facts(plan: Plan) -> Facts:
    return {
        "context": plan.context,
        "kv_type": plan.kv_type,
        "ubatch": plan.ubatch,
        "load_mode": plan.load_mode,
        "extra_buffers": plan.extra_buffers,
        "n_gpu_layers": plan.n_gpu_layers,
    }


def _parts(layer: Placement) -> Facts:
    return {"up": layer.up, "gate": layer.gate, "down": layer.down}


def _forecast_facts(forecast: Forecast) -> Facts:
    return {
        "decode_tps": round(forecast.decode_tps, 2),
        "prefill_tps": round(forecast.prefill_tps, 2),
        "depth": forecast.depth,
        "bound_by": forecast.bound_by,
        "basis": forecast.basis,
        "parts": [{"what": what, "ms": round(milliseconds, 3)} for what, milliseconds in forecast.parts],
    }


def _problem_facts(error: MixchatError) -> Facts:
    return {"code": error.exit_code, "message": error.message, "hint": error.hint}


def unfinished_facts(rest: Unfinished) -> Facts:
    """What lies in the store and is no model."""
    return {
        "partials": [
            {"name": part.name, "file": part.file, "bytes": part.have, "total": part.size} for part in rest.partials
        ],
        "leftovers": [{"name": left.name, "path": str(left.path), "bytes": left.nbytes} for left in rest.leftovers],
    }


def preflight_facts(check: Preflight) -> Facts:
    """The same of a model that is not on this machine, and whether it can be had here."""
    error = check.problem
    return {
        **_shown(check.name, None, sum(file.size for file in check.files), check.model),
        "files": [f"hf:{file.repo}/{file.path}@{file.commit}" for file in check.files],
        "fits": check.plan is not None,
        "disk_free": check.disk_free,
        "disk_needed": check.disk_needed,
        "reasons": list(check.reasons),
        "problem": error and _problem_facts(error),
    }


def _shown(name: str, path: str | None, nbytes: int, model: MoeModel) -> Facts:
    return {
        "name": name,
        "path": path,
        "bytes": nbytes,
        **_model_facts(model),
        "title": model.name,
        "layers": model.n_layers,
        "active_bytes_per_token": model.active_bytes_per_token,
        "chat_template": model.chat_template,
    }


def _model_facts(model: MoeModel) -> Facts:
    return {
        "architecture": model.architecture,
        "layout": model.layout,
        "experts": model.n_experts,
        "experts_used": model.n_experts_used,
        "quantization": model.quantization,
        "context": model.context_length,
    }


def answer_facts(model: str, text: str, load_ms: float, finished: Finished) -> Facts:
    """A finished answer."""
    usage, timings = finished.usage, finished.timings
    return {
        "model": model,
        "text": text,
        "finish_reason": finished.reason,
        "usage": {
            "prompt_tokens": usage.prompt_tokens,
            "cached_tokens": usage.cached_tokens,
            "completion_tokens": usage.completion_tokens,
        },
        "timings": {
            "load_ms": round(load_ms, 1),
            "prefill_ms": round(timings.prefill_ms, 1),
            "decode_ms": round(timings.decode_ms, 1),
            "ttft_ms": round(timings.ttft_ms, 1),
            "prefill_tps": round(timings.prefill_tps, 2),
            "decode_tps": round(timings.decode_tps, 2),
        },
    }


def item_facts(item: Item) -> Facts:
    """Which item of a batch a line is of."""
    return {"index": item.index, "input": item.input}


def error_facts(error: MixchatError) -> Facts:
    """An error, as on stderr."""
    return {"error": _problem_facts(error)}


def rehearsal_facts(rehearsal: Rehearsal) -> Facts:
    """A prompt that was built and not evaluated."""
    files = [{"name": name, "tokens": tokens} for name, tokens in rehearsal.files]
    prompt = rehearsal.prompt
    return {
        "model": rehearsal.source.name,
        "context": rehearsal.context,
        "prompt_tokens": len(prompt.tokens),
        "token_ids": list(prompt.tokens),
        "segments": [
            {"role": segment.role, "text": segment.text, "tokens": len(segment.tokens)} for segment in prompt.segments
        ],
        **({"attachments": files} if files else {}),
    }
