from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mixchat.errors import NotFound, UsageError
from mixchat.store.personas import (
    INPUT,
    Persona,
    list_personas,
    parse_persona,
    persona_path,
    persona_text,
    read_persona,
    shipped,
)
from mixchat.store.places import Places

PATH = Path("/home/anna/.config/mixchat/personas/mine.toml")


def parsed(text: str) -> Persona:
    return parse_persona("mine", text, PATH)


def write(places: Places, name: str, text: str) -> Path:
    path = places.config / "personas" / f"{name}.toml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def test_the_shipped_ones_are_whole(places: Places) -> None:
    assert shipped() == ("commit", "explain", "review", "summarise", "translate")
    for listed in list_personas(places):
        persona = listed.persona
        assert persona is not None, listed.problem
        assert persona.shipped
        assert persona.description
        assert f"-p {persona.name}" in persona.description
        assert persona.prompt is not None
        assert persona.prompt.count(INPUT) == 1
        assert {"temperature", "system"} <= set(persona.values)
        # Reasoning models spend tokens on thinking: a limit would cut their answers off.
        assert "max_tokens" not in persona.values
        assert "model" not in persona.values


def test_all_keys() -> None:
    persona = parsed(
        'description = "d"\nsystem = """\na\n"""\nprompt = "p {input}\\n"\nmodel = "demo"\ntemperature = 1\n'
        "top_p = 0.5\ntop_k = 3\nmin_p = 0.1\nrepeat_penalty = 1.2\nmax_tokens = 9\nseed = 4\n"
    )
    assert (persona.name, persona.path, persona.description, persona.prompt) == ("mine", PATH, "d", "p {input}")
    assert persona.values == {
        "system": "a",
        "model": "demo",
        "temperature": 1.0,
        "top_p": 0.5,
        "top_k": 3,
        "min_p": 0.1,
        "repeat_penalty": 1.2,
        "max_tokens": 9,
        "seed": 4,
    }
    assert not persona.shipped


def test_an_empty_file_is_a_persona() -> None:
    assert parsed("# nothing yet\n") == Persona("mine", PATH, "", None, {})


@pytest.mark.parametrize(
    ("prompt", "text", "filled"),
    [
        (None, "x", "x"),
        ("a {input} b", "x", "a x b"),
        ("{input}{input}", "x", "xx"),
        ("a {input}", "{input} {0} {", "a {input} {0} {"),
        ("{ } {0} {name} {{x}} %s {input}", "x", "{ } {0} {name} {{x}} %s x"),
        ("{ input } {Input}", "x", "{ input } {Input}\n\nx"),
        ("Sum this up.", "x\n", "Sum this up.\n\nx\n"),
        ("", "x", "\n\nx"),
    ],
)
def test_fill(prompt: str | None, text: str, filled: str) -> None:
    assert Persona("mine", PATH, "", prompt, {}).fill(text) == filled


@given(st.text(), st.text(), st.text())
def test_what_is_filled_in_is_not_looked_at(before: str, text: str, after: str) -> None:
    if INPUT not in before + after and "{input" not in before[-6:] + after[:6]:
        assert Persona("mine", PATH, "", before + INPUT + after, {}).fill(text) == before + text + after


def test_your_own_comes_before_the_shipped_one(places: Places) -> None:
    assert read_persona(places, "review").shipped
    path = write(places, "review", "temperature = 0")
    persona = read_persona(places, "review")
    assert (persona.path, persona.values, persona.shipped) == (path, {"temperature": 0.0}, False)
    assert persona_path(places, "review") == path
    assert persona_text(places, "review") == "temperature = 0"
    assert [listed.path for listed in list_personas(places) if listed.name == "review"] == [path]


def test_one_bad_file_does_not_hide_the_others(places: Places) -> None:
    write(places, "bad", "temperature = 9")
    write(places, "Bad Name", "")
    write(places, "good", 'description = "g"')
    found = {listed.name: listed for listed in list_personas(places)}
    assert set(found) == {"bad", "Bad Name", "good", *shipped()}
    assert "line 1: temperature: 9 is not" in found["bad"].problem
    assert "no name of a persona" in found["Bad Name"].problem
    assert (found["bad"].persona, found["good"].problem) == (None, "")


@pytest.mark.parametrize("name", ["../x", "a/b", "", ".", "A", "-a", "a" * 42, "a.toml", "ä", "a\n", "x\0"])
def test_a_name_is_never_a_path(name: str, places: Places) -> None:
    for ask in (read_persona, persona_path, persona_text):
        with pytest.raises(UsageError, match="no name of a persona"):
            ask(places, name)


@pytest.mark.parametrize(
    ("name", "hint"),
    [("reviw", "Did you mean review?"), ("summarize", "Did you mean summarise?"), ("zzz", "mixchat personas edit zzz")],
)
def test_an_unknown_one_suggests_the_nearest(name: str, hint: str, places: Places) -> None:
    with pytest.raises(NotFound, match=f"no persona {name}") as caught:
        read_persona(places, name)
    assert hint in caught.value.hint
    assert persona_text(places, name) is None


def test_a_name_in_capitals_suggests_the_right_one(places: Places) -> None:
    with pytest.raises(UsageError) as caught:
        read_persona(places, "Review")
    assert caught.value.hint == "Did you mean review?"


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("temprature = 1", f"{PATH}, line 1: a persona has no key 'temprature'.", "Did you mean temperature?"),
        ("\ntop-p = 1", f"{PATH}, line 2: a persona has no key 'top-p'.", "Did you mean top_p?"),
        ("ctx = 4096", f"{PATH}, line 1: a persona has no key 'ctx'.", "The keys are: description, prompt, model"),
        ("[sampling]\nseed = 1", f"{PATH}, line 1: a persona has no key 'sampling'.", "The keys are"),
        ("\nseed = -1", f"{PATH}, line 2: seed: -1 is not a whole number", "Correct it"),
        ("system = 3", f"{PATH}, line 1: system: 3 is not a text.", "Correct it"),
        ("prompt = [1]", f"{PATH}, line 1: prompt: [1] is not a text.", '"""'),
        ("description = true", f"{PATH}, line 1: description: True is not a text.", '"..."'),
        ("system = Be brief.", f"{PATH} is not TOML: ", "Correct that line."),
    ],
)
def test_a_mistake_is_named_with_its_line(text: str, message: str, hint: str) -> None:
    with pytest.raises(UsageError) as caught:
        parsed(text)
    assert caught.value.message.startswith(message)
    assert hint in caught.value.hint


def test_a_file_that_cannot_be_read(places: Places) -> None:
    write(places, "latin", "")
    persona_path(places, "latin").write_bytes(b'system = "\xe9"')
    with pytest.raises(UsageError, match="not UTF-8"):
        read_persona(places, "latin")
    persona_path(places, "folder").mkdir()
    with pytest.raises(UsageError, match=r"folder\.toml cannot be read"):
        read_persona(places, "folder")
