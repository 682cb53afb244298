"""IRC logs read whole, as tests compare them."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

from winnow.domain.messages import IncomingMessage
from winnow.sources.base import Skipped, Tally
from winnow.sources.irc import read_irc

if TYPE_CHECKING:
    from pathlib import Path

Result = tuple[list[IncomingMessage], list[Skipped], Tally]


def read(
    path: Path, *, channel: str | None = None, timezone: dt.tzinfo = dt.UTC, date: dt.date | None = None
) -> Result:
    reading = read_irc(path, channel=channel, timezone=timezone, date=date)
    items = list(reading)
    assert reading.tally.balanced
    messages = [item for item in items if isinstance(item, IncomingMessage)]
    return messages, [item for item in items if isinstance(item, Skipped)], reading.tally


def read_text(folder: Path, text: str | bytes, *, date: dt.date | None = None) -> Result:
    path = folder / "2011-07-04.log"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read(path, date=date)


def said(messages: list[IncomingMessage]) -> list[tuple[str, str]]:
    return [(message.author, message.text) for message in messages]
