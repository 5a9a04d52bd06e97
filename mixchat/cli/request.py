"""From parsed options to what the use cases take.

Knows which options exclude each other; refuses to know files' contents and models.
"""

import os

from mixchat.chat.inputs import without_surrogates
from mixchat.chat.messages import Message
from mixchat.cli.options import PlacementOptions, RunOptions
from mixchat.cli.streams import file_text
from mixchat.cli.wiring import settings_from
from mixchat.errors import UsageError
from mixchat.store.personas import Persona, read_persona
from mixchat.store.places import find_places
from mixchat.store.settings import Settings


def settings_of(placement: PlacementOptions, options: RunOptions | None = None) -> Settings:
    """The settings in force, with the system prompt's file and the persona read.

    Raises:
        UsageError: A value is wrong, or two options exclude each other.
        NotFound: The system prompt's file is not there, or there is no such persona.
    """
    settings = settings_from({**placement.flags(), **(_talking(options) if options else {})})
    persona = persona_of(options) if options else None
    return settings.with_persona(persona) if persona else settings


def persona_of(options: RunOptions) -> Persona | None:
    """The persona that was asked for; `fill` gives the first thing that is said its form.

    Raises:
        UsageError: It is no name, or its file has a mistake.
        NotFound: There is no such persona.
    """
    return read_persona(find_places(os.environ), options.persona) if options.persona is not None else None


def _talking(options: RunOptions) -> dict[str, object]:
    flags = options.flags()
    if options.system_file is not None:
        if options.system is not None:
            raise UsageError("--system and --system-file are both given.", "Give one of them.")
        flags["system"] = file_text(options.system_file).rstrip("\r\n")
    if isinstance(system := flags["system"], str):
        flags["system"] = without_surrogates(system)
    return flags


def model_of(settings: Settings, argument: str | None, option: str | None) -> str:
    """The model reference.

    Raises:
        UsageError: It is given twice.
    """
    if argument is not None and option is not None:
        raise UsageError(f"Two models are given: {argument} and {option}.", "Give one of them.")
    return argument or option or settings.value("model")


def with_system(settings: Settings, messages: tuple[Message, ...]) -> tuple[Message, ...]:
    """Put the system prompt in front.

    Raises:
        UsageError: The messages have one already, and another was asked for on the command line.
    """
    system = settings.value("system")
    if not system:
        return messages
    if any(message.role == "system" for message in messages):
        if settings.origin("system") == "flag":
            raise UsageError("--messages has a system message, and --system is given too.", "Give one of them.")
        if settings.origin("system") == "persona":
            raise UsageError(
                f"--messages has a system message, and the persona {settings.persona} has a system text too.",
                'Leave out the message, or the text with -s "".',
            )
        return messages
    return (Message("system", system), *messages)
