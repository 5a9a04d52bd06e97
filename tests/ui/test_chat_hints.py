import pytest

from mixchat.ui.chat.hints import in_chat


@pytest.mark.parametrize(
    ("hint", "said"),
    [
        ("Give --ctx 8192, which fits.", "Give /set ctx 8192, which fits."),
        ("Give it less context: --ctx 4096; or use less of the GPU: --vram SIZE, or --device cpu",
         "Give it less context: /set ctx 4096; or use less of the GPU: /set vram SIZE, or /set device cpu"),
        ("Give the path of a file, or try: mixchat chat demo", "Give the path of a file, or try: /model demo"),
        ("Did you mean whales? mixchat sessions list shows them.", "Did you mean whales? /sessions lists them."),
        ("Run: mixchat pull mixtral", "Run: mixchat pull mixtral"),
    ],
)  # fmt: skip
def test_hints_in_the_words_of_the_chat(hint: str, said: str) -> None:
    assert in_chat(hint) == said
