"""The file's own template: rendered as its author meant, and harmless."""

import json
import signal
from pathlib import Path

import pytest

from mixchat.chat.messages import Message
from mixchat.engine.client import WorkerClient
from mixchat.engine.worker import template as module
from mixchat.engine.worker.template import render
from mixchat.errors import BadTemplate
from tests.engine.steps import chatml

MESSAGES = (Message("system", "Be brief."), Message("user", "Hello <b>"))
CHATML = (
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\\n' + m.content + '<|im_end|>\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def test_a_usual_template() -> None:
    assert render(CHATML, MESSAGES, "<s>", "</s>") == (
        "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nHello <b><|im_end|>\n<|im_start|>assistant\n"
    )


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("{{ bos_token }}|{{ eos_token }}", "<s>|</s>"),
        ("{{ messages | tojson }}", json.dumps([{"role": m.role, "content": m.text} for m in MESSAGES])),
        ("{{ {'a': '<é>'} | tojson(indent=2) }}", '{\n  "a": "<é>"\n}'),
        ("{% for m in messages %}{% if loop.first %}{% continue %}{% endif %}{{ m.role }}{% endfor %}", "user"),
        ("{% if tools %}tools{% else %}none{% endif %}", "none"),
        ("{{ strftime_now('%%') }}", "%"),
        ("{% set ns = namespace(n=0) %}{% for m in messages %}{% set ns.n = ns.n + 1 %}{% endfor %}{{ ns.n }}", "2"),
        ("{{ messages[0].content[:2] ~ messages[-1]['content'].split()[0] }}", "BeHello"),
        ("   {% if true %}\nx{% endif %}", "x"),
    ],
)
def test_what_templates_use(source: str, text: str) -> None:
    assert render(source, MESSAGES, "<s>", "</s>") == text


@pytest.mark.parametrize(
    ("source", "cause"),
    [
        ("{{ raise_exception('Only user and assistant roles!') }}", "refuses the conversation: Only user"),
        ("{% for %}", "fails: "),
        ("{{ messages.nothing.more }}", "fails: "),
        ("{{ 1 / 0 }}", "fails: "),
        ("{{ messages[0].__class__.__mro__ }}", "fails: access to attribute '__class__'"),
        ("{{ ''.__class__.__subclasses__() }}", "fails: access to attribute"),
        ("{{ cycler.__init__.__globals__.os.system('true') }}", "fails: access to attribute"),
        ("{{ messages.append(1) }}", "fails: "),
        ("{% include '/etc/passwd' %}", "fails: "),
        ("{% for i in range(100000) %}{{ 'x' * 1000 }}{% endfor %}", "writes without end"),
        ("{{ range(10**9) | list }}", "fails: "),
        ("{{ ('x' * 10**9) | length }}{{ 'y' * 10**10 }}", "needs more memory"),
        ("{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}", "needs more memory"),
    ],
)
def test_what_fails_is_one_error_with_its_cause(source: str, cause: str) -> None:
    with pytest.raises(BadTemplate, match=cause):
        render(source, MESSAGES, "<s>", "</s>")


def test_the_limits_are_lifted_afterwards() -> None:
    with pytest.raises(BadTemplate):
        render("{{ 'y' * 10**10 }}", MESSAGES, "", "")
    assert len(bytearray(600 * 2**20)) == 600 * 2**20
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)


def test_a_system_that_does_not_tell_its_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "read_text", lambda *_a, **_k: (_ for _ in ()).throw(OSError("no /proc")))
    assert module._address_space() is None
    assert render("{{ bos_token }}", MESSAGES, "b", "") == "b"


@pytest.mark.parametrize(
    "source", ["{{ 10**(10**8) }}", "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}"]
)
def test_a_template_that_hangs_ends_with_its_worker(client: WorkerClient, source: str) -> None:
    client.devices()
    with pytest.raises(BadTemplate, match="does not come to an end"):
        client.render(source, MESSAGES, "", "")
    assert client.render("{{ bos_token }}", MESSAGES, "again", "") == "again"


def test_through_the_worker(demo: WorkerClient) -> None:
    assert demo.render(CHATML, MESSAGES, "", "") == render(CHATML, MESSAGES, "", "")
    with pytest.raises(BadTemplate, match="fails"):
        demo.render("{% for %}", MESSAGES, "", "")
    assert chatml(demo, "still there")
