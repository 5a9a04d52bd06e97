"""What of a model's raw answer is thinking, and what is the answer.

Knows how reasoning models mark their thinking, and marks that arrive in pieces; refuses to know tokens and what is done
with the thinking. Where the chunks are cut makes no difference, and marks count only where the format has them: a
`<think>` in the middle of an answer is text.
"""

import re
from abc import ABC, abstractmethod
from collections.abc import Collection
from dataclasses import dataclass
from typing import Final, Literal

from mixchat.chat.family import Family

Kind = Literal["thinking", "answer"]


@dataclass(frozen=True, slots=True)
class Part:
    """A piece of one of the two channels."""

    kind: Kind
    text: str


@dataclass(frozen=True, slots=True)
class Tags:
    """A format in which the answer may begin with its thinking, between two marks.

    Attributes:
        start: Begins the thinking.
        end: Ends it.
        frames: What some models put around the answer that follows, as pairs.
    """

    start: str
    end: str
    frames: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Style:
    """How a model marks its thinking.

    Attributes:
        shown: Control tokens that must be rendered into the text for the marks to be seen.
        tags: The marks; None: harmony's channels.
    """

    shown: tuple[str, ...]
    tags: Tags | None

    def splitter(self, prompt_tail: str) -> "Splitter":
        """A splitter for one answer.

        Args:
            prompt_tail: The template's own text at the prompt's end, which may begin the thinking already.
        """
        return HarmonySplitter(prompt_tail) if self.tags is None else TagSplitter(self.tags, prompt_tail)


# Their order matters: templates that have one of the first may mention <think> too. Verified in llama.cpp's parsers
# (common/parsers, common/chat-diff-analyzer.cpp) and in the models' own templates: Command R and A, Seed-OSS, Magistral
# and Ministral, Gemma 4; Qwen, DeepSeek, GLM, Kimi, Nemotron, MiniMax and others.
_TAGS: Final = (
    Tags("<|START_THINKING|>", "<|END_THINKING|>"),
    Tags("<seed:think>", "</seed:think>"),
    Tags("[THINK]", "[/THINK]"),
    Tags("<|channel>thought", "<channel|>"),
    Tags("<think>", "</think>"),
)
# ERNIE 4.5 and Granite 3.3; Hunyuan.
_FRAMES: Final = (("<response>", "</response>"), ("<answer>", "</answer>"))
_HARMONY: Final = ("<|channel|>", "<|message|>", "<|start|>", "<|end|>", "<|constrain|>")
_MESSAGE: Final = "<|message|>"
_ENDS: Final = ("<|end|>",)
_HEADS: Final = ("<|channel|>", "<|start|>", _MESSAGE, " to=")
_MARKS: Final = re.compile(r"<\|(?:start|channel|constrain)\|>")
_HEADER: Final = re.compile(rf"(?:{_MARKS.pattern}|[\w.:=/ -])*")


def reasoning_of(family: Family, template: str, control_tokens: Collection[str]) -> Style | None:
    """How a model marks its thinking, by its chat template and its vocabulary; None when it has no such marks.

    Args:
        family: Mixtral's own format has none.
        template: Jinja source.
        control_tokens: Texts of the vocabulary's control tokens.
    """
    if family == "mistral-v1":
        return None
    if all(mark in template or mark in control_tokens for mark in _HARMONY[:2]):
        return Style(tuple(token for token in _HARMONY if token in control_tokens), None)
    for tags in _TAGS:
        if tags.start in template or tags.end in template or tags.start in control_tokens:
            frames = tuple(frame for frame in _FRAMES if frame[0] in template)
            shown = (token for token in control_tokens if tags.start.startswith(token) or token == tags.end)
            return Style(tuple(sorted(shown)), Tags(tags.start, tags.end, frames))
    return None


class Splitter(ABC):
    """Splits one answer, in chunks."""

    def __init__(self) -> None:
        self._held = ""
        self._parts: list[Part] = []

    def feed(self, text: str) -> tuple[Part, ...]:
        """Take the next chunk; returns what is certain by now, in order, no part empty."""
        self._held += text
        while self._held and self._step():
            pass
        return self._taken()

    def finish(self) -> tuple[Part, ...]:
        """The answer ended: return what was held back and became no mark."""
        self._end()
        self._held = ""
        return self._taken()

    @abstractmethod
    def _step(self) -> bool:
        """Use what is held as far as possible; whether the rest may be looked at again, in a new state."""

    @abstractmethod
    def _end(self) -> None:
        """Say what is held, as far as it is text."""

    def _say(self, kind: Kind, length: int) -> None:
        """Give out the first characters of what is held."""
        text, self._held = self._held[:length], self._held[length:]
        if not text:
            return
        if self._parts and self._parts[-1].kind == kind:
            text = self._parts.pop().text + text
        self._parts.append(Part(kind, text))

    def _taken(self) -> tuple[Part, ...]:
        parts, self._parts = tuple(self._parts), []
        return parts


class TagSplitter(Splitter):
    """Splits an answer that may begin with tagged thinking.

    White space in front of the first mark and line ends beside the marks belong to the markup.
    """

    def __init__(self, tags: Tags, prompt_tail: str) -> None:
        super().__init__()
        self._tags = tags
        self._frame_end = ""
        self._fresh = True
        self._state: Literal["begin", "thinking", "between", "answer"] = "begin"
        if prompt_tail.rstrip().endswith(tags.start):
            self._state = "thinking"

    def _step(self) -> bool:
        match self._state:
            case "begin":
                return self._begin()
            case "thinking":
                return self._think()
            case "between":
                return self._between()
            case _:
                self._say("answer", len(self._held) - self._pending_frame())
                return False

    def _begin(self) -> bool:
        text = self._held.lstrip()
        if text.startswith(self._tags.start):
            self._held = text.removeprefix(self._tags.start)
            self._state = "thinking"
            return True
        if self._tags.start.startswith(text):
            return False
        self._state = "answer"
        return True

    def _think(self) -> bool:
        if self._fresh:
            self._held = self._held.lstrip("\n")
        self._fresh = self._fresh and not self._held
        thought, mark, after = self._held.partition(self._tags.end)
        if not mark:
            certain = self._held[: len(self._held) - _pending(self._held, (self._tags.end,))]
            self._say("thinking", len(certain.rstrip("\n")))
            return False
        self._say("thinking", len(thought.rstrip("\n")))
        self._held, self._state = after, "between"
        return True

    def _between(self) -> bool:
        self._held = self._held.lstrip("\n")
        for start, end in self._tags.frames:
            if self._held.startswith(start) and not self._frame_end:
                self._held, self._frame_end = self._held.removeprefix(start), end
                return True
            if start.startswith(self._held) and not self._frame_end:
                return False
        if self._held:
            self._state = "answer"
        return bool(self._held)

    def _pending_frame(self) -> int:
        """How many of the last characters may be the end of the frame, which only the end of the answer tells."""
        if not self._frame_end:
            return 0
        text = self._held.rstrip()
        if text.endswith(self._frame_end):
            text = text.removesuffix(self._frame_end)
        else:
            text = text[: len(text) - _pending(text, (self._frame_end,))]
        return len(self._held) - len(text.rstrip())

    def _end(self) -> None:
        if self._frame_end and self._held.strip() == self._frame_end:
            return
        self._say("thinking" if self._state == "thinking" else "answer", len(self._held))


class HarmonySplitter(Splitter):
    """Splits an answer in gpt-oss's format: messages with a header each, which names the channel.

    `<|channel|>analysis<|message|>...<|end|><|start|>assistant<|channel|>final<|message|>...`: the channel `final` is
    the answer, and so is a message without any; all others are thinking. A blank line comes between two messages of the
    same kind. The format is OpenAI's: https://developers.openai.com/cookbook/articles/openai-harmony
    """

    def __init__(self, prompt_tail: str) -> None:
        super().__init__()
        self._kind: Kind | None = None
        self._begun: set[Kind] = set()
        header = prompt_tail[max(prompt_tail.rfind("<|start|>"), 0) :]
        if "<|channel|>" in header or _MESSAGE in header:
            self._held = header

    def _step(self) -> bool:
        return self._header() if self._kind is None else self._body(self._kind)

    def _header(self) -> bool:
        """Markup until `<|message|>`; what cannot be a header is an answer without one."""
        if not any(self._held.startswith(mark) or mark.startswith(self._held) for mark in _HEADS):
            self._kind = "answer"
            return True
        match = _HEADER.match(self._held)
        assert match is not None  # noqa: S101 - it matches nothing, too
        rest = self._held[match.end() :]
        if rest.startswith(_MESSAGE):
            self._enter(match[0], rest.removeprefix(_MESSAGE))
            return True
        if any(mark.startswith(rest) for mark in _HARMONY):
            return False
        self._held, self._kind = _MARKS.sub("", match[0]) + rest, "answer"
        return True

    def _enter(self, header: str, body: str) -> None:
        _, mark, channel = header.rpartition("<|channel|>")
        self._kind = "thinking" if mark and channel.split()[:1] != ["final"] else "answer"
        self._held = "\n\n" + body if self._kind in self._begun else body
        self._begun.add(self._kind)

    def _body(self, kind: Kind) -> bool:
        """An answer ends by the mark for that alone; thinking also where the next message begins without it."""
        ends = _ENDS if kind == "answer" else (*_ENDS, "<|start|>", "<|channel|>")
        found = [at for end in ends if (at := self._held.find(end)) >= 0]
        if not found:
            self._say(kind, len(self._held) - _pending(self._held, ends))
            return False
        self._say(kind, min(found))
        self._kind = None
        self._held = self._held.removeprefix("<|end|>")
        return True

    def _end(self) -> None:
        """A header that was cut off is markup, when its first mark is whole."""
        if self._kind is not None:
            self._say(self._kind, len(self._held))
        elif not self._held.startswith(_HEADS):
            self._say("answer", len(self._held))


def _pending(text: str, marks: tuple[str, ...]) -> int:
    """How many of the last characters may become one of the marks."""
    longest = min(max(map(len, marks)) - 1, len(text))
    ends = (length for length in range(longest, 0, -1) if any(mark.startswith(text[-length:]) for mark in marks))
    return next(ends, 0)
