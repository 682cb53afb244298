"""A file is opened by what it contains, and what cannot be opened is refused in one sentence that says why."""

from __future__ import annotations

import contextlib
import datetime as dt
import errno
import os
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from winnow.domain.messages import IncomingMessage
from winnow.errors import InvalidInput
from winnow.sources.csv_table import looks_like_csv
from winnow.sources.mbox import looks_like_mbox
from winnow.sources.recognise import UNDERSTOOD, open_source, recognise
from winnow.sources.signal import looks_like_signal
from winnow.sources.whatsapp import looks_like_whatsapp

ROOT = Path(__file__).parents[2]
LOGS = sorted([*(ROOT / "tests/fixtures/minutes").glob("*.log"), *(ROOT / "examples/json-ld-minutes").glob("*.log")])
OBJECT = b'{"text": "hello", "sent_at": "2026-01-31T09:30:00Z", "author": "ada", "channel": "#ops"}\n'


@pytest.mark.parametrize("path", LOGS, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_every_real_log_is_recognised(path: Path) -> None:
    reading = open_source(path)
    assert reading.format_name == "irc"
    reading.close()


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (OBJECT, "jsonl"),
        (b"\xef\xbb\xbf\r\n\r\n" + OBJECT, "jsonl"),
        (b'{"text": "cut\n' + OBJECT, "jsonl"),
        (b"\n" * 100 + OBJECT, "jsonl"),
        (b'{"text": "' + b"x" * 300_000, "jsonl"),
        (b' { "text": "' + b"x" * 300_000, "jsonl"),
        (b'{"text": "cut\n' * 150 + OBJECT, "jsonl"),
        (b'{"text": "\\ud83d", "sent_at": 1}\n', "jsonl"),
        (b"[10:00] <ada> a\x00b\n" + b"\x00" * 5000, "irc"),
        (b"[10:00] <ada> look:\n" + b"pasted\n" * 500, "irc"),
        (b"[10:00] <ada> x\n" + b"[2026-02-31 10:00] <ada> x\n" * 20, "irc"),
        (b"[10:00] <ada> a\r[10:01] <ada> b\r", None),
        (b"#ops\n\n[10:00] <ada> hi\n", "irc"),
        (b"[10:00] <ada> na\xefve\n", "irc"),
        (b"--- Log opened Mon Jul 04 09:58:01 2011\n09:58 -!- ada [a@b] has joined #ops\n", "irc"),
        (b"=== ada [a@b]  has joined #ops\n=== lin [a@b]  has joined #ops\n", "irc"),
        (b"2011-07-04 09:58:01\tada\thi\n", "irc"),
        (b"<ada> hi\n<lin> hi too\n", "irc"),
        (b"[10:00] <ada> look\n<p>one</p>\n[10:01] <ada> good\n", "irc"),
        (b"<html>\n<body> <p>hi</p>\n</body>\n</html>\n", None),
        (b"Dear all,\n\nthe meeting is at 10:30.\n", None),
        (b"2011-07-04 09:58:01 ERROR: something broke\n", None),
        (b"[10:00] ada: hi\n", "irc"),
        (b"name,text\nada,hi\n", "csv"),
        (b'{"name": "chat", "messages": []}\n', None),
        (b"\x00\x01\x02", None),
        (b"", None),
    ],
)
def test_the_format_is_seen_in_the_content(content: bytes, kind: str | None) -> None:
    assert recognise(content[: 256 * 1024]) == kind


CHATS = ROOT / "tests/fixtures/whatsapp"
OF_EACH_KIND = [
    *((path.read_bytes(), "irc") for path in LOGS),
    *((path.read_bytes(), "whatsapp") for path in sorted(CHATS.glob("*y-*h.txt")) + sorted(CHATS.glob("*d-*h.txt"))),
    ((CHATS / "signal.txt").read_bytes(), "signal"),
    (b"[2019-05-29 15:04:05] Me: hi  \n", "signal"),
    (b"[2019-05-29 15:04:05] Ana B: hi  \n", "signal"),
    (b"[Dec 24, 2019 12:23:05] <Ana> hello\n", "signal"),
    (b"[2019-05-29, 15:04:05] Ana B: hi\n", "whatsapp"),
    ("[2019-05-29 15:04:05] Ana B: \u200eimage omitted\n".encode(), "whatsapp"),
    (b"31/12/2019, 23:59 - Messages are encrypted.\n", "whatsapp"),
    (b"rest of a message\n31/12/2019, 23:59 - Ana: hi\n31/12/2019, 23:59 - Bo: ho\n", "whatsapp"),
    (b"[2019-05-29 15:04:05] ada: hi\n", "irc"),
    (b"[2019-05-29 15:04:05] <ada> hi\n", "irc"),
    (b"**** BEGIN LOGGING AT Fri Dec 30 09:58:01 2011\n\nDec 30 09:58:01 <ada>\thello\n", "irc"),
    (b"Session Start: Mon Jul 04 09:58:01 2011\nSession Ident: #ops\n[09:58] <ada> hi\n", "irc"),
    (b"2019-12-31 23:59:59 - ERROR: it broke\n", None),
    (b"2019-12-31 23:59:59,123 - root - INFO - it runs\n", None),
    (b"Dec 30 09:58:01 host kernel: it runs\n", None),
    (b"date;author;text\n2020-01-01;ada;hi\n", "csv"),
    (b"\xef\xbb\xbfAuthorID,Author,Date,Content,Attachments,Reactions\n", "csv"),
    (b"sep=;\r\ndate;author;text\r\n", "csv"),
    (b"Dear all, the date, the text\n", None),
    (b"From ada@example.org Mon Jul 04 09:58:01 2011\nSubject: x\n\nhi\n", "mbox"),
    (b"From ada at example.org  Mon Jul  4 09:58:01 2011\nFrom: ada at example.org (Ada)\n\nhi\n", "mbox"),
    (b"From here on, Mon 09:58 is fine\nand so on\n", None),
    (OBJECT, "jsonl"),
]
LOOKS = {"whatsapp": looks_like_whatsapp, "signal": looks_like_signal, "mbox": looks_like_mbox, "csv": looks_like_csv}


@pytest.mark.parametrize(("content", "kind"), OF_EACH_KIND, ids=lambda value: value if isinstance(value, str) else None)
def test_no_recogniser_takes_the_file_of_another(content: bytes, kind: str | None) -> None:
    assert [name for name, looks_like in LOOKS.items() if looks_like(content)] == [kind] * (kind in LOOKS)
    assert recognise(content) == kind


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "is empty"),
        (b"\n \r\n", "is empty"),
        (b"\xef\xbb\xbf", "is empty"),
        (b"\n" * 3_000_000, "is empty"),
        (b"BZh91AY&SY", "is compressed; unpack it first"),
        (b"\xfd7zXZ\x00", "is compressed; unpack it first"),
        (b"\x28\xb5\x2f\xfd", "is compressed; unpack it first"),
        ("[10:00] <ada> hi".encode("utf-16-le"), "is text in UTF-16 without a byte order mark; save it as UTF-8"),
        ("[10:00] <ada> hi".encode("utf-16-be"), "is text in UTF-16 without a byte order mark; save it as UTF-8"),
        ("[10:00] <ada> hi".encode("utf-32"), "is text in UTF-32; save it as UTF-8"),
        (b"[10:00] <ada> a\r[10:01] <ada> b\r", "ends its lines with CR alone, as old Macs did; save it with LF"),
        (b"\x7fELF\x00\x00", f"is not text; what is understood are {UNDERSTOOD}"),
        (b"\x1f\x8b\x08\x00", "is compressed; unpack it first"),
        (b"PK\x03\x04", "is an archive that was cut off"),
        (b"PK\x05\x06" + bytes(18), "is an archive with nothing in it"),
        (b"\xff\xfe", "is empty"),
        (b"Dear all,\n", f"is of no kind that is understood; these are {UNDERSTOOD}"),
        (b'{\n  "messages": [\n', "is JSON, but neither an export of Telegram Desktop nor JSON Lines"),
        (b"[10:00] <ada> hi\n", "give it with --date"),
    ],
)
def test_what_cannot_be_opened_is_refused_with_a_sentence(tmp_path: Path, content: bytes, sentence: str) -> None:
    path = tmp_path / "file"
    path.write_bytes(content)
    with pytest.raises(InvalidInput) as caught:
        open_source(path)
    assert str(caught.value).startswith(f"{path} ")
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_folder_a_missing_file_and_a_pipe_are_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    for path, sentence in [
        (tmp_path, "is a folder"),
        (tmp_path / "none.log", "does not exist"),
        (tmp_path / "pipe", "is not a regular file"),
        (tmp_path / "loop", "cannot be read"),
        (tmp_path / "a\x00b", "cannot be read|does not exist"),
        (tmp_path / ("n" * 300), "cannot be read"),
    ]:
        with pytest.raises(InvalidInput, match=sentence):
            open_source(path)


def test_a_file_one_may_not_read_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "secret.log"
    path.write_bytes(OBJECT)

    def refuse(*_: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)  # root, as in a container, may read everything
    with pytest.raises(InvalidInput, match="Permission denied"):
        open_source(path)


def test_a_file_that_vanishes_while_it_waits_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "2011-07-04.log"
    path.write_bytes(b"[10:00] <ada> hi\n")
    reading = open_source(path)
    path.unlink()
    with pytest.raises(InvalidInput, match="cannot be read"):
        next(reading)


def test_what_the_caller_knows_reaches_the_source(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"[10:00] <ada> hi\n")
    zone = dt.timezone(dt.timedelta(hours=2))
    (message,) = open_source(path, channel="#ops", timezone=zone, date=dt.date(2011, 7, 4))
    assert isinstance(message, IncomingMessage)
    assert (message.channel, message.sent_at.isoformat()) == ("#ops", "2011-07-04T10:00:00+02:00")
    path.write_bytes(b'{"text": "hi", "sent_at": 1}')
    (message,) = open_source(path, channel="#ops")
    assert isinstance(message, IncomingMessage)
    assert message.channel == "#ops"


@pytest.mark.parametrize("blanks", [b"\n" * 1_000_000, b"\n" * (256 * 1024), b" \r\n" * 600_000])
def test_blank_lines_at_the_beginning_hide_nothing(tmp_path: Path, blanks: bytes) -> None:
    path = tmp_path / "chat.jsonl"
    path.write_bytes(blanks + OBJECT)
    reading = open_source(path)
    assert sum(isinstance(item, IncomingMessage) for item in reading) == 1
    assert reading.tally.noise == {"blank line": blanks.count(b"\n")}


def test_a_large_file_is_streamed(tmp_path: Path) -> None:
    path = tmp_path / "chat.jsonl"
    with path.open("wb") as file:
        for number in range(20_000):
            file.write(b'{"id": %d, "text": "%b", "sent_at": 1, "channel": "c"}\n' % (number, b"x" * 300))
    tracemalloc.start()
    assert sum(1 for _ in open_source(path)) == 20_000
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1_000_000 < path.stat().st_size / 5


@settings(deadline=None)
@given(
    st.one_of(
        st.binary(max_size=300),
        st.lists(st.sampled_from([OBJECT, b"[10:00] <ada> hi\n", b"\xff\n", b"\n", b"{"])).map(b"".join),
    )
)
@example(b"[10:00] <ada> hi\n" + b"\x00\n")
@example(b"[1999-12-31 23:59] <ada> hi\n[00:00] <ada> hi")
def test_anything_is_read_whole_or_refused(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "anything"
    path.write_bytes(content)
    with contextlib.suppress(InvalidInput):
        reading = open_source(path)
        items = list(reading)
        lines = content.count(b"\n") + (not content.endswith(b"\n"))
        assert len(items) + reading.tally.continued == reading.tally.lines == lines
