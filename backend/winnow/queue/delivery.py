"""One delivery of a task to this process, known to everything that runs on its behalf."""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from taskiq import AckableMessage

if TYPE_CHECKING:
    from nats.aio.msg import Msg

    from .verdicts import Verdict


HEADER_CHARACTERS: Final = 500


class JetStreamMessage(AckableMessage):
    """What the broker hands to a receiver; `raw` is the JetStream message (`nats.aio.msg.Msg`)."""

    raw: Any


@dataclass(slots=True)
class Delivery:
    """The message in hand, its lane, how often it was delivered (from 1), and the verdict once the task has ended."""

    raw: Msg
    lane: str
    number: int
    verdict: Verdict | None = None


_current: ContextVar[Delivery | None] = ContextVar("winnow_queue_delivery", default=None)


def current_delivery() -> Delivery | None:
    """The delivery that the running code works on; None outside a task."""
    return _current.get()


def enter_delivery(delivery: Delivery) -> None:
    """Makes `delivery` the current one for the rest of this asyncio task."""
    _current.set(delivery)


def header_text(text: str) -> str:
    """Text that may stand in a header: one line of ASCII, 500 characters at most."""
    return text[:HEADER_CHARACTERS].encode("ascii", "backslashreplace").decode().replace("\n", " ").replace("\r", " ")
