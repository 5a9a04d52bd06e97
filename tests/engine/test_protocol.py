import json
from dataclasses import fields, is_dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mixchat.chat.messages import Control, Message, Text
from mixchat.engine import events, protocol

MESSAGES = [
    protocol.AskDevices(),
    protocol.Devices((events.DeviceInfo("CPU", "Ä \x1b[0m", "cpu", 1, 2), events.DeviceInfo("GPU", "", "gpu", 0, 0))),
    protocol.AskLoad(events.LoadRequest("/m.gguf", context=1, gpu=True, kv_type="q4_0", load_mode="copy")),
    events.Loading(0.25),
    events.Loaded(256, (events.BufferSize("CPU", "kv", 7),), 1.5),
    events.Loaded(0, (), 0.0),
    protocol.AskTokens((Control("<s>"), Text("🙂 \ufffd")), True),
    protocol.Tokens(((1, 2), (), (3,))),
    protocol.AskRender("{{ x }}", (Message("user", "hi"),), "<s>", "</s>"),
    protocol.Rendered("text"),
    protocol.AskGenerate(events.GenerateRequest((1, 2, 3), events.Sampling(seed=5), 10, ("a", "b"))),
    events.Prefilling(1, 2, 1),
    events.Token("x", 3),
    events.Finished("stop", events.Usage(1, 0, 2), events.Timings(ttft_ms=2.5)),
    protocol.AskProbe("/p", True),
    protocol.Probed((0.5, -1.0)),
    protocol.Cancel(),
    protocol.Cancelled(),
    protocol.Failed("BadModel", "why", "what next"),
]


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: type(message).__name__)
def test_a_message_arrives_as_it_was_sent(message: object) -> None:
    (body,) = protocol.FrameBuffer().feed(protocol.encode(7, message))
    assert protocol.decode(body) == (7, message)


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
