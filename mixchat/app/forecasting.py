"""How fast a plan would be at another depth than its own.

Knows which devices a plan uses; refuses to know the arithmetic.
"""

from dataclasses import replace

from mixchat.gguf.model import MoeModel
from mixchat.plan.forecast import Costs
from mixchat.plan.values import Forecast, Machine, Plan


def forecast_at(model: MoeModel, machine: Machine, plan: Plan, depth: int) -> Forecast | None:
    """The forecast for `depth` tokens in the KV cache; None when nobody knows the machine's speed."""
    used = tuple(device for device in machine.devices if device.name in plan.devices)
    return Costs(model, replace(machine, devices=used), plan.kv_type, depth).forecast(plan)
