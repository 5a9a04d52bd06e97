"""Of an answer only its first code block.

Knows that nothing more needs to be said when the block ends; refuses to know where the answer goes.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace

from mixchat.app.events import ChatEvent
from mixchat.chat.code_block import FirstBlock
from mixchat.engine.events import Finished, Token
from mixchat.errors import BadAnswer


def first_block(events: Iterator[ChatEvent], stop: Callable[[], object], session: str = "") -> Iterator[ChatEvent]:
    """Pass an answer on with the block as its only text.

    Args:
        events: Of the answer.
        stop: Ends the answer; called when the block has ended, and that counts as the model's own end.
        session: The id of the one that keeps the whole answer, if any does.

    Raises:
        BadAnswer: It has ended without one.
    """
    block, stopped = FirstBlock(), False
    for event in events:
        match event:
            case Token(text, token):
                yield Token(block.feed(text), token)
                if block.closed and not stopped:
                    stopped = True
                    stop()
            case Finished():
                if rest := block.finish():
                    yield Token(rest, -1)
                _check(block, event, session)
                yield replace(event, reason="stop") if stopped else event
            case _:
                yield event


def block_of(text: str, finished: Finished) -> str:
    """The first block of a whole answer.

    Raises:
        BadAnswer: There is none.
    """
    block = FirstBlock()
    code = block.feed(text) + block.finish()
    _check(block, finished)
    return code


def _check(block: FirstBlock, finished: Finished, session: str = "") -> None:
    if not block.found and finished.reason != "interrupted":
        kept = f" What it said instead: mixchat sessions show {session}" if session else ""
        raise BadAnswer("There is no code block in the answer.", f"Ask for one, or leave out --extract.{kept}")
