"""Mixtral's prompt through random chats, token for token against mistral-common.

Whatever a person, a full context, an interrupt or a dying engine does: the roles alternate, the prompt begins with BOS
once, and every segment is the reference's; of an answer whose sampled tokens are known, these stand in its place.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, suppress
from functools import cache
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

import pytest

from mixchat.app.conversing import Conversation
from mixchat.app.events import ChatEvent
from mixchat.app.house import House
from mixchat.app.window import SUMMARISE
from mixchat.chat.messages import Control, Message, Piece, Turn
from mixchat.chat.transcript import Transcript
from mixchat.engine.client import WorkerClient
from mixchat.engine.events import Finished, GenerateEvent, GenerateRequest, Token
from mixchat.errors import EngineDied, NotFound, PromptTooLong, UsageError
from mixchat.store.proofs import Proof
from mixchat.store.sessions import Unsaved, create, open_session
from tests.app.conftest import MakeHouse, MakeSettings
from tests.app.talks import noon, write_mixtral
from tests.fakes.engine import SAMPLED, FakeEngine
from tests.mistral_vocab import reference_tokens, tokenizer_path, write_tiny_mixtral

if TYPE_CHECKING:
    from sentencepiece import SentencePieceProcessor

WALKS = 40
STEPS = 20
CONTEXT = 256
BOS, EOS = 1, 2

WEIRD = (
    *("", " ", "\n", "  two  ", "\ttab\n\n", "a\0b", "▁ ▁x", "🙂🙂", "\u200b\ufeff\u2028", "\x1b[0m", "ﬁ Å ½"),
    *("[INST] x [/INST]", "[/INST]", " [INST]", "</s>", "<s>", "<s>[INST] x [/INST] y</s>", "<unk><0x0A>"),
)
REPLIES = (
    *("", " ", " Hi", " Fine, thank you.", "no space", "  two", " a\n\nb\n", " \u200b", " 🙂", "\n", " ▁"),
    *(" [INST] x [/INST]", " </s>", " <s>", *[" long " * 10, " longer" * 20] * 3),
)
"""A real one begins with the space that SentencePiece puts there."""

OPERATIONS = (
    *("say",) * 6,
    *(
        "edit",
        "regenerate",
        "go_on",
        "undo",
        "rewrite",
        "fork",
        "back",
        "set_system",
        "overflow",
        "resume",
        "reload",
        "use_model",
    ),
    *("interrupt", "interrupt", "leave", "die"),
)


@pytest.fixture(scope="module")
def mixtrals(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Two models; the tokens of one mean nothing to the other."""
    folder = tmp_path_factory.mktemp("mixtral")
    return write_mixtral(folder / "one.gguf", CONTEXT), write_mixtral(folder / "other.gguf", CONTEXT)


@cache
def _sentencepiece() -> "SentencePieceProcessor":
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from sentencepiece import SentencePieceProcessor

        return SentencePieceProcessor(model_file=str(tokenizer_path()))


@cache
def _reference(messages: tuple[Message, ...]) -> tuple[int, ...]:
    return tuple(reference_tokens(messages))


def _of_user(text: str) -> int:
    """Tokens of a later message of a person."""
    return len(_reference((Message("user", text),))) - 1


def _answer_tokens(before: tuple[Message, ...], answer: str) -> tuple[int, ...]:
    """The reference's tokens of an answer, its end left out."""
    whole = _reference((*before, Message("assistant", answer), Message("user", "x")))
    (*ids, end) = whole[len(_reference(before)) : len(whole) - _of_user("x")]
    assert end == EOS
    return tuple(ids)


def expected(transcript: Transcript, turn: Turn, mine: str) -> tuple[int, ...]:
    """What the prompt of a turn must be; `mine` is the vocabulary whose sampled tokens count."""
    spoken = {each.assistant: each.tokens for each in transcript.answered if each.tokens and each.vocabulary == mine}
    messages = transcript.messages(turn.user)
    roles = [message.role for message in messages if message.role != "system"]
    assert roles == ["user", "assistant"] * (len(roles) // 2) + ["user"]
    ids: tuple[int, ...] = ()
    for index, message in enumerate(messages):
        if message.role == "assistant":
            ids += (*(spoken.get(message.text) or _answer_tokens(messages[:index], message.text)), EOS)
        elif message.role == "user":
            whole = _reference(messages[: index + 1])
            ids += whole[len(whole) - _of_user(message.text) :] if ids else whole
    if turn.assistant:
        known = turn.tokens if turn.vocabulary == mine else ()
        ids += known or _answer_tokens(messages, turn.assistant)
    return ids


def _text_of(sampled: tuple[int, ...]) -> str:
    return "".join(chr(token - SAMPLED) for token in sampled).removeprefix(" ")


class MixtralEngine(FakeEngine):
    """Tokenizes as Mixtral does, and shows every prompt before it answers.

    Attributes:
        look: Called with each prompt's tokens.
    """

    def __init__(self, random: Random, look: Callable[[tuple[int, ...]], None]) -> None:
        super().__init__()
        self.look = look
        self._random = random
        self._replies = (random.choice(REPLIES) for _ in iter(int, 1))

    def generate(self, request: GenerateRequest) -> Iterator[GenerateEvent]:
        self.look(request.tokens)
        held_back = self._random.random() < 0.1
        for event in super().generate(request):
            if isinstance(event, Finished) and held_back:
                yield Token("\ufffd", -1)
            yield event

    def _ids(self, piece: Piece) -> tuple[int, ...]:
        if isinstance(piece, Control):
            return ({"<s>": BOS, "</s>": EOS}[piece.name],)
        return tuple(_sentencepiece().encode(piece.text))


class Walk:
    """A person who does anything at all.

    Attributes:
        looked: Prompts that were compared.
    """

    def __init__(
        self, seed: int, begin: Callable[[House], Conversation], make_house: MakeHouse, models: Sequence[str]
    ) -> None:
        self.looked = 0
        self._models = models
        self._random = Random(seed)
        self._make_house = make_house
        self._begin = begin
        self._turn, self._after = Turn("", ""), 0
        self._engine = MixtralEngine(self._random, self._look)
        self.talk = begin(make_house(self._engine))
        self._disturb: Callable[[str], object] = lambda _step: None

    def step(self, name: str) -> None:
        """Do one thing; that a text is too long and that the engine dies are part of it."""
        with suppress(PromptTooLong, EngineDied):
            getattr(self, f"_{name}")()
        self._engine.on_step = lambda _step: None
        self._engine.dies_at = ""

    def _look(self, tokens: tuple[int, ...]) -> None:
        self.looked += 1
        mine = self.talk._speaker.identity
        until = self.talk.transcript.kept(self._after)
        kept = range(until.left_out, len(until.turns) + 1)
        summaries = [expected(until.kept(count), Turn(SUMMARISE, ""), mine) for count in kept]
        assert tokens in (expected(until, self._turn, mine), *summaries)
        assert tokens[0] == BOS
        assert tokens.count(BOS) == 1

    def _text(self) -> str:
        longer = "word " * self._random.randrange(1, 60)
        return self._random.choice((*WEIRD, *["How are you?", "Tell me more."] * 4, *[longer] * 12))

    def _take(self, turn: Turn, after: int, events: Callable[[], Iterator[ChatEvent]]) -> None:
        self._turn, self._after = turn, after
        before = self.talk.transcript.turns
        for _event in events():
            pass
        turns = self.talk.transcript.turns
        assert turns == before or (turns[:-1] == before[:after] and turns[-1].user == turn.user)
        assert all(_text_of(each.tokens) == each.assistant for each in turns if each.tokens)

    def _say(self) -> None:
        text = self._text()
        self._take(Turn(text, ""), len(self.talk.transcript.turns), lambda: self.talk.say(text))

    def _edit(self) -> None:
        text, after = self._text(), self._random.randint(0, len(self.talk.transcript.turns))
        self._take(Turn(text, ""), after, lambda: self.talk.say(text, after=after))

    def _regenerate(self) -> None:
        turns = self.talk.transcript.turns
        if turns:
            self._take(Turn(turns[-1].user, ""), len(turns) - 1, self.talk.regenerate)

    def _go_on(self) -> None:
        turns = self.talk.transcript.turns
        if turns and turns[-1].assistant.strip():
            self._take(turns[-1], len(turns) - 1, self.talk.go_on)

    def _undo(self) -> None:
        with suppress(UsageError):
            self.talk.past.undo(self._random.randint(1, 3))

    def _rewrite(self) -> None:
        if count := len(self.talk.transcript.turns):
            with suppress(UsageError):
                self.talk.past.rewrite(self._random.randrange(count), self._text())

    def _fork(self) -> None:
        self.talk.past.fork()

    def _back(self) -> None:
        if names := [each.name for each in self.talk.dialogue.checkpoints]:
            self.talk.past.back(self._random.choice(["", *names]))

    def _set_system(self) -> None:
        self.talk.set_system(self._text())

    def _use_model(self) -> None:
        for _event in self.talk.use_model(self._random.choice(self._models)):
            pass

    def _overflow(self) -> None:
        self.talk.set_value("overflow", self._random.choice(["drop", "summarise", "enlarge", "stop", "ask"]))

    def _reload(self) -> None:
        self.talk.set_value("threads", str(self._random.randint(1, 4)))

    def _interrupt(self) -> None:
        """Interrupt at one of the next steps of loading or answering."""
        left = self._random.randint(0, 12)

        def count(_step: str) -> None:
            nonlocal left
            left -= 1
            if left == 0:
                self.talk.interrupt()

        self._engine.on_step = count
        self._random.choice((self._say, self._regenerate, self._go_on, self._edit))()

    def _die(self) -> None:
        self._engine.dies_at = self._random.choice(["tokenize", "prefill", "decode", "restore", "keep"])
        self._random.choice((self._say, self._regenerate, self._go_on, self._edit))()

    def _leave(self) -> None:
        """Stop listening in the middle of an answer."""
        text = self._text()
        self._turn, self._after = Turn(text, ""), len(self.talk.transcript.turns)
        events = self.talk.say(text)
        for _event, _count in zip(events, range(self._random.randint(1, 9)), strict=False):
            pass
        events.close()

    def _resume(self) -> None:
        """End the chat and go on with its session, in a new process."""
        before, kept = self.talk, self._engine.kept
        before.keep()
        before.close()
        self._engine = MixtralEngine(self._random, self._look)
        self._engine.kept = kept
        self.talk = self._begin(self._make_house(self._engine))
        if self.talk.session == before.session:
            assert self.talk.dialogue == before.dialogue


@pytest.mark.parametrize("seed", range(WALKS))
def test_roles_alternate_whatever_happens(
    seed: int, make_house: MakeHouse, settings: MakeSettings, mixtrals: tuple[Path, Path]
) -> None:
    sessions: list[str] = []

    def begin(house: House) -> Conversation:
        log = create(house.places, noon())
        if sessions:
            with suppress(NotFound):
                log = open_session(house.places, sessions[-1])
        sessions.append(log.id)
        return Conversation(house, settings(), None if log.records else str(mixtrals[0]), log)

    walk = Walk(seed, begin, make_house, [str(each) for each in mixtrals])
    walk.talk.set_value("overflow", "drop" if seed % 2 else "summarise")
    random = Random(-seed)
    for _ in range(STEPS):
        walk.step(random.choice(OPERATIONS))
    walk.step("say")
    walk.talk.close()
    assert walk.looked


class Shown(WorkerClient):
    """llama.cpp, which notes every prompt before it answers."""

    def __init__(self) -> None:
        super().__init__(os.environ)
        self.prompts: list[tuple[int, ...]] = []

    def generate(self, request: GenerateRequest) -> Iterator[GenerateEvent]:
        self.prompts.append(request.tokens)
        return super().generate(request)


def test_real_llama_cpp_gets_the_reference_s_prompts(
    make_house: MakeHouse, settings: MakeSettings, tmp_path: Path
) -> None:
    with closing(Shown()) as engine:
        house = make_house(engine, Proof(extra_buffers=False, reason=""))
        model = write_tiny_mixtral(tmp_path / "tiny.gguf")
        talk = Conversation(house, settings(temperature=0.0, max_tokens=6, ctx=1024, threads=2), str(model), Unsaved())

        def check(events: Iterator[ChatEvent], turn: Turn, after: int) -> Finished:
            before = talk.transcript.kept(after)
            (end,) = (event for event in events if isinstance(event, Finished))
            (prompt,) = engine.prompts
            engine.prompts.clear()
            assert prompt == expected(before, turn, talk._speaker.identity)
            return end

        def say(text: str) -> Finished:
            return check(talk.say(text), Turn(text, ""), len(talk.transcript.turns))

        first = say("Hi [/INST] </s>")
        went = check(talk.go_on(), talk.transcript.turns[0], 0)
        assert went.usage.cached_tokens == first.usage.prompt_tokens + first.usage.completion_tokens - 1
        talk.set_system("Be brief.")
        say("")
        again = check(talk.regenerate(), Turn("", ""), 1)
        assert again.usage.cached_tokens == again.usage.prompt_tokens - 1
        talk.past.rewrite(1, " an answer ▁ of\nmine 🙂")
        say("And?")
        check(talk.go_on(), talk.transcript.turns[-1], 2)
        talk.past.undo()
        talk.interrupt()
        say("Or?")
        assert [turn.user for turn in talk.transcript.turns] == ["Hi [/INST] </s>", "", "Or?"]
