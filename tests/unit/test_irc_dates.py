"""When each line of an IRC log was said: by its stamp, the lines around it, the file's name or the person."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from plugins.irc import read, read_text
from winnow.errors import InvalidInput
from winnow.sources.irc import BLANK, Clock, read_irc
from winnow.sources.irc_lines import DATE_LINE, JOINED_OR_LEFT, NOTICE, Stamp

ROOT = Path(__file__).parents[2]
FIXTURES = ROOT / "tests" / "fixtures" / "minutes"
EXAMPLES = ROOT / "examples" / "json-ld-minutes"
DAY = dt.date(2011, 7, 4)


@pytest.mark.parametrize(
    ("times", "days"),
    [
        (["23:59", "00:01"], [0, 1]),
        (["23:59", "00:01", "23:58", "00:02"], [0, 1, 0, 1]),
        (["11:05", "11:01", "11:06"], [0, 0, 0]),
        (["02:59", "01:00"], [0, 0]),
        (["18:00", "09:00", "17:00", "08:00"], [0, 1, 1, 2]),
        (["00:01", "23:59"], [0, 0]),
        (["Mon 23:59", "Tue 00:01", "Mon 23:59", "Wed 10:00", "Mon 09:00"], [0, 1, 0, 2, 7]),
        (["Tue 09:00", "Tue 18:00", "Tue 16:00"], [0, 0, 0]),
        (["2011-07-05 10:00:00", "11:00", "01:00"], [1, 1, 2]),
    ],
)
def test_the_day_border(tmp_path: Path, times: list[str], days: list[int]) -> None:
    messages, _, _ = read_text(tmp_path, "".join(f"[{time}] <ada> {number}\n" for number, time in enumerate(times)))
    assert [(message.sent_at.date() - DAY).days for message in messages] == days


def test_the_clock_of_a_join_counts_too(tmp_path: Path) -> None:
    messages, _, _ = read_text(tmp_path, "[23:00] <ada> x\n[01:00] -!- lin [x@y] has joined #ops\n[23:30] <ada> y\n")
    assert [message.sent_at.day for message in messages] == [4, 5]


def test_irssi_tells_the_date_itself(tmp_path: Path) -> None:
    path = tmp_path / "ops.log"
    path.write_text(
        "--- Log opened Mon Jul 04 09:58:01 2011\n23:50 <ada> x\n--- Day changed Tue Jul 05 2011\n00:10 <ada> y\n"
    )
    messages, _, _ = read(path)
    assert [message.sent_at.isoformat() for message in messages] == [
        "2011-07-04T23:50:00+00:00",
        "2011-07-05T00:10:00+00:00",
    ]


def test_times_are_in_the_zone_that_is_given(tmp_path: Path) -> None:
    path = tmp_path / "ops-2011-07-04.log"
    path.write_text("[10:00] <ada> x\n[2011-07-04T10:00:00Z] <ada> y\n")
    messages, _, _ = read(path, timezone=ZoneInfo("America/New_York"))
    assert [message.sent_at.astimezone(dt.UTC).hour for message in messages] == [14, 10]


def test_a_given_date_wins_over_the_name_of_the_file(tmp_path: Path) -> None:
    (message,), _, _ = read_text(tmp_path, "[10:00] <ada> x\n", date=dt.date(2020, 2, 29))
    assert message.sent_at.date() == dt.date(2020, 2, 29)


def test_a_log_without_any_date_is_refused_with_what_to_do(tmp_path: Path) -> None:
    path = tmp_path / "2011-99-99.log"
    path.write_text("[10:00] <ada> x\n")
    with pytest.raises(InvalidInput, match="--date"):
        read_irc(path)


@pytest.mark.parametrize(("channel", "date"), [(" ", DAY), (None, dt.date.max), (None, dt.date.min)])
def test_what_cannot_be_a_channel_or_a_date_is_refused(tmp_path: Path, channel: str | None, date: dt.date) -> None:
    with pytest.raises(InvalidInput):
        read_irc(tmp_path / "ops.log", channel=channel, date=date)


def test_the_clock_ends_with_the_calendar() -> None:
    clock = Clock(dt.date.max, dt.UTC)
    clock.at(Stamp(second_of_day=86_000))
    with pytest.raises(OverflowError):
        clock.at(Stamp(second_of_day=0))


def test_the_log_of_hexchat_leaves_out_the_year_and_is_dated_all_the_same(tmp_path: Path) -> None:
    path = tmp_path / "ops.log"
    path.write_text(
        "**** BEGIN LOGGING AT Fri Dec 30 09:58:01 2011\n\nDec 30 09:58:01 *\tNow talking on #ops\n"
        "Dec 30 09:58:01 <ada>\thello\nDec 30 09:58:02 *\tbo (b@host) has joined\nDec 30 09:58:03 *\tada waves\n"
        "Jan 02 09:58:01 <bo>\tlater\nFeb 31 10:00:00 <bo>\tnever\nJan 02 09:59:00 <bo>\tagain\n"
    )
    messages, skipped, _ = read(path)
    assert [(one.sent_at.isoformat()[:19], one.author, one.text) for one in messages] == [
        ("2011-12-30T09:58:01", "ada", "hello"),
        ("2011-12-30T09:58:03", "ada", "waves"),
        ("2012-01-02T09:58:01", "bo", "later"),
        ("2012-01-02T09:59:00", "bo", "again"),
    ]
    assert [told.reason for told in skipped] == [
        DATE_LINE, BLANK, NOTICE, JOINED_OR_LEFT, "its date is none that there is",
    ]  # fmt: skip


def test_the_log_of_mirc_tells_its_day_in_its_sessions(tmp_path: Path) -> None:
    path = tmp_path / "ops.log"
    path.write_text(
        "Session Start: Mon Jul 04 09:58:01 2011\nSession Ident: #ops\n[09:58] * Now talking in #ops\n"
        "[09:58] * Topic is 'x'\n[09:58] * Set by ada on Mon Jul 04\n[09:58] <ada> hi\n[09:58] * Joins: bo (b@host)\n"
        "[09:58] * bo (b@host) Quit (bye)\n[09:59] * ada waves\nSession Time: Tue Jul 05 00:00:00 2011\n"
        "[12:03] <ada> on\nSession Close: Tue Jul 05 12:04:00 2011\n"
    )
    messages, skipped, _ = read(path)
    assert [(one.sent_at.isoformat()[:16], one.text) for one in messages] == [
        ("2011-07-04T09:58", "hi"),
        ("2011-07-04T09:59", "waves"),
        ("2011-07-05T12:03", "on"),
    ]
    assert [told.reason for told in skipped] == [
        DATE_LINE, DATE_LINE, NOTICE, NOTICE, NOTICE, JOINED_OR_LEFT, JOINED_OR_LEFT, DATE_LINE, DATE_LINE,
    ]  # fmt: skip


@pytest.mark.parametrize(("stamp", "notes"), [("2020-01-31T10:00:00+01:00", 0), ("2020-01-31 10:00", 1)])
def test_it_is_said_which_zone_times_without_one_were_read_in(tmp_path: Path, stamp: str, notes: int) -> None:
    (path := tmp_path / "a.log").write_text(f"[{stamp}] <ada> hi\n")
    reading = read_irc(path, timezone=ZoneInfo("Europe/Berlin"))
    assert len(list(reading)) == 1
    assert len(reading.tally.notes) == notes
    assert all("read as Europe/Berlin" in note for note in reading.tally.notes)
