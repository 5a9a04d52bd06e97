import pytest

from mixchat.chat.family import choose_family
from mixchat.errors import BadModel

OLD = (
    "{{ bos_token }}{% for message in messages %}{% if message['role'] == 'user' %}"
    "{{ '[INST] ' + message['content'] + ' [/INST]' }}{% else %}"
    "{{ message['content'] + eos_token }}{% endif %}{% endfor %}"
)
LLAMA_2 = OLD + "{{ '<<SYS>>\n' + system + '\n<</SYS>>\n\n' }}"
V3 = OLD + "{{ '[AVAILABLE_TOOLS]' }}"
V7 = OLD + "{{ '[SYSTEM_PROMPT]' }}"
CHATML = "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"


@pytest.mark.parametrize(
    ("file", "family"),
    [
        (("llama", OLD, "llama", 8, 32000), "mistral-v1"),
        (("llama", OLD, "llama", 0, 32000), "mistral-v1"),
        (("llama", None, "llama", 8, 32000), "mistral-v1"),
        (("llama", " \n", "llama", 8, 32000), "mistral-v1"),
        (("llama", OLD, "llama", 8, 32768), "template"),
        (("gpt2", OLD, "llama", 8, 32000), "template"),
        (("llama", LLAMA_2, "llama", 0, 32000), "template"),
        (("llama", V3, "llama", 8, 32000), "template"),
        (("llama", V7, "llama", 8, 32000), "template"),
        (("llama", CHATML, "llama", 8, 32000), "template"),
        (("llama", CHATML + OLD, "llama", 8, 32000), "template"),
        (("llama", "[INST] only", "llama", 8, 32000), "template"),
        (("gpt2", CHATML, "qwen3moe", 128, 151936), "template"),
        (("gpt2", CHATML, "llama", 8, 49152), "template"),
    ],
)
def test_the_family_of_a_file(file: tuple[str, str | None, str, int, int], family: str) -> None:
    assert choose_family(*file) == family


@pytest.mark.parametrize(
    "file",
    [
        ("gpt2", None, "qwen3moe", 128, 151936),
        ("llama", "", "llama", 0, 32000),
        ("llama", None, "llama", 8, 32002),
        ("llama", None, "olmoe", 8, 32000),
        ("gpt2", None, "llama", 8, 32000),
    ],
)
def test_a_base_model_is_refused_with_what_to_do(file: tuple[str, str | None, str, int, int]) -> None:
    with pytest.raises(BadModel) as caught:
        choose_family(*file)
    assert "no chat template" in caught.value.message
    assert "mixchat chat" in caught.value.hint
