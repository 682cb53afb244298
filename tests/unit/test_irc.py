"""Every line of an IRC log, whatever client wrote it, becomes a message, part of one, or a counted other line."""

from __future__ import annotations

import datetime as dt
import re
import tracemalloc
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plugins.irc import read, read_text, said
from winnow.domain.messages import IncomingMessage
from winnow.sources.base import ContentIds
from winnow.sources.irc import BLANK, CHANNEL_LINE, read_irc
from winnow.sources.irc_lines import DATE_LINE, JOINED_OR_LEFT, NOTICE

ROOT = Path(__file__).parents[2]
FIXTURES = ROOT / "tests" / "fixtures" / "minutes"
EXAMPLES = ROOT / "examples" / "json-ld-minutes"
DAY = dt.date(2011, 7, 4)


@pytest.mark.parametrize(
    "line",
    [
        "[Mon 09:58]\t<ada>\thello there",
        "[Mon 09:58] <ada> hello there",
        "[09:58]\t<ada>\thello there",
        "[09:58] <ada> hello there",
        "[09:58]<ada>hello there",
        "[09:58:00]\t<ada> hello there",
        "[9:58am]\t<ada>\thello there",
        "[9:58AM] <ada> hello there",
        "[09:58 AM] <ada> hello there",
        "[2011-07-04 09:58:00] <ada> hello there",
        "[2011-07-04T09:58:00Z] <ada> hello there",
        "[2011-07-04T11:58:00.123+0200] <ada> hello there",
        "[09:58] <@ada> hello there",
        "[09:58] <+ada> hello there",
        "09:58 <ada> hello there",
        "09:58 < ada> hello there",
        "09:58:00 <@ada> hello there",
        "2011-07-04 09:58:00\tada\thello there",
        "2011-07-04 09:58:00\t@ada\thello there",
        "2011-07-04 09:58:00\t *\tada hello there",
        "[Mon 09:58]\t* ada\thello there",
        "[09:58] * ada hello there",
        "[09:58]  * ada hello there",
        "09:58  * ada hello there",
        "[09:58\t* ada hello there",
        "[9:58am] • ada hello there",
        "[09:58] — ada hello there",
        "[09:58] === ada hello there",
        "[09:58]\t*ada*\thello there",
        "[09:58] -ada- hello there",
        "09:58 -ada:#ops- hello there",
        "[9:58am]\tada: hello there",
    ],
)
def test_the_forms_of_a_message(tmp_path: Path, line: str) -> None:
    (message,), skipped, _ = read_text(tmp_path, line + "\r\n")
    assert (message.author, message.text, skipped) == ("ada", "hello there", [])
    assert message.sent_at.replace(microsecond=0) == dt.datetime(2011, 7, 4, 9, 58, tzinfo=dt.UTC)
    assert message.source == "irc"


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("[10:47]\t|<--\tada has left freenode (Quit: Leaving)", JOINED_OR_LEFT),
        ("[10:48]\t-->|\tada (~ada@example.org) has joined #ops", JOINED_OR_LEFT),
        ("[Mon 11:27]\t<--|\tada has left #ops", JOINED_OR_LEFT),
        ("[Tue 11:22]\t-->\tada (ada@example.org) has joined #ops", JOINED_OR_LEFT),
        ("[Tue 10:17]\t*\tada (ada@example.org) has joined #ops", JOINED_OR_LEFT),
        ("[10:00] -!- ada [ada@example.org] has quit [Quit: ada]", JOINED_OR_LEFT),
        ("* ada (~ada@example.org) has left #ops", JOINED_OR_LEFT),
        ("* ada has quit (Quit: *booooom*)", JOINED_OR_LEFT),
        ("=== ada [~ada@example.org]  has joined #ops", JOINED_OR_LEFT),
        ("[4:01pm]\tada joined the chat room.", JOINED_OR_LEFT),
        ("[2017-11-08 13:14:17] → ada joined (~ada@example.org)", JOINED_OR_LEFT),
        ("[2017-11-08 13:34:38] ⇐ ada quit (~ada@example.org): ada", JOINED_OR_LEFT),
        ("[2017-11-08 14:05:39] ← ada left (~ada@example.org): ", JOINED_OR_LEFT),
        ("[12:00:00] *** Joins: ada (ada@example.org)", JOINED_OR_LEFT),
        ("2011-07-04 09:58:00\t-->\tada (ada@example.org) has joined #ops", JOINED_OR_LEFT),
        ("[10:10]\t=-=\tada_ is now known as ada", NOTICE),
        ("=== ada_ is now known as ada", NOTICE),
        ("2011-07-04 09:58:00\t--\tada_ is now known as ada", NOTICE),
        ("[11:25]\t[ERROR]\tInternal error.", NOTICE),
        ('[3:02pm] Topic changed to "Welcome" by ada.', NOTICE),
        ("[2017-11-08 13:14:17] * Channel mode is +", NOTICE),
        ("=== mode/#ops [+o ada]  by lin", NOTICE),
        ("--- Log opened Mon Jul 04 09:58:01 2011", DATE_LINE),
        ("**** BEGIN LOGGING AT Mon Jul  4 09:58:01 2011", DATE_LINE),
        ("#ops", CHANNEL_LINE),
        ("", BLANK),
        (" \t ", BLANK),
    ],
)
def test_the_forms_of_what_is_no_message(tmp_path: Path, line: str, reason: str) -> None:
    messages, skipped, tally = read_text(tmp_path, line + "\n")
    assert (messages, [one.reason for one in skipped], tally.broken) == ([], [reason], 0)
    assert not skipped[0].is_error


@pytest.mark.parametrize(
    "line",
    [
        "[25:61] <ada> hello",
        "[13:00pm] <ada> hello",
        "[2011-02-30 10:00:00] <ada> hello",
        "[10:00] <ada hello",
        "[Mon 09:",
        "[10:00] nobody said this",
        "neither time nor name",
        "[10:00] <ada> " + "a" * 8 * 1024 * 1024,
    ],
)
def test_a_broken_line_is_told_by_its_number_and_the_next_one_read(tmp_path: Path, line: str) -> None:
    messages, (skipped,), tally = read_text(tmp_path, f"{line}\n[10:00] <lin> hi\n")
    assert said(messages) == [("lin", "hi")]
    assert (skipped.line, skipped.kind, tally.broken) == (1, "broken", 1)
    assert line.startswith(skipped.excerpt)
    assert skipped.reason


# (file, messages, continued lines, lines that are none, broken lines): each of the last two kinds was looked at.
FIXTURE_COUNTS = [
    ("2011-07-04", 14, 0, 5, 0),
    ("2011-07-26", 10, 0, 0, 0),
    ("2011-08-08", 11, 0, 3, 0),
    ("2011-08-23", 9, 0, 6, 0),
    ("2011-09-06", 9, 0, 1, 0),
    ("2011-09-20", 8, 0, 2, 0),
    ("2011-11-15", 14, 0, 3, 0),
    ("2011-12-20", 8, 0, 1, 0),
    ("2013-03-26", 12, 0, 2, 0),
    ("2013-05-07", 4, 0, 2, 1),
    ("2013-05-21", 6, 0, 0, 0),
    ("2013-06-18", 5, 0, 2, 0),
    ("2013-06-25", 5, 1, 0, 0),
    ("2013-07-09", 9, 0, 2, 0),
    ("2013-10-15", 13, 0, 2, 0),
    ("2013-10-22", 10, 0, 1, 0),
    ("2017-11-08", 24, 0, 16, 0),
]


@pytest.mark.parametrize(("name", "messages", "continued", "noise", "broken"), FIXTURE_COUNTS)
def test_real_excerpts(name: str, messages: int, continued: int, noise: int, broken: int) -> None:
    _, _, tally = read(FIXTURES / f"{name}.log")
    assert (tally.messages, tally.continued, tally.noise.total(), tally.broken) == (messages, continued, noise, broken)


def test_every_excerpt_is_counted() -> None:
    assert {path.stem for path in FIXTURES.glob("*.log")} == {row[0] for row in FIXTURE_COUNTS}


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.log")), ids=lambda path: path.stem)
def test_the_examples_lose_no_message(path: Path) -> None:
    messages, _, tally = read(path)
    signed = re.findall(r"^\[[^\]\n]*\]\s*<[^<>\n]*>[ \t]", path.read_text("utf-8"), re.MULTILINE)
    assert tally.broken == 0
    assert len(messages) >= len(signed) > 0
    assert {message.channel for message in messages} <= {"#json-ld", "#jsonld"}
    assert {message.sent_at.date().isoformat() for message in messages} >= {path.stem}
    assert len({message.external_id for message in messages}) == len(messages)


def test_lines_that_were_wrapped_go_on_with_the_message_above(tmp_path: Path) -> None:
    text = "[10:00] <ada> first\n#263, second\n* third\n[10:01] <lin> hi\n"
    messages, skipped, tally = read_text(tmp_path, text)
    assert said(messages) == [("ada", "first\n#263, second\n* third"), ("lin", "hi")]
    assert (skipped, tally.continued) == ([], 2)


@pytest.mark.parametrize("between", ["", "[10:00] -!- lin [x@y] has quit [bye]", "[25:00] <lin> x"])
def test_nothing_goes_on_across_a_line_that_is_no_message(tmp_path: Path, between: str) -> None:
    messages, skipped, _ = read_text(tmp_path, f"[10:00] <ada> first\n{between}\nsecond\n")
    assert said(messages) == [("ada", "first")]
    assert [one.line for one in skipped] == [2, 3]
    assert skipped[1].is_error


def test_a_message_does_not_grow_without_end(tmp_path: Path) -> None:
    (message,), _, tally = read_text(tmp_path, "[10:00] <ada> first\n" + ("word " * 20 + "\n") * 1000)
    assert len(message.text) < 70_000
    assert tally.continued + tally.broken == 1000


def test_a_line_without_a_name_is_by_whoever_spoke_last_or_by_a_nick_it_begins_with(tmp_path: Path) -> None:
    text = "[10:00] <ada> hi\n[10:01] q+\n[10:02] Grace: scribed words\n[10:03] <lin> yes\n[10:04] ada: no\n"
    messages, _, _ = read_text(tmp_path, text)
    assert said(messages)[1:] == [("ada", "q+"), ("ada", "Grace: scribed words"), ("lin", "yes"), ("ada", "no")]


def test_a_log_may_name_its_speakers_by_a_colon_only(tmp_path: Path) -> None:
    messages, _, _ = read_text(tmp_path, "[10:00] ada: hi\n[10:01] lin: hi too\n[10:01] http://example.org\n")
    assert said(messages) == [("ada", "hi"), ("lin", "hi too"), ("lin", "http://example.org")]


def test_actions_without_a_time_count_where_the_log_writes_its_joins_like_that(tmp_path: Path) -> None:
    messages, _, _ = read_text(tmp_path, "* ada (a@b) has joined #ops\n[10:00] <lin> hi\n* bo lurks\n")
    assert said(messages) == [("lin", "hi"), ("bo", "lurks")]
    assert messages[1].sent_at == messages[0].sent_at


def test_lines_without_a_time_have_the_last_one_or_the_start_of_the_day(tmp_path: Path) -> None:
    messages, _, _ = read_text(tmp_path, "[] <> agenda: x\n[09:30] <ada> hi\n[] <> topic: y\n[] <lin> z\n")
    assert said(messages) == [("", "agenda: x"), ("ada", "hi"), ("", "topic: y"), ("lin", "z")]
    assert [message.sent_at.time() for message in messages] == [dt.time(), *[dt.time(9, 30)] * 3]


def test_markup_in_a_message_is_not_a_speaker(tmp_path: Path) -> None:
    (message,), _, _ = read_text(tmp_path, "[10:00] <ada> look:\n<div>text</div>\n")
    assert message.text == "look:\n<div>text</div>"


@pytest.mark.parametrize(
    ("text", "channel", "expected"),
    [
        ("#ops\n[10:00] <ada> x\n", "given", "#ops"),
        ("\n  #ops \n[10:00] <ada> x\n", None, "#ops"),
        ("[10:00] <ada> x\n#ops\n", "given", "given"),
        ("[10:00] <ada> x\n", None, "folder"),
    ],
)
def test_the_channel_is_the_first_line_or_given_or_the_folder(
    tmp_path: Path, text: str, channel: str | None, expected: str
) -> None:
    path = tmp_path / "folder" / "2011-07-04.log"
    path.parent.mkdir()
    path.write_text(text)
    (message,), _, _ = read(path, channel=channel)
    assert message.channel == expected


def test_lines_in_another_encoding_are_read_and_counted(tmp_path: Path) -> None:
    text = "\ufeff[10:00] <ada> naïve\r\n".encode() + b"[10:01] <ada> na\xefve \x93x\x94\r\n[10:02] <ada> \x81\n"
    messages, skipped, tally = read_text(tmp_path, text)
    assert [message.text for message in messages] == ["naïve", "naïve “x”", "\ufffd"]
    assert (skipped, tally.recoded) == ([], 2)


def test_ids_stay_when_the_file_is_read_again_grows_or_is_renamed(tmp_path: Path) -> None:
    text = "[10:00] <ada> +1\n[10:00] <ada> +1\n[10:00] <lin> +1\n[10:01] <ada> wrapped\n"
    first, _, _ = read_text(tmp_path, text)
    again, _, _ = read_text(tmp_path, text + "here\n[10:02] <ada> +1\n[23:00] <ada> +1\n[10:00] <ada> +1\n")
    renamed = tmp_path / "copy of 2011-07-04 (1).txt"
    renamed.write_text(text)
    other, _, _ = read(renamed)
    ids = [message.external_id for message in first]
    assert len(set(ids)) == 4
    assert [message.external_id for message in again][:4] == ids == [message.external_id for message in other]
    assert len({message.external_id for message in again}) == 7


def test_a_large_log_is_read_in_little_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ContentIds, "_GENERATION", 500)
    path = tmp_path / "2011-07-04.log"
    path.write_text("".join(f"[10:00] <ada{n % 100}> message number {n} {'x' * 200}\n" for n in range(10_000)))
    tracemalloc.start()
    count = Counter(type(item) for item in read_irc(path))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert count == {IncomingMessage: 10_000}
    assert peak < 500_000 < path.stat().st_size / 4


def test_a_reading_that_is_abandoned_closes_its_file(tmp_path: Path) -> None:
    path = tmp_path / "2011-07-04.log"
    path.write_text("[10:00] <ada> x\n" * 10)
    reading = read_irc(path)
    next(reading)
    reading.close()
    assert list(reading) == []


LOG_LINES = st.one_of(
    st.text(max_size=60),
    st.builds(
        "{}{}{}".format,
        st.sampled_from(
            ["", "[]", "[10:0", "[Mon 09:58]", "[9:58pm]", "[2999-12-31 23:59:59]", "[99:99]", "00:01", "[23:59]"]
        ),
        st.sampled_from(["", " ", "\t", "\t\t"]),
        st.sampled_from(
            ["<ada> hi", "<ada", "* lin waves", "*lin*\tx", "-!- a has quit", "=== a b", "#ops", "ada: x", "—"]
        ),
    ),
)


@settings(deadline=None)
@given(st.lists(LOG_LINES, max_size=30), st.sampled_from(["\n", "\r\n"]))
def test_every_line_is_accounted_for_once(tmp_path_factory: pytest.TempPathFactory, lines: list[str], end: str) -> None:
    path = tmp_path_factory.getbasetemp() / "2011-07-04.log"
    path.write_bytes(end.join(lines).encode("utf-8", "surrogatepass"))
    messages, skipped, tally = read(path)
    assert tally.lines == len(path.read_bytes().split(b"\n")) - (path.read_bytes()[-1:] in {b"\n", b""})
    assert len(messages) + len(skipped) + tally.continued == tally.lines
    assert [one.line for one in skipped] == sorted({one.line for one in skipped})
    ids = [message.external_id for message in messages]
    assert len(set(ids)) == len(ids)
    assert [message.external_id for message in read(path)[0]] == ids
