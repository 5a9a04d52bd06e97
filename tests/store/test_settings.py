import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mixchat.engine.events import GenerateRequest
from mixchat.errors import UsageError
from mixchat.store.options import BY_NAME, SETTINGS, Setting
from mixchat.store.personas import Persona
from mixchat.store.settings import Settings, built_in, read_config, resolve

CONFIG = Path("/home/anna/.config/mixchat/config.toml")
GOOD: dict[str, tuple[object, ...]] = {
    "model": ("mixtral", "hf:a/b:Q4_K_M"),
    "system": ("Be brief.", "[INST] \n"),
    "temperature": (0, 0.0, 5, 1.3),
    "top_p": (1, 1e-9, 0.95),
    "top_k": (0, 40),
    "min_p": (0, 1, 0.05),
    "repeat_penalty": (1e-6, 1.1, 20),
    "seed": (0, 2**32 - 2),
    "max_tokens": (1, 2**31 - 1),
    "ctx": (1, 32768),
    "kv_type": ("f16", "q8_0", "q4_0"),
    "vram": ([24 << 30], [0], [24 << 30, 8_000_000_000]),
    "ram": (0, 64 << 30),
    "device": (["cpu"], ["auto"], ["CUDA0", "RPC0[127.0.0.1:5000]"]),
    "expert_layers": (0, 12, 512),
    "gpu_layers": (0, 513),
    "experts_used": (1, 2, 1024),
    "override": ([r"blk\.(0|1)\.ffn_.*_exps=CPU"], ["a=CPU", "b = CUDA0"]),
    "rpc": (["10.0.0.2:50052"], ["localhost:1", "b:65535"]),
    "threads": (1, 64),
    "ubatch": (1, 512),
    "load_mode": ("auto", "mmap", "copy", "mlock"),
    "overflow": ("ask", "drop", "summarise", "enlarge", "stop"),
    "output": ("markdown", "raw"),
    "keys": ("emacs", "vi"),
    "snapshots": (0, 4 << 30),
    "prompt_cache": (0, 2 << 30),
}
BAD: dict[str, tuple[object, ...]] = {
    "model": (3, True),
    "system": (1.5,),
    "temperature": (-0.1, 5.1, float("nan"), float("inf"), True, "warm"),
    "top_p": (0, 1.01, float("nan"), -1),
    "top_k": (-1, 1.5, 2**31, True),
    "min_p": (-0.1, 1.1, float("nan")),
    "repeat_penalty": (0, -1, float("inf"), 10**400, float("nan")),
    "seed": (-1, 2**32, 1.0),
    "max_tokens": (0, -5, 1.0),
    "ctx": (0, False),
    "kv_type": ("q8", "F16", "", 8),
    "vram": ("8G", -1, [], True, [True], [1 << 61]),
    "ram": ("8G", "8 GB/s", -1, True),
    "device": (3, [], [1], "two words", "a=b", "CUDA0,,CUDA1"),
    "expert_layers": (-1, 513, 1.0),
    "gpu_layers": (-1, 514),
    "experts_used": (0, 1025, 1.5, True),
    "override": ("no device", "=CPU", "x=", [3], {}),
    "rpc": ("localhost", "host:port", "a:1 b:2", "tcp://a:1", ["a:1", ""]),
    "threads": (0, 513),
    "ubatch": (0,),
    "load_mode": ("map",),
    "overflow": ("forget", 3),
    "output": ("html", False),
    "keys": ("ed", 1),
    "snapshots": (-1, "4G", True),
    "prompt_cache": (-1, "2G", False),
}


def settle(
    flags: dict[str, object] | None = None, environ: dict[str, str] | None = None, text: str | None = None
) -> Settings:
    return resolve(flags or {}, environ or {}, text, CONFIG)


def toml(value: object) -> str:
    if isinstance(value, list):
        return json.dumps(value)
    if isinstance(value, dict):
        return "{}"
    return str(value).lower() if isinstance(value, bool) else f'"{value}"' if isinstance(value, str) else str(value)


def test_tables_cover_every_setting() -> None:
    assert set(GOOD) == set(BAD) == set(BY_NAME)


def test_defaults_are_the_engine_s() -> None:
    settings = settle()
    sampling = GenerateRequest(()).sampling
    for name in ("temperature", "top_p", "top_k", "min_p", "repeat_penalty", "seed"):
        assert BY_NAME[name].default == getattr(sampling, name)
    assert all(settings.chosen[name].value is None for name in ("threads", "kv_type", "ubatch"))
    assert (settings.value("device"), settings.value("vram")) == (("auto",), None)
    assert settings.value("model") == "mixtral"
    assert {settings.origin(name) for name in BY_NAME} == {"default"}


@pytest.mark.parametrize(
    ("layers", "value", "origin"),
    [
        ("", 0.7, "default"),
        ("m", 0.5, "model"),
        ("f", 0.4, "file"),
        ("e", 0.3, "environment"),
        ("a", 0.2, "flag"),
        ("fm", 0.4, "file"),
        ("em", 0.3, "environment"),
        ("am", 0.2, "flag"),
        ("ef", 0.3, "environment"),
        ("af", 0.2, "flag"),
        ("ae", 0.2, "flag"),
        ("aefm", 0.2, "flag"),
    ],
)
def test_precedence(layers: str, value: float, origin: str) -> None:
    settings = settle(
        {"temperature": 0.2 if "a" in layers else None},
        {"MIXCHAT_TEMPERATURE": "0.3"} if "e" in layers else {"MIXCHAT_TEMPERATURE": ""},
        "temperature = 0.4" if "f" in layers else None,
    )
    if "m" in layers:
        settings = settings.with_model_defaults({"temperature": 0.5})
    assert (settings.value("temperature"), settings.origin("temperature")) == (value, origin)
    assert settings.origin("top_p") == "default"


@pytest.mark.parametrize(
    ("layers", "value", "origin", "place"),
    [
        ("", 0.1, "persona", "temperature in the persona mine"),
        ("efm", 0.1, "persona", "temperature in the persona mine"),
        ("aef", 0.2, "flag", "--temperature"),
        ("ac", 0.9, "chat", "/set temperature"),
        ("c", 0.9, "chat", "/set temperature"),
    ],
)
def test_a_persona_comes_between_environment_and_flag(layers: str, value: float, origin: str, place: str) -> None:
    settings = settle(
        {"temperature": 0.2 if "a" in layers else None},
        {"MIXCHAT_TEMPERATURE": "0.3"} if "e" in layers else {},
        "temperature = 0.4" if "f" in layers else None,
    )
    persona = Persona("mine", CONFIG, "", None, {"temperature": 0.1, "system": "Be brief."})
    settings = settings.with_chat({"temperature": "0.9"} if "c" in layers else {}).with_persona(persona)
    settings = settings.with_model_defaults({"temperature": 0.5} if "m" in layers else {})
    assert (settings.value("temperature"), settings.origin("temperature")) == (value, origin)
    assert settings.place("temperature") == place
    assert (settings.value("system"), settings.place("system")) == ("Be brief.", "system in the persona mine")
    assert settings.with_chat({}).place("system") == "system in the persona mine"
    assert settings.outranks("system", "top_p")


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda setting: setting.name)
def test_good_values_pass_in_every_layer(setting: Setting) -> None:
    for value in GOOD[setting.name]:
        wanted = float(value) if setting.kind == "number" and isinstance(value, int) else value
        wanted = tuple(value) if isinstance(value, list) else wanted
        text = ",".join(map(str, value)) if isinstance(value, list) else str(value)
        for settings in (
            settle(flags={setting.name: value}),
            settle(environ={setting.variable: text}),
            settle(text=f"{setting.name} = {toml(value)!s}".replace("\n", "\\n")),
        ):
            found = settings.chosen[setting.name].value
            assert found == wanted
            assert type(found) is type(wanted)


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda setting: setting.name)
def test_bad_values_are_refused_in_every_layer(setting: Setting) -> None:
    for value in BAD[setting.name]:
        with pytest.raises(UsageError, match=f"^{setting.flag}: ") as caught:
            settle(flags={setting.name: value})
        assert caught.value.exit_code == 2
        assert caught.value.hint
        place = f"^{CONFIG}, line 2: {setting.name}: "
        if value != 10**400:
            with pytest.raises(UsageError, match=place):
                settle(text=f"# mine\n{setting.name} = {toml(value)}\n")
        if setting.kind != "text" and value not in ("", []):
            text = ",".join(map(str, value)) if isinstance(value, list) else str(value)
            if setting.kind == "texts" and not isinstance(value, str):
                continue
            with pytest.raises(UsageError, match=f"^{setting.variable}: "):
                settle(environ={setting.variable: text})


@pytest.mark.parametrize(
    ("flags", "environ", "text", "message", "hint"),
    [
        (
            {"temperature": 9.0},
            {},
            None,
            "--temperature: 9.0 is not a number from 0 to 5.",
            "Correct it or leave it out: then it is 0.7.",
        ),
        (
            {},
            {"MIXCHAT_TOP_P": "0"},
            None,
            "MIXCHAT_TOP_P: 0.0 is not a number above 0 and at most 1.",
            "Correct it or leave it out: then it is 0.95.",
        ),
        (
            {},
            {"MIXCHAT_CTX": "8k"},
            None,
            "MIXCHAT_CTX: '8k' is not a whole number from 1 to 2147483647.",
            "Correct it or leave it out: then mixchat chooses.",
        ),
        (
            {},
            {},
            "kv_type = 'q8'\n",
            f"{CONFIG}, line 1: kv_type: 'q8' is not one of f16, q8_0, q4_0.",
            "Did you mean q8_0?",
        ),
        (
            {},
            {},
            "temprature = 1\n",
            f"{CONFIG}, line 1: there is no setting 'temprature'.",
            "Did you mean temperature?",
        ),
        ({}, {}, "\n\n top-p = 1\n", f"{CONFIG}, line 3: there is no setting 'top-p'.", "Did you mean top_p?"),
        ({}, {}, "[sampling]\ntop_p = 1\n", f"{CONFIG}, line 1: there is no setting 'sampling'.", ""),
        (
            {},
            {},
            "repeat_penalty = 0",
            f"{CONFIG}, line 1: repeat_penalty: 0 is not a number above 0.",
            "Correct it or leave it out: then it is 1.0.",
        ),
        (
            {},
            {},
            'system = """\nctx = 4\n"""\nctx = 0',
            f"{CONFIG}: ctx: 0 is not a whole number from 1 to 2147483647.",
            "Correct it or leave it out: then mixchat chooses.",
        ),
    ],
)
def test_error_lines(
    flags: dict[str, object], environ: dict[str, str], text: str | None, message: str, hint: str
) -> None:
    with pytest.raises(UsageError) as caught:
        settle(flags, environ, text)
    assert caught.value.message == message
    assert hint in caught.value.hint


@pytest.mark.parametrize("text", ["seed = ", "ctx = 1\nctx = 2", "Be brief."])
def test_a_file_that_is_no_toml(text: str) -> None:
    with pytest.raises(UsageError, match=rf"^{CONFIG} is not TOML: .*at (line|end)"):
        settle(text=text)


def test_hidden_mistakes_are_told() -> None:
    with pytest.raises(UsageError, match=r"^MIXCHAT_SEED"):
        settle(flags={"seed": 1}, environ={"MIXCHAT_SEED": "x"})


def test_unknown_keys_without_a_likeness_list_all() -> None:
    with pytest.raises(UsageError) as caught:
        settle(text="zzzzzz = 1")
    assert all(name in caught.value.hint for name in BY_NAME)


def test_long_values_are_cut() -> None:
    with pytest.raises(UsageError) as caught:
        settle(environ={"MIXCHAT_DEVICE": "x" * 10_000})  # a device's name has 128 characters at most
    assert len(caught.value.message) < 120


def test_model_defaults_take_their_setting_s_type_and_are_checked() -> None:
    settings = settle().with_model_defaults({"top_k": 20, "temperature": 1})
    assert (settings.value("top_k"), settings.value("temperature")) == (20, 1.0)
    for wrong in ({"top_p": 2.0}, {"top_q": 1.0}):
        with pytest.raises(UsageError, match="model's defaults"):
            settings.with_model_defaults(wrong)


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("vram", "24GiB", (24 << 30,)),
        ("vram", "24GiB, 8GB", (24 << 30, 8 * 10**9)),
        ("vram", "0", (0,)),
        ("ram", "1.5 GiB", 3 << 29),
        ("device", "CUDA0,CUDA1", ("CUDA0", "CUDA1")),
        ("rpc", "a:1, b:2", ("a:1", "b:2")),
        ("override", "x=CPU,y=CUDA0", ("x=CPU", "y=CUDA0")),
    ],
)
def test_sizes_and_lists_have_commas_between(name: str, text: str, value: object) -> None:
    for settings in (
        settle(flags={name: text}),
        settle(environ={f"MIXCHAT_{name.upper()}": text}),
        settle(text=f'{name} = "{text}"'),
    ):
        assert settings.chosen[name].value == value


def test_an_array_is_not_divided_at_commas() -> None:
    pattern = r"blk\.[0-9]{1,2}\.ffn_up_exps=CPU"
    assert settle(flags={"override": [pattern]}).value("override") == (pattern,)
    assert settle(text=f"override = ['{pattern}']").value("override") == (pattern,)


@pytest.mark.parametrize(
    ("name", "text", "message", "hint"),
    [
        ("vram", "8GiB,8G", "--vram: '8G' is not a size such as 8GiB, or several with commas between.", "Write 8GiB"),
        ("rpc", "box", "--rpc: 'box' is not HOST:PORT.", "then mixchat chooses"),
        ("device", " ", "--device: ' ' is not cpu, auto or devices' names.", "then it is auto."),
    ],
)
def test_what_is_wrong_in_a_list_is_named(name: str, text: str, message: str, hint: str) -> None:
    with pytest.raises(UsageError) as caught:
        settle(flags={name: text})
    assert caught.value.message == message
    assert hint in caught.value.hint


def test_places_and_ranks_of_values() -> None:
    settings = settle({"device": "cpu"}, {"MIXCHAT_RAM": "8GiB"}, "expert_layers = 4")
    places = [settings.place(name) for name in ("device", "ram", "expert_layers", "vram")]
    assert places == ["--device", "MIXCHAT_RAM", "expert_layers in config.toml", "--vram"]
    assert settings.outranks("device", "ram")
    assert settings.outranks("ram", "expert_layers")
    assert not settings.outranks("vram", "expert_layers")
    assert not settings.outranks("device", "device")
    assert built_in().value("temperature") == 0.7


@given(st.text(), st.sampled_from(SETTINGS))
def test_any_environment_is_taken_or_refused(text: str, setting: Setting) -> None:
    try:
        settings = settle(environ={setting.variable: text})
    except UsageError as caught:
        message = caught.message
    else:
        message = setting.variable
        assert settings.origin(setting.name) == ("environment" if text else "default")
    assert message.startswith(setting.variable)
    assert "\n" not in message


def test_config_is_read(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    assert read_config(path) is None
    path.write_text('system = "Grüße"', encoding="utf-8")
    assert resolve({}, {}, read_config(path), path).value("system") == "Grüße"
    path.write_bytes(b'system = "\xff"')
    with pytest.raises(UsageError, match="not UTF-8 text"):
        read_config(path)
    path.unlink()
    path.mkdir()
    with pytest.raises(UsageError, match="cannot be read"):
        read_config(path)
