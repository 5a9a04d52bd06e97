"""A mixture whose tokens pass another number of experts than it was trained for.

Knows what that changes about a model and the words for it; refuses to know how llama.cpp is told.
"""

from dataclasses import replace

from mixchat.errors import UsageError
from mixchat.gguf.model import MoeModel


def with_experts_used(model: MoeModel, count: int | None) -> MoeModel:
    """The model as it runs with that many experts per token; None leaves it as it was trained.

    Raises:
        UsageError: The model has no experts, not so many, or layers that use different numbers, which llama.cpp does
            not override.
    """
    if count is None:
        return model
    if not model.n_experts:
        raise UsageError(f"{model.name} has no experts to choose from: it is dense.", "Leave out --experts-used.")
    if not 1 <= count <= model.n_experts:
        raise UsageError(
            f"{model.name} has {model.n_experts} experts per layer: {count} cannot be used.",
            f"Give --experts-used 1 to {model.n_experts}; it was trained with {model.n_experts_used}.",
        )
    if model.used_by_layer:
        raise UsageError(
            f"The layers of {model.name} use different numbers of experts; llama.cpp cannot change those.",
            "Leave out --experts-used.",
        )
    return replace(model, n_experts_used=count)


def other_number(model: MoeModel, count: int | None) -> int | None:
    """The number of experts asked for, unless it is the one that the model was trained with."""
    return None if count == model.n_experts_used else count


def experts_note(model: MoeModel, count: int | None) -> str | None:
    """What a person should know who asked for a number of experts; None where that changes nothing.

    Args:
        model: As it was trained.
        count: Experts that each token passes; None: as many as it was trained for.
    """
    if other_number(model, count) is None:
        return None
    trained = f"{model.n_experts_used} expert{'' if model.n_experts_used == 1 else 's'}"
    return f"Each token passes {count} instead of {trained}: answers change, and nobody trained the model for that."
