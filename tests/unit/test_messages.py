"""A message that could not be stored is refused where it comes in, and what is odd but storable is mended."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any

import pytest

from winnow.domain.messages import MAX_TEXT_CHARACTERS, IncomingMessage
from winnow.errors import InvalidInput
from winnow.sources.irc import read_irc

if TYPE_CHECKING:
    from pathlib import Path

NOON = dt.datetime(2026, 1, 31, 12, tzinfo=dt.UTC)


def message(**changes: Any) -> IncomingMessage:
    given: dict[str, Any] = {
        "source": "test",
        "channel": "c",
        "external_id": "1",
        "author": "ada",
        "text": "hello",
        "sent_at": NOON,
    }
    return IncomingMessage(**(given | changes))


@pytest.mark.parametrize(
    "changes",
    [
        {"channel": " "},
        {"author": "a" * 257},
        {"text": "x" * (MAX_TEXT_CHARACTERS + 1)},
        {"sent_at": NOON.replace(tzinfo=None)},
        {"sent_at": dt.datetime(1, 1, 1, tzinfo=dt.timezone(dt.timedelta(hours=14)))},
        {"sent_at": dt.datetime(9999, 12, 31, 23, tzinfo=dt.timezone(-dt.timedelta(hours=14)))},
    ],
)
def test_what_the_database_could_not_hold_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput):
        message(**changes)


def test_characters_that_the_database_cannot_hold_are_replaced() -> None:
    assert message(text="a\x00b\ud800").text == "a\ufffdb\ufffd"


def test_an_irc_line_that_is_no_message_is_told_and_the_reading_goes_on(tmp_path: Path) -> None:
    log = tmp_path / "2026-01-31.log"
    log.write_text(f"12:00 <ada> hello\n12:01 <ada> {'x' * 100_001}\n12:02 <lin> bye\n")
    items = list(read_irc(log, channel="#c"))
    assert [item.text for item in items if isinstance(item, IncomingMessage)] == ["hello", "bye"]
    broken = [item for item in items if not isinstance(item, IncomingMessage)]
    assert [(item.line, item.is_error) for item in broken] == [(2, True)]


def test_lines_that_go_on_too_long_are_told_instead_of_making_a_message_nobody_can_store(tmp_path: Path) -> None:
    log = tmp_path / "2026-01-31.log"
    log.write_text(f"12:00 <ada> {'x' * 99_990}\ngoes on beyond the limit\n12:02 <lin> bye\n")
    items = list(read_irc(log, channel="#c"))
    assert len([item for item in items if isinstance(item, IncomingMessage)]) == 2
    assert [item.line for item in items if not isinstance(item, IncomingMessage)] == [2]
