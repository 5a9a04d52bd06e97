"""A chat as the list of what happened in it, and what follows from that list.

Knows the records and the one function that applies them, used while a chat runs and when its session is read again;
refuses to know files, models and people. Nothing is ever taken out of the list: an undone turn is still in it.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from mixchat.chat.messages import Turn
from mixchat.chat.transcript import Transcript


@dataclass(frozen=True, slots=True)
class ModelChosen:
    """From here on this model answers; `name` is a model reference."""

    name: str


@dataclass(frozen=True, slots=True)
class SystemSet:
    """The system text from here on; empty: none."""

    text: str


@dataclass(frozen=True, slots=True)
class ValueSet:
    """A setting was changed in the chat; `text` is what the person wrote, empty: as before the chat."""

    key: str
    text: str


@dataclass(frozen=True, slots=True)
class Asked:
    """The person said this, and the answer has begun; a chat that ends here gives the words back as a draft."""

    text: str


@dataclass(frozen=True, slots=True)
class Answered:
    """A turn ended, interrupted ones too; it follows the first `after` turns, later ones are given up."""

    after: int
    turn: Turn


@dataclass(frozen=True, slots=True)
class Rewound:
    """Only the first `turns` turns count."""

    turns: int


@dataclass(frozen=True, slots=True)
class Windowed:
    """The oldest `left_out` turns are no longer part of the prompt; a summary may stand for them."""

    left_out: int
    summary: str = ""


@dataclass(frozen=True, slots=True)
class Forked:
    """The conversation as it is now can be gone back to."""

    name: str


@dataclass(frozen=True, slots=True)
class WentBack:
    """The conversation is again what it was at the checkpoint of that name, the last one if there are several."""

    name: str


@dataclass(frozen=True, slots=True)
class Named:
    """The person gave the session a name."""

    name: str


Record = ModelChosen | SystemSet | ValueSet | Asked | Answered | Rewound | Windowed | Forked | WentBack | Named


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A conversation that can be gone back to."""

    name: str
    transcript: Transcript


@dataclass(frozen=True, slots=True)
class Dialogue:
    """What a list of records comes to.

    Attributes:
        transcript: What was said and still counts.
        model: The model reference in force; empty: none was chosen.
        values: Settings that were changed in the chat, by key, as written.
        checkpoints: The oldest first.
        name: What the person called the session.
        draft: What the person said last, when nothing became of it.
    """

    transcript: Transcript = field(default_factory=Transcript)
    model: str = ""
    values: Mapping[str, str] = field(default_factory=dict)
    checkpoints: tuple[Checkpoint, ...] = ()
    name: str = ""
    draft: str = ""


def replay(records: Iterable[Record], start: Dialogue | None = None) -> Dialogue:
    """Apply all records in turn."""
    dialogue = start or Dialogue()
    for record in records:
        dialogue = apply(dialogue, record)
    return dialogue


def apply(dialogue: Dialogue, record: Record) -> Dialogue:  # noqa: PLR0911 - one case for each record
    """The dialogue after one more record; a record that does not fit what was before changes nothing."""
    match record:
        case Answered() | Rewound():
            return replace(dialogue, transcript=_changed(dialogue.transcript, record), draft="")
        case Windowed() | SystemSet():
            return replace(dialogue, transcript=_changed(dialogue.transcript, record))
        case Asked(text):
            return replace(dialogue, draft=text)
        case ValueSet(key, text):
            values = {name: value for name, value in dialogue.values.items() if name != key}
            return replace(dialogue, values=values | ({key: text} if text else {}))
        case Forked(name):
            return replace(dialogue, checkpoints=(*dialogue.checkpoints, Checkpoint(name, dialogue.transcript)))
        case WentBack(name):
            return _back(dialogue, name)
        case ModelChosen(name):
            return replace(dialogue, model=name)
    return replace(dialogue, name=record.name)


def _changed(transcript: Transcript, record: Answered | Rewound | Windowed | SystemSet) -> Transcript:
    match record:
        case Answered(after, turn):
            return transcript.kept(max(after, 0)).with_turn(turn)
        case Rewound(turns):
            return transcript.kept(max(turns, 0))
        case Windowed(left_out, summary):
            return replace(transcript, left_out=min(max(left_out, 0), len(transcript.turns)), summary=summary)
    return replace(transcript, system=record.text)


def _back(dialogue: Dialogue, name: str) -> Dialogue:
    """All checkpoints stay, so that one can go to and fro between them."""
    found = [checkpoint.transcript for checkpoint in dialogue.checkpoints if checkpoint.name == name]
    return replace(dialogue, transcript=found[-1], draft="") if found else dialogue
