"""A table of messages is read by the names of its columns, whatever program wrote it; bad rows spoil no other."""

from __future__ import annotations

import csv
import datetime as dt
import io
import tracemalloc
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from winnow.domain.messages import IncomingMessage
from winnow.errors import InvalidInput
from winnow.sources.base import Skipped, Tally
from winnow.sources.csv_table import read_csv

if TYPE_CHECKING:
    from pathlib import Path

Result = tuple[list[IncomingMessage], list[Skipped], Tally]


def read(path: Path, channel: str | None = None) -> Result:
    reading = read_csv(path, channel=channel)
    items = list(reading)
    assert reading.tally.balanced
    messages = [item for item in items if isinstance(item, IncomingMessage)]
    return messages, [item for item in items if isinstance(item, Skipped)], reading.tally


def read_text(folder: Path, text: str, name: str = "table.csv") -> Result:
    path = folder / name
    path.write_bytes(text.encode())
    return read(path)


def test_a_zone_or_a_count_that_there_is_not_spoils_no_other_row(tmp_path: Path) -> None:
    rows = ["31/01/2026 10:00 +9999,a,0", "31/01/2026 10:01 +0100,b," + "9" * 5000, "31/01/2026 10:02 Z,c,3"]
    messages, skipped, _ = read_text(tmp_path, "\n".join(["sent_at,text,reactions", *rows]))
    assert [(one.text, one.details.get("reactions")) for one in messages] == [("b", None), ("c", 3)]
    assert [one.reason[:22] for one in skipped if one.is_error] == ["31/01/2026 10:00 +9999"]


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("mark", ["", "\ufeff", "sep="])
def test_delimiters_line_ends_and_marks_are_recognised(tmp_path: Path, delimiter: str, end: str, mark: str) -> None:
    first = f"sep={delimiter}{end}" if mark == "sep=" else mark
    rows = [["sent_at", "from", "room", "message", "id", "reply_to", "thread", "mood"],
            ["2026-01-31T09:30:00Z", "Ana", "#ops", "one, two; three", "7", "6", "t1", "good"]]  # fmt: skip
    quoted = end.join(delimiter.join(f'"{field}"' if " " in field else field for field in row) for row in rows)
    (message,), skipped, tally = read_text(tmp_path, first + quoted + end)
    assert (message.author, message.channel, message.text, message.external_id, message.reply_to, message.thread) == (
        "Ana", "#ops", "one, two; three", "7", "6", "t1",
    )  # fmt: skip
    assert tally.notes[0] == (
        "columns: message as text, sent_at as sent_at, from as author, room as channel, id as id, "
        "reply_to as reply_to, thread as thread; not used: mood"
    )
    assert all(told.reason == "header" for told in skipped)


def test_what_discord_s_exporter_writes_is_read(tmp_path: Path) -> None:
    text = (
        "AuthorID,Author,Date,Content,Attachments,Reactions\n"
        '"456","ana#0","2024-01-15T10:30:00.1230000+00:00","two\nlines, ""quoted""","https://x/a.png","👍 (3),❤️ (1)"\n'
        '"457","bo","01-Jan-20 01:33 AM","old","",""\n'
    )
    messages, _, tally = read_text(tmp_path, text, "Guild - Text - general [123456789012345678].csv")
    assert [(one.text, one.author, one.author_id, one.channel, one.channel_title) for one in messages] == [
        ('two\nlines, "quoted"', "ana#0", "456", "123456789012345678", "general"),
        ("old", "bo", "457", "123456789012345678", "general"),
    ]
    assert messages[0].details == {"media": "file", "reactions": 4}
    assert messages[1].sent_at.isoformat() == "2020-01-01T01:33:00+00:00"
    assert tally.continued == 1


@pytest.mark.parametrize(
    ("written", "moment"),
    [
        ("2026-01-31T09:30:00+01:00", "2026-01-31T08:30:00"),
        ("2026-01-31 09:30", "2026-01-31T09:30:00"),
        ("2026-01-31 09:30:00 UTC", "2026-01-31T09:30:00"),
        ("1769848260", "2026-01-31T08:31:00"),
        ("1769848260000", "2026-01-31T08:31:00"),
        ("1769848260.5", "2026-01-31T08:31:00.500000"),
        ("31/01/2026 09:30", "2026-01-31T09:30:00"),
        ("1/31/2026, 9:30:00 PM", "2026-01-31T21:30:00"),
        ("31.01.2026", "2026-01-31T00:00:00"),
        ("31 January 2026 09:30", "2026-01-31T09:30:00"),
        ("31.01.2026 09:30:00 +0200", "2026-01-31T07:30:00"),
    ],
)
def test_times_are_read_as_programs_write_them(tmp_path: Path, written: str, moment: str) -> None:
    (message,), _, _ = read_text(tmp_path, f'date;text\n"{written}";hi\n')
    assert message.sent_at.astimezone(dt.UTC) == dt.datetime.fromisoformat(moment).replace(tzinfo=dt.UTC)


def test_date_and_time_may_stand_apart(tmp_path: Path) -> None:
    messages, _, tally = read_text(tmp_path, "Date,Time,User,Text\n02/01/2026,10:15,ana,hi\n02/13/2026,10:16,ana,ho\n")
    assert [one.sent_at.isoformat()[:16] for one in messages] == ["2026-02-01T10:15", "2026-02-13T10:16"]
    assert any(note.startswith("dates as 02/01/2026 were read as month/day/year") for note in tally.notes)
    assert tally.notes[-1].startswith("its times name no zone and were read as UTC")


@pytest.mark.parametrize(
    ("header", "sentence"),
    [
        ("name,text", "has no column sent_at; its header names name, text"),
        ("date,author", "has no column text; its header names date, author"),
        ("a,b", "has no header that names its columns"),
    ],
)
def test_a_column_that_is_missing_is_named(tmp_path: Path, header: str, sentence: str) -> None:
    path = tmp_path / "table.csv"
    path.write_text(f"{header}\nx,y\n")
    with pytest.raises(InvalidInput, match=sentence):
        read_csv(path)


def test_rows_that_are_none_are_told_and_the_others_are_read(tmp_path: Path) -> None:
    messages, skipped, _ = read_text(
        tmp_path,
        "id,sent_at,text\n1,2026-01-31T09:30Z,one\n2,2026-01-31T09:30Z\n3,2026-01-31T09:30Z,x,y\n\n4,soon,x\n5,,x\n"
        '6,2026-01-31T09:30Z,"never closed\n7,2026-01-31T09:30Z,seven\n8,2026-01-31T09:30Z,"a"b\n'
        f"9,2026-01-31T09:30Z,{'x' * 100_001}\n10,2026-01-31T09:30Z,{'y' * 5_000_000}\n11,3026-01-31T09:30Z,x\n"
        'id,sent_at,text\n12,2026-01-31T09:30Z,last\n13,2026-01-31T09:30Z,"cut',
    )  # fmt: skip
    assert [one.external_id for one in messages] == ["1", "7", "12"]
    assert [(told.line, told.kind) for told in skipped] == [
        (1, "noise"), (3, "broken"), (4, "broken"), (5, "noise"), (6, "broken"), (7, "broken"), (8, "broken"),
        (10, "broken"), (11, "broken"), (12, "broken"), (13, "broken"), (14, "noise"), (16, "broken"),
    ]  # fmt: skip


def test_a_quote_never_closed_swallows_nothing_and_takes_no_time(tmp_path: Path) -> None:
    rows = "".join(f"{number},2026-01-31T09:30Z,text {number}\n" for number in range(30_000))
    messages, skipped, _ = read_text(tmp_path, f'id,sent_at,text\n0,2026-01-31T09:30Z,"open\n{rows}')
    assert len(messages) == 30_000
    assert [told.line for told in skipped] == [1, 2]
    messages, skipped, _ = read_text(tmp_path, "id,sent_at,text\n" + '1,2026-01-31T09:30Z,"a"b"\n' * 5_000)
    assert messages == []
    assert len(skipped) == 5_001


def test_ten_thousand_channels_take_no_memory(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    with path.open("w") as file:
        file.write("id,date,channel,text\n")
        for number in range(20_000):
            file.write(f"{number},2026-01-31T09:30:00Z,room {number % 10_000},hello\n")
    tracemalloc.start()
    assert len({item.channel for item in read_csv(path) if isinstance(item, IncomingMessage)}) == 10_000
    assert sum(1 for _ in read_csv(path)) == 20_001
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 3_000_000


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("csv")


FIELD = st.text(st.characters(codec="utf-8", exclude_characters="\x00\r"), min_size=1, max_size=30)


@settings(deadline=None)
@given(
    rows=st.lists(st.tuples(FIELD, FIELD.map(str.strip).filter(bool)), max_size=15), delimiter=st.sampled_from(",;\t")
)
def test_what_python_writes_is_read_back(folder: Path, rows: list[tuple[str, str]], delimiter: str) -> None:
    out = io.StringIO()
    writer = csv.writer(out, delimiter=delimiter, lineterminator="\n")
    writer.writerow(["sent_at", "author", "text"])
    writer.writerows(["1769848260", author, text] for text, author in rows)
    messages, _, _ = read_text(folder, out.getvalue())
    assert [(one.text, one.author) for one in messages] == rows
