import json
from dataclasses import fields, is_dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mixchat.chat.messages import Control, Message, Text
from mixchat.engine import events, protocol, tracing
from mixchat.errors import AllocationFailed, BadModel, EngineDied, EngineError, MixchatError, PromptTooLong
from mixchat.plan.values import Override

MESSAGES = [
    protocol.AskDevices(),
    protocol.AskDevices(("127.0.0.1:1",)),
    protocol.Devices((events.DeviceInfo("CPU", "Ä \x1b[0m", "cpu", 1, 2), events.DeviceInfo("GPU", "", "gpu", 0, 0))),
    protocol.AskLoad(events.LoadRequest("/m.gguf", context=1, kv_type="q4_0", load_mode="copy")),
    protocol.AskLoad(
        events.LoadRequest("/m", devices=("A", "B"), tensor_split=(1, 2), overrides=(Override("^$", "CPU"),))
    ),
    events.Loading(0.25),
    events.Loaded(256, (events.BufferSize("CPU", "kv", 7),), 1.5),
    events.Loaded(0, (), 0.0, mapped=5, resident=4),
    protocol.AskTokens((Control("<s>"), Text("🙂 \ufffd")), True),
    protocol.Tokens(((1, 2), (), (3,))),
    protocol.AskRender("{{ x }}", (Message("user", "hi"),), "<s>", "</s>"),
    protocol.Rendered("text"),
    protocol.AskGenerate(events.GenerateRequest((1, 2, 3), events.Sampling(seed=5), 10, ("a", "b"))),
    events.Prefilling(1, 2, 1),
    events.Token("x", 3),
    events.Finished("stop", events.Usage(1, 0, 2), events.Timings(ttft_ms=2.5)),
    protocol.AskGenerate(events.GenerateRequest((1,), shown=("<|x|>",))),
    protocol.AskEvaluate((1, 2)),
    protocol.Evaluated(),
    protocol.AskTexts((1, 2)),
    protocol.Texts(("a", "\u2192")),
    protocol.AskGrammar('root ::= "x"'),
    protocol.GrammarFits(),
    tracing.AskTrace(events.TraceRequest((1, 2))),
    tracing.AskTrace(events.TraceRequest((1, 2), (0, 31))),
    tracing.Routed(3, 512, 2, "AAEC", "AACAPw=="),
    tracing.Traced(),
    protocol.AskKeepState("/s", events.StateKey("m"), "build"),
    events.StateKept(3, 1 << 40),
    protocol.AskRestoreState("/s", events.StateKey("m"), "build"),
    events.StateRestored(0, "why"),
    protocol.AskProbe("/p", True),
    protocol.Probed((0.5, -1.0)),
    protocol.AskMeasure("CPU", "Q4_K", 2, True, 1 << 28),
    protocol.Measured(decode=1e9, latency=1e-5),
    protocol.Cancel(),
    protocol.Cancelled(),
    protocol.Failed("BadModel", "why", "what next"),
    protocol.Failed("AllocationFailed", "why", "what next", (("device", "RPC0"), ("n", 3), ("x", None))),
]


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: type(message).__name__)
def test_a_message_arrives_as_it_was_sent(message: object) -> None:
    (body,) = protocol.FrameBuffer().feed(protocol.encode(7, message))
    assert protocol.decode(body) == (7, message)


@pytest.mark.parametrize(
    "error",
    [
        BadModel("why", "what next"),
        AllocationFailed("why", "what next", "CUDA0"),
        EngineDied("why", "what next", 11),
        PromptTooLong(9, 5, "what next"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_an_error_arrives_whole(error: MixchatError) -> None:
    (body,) = protocol.FrameBuffer().feed(protocol.encode(1, protocol.failure(error)))
    _id, message = protocol.decode(body)
    assert isinstance(message, protocol.Failed)
    arrived = protocol.error_of(message)
    assert (type(arrived), vars(arrived), str(arrived)) == (type(error), vars(error), str(error))
    assert arrived.exit_code == error.exit_code


@pytest.mark.parametrize("kind", ["NoSuchError", "ClassVar", "__name__"])
def test_a_kind_that_is_no_error_of_ours_is_an_engine_error(kind: str) -> None:
    assert type(protocol.error_of(protocol.Failed(kind, "why", "what next"))) is EngineError


def test_every_type_that_may_cross_is_tried_here() -> None:
    def inside(value: object) -> set[str]:
        if is_dataclass(value):
            return {type(value).__name__}.union(*(inside(getattr(value, field.name)) for field in fields(value)))
        return set().union(*map(inside, value)) if isinstance(value, tuple) else set()

    assert set().union(*map(inside, MESSAGES)) == set(protocol._TYPES)


@given(st.lists(st.text(max_size=50), max_size=5), st.integers(1, 40))
def test_frames_may_be_cut_anywhere(texts: list[str], step: int) -> None:
    stream = b"".join(protocol.encode(index, events.Token(text, index)) for index, text in enumerate(texts))
    buffer = protocol.FrameBuffer()
    bodies = [body for start in range(0, len(stream), step) for body in buffer.feed(stream[start : start + step])]
    expected = [(index, events.Token(text, index)) for index, text in enumerate(texts)]
    assert [protocol.decode(body) for body in bodies] == expected


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"[1]",
        b'["x", null]',
        b'[1, {"type": "Popen", "args": "x"}]',
        b'[1, {"type": "Token"}]',
        b'[1, {"type": "Token", "text": "", "id": 1, "more": 2}]',
        b'[1, {"no": "type"}]',
        b"\xff",
        b"[" * 100_000,
    ],
)
def test_a_malformed_frame_is_refused(body: bytes) -> None:
    with pytest.raises(protocol.ProtocolError):
        protocol.decode(body)


def test_a_frame_that_announces_too_much_is_refused() -> None:
    with pytest.raises(protocol.ProtocolError, match="exceeds"):
        list(protocol.FrameBuffer().feed(b"\xff\xff\xff\xff"))


def test_a_message_that_is_too_large_is_not_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol, "MAX_FRAME", 100)
    with pytest.raises(protocol.ProtocolError, match="exceeds 100"):
        protocol.encode(1, events.Token("x" * 100, 1))


def test_frames_are_plain_json() -> None:
    assert json.loads(protocol.encode(3, events.Token("é", 9))[4:]) == [3, {"type": "Token", "text": "é", "id": 9}]
