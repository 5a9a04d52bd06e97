"""Control tokens that are part of an answer's text when they are asked for."""

from mixchat.chat.messages import Control, Text
from mixchat.engine.client import WorkerClient
from mixchat.engine.events import GenerateRequest
from tests.engine.steps import GREEDY, said


def test_control_tokens_are_silent_unless_they_are_asked_for(demo: WorkerClient) -> None:
    """After the end of a turn the model begins the next one with a control token."""
    pieces = (Control("<|im_start|>user\n"), Text("Hi"), Control("<|im_end|>\n"))
    prompt = tuple(token for ids in demo.tokenize(pieces, prompt=True) for token in ids)
    (mark,), *_rest = demo.tokenize((Control("<|im_start|>"),), prompt=False)

    def answer(*shown: str) -> tuple[str, tuple[int, ...]]:
        return said(demo.generate(GenerateRequest(prompt, GREEDY, 3, (), shown)))[:2]

    text, ids = answer()
    assert ids[0] == mark, "the premise"
    assert text == "assistant"
    assert answer("<|im_end|>", "no such mark", "user", "") == (text, ids)
    assert answer("<|im_end|>", "<|im_start|>") == ("<|im_start|>assistant", ids)


def test_a_shown_control_token_can_be_a_stop_text(demo: WorkerClient) -> None:
    pieces = (Control("<|im_start|>user\n"), Text("Hi"), Control("<|im_end|>\n"))
    prompt = tuple(token for ids in demo.tokenize(pieces, prompt=True) for token in ids)
    request = GenerateRequest(prompt, GREEDY, 3, ("<|im_start|>",), ("<|im_start|>",))
    text, _ids, end = said(demo.generate(request))
    assert (text, end.reason) == ("", "stop")
