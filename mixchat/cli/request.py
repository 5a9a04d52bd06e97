"""From parsed options to what the use cases take.

Knows which options exclude each other; refuses to know files' contents and models.
"""

from mixchat.chat.inputs import without_surrogates
from mixchat.chat.messages import Message
from mixchat.cli.options import RunOptions
from mixchat.cli.streams import file_text
from mixchat.cli.wiring import settings_from
from mixchat.errors import UsageError
from mixchat.store.settings import Settings


def settings_of(options: RunOptions) -> Settings:
    """The settings in force, with the system prompt's file read.

    Raises:
        UsageError: A value is wrong, or two options exclude each other.
        NotFound: The system prompt's file is not there.
    """
    flags = options.flags()
    if options.system_file is not None:
        if options.system is not None:
            raise UsageError("--system and --system-file are both given.", "Give one of them.")
        flags["system"] = file_text(options.system_file).rstrip("\r\n")
    if isinstance(system := flags["system"], str):
        flags["system"] = without_surrogates(system)
    return settings_from(flags)


def model_of(settings: Settings, argument: str | None, options: RunOptions) -> str:
    """The model reference.

    Raises:
        UsageError: It is given twice.
    """
    if argument is not None and options.model is not None:
        raise UsageError(f"Two models are given: {argument} and {options.model}.", "Give one of them.")
    return argument or settings.value("model")


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
        return messages
    return (Message("system", system), *messages)
