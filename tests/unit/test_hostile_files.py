"""Whatever a file holds, each good message in it is read, each bad line is told, and memory stays small."""

from __future__ import annotations

import json
import time
import tracemalloc
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from winnow.domain.messages import IncomingMessage
from winnow.errors import InvalidInput
from winnow.pipeline.import_files import CHUNK, CHUNK_CHARACTERS, STEP, FileImport, Part
from winnow.pipeline.import_report import ImportReport
from winnow.sources.base import Reading, Skipped, Tally, lines_of
from winnow.sources.recognise import open_source

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from winnow.sources.base import Item

MEGABYTE = 1_000_000
GOOD: dict[str, object] = {"text": "good", "sent_at": "2026-01-31T09:30:00Z", "author": "ada", "channel": "#ops"}
SQL_AND_HTML = "'; DROP TABLE messages; -- <script>alert(1)</script> $1 %s {} \\"


def read(path: Path) -> tuple[list[IncomingMessage], list[Skipped]]:
    """The messages, and the lines that a person should look at; each line of the file is in one of the counts."""
    reading = open_source(path)
    items = list(reading)
    assert reading.tally.balanced
    broken = [item for item in items if isinstance(item, Skipped) and item.is_error]
    return [item for item in items if isinstance(item, IncomingMessage)], broken


def irc(folder: Path, *lines: str | bytes, end: bytes = b"\n") -> tuple[list[IncomingMessage], list[Skipped]]:
    path = folder / "2026-01-31.log"
    path.write_bytes(b"".join((line if isinstance(line, bytes) else line.encode()) + end for line in lines))
    return read(path)


def jsonl(folder: Path, *lines: dict[str, object] | bytes) -> tuple[list[IncomingMessage], list[Skipped]]:
    path = folder / "chat.jsonl"
    path.write_bytes(
        b"".join((line if isinstance(line, bytes) else json.dumps({**GOOD, **line}).encode()) + b"\n" for line in lines)
    )
    return read(path)


def texts(messages: list[IncomingMessage]) -> list[str]:
    return [message.text for message in messages]


@pytest.mark.parametrize(
    ("size", "reason"), [(MEGABYTE, "text has 1,000,000 characters; 100,000 at most"), (50 * MEGABYTE, "longer than")]
)
def test_a_message_of_megabytes_is_told_and_its_neighbours_are_read(tmp_path: Path, size: int, reason: str) -> None:
    huge = b"x" * size
    for kind, messages, broken in (
        ("irc", *irc(tmp_path, "[10:00] <ada> one", b"[10:01] <lin> " + huge, "[10:02] <ada> two")),
        ("jsonl", *jsonl(tmp_path, {"text": "one"}, b'{"sent_at": 1, "channel": "c", "text": "%b"}' % huge, {})),
    ):
        assert len(messages) == 2, kind
        assert [line.line for line in broken] == [2], kind
        assert reason in broken[0].reason, kind
        assert len(broken[0].excerpt) <= 80


def test_a_message_that_others_grow_ends_and_what_is_beyond_is_told(tmp_path: Path) -> None:
    lines = MEGABYTE // 20
    tracemalloc.start()
    messages, broken = irc(
        tmp_path, "[10:00] <ada> first", "pasted words again\n" * lines + "[10:01] <lin> on", "", "not of it"
    )
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert texts(messages)[1] == "on"
    grown = texts(messages)[0].split("\n")
    assert grown == ["first", *["pasted words again"] * (len(grown) - 1)]
    assert 64_000 < len(texts(messages)[0]) <= 72_000
    assert len(grown) - 1 + len(broken) - 1 == lines
    assert {line.reason for line in broken[:-1]} == {"it has no time and no name, and the message above it is full"}
    assert broken[-1].reason == "it has no time and no name, and no message stands directly above it"
    assert peak < 30 * MEGABYTE  # nearly all of it this list of broken lines


def test_nul_bytes_cost_no_message(tmp_path: Path) -> None:
    messages, broken = irc(tmp_path, b"[10:00] <ada> a\x00b", b"[10:01] <lin> x", b"\x00" * 4096, b"[10:02] <a\x00a> c")
    assert texts(messages) == ["a\ufffdb", "x\n" + "\ufffd" * 4096, "c"]
    assert (messages[2].author, broken) == ("a\ufffda", [])


def test_what_a_cut_takes_from_utf_8_is_one_letter_and_no_more(tmp_path: Path) -> None:
    cut = "[10:01] <ada> 日本語 и так".encode()[:-1]
    messages, broken = irc(tmp_path, b"[10:00] <ada> caf\xe9 na\xefve", cut, "[10:02] <ada> ж".encode()[:-1], end=b"\n")
    assert texts(messages) == ["café naïve", "日本語 и та\ufffd", "Ð"]  # the last might be either
    assert broken == []


@pytest.mark.parametrize(
    "text",
    [
        "\u202eevil\u2066 \u2069",
        "e" + "\u0301" * 50_000,
        "\x1b[2J\x07\x08",
        "مرحبا שלום",
        SQL_AND_HTML,
        "\u2028 \x85 \x0b",
    ],
    ids=ascii,
)
def test_letters_of_all_sorts_stay_as_they_are(tmp_path: Path, text: str) -> None:
    messages, broken = irc(tmp_path, f"[10:00] <ada> x{text}x")
    assert (texts(messages), broken) == ([f"x{text}x"], [])
    name = f"x{text[:250]}x"
    (message,), broken = jsonl(tmp_path, dict.fromkeys(("text", "author", "channel", "id", "thread"), name))
    assert broken == []
    assert {message.text, message.author, message.channel, message.external_id, message.thread} == {name}


def test_a_million_blank_lines_are_counted_and_forgotten(tmp_path: Path) -> None:
    path = tmp_path / "2026-01-31.log"
    path.write_bytes(b"[10:00] <ada> one\n" + b"\r\n" * MEGABYTE + b"[10:01] <ada> two")
    reading = open_source(path)
    messages = sum(isinstance(next(reading), IncomingMessage) for _ in range(MEGABYTE - 20_000))
    tracemalloc.start()
    messages += sum(isinstance(item, IncomingMessage) for item in reading)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert (messages, reading.tally.noise) == (2, {"blank line": MEGABYTE})
    assert peak < 100_000


@pytest.mark.parametrize(
    "stamp",
    [
        "[0000-00-00 10:00]",
        "[99999-01-01 10:00]",
        "[2026-02-31 10:00]",
        "[1850-01-01 10:00]",
        "[1969-12-31 10:00]",
        "[3000-01-01 10:00]",
        "[2016-12-31 23:59:60]",
        "[2016-12-31 23:59:59+9999]",
        "[2016-12-31 23:59:59+99:99]",
        "[24:00]",
        "[10:00 Mars/Olympus]",
        "[10:00 CEST]",
        "2016-12-31T23:59:60Z",
    ],
)
def test_a_time_that_there_is_not_is_told_and_spoils_no_other(tmp_path: Path, stamp: str) -> None:
    messages, broken = irc(tmp_path, "[10:00] <ada> one", f"{stamp} <lin> never", "[10:01] <ada> two")
    assert texts(messages) == ["one", "two"]
    assert [message.sent_at.isoformat() for message in messages] == [
        "2026-01-31T10:00:00+00:00",
        "2026-01-31T10:01:00+00:00",
    ]
    assert [line.line for line in broken] == [2]


@pytest.mark.parametrize("line", ["--- Day changed Mon Feb 31 2026", "0000-00-00 10:00:00\tada\tzero"])
def test_a_date_that_there_is_not_is_told(tmp_path: Path, line: str) -> None:
    messages, broken = irc(tmp_path, "[10:00] <ada> one", line, "[10:01] <ada> two")
    assert texts(messages) == ["one", "two"]
    assert [told.line for told in broken] == [2]


@pytest.mark.parametrize(
    "moment",
    [
        "0000-00-00T00:00:00Z",
        "99999-01-01T00:00:00Z",
        "2026-02-31T00:00:00Z",
        "2016-12-31T23:59:60Z",
        "2026-01-01T00:00:00+99:99",
        "2026-01-01T00:00:00 Mars/Olympus",
        "\ud800",
        "",
        10**30,
        1e308,
        -(10**18),
        [],
        {},
        True,
    ],
    ids=repr,
)
def test_a_moment_that_there_is_not_is_told(tmp_path: Path, moment: object) -> None:
    messages, broken = jsonl(tmp_path, {}, {"sent_at": moment}, {})
    assert (len(messages), [line.line for line in broken]) == (2, [2])
    assert broken[0].reason.startswith("sent_at ")


@pytest.mark.parametrize(
    "line",
    [
        b'{"text": ' + b"[" * 10_000 + b"]" * 10_000 + b"}",
        b'{"a":' * 10_000 + b"1" + b"}" * 10_000,
        b"[" * 10_000,
        b'{"text": "\\ud800", "a": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b"9" * 100_000,
        b"1e400",
        b"null",
        b'"text"',
        b'[{"text": "x", "sent_at": 1, "channel": "c"}]',
        b'{"text": 1e308, "sent_at": 1, "channel": "c"}',
        b'{"text": "x", "sent_at": 1, "channel": "c", "id": 1e999}',
        b'{"text": "x", "sent_at": 1, "channel": "c", "id": "%b"}' % (b"i" * 257),
        b'{"text": "x", "sent_at": 1, "channel": "c", "thread": {}}',
    ],
    ids=lambda line: repr(line[:40]),
)
def test_json_that_is_no_message_is_told(tmp_path: Path, line: bytes) -> None:
    messages, broken = jsonl(tmp_path, {}, line, {})
    assert (len(messages), [told.line for told in broken]) == (2, [2])


def test_the_line_of_each_message_is_known(tmp_path: Path) -> None:
    path = tmp_path / "2026-01-31.log"
    path.write_text("\n[10:00] <ada> one\nwrapped\n[10:01] <ada> two\n\n[10:02] <ada> three")
    reading = open_source(path)
    lines = [reading.tally.message_line for item in reading if isinstance(item, IncomingMessage)]
    assert lines == [2, 4, 6]
    path.write_text(f"\n{json.dumps(GOOD)}\nx\n{json.dumps(GOOD)}")
    reading = open_source(path)
    assert [reading.tally.message_line for item in reading if isinstance(item, IncomingMessage)] == [2, 4]


def test_a_file_that_grows_ends_with_the_line_that_was_being_written(tmp_path: Path) -> None:
    path, tally = tmp_path / "log", Tally()
    path.write_bytes(b"one\ntw")
    lines = lines_of(path, tally=tally)
    seen = [next(lines).raw]
    with path.open("ab") as writer:
        writer.write(b"o\nthree\n")
    seen += [line.raw for line in lines]
    assert (seen, tally.lines) == ([b"one", b"two"], 2)


def test_a_file_that_shrinks_ends_early(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(b"x" * 100_000 + b"\n" + b"y\n" * 100_000)
    lines = lines_of(path, tally=Tally())
    next(lines)
    path.write_bytes(b"")
    assert all(line.raw in {b"y", b""} for line in lines)


def test_devices_and_what_only_looks_like_a_file_are_refused(tmp_path: Path) -> None:
    (tmp_path / "zero").symlink_to("/dev/zero")
    (tmp_path / "dangling").symlink_to("nowhere")
    (tmp_path / "sqlite").write_bytes(b"SQLite format 3\x00" + bytes(4096))
    (tmp_path / "png").write_bytes(b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR")
    for name, sentence in {
        "zero": "is not a regular file",
        "dangling": "does not exist",
        "sqlite": "is not text",
        "png": "is not text",
    }.items():
        with pytest.raises(InvalidInput, match=sentence):
            open_source(tmp_path / name)


def parts_of(path: Path, reading: Reading, report: ImportReport) -> list[Part]:
    return list(FileImport(path, reading, report, lambda _: None, size=0, name=b"").parts())


def message(text: str) -> IncomingMessage:
    return IncomingMessage(
        source="s", channel="c", external_id="1", author="", text=text, sent_at=datetime(2026, 1, 31, tzinfo=UTC)
    )


def test_what_was_read_before_a_disk_failed_is_kept(tmp_path: Path) -> None:
    def items() -> Iterator[Item]:
        yield message("one")
        yield message("two")
        raise InvalidInput("the disk is broken")

    report = ImportReport()
    reading = Reading(path=tmp_path, format_name="irc", items=items(), tally=Tally())
    (part,) = parts_of(tmp_path, reading, report)
    assert [one.text for _, one in part.messages] == ["one", "two"]
    assert part.last
    assert report.refused == [(tmp_path, "the disk is broken")]


@pytest.mark.parametrize(
    ("size", "most"), [(0, CHUNK), (99_000, CHUNK_CHARACTERS // 99_000 + 1)], ids=["short messages", "long messages"]
)
def test_what_is_held_at_once_is_bounded_and_nothing_is_lost(tmp_path: Path, size: int, most: int) -> None:
    noise = Skipped(line=1, reason="blank line", excerpt="", kind="noise")
    given: list[Item] = [*[message("x" * size)] * (3 * most), *[noise] * (2 * STEP), message("last")]
    reading = Reading(path=tmp_path, format_name="irc", items=iter(given), tally=Tally())
    report = ImportReport()
    whole = parts_of(tmp_path, reading, report)
    assert [part.last for part in whole] == [False] * (len(whole) - 1) + [True]
    assert (whole[-1].items, [part.items for part in whole]) == (len(given), sorted(part.items for part in whole))
    parts = [part.messages for part in whole]
    assert sum(map(len, parts)) == 3 * most + 1
    assert max(map(len, parts)) == most
    assert [] in parts, "the program is heard of where there is nothing to store"
    assert report.not_messages == {"blank line": 2 * STEP}


@pytest.mark.parametrize(
    "line",
    [
        "[10:00] <ada> " + "a " * 4_000_000,
        "[10:00] " + "<" * 8_000_000,
        "[10:00] a " + "(" * 8_000_000,
        "[10:00] a" + " " * 8_000_000,
        "[" * 8_000_000,
        "[1:00" * 1_600_000,
        "--- Log opened" + " Abc  " * 1_300_000,
        "[10:00] *" + "\t" * 8_000_000,
        "-" * 8_000_000,
        "9" * 8_000_000,
        "[10:00] " + "x" * 8_000_000,
    ],
    ids=lambda line: repr(line[:16]),
)
def test_no_line_takes_long(tmp_path: Path, line: str) -> None:
    path = tmp_path / "2026-01-31.log"
    path.write_text(f"[09:00] <ada> one\n{line}\n[11:00] <ada> two\n")
    started = time.process_time()
    messages, _ = read(path)
    assert len(messages) >= 2
    assert time.process_time() - started < 5
