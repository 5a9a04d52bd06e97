"""Experts stored one tensor each, as files of before April 2024 have them, and the merged tensors they become.

Knows the two layouts and when one becomes the other without loss; refuses to know files and their bytes. A merged
tensor is the bytes of experts 0 to n-1 one after the other, so all of them must have one type and one shape.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from mixchat.errors import BadModel, UsageError
from mixchat.gguf.header import Header, TensorInfo
from mixchat.gguf.roles import role_of

_OTHER = "Get a file with merged experts instead, such as those of mradermacher."
_SHARDS = "split.count"


@dataclass(frozen=True, slots=True)
class Joined:
    """A tensor of the merged layout and the source's tensors that it is made of.

    Attributes:
        name: In the merged layout.
        shape: Of experts, the count of them last.
        parts: One tensor that stays as it is, or an expert each in the experts' order.
    """

    name: str
    shape: tuple[int, ...]
    parts: tuple[TensorInfo, ...]


def merged_layout(header: Header) -> tuple[Joined, ...]:
    """The tensors of the merged layout in the file's order; experts stand where the first of them stood.

    Raises:
        UsageError: There is nothing to merge.
        BadModel: The file cannot be merged without loss, or is not whole.
    """
    _refuse_shards(header)
    groups = _groups(header)
    if not groups:
        raise _nothing_to_do(header)
    count = header.integer(f"{header.text('general.architecture')}.expert_count")
    names = {tensor.name for tensor in header.tensors}
    _refuse_half_layers(groups)
    return tuple(_joined(header, groups, names, count))


def _joined(header: Header, groups: dict[str, dict[int, TensorInfo]], names: set[str], count: int) -> Iterator[Joined]:
    done: set[str] = set()
    for tensor in header.tensors:
        name = _merged_name(tensor.name)
        if name is None:
            yield Joined(tensor.name, tensor.shape, (tensor,))
        elif name not in done:
            if name in names:
                raise BadModel(f"The file has {name} beside single experts of it.", _OTHER)
            parts = _in_order(name, groups[name], count)
            done.add(name)
            yield Joined(name, (*parts[0].shape, count), parts)


def _groups(header: Header) -> dict[str, dict[int, TensorInfo]]:
    """Experts by number, by the name of the tensor that they become."""
    groups: dict[str, dict[int, TensorInfo]] = {}
    for tensor in header.tensors:
        name, expert = _merged_name(tensor.name), role_of(tensor.name).expert
        if name is None or expert is None:
            continue
        if expert in groups.setdefault(name, {}):
            raise BadModel(f"Expert {expert} of {name} is there twice.", _OTHER)
        groups[name][expert] = tensor
    return groups


def _merged_name(name: str) -> str | None:
    """`blk.3.ffn_up_exps.weight` for `blk.3.ffn_up.5.weight`, None for a tensor that is no single expert.

    Raises:
        BadModel: It belongs to an expert and is not its weight.
    """
    role = role_of(name)
    if role.expert is None:
        return None
    *_, last = name.split(".", 4)
    if last != "weight":
        raise BadModel(f"{name} belongs to a single expert, and the merged layout has no place for it.", _OTHER)
    return f"blk.{role.layer}.ffn_{role.part}_exps.weight"


def _in_order(name: str, experts: dict[int, TensorInfo], count: int) -> tuple[TensorInfo, ...]:
    missing = sorted(set(range(count)) - experts.keys())
    if missing:
        raise BadModel(f"{name} cannot be made: expert {missing[0]} of {count} is missing.", _OTHER)
    if len(experts) > count:
        raise BadModel(f"{name} cannot be made: it has {len(experts)} experts, and the metadata says {count}.", _OTHER)
    parts = tuple(experts[index] for index in range(count))
    for part in parts:
        _compare(name, parts[0], part)
    return parts


def _compare(name: str, first: TensorInfo, other: TensorInfo) -> None:
    if other.type != first.type:
        raise BadModel(
            f"{name} cannot be made without loss: {first.name} is {first.type.name}, {other.name} {other.type.name}.",
            _OTHER,
        )
    if other.shape != first.shape or len(first.shape) != 2:  # noqa: PLR2004 - a matrix
        raise BadModel(
            f"{name} cannot be made: {first.name} has the shape {first.shape} and {other.name} {other.shape}.", _OTHER
        )


def _refuse_half_layers(groups: dict[str, dict[int, TensorInfo]]) -> None:
    for name in groups:
        for part in ("gate", "up", "down"):
            layer = name.split(".")[1]
            if f"blk.{layer}.ffn_{part}_exps.weight" not in groups:
                raise BadModel(f"Layer {layer} has no experts blk.{layer}.ffn_{part}.N.weight.", _OTHER)


def _refuse_shards(header: Header) -> None:
    shards = header.integer(_SHARDS, 1)
    if shards > 1:
        raise BadModel(
            f"The file is one of {shards} shards; only a whole model can be upgraded.",
            "Join them first with llama.cpp's llama-gguf-split --merge.",
        )


def _nothing_to_do(header: Header) -> UsageError:
    if any(role_of(tensor.name).routed for tensor in header.tensors):
        return UsageError("The file has merged experts already: there is nothing to upgrade.", "Use it as it is.")
    return UsageError("The file is a dense model: it has no experts to merge.", "Use it as it is.")
