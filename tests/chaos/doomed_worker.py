"""A worker as `winnow worker` runs it, which kills itself in a given phase, or lives in another hour.

Run as a program. Nothing in Winnow knows of it: the phases are where Winnow meets its libraries.

    CHAOS_DIE_AT      claimed | asked | answered | before_commit | after_commit | before_ack
    CHAOS_DIE_AFTER   how often the phase is survived before (default 0)
    CHAOS_DIE_OF      dies of any batch with a text that holds this, once the model has answered
    CHAOS_CLOCK_SHIFT seconds by which this process's clock is wrong
"""

from __future__ import annotations

import asyncio
import datetime as dt
import functools
import os
import re
import signal
import time
from typing import TYPE_CHECKING, Any, NoReturn

from typing_extensions import override

if TYPE_CHECKING:
    from collections.abc import Sequence

    from winnow.bootstrap import Winnow
    from winnow.domain.spaces import Space

ASKED_SECONDS = 0.25
CONTROL_WORD = "dimension"
WRITES_VECTORS = re.compile(r"UPDATE\s+\w+(\s+\w+)?\s+SET\s+embedding\b", re.IGNORECASE)


class Doom:
    """What this process dies of; read when it begins to run, for it may be a fork of one that is not doomed."""

    def __init__(self) -> None:
        self.phase = os.environ.get("CHAOS_DIE_AT", "")
        self.text = os.environ.get("CHAOS_DIE_OF", "")
        self.has_stored = False
        self._left = int(os.environ.get("CHAOS_DIE_AFTER", "0"))

    def reached(self, phase: str) -> None:
        """Dies here when this is the phase, and it was survived often enough."""
        if phase != self.phase:
            return
        if self._left:
            self._left -= 1
            return
        die()


def die() -> NoReturn:
    """As kill -9 does: nothing is tidied up."""
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError("survived kill -9")


def shift_clock(seconds: float) -> None:
    """Makes everything that is loaded from here on read another hour; monotonic clocks are right, as they would be."""
    right_time, right_datetime = time.time, dt.datetime

    class AnyDatetime(type):
        @override
        def __instancecheck__(cls, instance: object) -> bool:
            return isinstance(instance, right_datetime)

        @override
        def __subclasscheck__(cls, subclass: type) -> bool:
            return issubclass(subclass, right_datetime)

    class ShiftedDatetime(dt.datetime, metaclass=AnyDatetime):
        __slots__ = ()  # C modules know how large a datetime is

        @classmethod
        @override
        def now(cls, tz: Any = None) -> Any:
            return right_datetime.fromtimestamp(right_time() + seconds, tz)

        @classmethod
        @override
        def utcnow(cls) -> Any:
            return right_datetime.fromtimestamp(right_time() + seconds, dt.UTC).replace(tzinfo=None)

    time.time = lambda: right_time() + seconds
    time.time_ns = lambda: int((right_time() + seconds) * 1e9)
    dt.datetime = ShiftedDatetime  # type: ignore[misc]


def doom_model_calls(doom: Doom, winnow: Winnow) -> None:
    """claimed: before the model is asked; asked: while it thinks; answered: when its vectors are here."""
    embedder_of = winnow.spaces.embedder_of

    async def doomed(space: Space) -> Any:
        embedder: Any = await embedder_of(space)
        if not hasattr(embedder, "ask_as_ever"):
            embedder.ask_as_ever = embedder.embed
            embedder.embed = functools.partial(embed, embedder.ask_as_ever)
        return embedder

    async def embed(ask: Any, texts: Sequence[str], **options: Any) -> Any:
        if list(texts) == [CONTROL_WORD]:
            return await ask(texts, **options)
        doom.reached("claimed")
        asking = asyncio.ensure_future(ask(texts, **options))
        if doom.phase == "asked":
            await asyncio.sleep(ASKED_SECONDS)
            doom.reached("asked")
        answer = await asking
        doom.reached("answered")
        if doom.text and any(doom.text in text for text in texts):
            die()
        return answer

    winnow.spaces.embedder_of = doomed  # type: ignore[method-assign]


def doom_commits(doom: Doom, winnow: Winnow) -> None:
    """before_commit: the vectors are written and the transaction is open; after_commit: it has just been committed."""
    from sqlalchemy import event  # noqa: PLC0415 - after the clock is set

    engine = winnow.database._engine.sync_engine
    writing: set[int] = set()

    def executed(connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        by_itself = connection.get_execution_options().get("isolation_level") == "AUTOCOMMIT"
        if WRITES_VECTORS.search(statement) and not by_itself:
            writing.add(id(connection.connection.dbapi_connection))

    def commit(connection: Any) -> None:
        key = id(connection.dbapi_connection)
        wrote = key in writing
        writing.discard(key)
        if wrote:
            doom.reached("before_commit")
        right_commit(connection)
        if wrote:
            doom.has_stored = True
            doom.reached("after_commit")

    right_commit = engine.dialect.do_commit
    engine.dialect.do_commit = commit  # type: ignore[method-assign, assignment]
    event.listen(engine, "after_cursor_execute", executed)


def doom_acknowledgements(doom: Doom) -> None:
    """before_ack: vectors are stored, and JetStream does not know that the task is done."""
    from nats.aio.msg import Msg  # noqa: PLC0415 - after the clock is set

    acknowledge = Msg.ack_sync

    async def ack_sync(self: Msg, *arguments: Any, **options: Any) -> Any:
        if doom.has_stored:
            doom.reached("before_ack")
        return await acknowledge(self, *arguments, **options)

    Msg.ack_sync = ack_sync  # type: ignore[method-assign]


def main() -> None:
    """`winnow worker`, doomed."""
    if seconds := float(os.environ.get("CHAOS_CLOCK_SHIFT", "0")):
        shift_clock(seconds)
    doom = Doom()
    from winnow import bootstrap  # noqa: PLC0415 - after the clock is set
    from winnow.cli.main import app  # noqa: PLC0415

    right_build = bootstrap.build

    def build(*arguments: Any, **options: Any) -> Winnow:
        winnow = right_build(*arguments, **options)
        doom_model_calls(doom, winnow)
        doom_commits(doom, winnow)
        doom_acknowledgements(doom)
        return winnow

    bootstrap.build = build
    app(["worker"], prog_name="winnow")


if __name__ == "__main__":
    main()
