"""Which prompt format a model file asks for.

Knows what tells Mixtral's v1 format from all others; refuses to know how a template is rendered.
"""

from typing import Literal

from mixchat.errors import BadModel

Family = Literal["mistral-v1", "template"]

_V1_VOCABULARY = 32000
_V1_EXPERTS = 8
_V1_MARKS = ("[INST]", "[/INST]")
# Each belongs to a format that also writes [INST]: Llama 2's, and Mistral's from v2 on.
_OTHER_MARKS = (
    "<<SYS>>",
    "[SYSTEM_PROMPT]",
    "[AVAILABLE_TOOLS]",
    "[TOOL_CALLS]",
    "[TOOL_RESULTS]",
    "[TOOL_CONTENT]",
    "[MODEL_SETTINGS]",
    "[THINK]",
    "[PREFIX]",
    "[IMG]",
    "<|im_start|>",
)


def choose_family(tokenizer: str, template: str | None, architecture: str, n_experts: int, vocab_size: int) -> Family:
    """Choose between mixchat's own Mixtral prompt and the file's template.

    The file's template is not used for Mixtral: published ones drop or refuse the system message, and as one string
    they become other tokens than those of the training.

    Args:
        tokenizer: `tokenizer.ggml.model`; `llama` is SentencePiece.
        template: `tokenizer.chat_template`; None or blank when the file has none.
        architecture: `general.architecture`.
        n_experts: Experts per layer; 0 in a dense model.
        vocab_size: Number of tokens.

    Raises:
        BadModel: The file has no template and is not a Mixtral: a base model that was never taught to chat.
    """
    v1_tokens = tokenizer == "llama" and vocab_size == _V1_VOCABULARY
    if template is None or not template.strip():
        if v1_tokens and architecture == "llama" and n_experts == _V1_EXPERTS:
            return "mistral-v1"
        raise BadModel(
            "The file has no chat template: it is a base model, which continues text and was not taught to answer.",
            "Take the model's instruct version, or `mixchat chat mixtral`.",
        )
    return "mistral-v1" if v1_tokens and _is_v1(template) else "template"


def _is_v1(template: str) -> bool:
    return all(mark in template for mark in _V1_MARKS) and not any(mark in template for mark in _OTHER_MARKS)
