from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from mixchat.app.prompt import Prompt, Segment
from mixchat.chat.messages import Role, Turn
from mixchat.chat.transcript import Transcript
from mixchat.engine.events import BufferSize, Finished, Timings, Usage
from mixchat.plan.values import Footprint
from mixchat.store.settings import built_in, resolve
from mixchat.ui.chat_stats import ChatTotals, chat_stats_view
from mixchat.ui.chat_views import TokenRow, TokenTable, settings_view, tokens_view, turns_view
from mixchat.ui.output import print_out
from mixchat.ui.prompt_view import prompt_view
from tests.fakes.plans import GIB, VRAM, opened, plan_of
from tests.fakes.streams import FakeStream

if TYPE_CHECKING:
    from rich.console import RenderableType


def shown(view: "RenderableType", width: int = 80, *, terminal: bool = True) -> str:
    stream = FakeStream(terminal=terminal)
    print_out(stream, {"TERM": "xterm", "COLUMNS": str(width), "NO_COLOR": "1"}, view)
    return stream.written


def segment(role: Role | None, text: str, tokens: int) -> Segment:
    return Segment(role or "template", text, tuple(range(tokens)))


PROMPT = Prompt(
    (
        segment(None, "<s>", 1),
        segment("user", "[INST] Be brief.\n\nWhy is\tthe [bold]sky\x1b[2J blue? [/INST]", 17),
        segment("assistant", "Because " + "air scatters blue light. " * 20 + "So there.", 120),
        segment(None, "</s>", 1),
        segment("user", "[INST] And red? [/INST]", 9),
    ),
    (),
)
PROMPT_WIDE = """\
whose      tokens  so far  text
start: 1 token, 0.0 % of the context
template        1       1  <s>
turn 1: 138 tokens, 1.7 % of the context
user           17      18  [INST] Be brief.␊␊Why is␉the [bold]sky␛[2J blue?
                           [/INST]
assistant     120     138  Because air scatters blue light. air scatters blue
                           light. air scatters blue light. air scatters blue
                           light. air scatters blue light. air scatters blue
                           light. air scatters blue light. air scatters blue
                           [... 217 characters ...] ers blue light. air scatters
                           blue light. air scatters blue light. air scatters
                           blue light. So there.
template        1     139  </s>
turn 2: 9 tokens, 0.1 % of the context
user            9     148  [INST] And red? [/INST]
148 of 8192 tokens, 1.8 % of the context; 8044 are left
"""
PROMPT_NARROW = """\
start: 1 token, 0.0 % of the context
template, 1 token, 1 in all
  <s>
turn 1: 138 tokens, 1.7 % of the context
user, 17 tokens, 18 in all
  [INST] Be brief.␊␊Why is␉the
  [bold]sky␛[2J blue? [/INST]
assistant, 120 tokens, 138 in all
"""


def test_a_prompt_at_80_columns() -> None:
    assert shown(prompt_view(PROMPT, 8192)) == PROMPT_WIDE


def test_a_prompt_at_40_columns() -> None:
    text = shown(prompt_view(PROMPT, 8192), 40)
    assert text.startswith(PROMPT_NARROW)
    assert text.endswith("148 of 8192 tokens, 1.8 % of the\ncontext; 8044 are left\n")
    assert max(map(len, text.splitlines())) <= 40


def test_a_prompt_without_turns_and_an_empty_one() -> None:
    whole = Prompt((segment(None, "<|im_start|>user\nHi<|im_end|>", 9),), ())
    assert shown(prompt_view(whole, 8)) == (
        "whose      tokens  so far  text\n"
        "start: 9 tokens, 112.5 % of the context\n"
        "template        9       9  <|im_start|>user␊Hi<|im_end|>\n"
        "9 of 8 tokens, 112.5 % of the context; 0 are left\n"
    )
    assert shown(prompt_view(Prompt((), ()), 256)).endswith("0 of 256 tokens, 0.0 % of the context; 256 are left\n")


def test_a_prompt_that_begins_with_the_person_has_no_start() -> None:
    assert "start" not in shown(prompt_view(Prompt((segment("user", "Hi", 1),), ()), 256))


TOKENS = TokenTable(
    (
        TokenRow(0, "system", 12, "Be brief."),
        TokenRow(0, "summary", 60, "The sky was discussed, and why it is blue."),
        TokenRow(3, "user", 9, "And red at dusk,\n  when the sun is [low]\x1b[2J?"),
        TokenRow(4, "assistant", 140, "模型的名字 " * 20),
        TokenRow(0, "template", 11, ""),
    ),
    232,
    8192,
    1,
)


def test_tokens_at_80_columns() -> None:
    assert (
        shown(tokens_view(TOKENS))
        == """\
#  whose      tokens  first words
   system         12  Be brief.
   summary        60  The sky was discussed, and why it is blue.
   left out        0  the oldest turn
3  user            9  And red at dusk, when the sun is [low]␛[2J?
4  assistant     140  模型的名字 模型的名字 模型的名字 模型的名字 模型的名字 模…
   template       11
in all 232 of 8192 tokens (2.8 %), room for 7960
"""
    )


def test_tokens_at_40_columns() -> None:
    assert (
        shown(tokens_view(TOKENS), 40)
        == """\
#  whose      tokens  first words
   system         12  Be brief.
   summary        60  The sky was discu…
   left out        0  the oldest turn
3  user            9  And red at dusk, …
4  assistant     140  模型的名字 模型的…
   template       11
in all 232 of 8192 tokens (2.8 %), room
for 7960
"""
    )


def test_what_is_left_out_stands_last_when_no_message_follows() -> None:
    table = TokenTable((TokenRow(0, "system", 12, "Be brief."),), 300, 256, 3)
    assert shown(tokens_view(table)).splitlines()[1:] == [
        "   system        12  Be brief.",
        "   left out       0  the 3 oldest turns",
        "in all 300 of 256 tokens (117.2 %), room for 0",
    ]
    assert "left out" not in shown(tokens_view(TokenTable(table.rows, 12, 256)))


TRANSCRIPT = Transcript(
    "Be brief.",
    (
        Turn("Why is the sky\nblue?", "Because air scatters blue light more than red light, and so on.", True),
        Turn("Well?", ""),
        Turn("And now [bold]?", "x" * 500),
    ),
    left_out=1,
)


def test_messages_at_80_columns() -> None:
    assert (
        shown(turns_view(TRANSCRIPT))
        == """\
#  whose      first words
1  user       [left out] Why is the sky blue?
2  assistant  [left out] [interrupted] Because air scatters blue light more tha…
3  user       Well?
4  assistant  [no answer]
5  user       And now [bold]?
6  assistant  xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx…
"""
    )


def test_messages_at_40_columns() -> None:
    lines = shown(turns_view(TRANSCRIPT), 40).splitlines()
    assert lines[1] == "1  user       [left out] Why is the sky…"
    assert max(map(len, lines)) == 40


def test_no_messages() -> None:
    assert shown(turns_view(Transcript())) == "Nothing has been said yet.\n"


SETTINGS = resolve(
    {"temperature": 0.0, "ram": 8 << 30, "rpc": "a:1,b:2", "vram": "8GiB,4GiB"},
    {"MIXCHAT_TOP_P": "0.9"},
    'min_p = 0.1\nsystem = "You are a careful reviewer\\n of Python code."',
    Path("config.toml"),
).with_model_defaults({"repeat_penalty": 1.1})


def test_settings_at_80_columns() -> None:
    assert (
        shown(settings_view(SETTINGS, {"top_k"}))
        == """\
key             value                                 from
temperature     0                                     --temperature
top_p           0.9                                   MIXCHAT_TOP_P
top_k           40                                    /set
min_p           0.1                                   config.toml
repeat_penalty  1.1                                   the model's own
seed            unset                                 built in
max_tokens      unset                                 built in
system          You are a careful reviewer␊ of Pyth…  config.toml
ctx             unset                                 built in
overflow        ask                                   built in
output          markdown                              built in
keys            emacs                                 built in
vram            8.0 GiB, 4.0 GiB                      --vram
ram             8.0 GiB                               --ram
rpc             a:1, b:2                              --rpc
"""
    )


def test_settings_at_40_columns() -> None:
    lines = shown(settings_view(SETTINGS), 40).splitlines()
    assert lines[:3] == [
        "temperature     0 (--temperature)",
        "top_p           0.9 (MIXCHAT_TOP_P)",
        "top_k           40 (built in)",
    ]
    assert max(map(len, lines)) <= 40


def test_settings_that_nobody_touched_and_that_do_not_matter_here_are_not_shown() -> None:
    text = shown(settings_view(built_in()))
    assert "ubatch" not in text
    assert "ubatch" in shown(settings_view(built_in(), {"ubatch"}))


FINISHED = Finished("stop", Usage(120, 29, 150), Timings(812.4, 364.0, 1380.0, 121.0, 250.4, 108.3, 1200))
OPENED = opened(
    "mixtral",
    plan_of(Footprint(GIB, 0, 0), ("CUDA0", VRAM)),
    (BufferSize("CUDA0", "model", 6 * GIB), BufferSize("CPU", "model", GIB)),
)
TOTALS = ChatTotals().plus(FINISHED).plus(FINISHED)


def test_totals_add_up() -> None:
    assert ChatTotals().plus(FINISHED) == ChatTotals(1, 91, 29, 150, 364.0, 1380.0)
    assert ChatTotals(2, 182, 58, 300, 728.0, 2760.0) == TOTALS


def test_stats_at_80_columns() -> None:
    assert (
        shown(chat_stats_view(FINISHED, OPENED, TOTALS))
        == """\
prompt        120 tokens, 29 of them cached
prefill       91 tokens in 0.36 s, 250 t/s
first token   after 0.12 s
decode        150 tokens in 1.38 s, 108 t/s
disk          1,200 pages were read from the disk meanwhile
load          0.80 s
memory CUDA0  6.0 GiB of 7.5 GiB planned
memory CPU    1.0 GiB of 1.0 GiB planned
this chat     2 answers, 300 tokens in 2.76 s
              182 tokens prefilled in 0.73 s, 58 cached
"""
    )


def test_stats_at_40_columns() -> None:
    lines = shown(chat_stats_view(FINISHED, OPENED, TOTALS), 40).splitlines()
    assert lines[:3] == ["prompt        120 tokens, 29 of them", "              cached", lines[2]]
    assert max(map(len, lines)) <= 40


def test_stats_before_anything() -> None:
    assert shown(chat_stats_view(None, None, ChatTotals(1, 1, 0, 1))).splitlines() == [
        "answer     none yet",
        "model      not loaded",
        "this chat  1 answer, 1 token in 0.00 s",
        "           1 token prefilled in 0.00 s, 0 cached",
    ]
    silent = Finished("interrupted", Usage(5, 5, 0), Timings())
    assert "disk" not in shown(chat_stats_view(silent, None, ChatTotals()))
    assert "prefill      0 tokens in 0.00 s\n" in shown(chat_stats_view(silent, None, ChatTotals()))


VIEWS = (
    prompt_view(PROMPT, 8192),
    tokens_view(TOKENS),
    turns_view(TRANSCRIPT),
    settings_view(SETTINGS),
    chat_stats_view(FINISHED, OPENED, TOTALS),
)


@pytest.mark.parametrize("width", [1, 2, 5, 13, 24, 500])
def test_every_width_does(width: int) -> None:
    assert all(shown(view, width) for view in VIEWS)


def test_nothing_is_wrapped_or_cut_into_a_pipe() -> None:
    assert "air scatters blue light. So there.\n" in shown(VIEWS[0], 40, terminal=False)
    assert " and so on.\n" in shown(VIEWS[2], 40, terminal=False)
