"""Whatever bytes a file holds, no reader fails, each line is told once, and what was said comes out as it was."""

from __future__ import annotations

import datetime as dt
import json
from typing import TYPE_CHECKING

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from winnow.domain.messages import IncomingMessage, storable
from winnow.sources.base import Skipped, Tally, decode, lines_of
from winnow.sources.irc import read_irc
from winnow.sources.irc_lines import parse_line
from winnow.sources.jsonl import read_jsonl
from winnow.sources.mbox import read_mbox
from winnow.sources.signal import read_signal
from winnow.sources.whatsapp import read_whatsapp

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from winnow.sources.base import Reading

DAY = dt.date(2026, 1, 31)
ANY_TEXT = st.text(st.characters(codec=None, exclude_categories=()), max_size=60)  # with lone surrogates
ENCODABLE = st.text(max_size=60)
STAMPS = st.sampled_from(
    ["[10:00] ", "10:00 ", "[2026-01-31 10:00:00] ", "[0000-00-00 10:00] ", "[] ", "[99999-01-01 10:00] ", "", "[10:0",
     "31/12/2019, 23:59 - ", "[31.12.19, 11:59:59 PM] ", "[Dec 24, 2019 12:23:05] ", "Jul 04 09:58:01 ",
     "99/99/9999, 10:00 - ", "[2019-12-24, 12:23] ", "From a@x Mon Jul 04 09:58:01 2011", "Date: ", "From: ",
     "Subject: ", "Content-Type: ", "[2999-12-31 23:59] ", "[00:01] ", "[10:00 CEST] ",
     "--- Day changed Mon Feb 31 2026", "2016-12-31T23:59:60Z "]
)  # fmt: skip
BODIES = st.sampled_from(
    [
        "<ada> ",
        "<",
        "<> ",
        "* lin ",
        "=== lin ",
        "-!- lin ",
        "lin: ",
        "-lin- ",
        "lin\t",
        "→ ",
        "#ops",
        "*** ",
        "\x00",
        "Ana B: ",
        "+1 2: \u200e",
        "Mon, 4 Jul 2011 09:58:01 +0000",
        "text/html; charset=x",
    ]
)
LOG_LINES = st.builds(
    lambda stamp, body, text: (stamp + body + text).encode("utf-8", "surrogatepass"), STAMPS, BODIES, ANY_TEXT
)
OBJECTS = st.dictionaries(
    st.sampled_from(["text", "sent_at", "author", "channel", "id", "external_id", "reply_to", "thread", "source", "x"]),
    st.none() | st.booleans() | st.integers() | st.floats() | ANY_TEXT | st.lists(st.integers(), max_size=2),
)
JSON_LINES = st.builds(
    lambda fields, ascii_only: json.dumps(
        {"text": "x", "sent_at": 1, "channel": "c", **fields}, ensure_ascii=ascii_only
    ).encode("utf-8", "surrogatepass"),
    OBJECTS,
    st.booleans(),
)
FILES = st.builds(
    lambda lines, end: end.join(lines),
    st.lists(st.one_of(LOG_LINES, JSON_LINES, st.binary(max_size=60)), max_size=25),
    st.sampled_from([b"\n", b"\r\n", b"\r"]),
)
READERS: dict[str, Callable[[Path], Reading]] = {
    "irc": lambda path: read_irc(path, channel="c", date=DAY),
    "jsonl": lambda path: read_jsonl(path, channel="c", max_line_bytes=200),
    "whatsapp": lambda path: read_whatsapp(path, channel="c"),
    "signal": lambda path: read_signal(path, channel="c"),
    "mbox": lambda path: read_mbox(path, channel="c"),
}


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("any") / "file"


def lines_in(content: bytes) -> list[bytes]:
    """The lines of a file by the simplest rule: what stands between line feeds, without the nothing after the last."""
    lines = content.split(b"\n")
    return lines if lines[-1] else lines[:-1]


def read(kind: str, path: Path, content: bytes) -> tuple[list[IncomingMessage], list[Skipped]]:
    """What a reader makes of the bytes, once it is certain that it has told of each line."""
    path.write_bytes(content)
    reading = READERS[kind](path)
    items = list(reading)
    messages = [item for item in items if isinstance(item, IncomingMessage)]
    skipped = [item for item in items if isinstance(item, Skipped)]
    tally = reading.tally
    assert tally.lines == len(lines_in(content)) == len(messages) + tally.continued + len(skipped)
    assert (tally.messages, tally.noise.total() + tally.broken) == (len(messages), len(skipped))
    assert [told.line for told in skipped] == sorted({told.line for told in skipped})
    assert all(told.reason and len(told.excerpt) <= 80 for told in skipped)
    return messages, skipped


@settings(deadline=None)
@given(
    st.lists(st.sampled_from([b"\n", b"\r", b"x", b"\xef\xbb\xbf", b"\x00", b"y" * 9]), max_size=20).map(b"".join),
    st.integers(1, 12),
)
def test_lines_are_what_stands_between_line_feeds_and_none_is_longer_than_allowed(
    path: Path, content: bytes, most: int
) -> None:
    path.write_bytes(content)
    expected = lines_in(content)
    if expected:
        expected[0] = expected[0].removeprefix(b"\xef\xbb\xbf")
    lines = list(lines_of(path, tally=(tally := Tally()), max_bytes=most))
    assert [line.number for line in lines] == list(range(1, len(expected) + 1))
    assert tally.lines == len(expected)
    for line, whole in zip(lines, expected, strict=True):
        if line.too_long:
            assert len(whole) > most
        else:
            assert line.raw == whole.rstrip(b"\r")
            assert len(line.raw) <= most


@pytest.mark.parametrize("kind", READERS)
@settings(deadline=None)
@given(FILES)
@example(b"[1999-12-31 23:59] <ada> hi\n[00:00] <ada> hi")
@example(b"\xef\xbb\xbf")
def test_no_file_makes_a_reader_fail_and_each_of_its_lines_is_told(path: Path, kind: str, content: bytes) -> None:
    messages, _ = read(kind, path, content)
    ids = [(message.source, message.channel, message.external_id) for message in messages]
    if kind == "irc":
        assert len(set(ids)) == len(ids)
    for message in messages:
        for value in (message.text, message.author, message.channel, message.external_id, message.thread or ""):
            assert storable(value) == value
    again, _ = read(kind, path, content)
    assert again == messages


@settings(deadline=None)
@given(st.lists(st.one_of(LOG_LINES, JSON_LINES), min_size=1, max_size=20), st.data())
def test_a_file_that_has_grown_begins_with_the_messages_it_had(
    path: Path, lines: list[bytes], data: st.DataObject
) -> None:
    lines = [line.replace(b"\n", b" ") for line in lines]
    cut = data.draw(st.integers(0, len(lines)))
    for kind in ("irc", "jsonl", "signal"):  # dates of the others are read by what the whole file tells
        whole, _ = read(kind, path, b"\n".join(lines))
        begun, _ = read(kind, path, b"".join(line + b"\n" for line in lines[:cut]))
        settled = begun if kind == "jsonl" else begun[:-1]  # the last one of a log may go on
        assert whole[: len(settled)] == settled
        assert [one.external_id for one in whole[: len(begun)]] == [one.external_id for one in begun]


@settings(deadline=None)
@given(st.lists(st.tuples(ANY_TEXT, st.booleans()), min_size=1, max_size=20))
def test_json_lines_give_every_text_as_it_was_written(path: Path, texts: list[tuple[str, bool]]) -> None:
    lines = []
    for number, (text, escaped) in enumerate(texts):
        encodable = not any("\ud800" <= letter <= "\udfff" for letter in text)
        fields = {"id": number, "text": text, "author": text, "thread": text, "sent_at": 1}
        lines.append(json.dumps(fields, ensure_ascii=escaped or not encodable).encode())
    messages, skipped = read("jsonl", path, b"\n".join(line for line in lines if len(line) <= 200))
    expected = [storable(text) for (text, _), line in zip(texts, lines, strict=True) if len(line) <= 200]
    assert [(one.text, one.author, one.thread) for one in messages] == [(text, text, text) for text in expected]
    assert skipped == []


@settings(deadline=None)
@given(st.lists(ENCODABLE.map(lambda text: text.replace("\n", " ").rstrip("\r")), min_size=1, max_size=20))
def test_a_log_gives_every_text_as_it_was_written(path: Path, texts: list[str]) -> None:
    lines = [f"[10:00] <ada> {text}" for text in texts]
    messages, skipped = read("irc", path, "\r\n".join(lines).encode())
    assert [one.text for one in messages] == [storable(text) for text in texts]
    assert skipped == []


@given(ANY_TEXT)
def test_no_line_makes_the_grammar_fail(text: str) -> None:
    parse_line(text)


@given(st.text(), st.binary(max_size=40))
def test_utf_8_is_read_as_it_is_and_anything_else_is_read_somehow(text: str, junk: bytes) -> None:
    assert decode(text.encode()) == (text, False)
    read_as, guessed = decode(junk)
    assert guessed or read_as.encode() == junk


@given(st.text(st.characters(min_codepoint=0x400, max_codepoint=0x1F64F, codec="utf-8"), min_size=2, max_size=20))
def test_utf_8_that_was_cut_loses_its_last_letter_only(text: str) -> None:
    read_as, guessed = decode(text.encode()[:-1])
    assert guessed
    assert read_as.rstrip("\ufffd") == text[:-1].rstrip("\ufffd")
