"""Good JSON lines become messages, each bad one is told by number and reason, and the others go on."""

from __future__ import annotations

import datetime as dt
import json
import tracemalloc
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from winnow.domain.messages import IncomingMessage
from winnow.errors import InvalidInput
from winnow.sources.base import Skipped, Tally
from winnow.sources.jsonl import read_jsonl

if TYPE_CHECKING:
    from pathlib import Path

GOOD: dict[str, object] = {"text": "hello", "sent_at": "2026-01-31T09:30:00Z", "author": "ada", "channel": "#ops"}
NOON = dt.datetime(2026, 1, 31, 9, 30, tzinfo=dt.UTC)


def read(path: Path, channel: str | None = None) -> tuple[list[IncomingMessage], list[Skipped], Tally]:
    reading = read_jsonl(path, channel=channel, max_line_bytes=10_000)
    items = list(reading)
    assert reading.tally.balanced
    messages = [item for item in items if isinstance(item, IncomingMessage)]
    return messages, [item for item in items if isinstance(item, Skipped)], reading.tally


def write(folder: Path, *lines: dict[str, object] | str | bytes) -> Path:
    path = folder / "chat.jsonl"
    encoded = (
        one if isinstance(one, bytes) else (one if isinstance(one, str) else json.dumps(one)).encode() for one in lines
    )
    path.write_bytes(b"".join(line + b"\n" for line in encoded))
    return path


def test_a_message_with_everything(tmp_path: Path) -> None:
    path = write(tmp_path, {**GOOD, "id": 17, "reply_to": 16, "thread": "t", "source": "discord", "other": [1]})
    (message,), skipped, _ = read(path)
    assert message == IncomingMessage(
        source="discord",
        channel="#ops",
        external_id="17",
        author="ada",
        text="hello",
        sent_at=NOON,
        reply_to="16",
        thread="t",
    )
    assert skipped == []


def test_what_else_a_message_may_carry(tmp_path: Path) -> None:
    details = {"quote": "q", "bot": True, "reactions": 3, "media": None, "unknown": [1]}
    more = {"author_id": 7, "channel_title": "Ops", "edited_at": "2026-01-31T09:31:00Z", "details": details}
    (message,), _, _ = read(write(tmp_path, {**GOOD, **more}))
    assert (message.author_id, message.channel_title) == ("7", "Ops")
    assert message.edited_at == NOON.replace(minute=31)
    assert message.details == {"quote": "q", "bot": True, "reactions": 3}


def test_a_message_with_the_least(tmp_path: Path) -> None:
    (message,), _, _ = read(write(tmp_path, {"text": "", "sent_at": 0, "author": None, "id": None}), channel="#ops")
    assert (message.source, message.channel, message.author, message.text) == ("jsonl", "#ops", "", "")
    assert len(message.external_id) == 32


@pytest.mark.parametrize(
    ("sent_at", "expected"),
    [
        ("2026-01-31T09:30:00Z", NOON),
        ("2026-01-31T10:30:00+01:00", NOON),
        ("2026-01-31 09:30:00.5+00:00", NOON.replace(microsecond=500_000)),
        (1769851800, NOON),
        (1769851800.5, NOON.replace(microsecond=500_000)),
    ],
)
def test_the_forms_of_a_time(tmp_path: Path, sent_at: object, expected: dt.datetime) -> None:
    (message,), _, _ = read(write(tmp_path, {**GOOD, "sent_at": sent_at}))
    assert message.sent_at == expected


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ('{"text": "cut of', "it is not JSON"),
        ("hello", "it is not JSON"),
        (b'{"text": "\xff"}', "it is not UTF-8 at byte 11"),
        (b'{"text": "\xe6\x97', "it is not UTF-8 at byte 11"),
        ('{"text": "\\ud800}', "it is not JSON: Unterminated string"),
        ('{"text": "\\ud800", "sent_at": NaN}', "it is not JSON"),
        ('{"text": "\\ud800", "sent_at": 1, "n": ' + "9" * 5000 + "}", "it is not JSON"),
        ('{"text": "\\ud800", "x": ' + "[" * 3000 + "]" * 3000 + "}", "it is not JSON"),
        ("[" * 5000, "it is not JSON"),
        ("[1]", "not a JSON object"),
        ("7", "not a JSON object"),
        ({**GOOD, "text": None}, "text is missing"),
        ({**GOOD, "text": 7}, "text is not a string"),
        ({**GOOD, "sent_at": None}, "sent_at is missing"),
        ({**GOOD, "sent_at": True}, "sent_at is neither"),
        ({**GOOD, "sent_at": "yesterday"}, "sent_at is no time"),
        ({**GOOD, "sent_at": "2026-01-31T09:30:00"}, "no time zone"),
        ({**GOOD, "sent_at": "0001-01-01T00:00:00+14:00"}, "outside 1970"),
        ({**GOOD, "sent_at": 1769851800000}, "sent_at is no time|milliseconds"),
        ({**GOOD, "sent_at": 1e300}, "sent_at is no time"),
        ({**GOOD, "sent_at": -1}, "outside 1970"),
        ({**GOOD, "author": ["ada"]}, "author is neither"),
        ({**GOOD, "author": "a" * 300}, "author has 300 characters"),
        ({**GOOD, "channel": None}, "--channel"),
        ({**GOOD, "channel": " "}, "needs a channel"),
        ({**GOOD, "id": True}, "id is neither"),
        ({**GOOD, "id": ""}, "needs a external_id"),
        ({**GOOD, "id": 1.5}, "id is neither"),
        ({**GOOD, "edited_at": "later"}, "edited_at is no time"),
        ({**GOOD, "edited_at": "2026-01-31T09:30:00"}, "edited_at has no time zone"),
        ({**GOOD, "details": []}, "details is not an object"),
        ({**GOOD, "details": {"bot": "yes"}}, "details.bot is not true or false"),
        ({**GOOD, "details": {"reactions": True}}, "details.reactions is not a number of people"),
        ({**GOOD, "details": {"reactions": -1}}, "details.reactions is not a number of people"),
        ({**GOOD, "details": {"quote": ["x"]}}, "details.quote is not a string"),
        ({**GOOD, "text": "x" * 10_000}, "longer than 10,000 bytes"),
    ],
)
def test_a_bad_line_is_told_by_number_and_reason(
    tmp_path: Path, line: dict[str, object] | str | bytes, reason: str
) -> None:
    messages, (skipped,), tally = read(write(tmp_path, GOOD, line, GOOD))
    assert (len(messages), tally.broken) == (2, 1)
    assert (skipped.line, skipped.is_error) == (2, True)
    with pytest.raises(AssertionError, match=reason):
        raise AssertionError(skipped.reason)
    assert len(skipped.excerpt) <= 80


def test_half_an_emoji_costs_no_message(tmp_path: Path) -> None:
    line = '{"text": "cut \\ud83d, whole \\ud83d\\ude00", "author": "\\udc00", "sent_at": 1, "channel": "c"}'
    (message,), skipped, _ = read(write(tmp_path, line))
    assert skipped == []
    assert message.text.startswith("cut \ufffd")
    assert message.text.endswith(", whole 😀")
    message.author.encode()


def test_blank_lines_line_ends_and_a_byte_order_mark_do_no_harm(tmp_path: Path) -> None:
    path = tmp_path / "chat.jsonl"
    line = json.dumps(GOOD).encode()
    path.write_bytes(b"\xef\xbb\xbf" + line + b"\r\n\r\n  \n" + line)
    messages, _, tally = read(path)
    assert (len(messages), dict(tally.noise), tally.lines) == (2, {"blank line": 2}, 4)


def test_ids_are_made_of_content_and_stay(tmp_path: Path) -> None:
    lines = [GOOD, GOOD, {**GOOD, "channel": "#dev"}, {**GOOD, "sent_at": "2026-01-31T10:30:00+01:00"}]
    ids = [message.external_id for message in read(write(tmp_path, *lines))[0]]
    grown = [message.external_id for message in read(write(tmp_path, *lines, GOOD))[0]]
    assert len(set(ids)) == 4
    assert grown[:4] == ids
    assert len(set(grown)) == 5


def test_an_empty_channel_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="channel"):
        read_jsonl(write(tmp_path, GOOD), channel="")


def test_a_line_without_an_end_is_never_held_in_memory(tmp_path: Path) -> None:
    path = tmp_path / "chat.jsonl"
    path.write_bytes(b'{"text": "' + b"x" * 20_000_000 + b'"}\n' + json.dumps(GOOD).encode())
    tracemalloc.start()
    messages, (skipped,), _ = read(path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert (len(messages), skipped.line) == (1, 1)
    assert peak < 1_000_000


VALUES = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=20), st.lists(st.integers(), max_size=2)
)
FIELDS = st.sampled_from(["text", "sent_at", "author", "channel", "id", "external_id", "reply_to", "thread", "source"])


@settings(deadline=None)
@given(st.lists(st.one_of(st.binary(max_size=40), st.dictionaries(FIELDS, VALUES), st.just(GOOD)), max_size=20))
def test_every_line_is_a_message_or_skipped(
    tmp_path_factory: pytest.TempPathFactory, lines: list[dict[str, object] | bytes]
) -> None:
    path = write(
        tmp_path_factory.getbasetemp(), *({**GOOD, **line} if isinstance(line, dict) else line for line in lines)
    )
    messages, skipped, tally = read(path)
    assert len(messages) + len(skipped) == tally.lines == path.read_bytes().count(b"\n")
    assert len(messages) >= lines.count(GOOD)
