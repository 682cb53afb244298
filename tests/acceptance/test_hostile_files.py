"""`winnow import` of files that somebody made to break it: all that is valid is stored, all else is told, 0, 1 or 2."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from plugins.program import eventually

if TYPE_CHECKING:
    from plugins.program import Program, Running, Up

SQL_AND_HTML = "'; DROP TABLE messages; -- <script>alert(1)</script> $1 %s {} \\"
LINE: dict[str, Any] = {"text": "good", "sent_at": "2026-01-31T09:30:00Z", "author": "ada", "channel": "#hostile"}
MEGABYTE = 1_000_000


def line(**values: Any) -> bytes:
    return json.dumps({**LINE, **values}).encode() + b"\n"


def stored(winnow: Program, channel: str) -> list[list[str]]:
    return winnow.sql(f"SELECT external_id, text FROM messages WHERE channel = '{channel}' ORDER BY id")


def test_all_that_is_valid_is_stored_and_each_line_that_is_not_is_named(
    winnow: Program, running: Up, tmp_path: Path
) -> None:
    path = tmp_path / "hostile\x1b[31m.jsonl"
    path.write_bytes(
        b"".join(
            [
                line(id=1),
                b'{"text": ' + b"[" * 10_000 + b"\n",
                line(text="x" * MEGABYTE),
                b'{"text": "\xff"}\n',
                line(id="\x00nul", text="a\x00b"),
                b'{"id": "s", "text": "\\ud83d", "sent_at": 1, "channel": "#hostile"}\n',
                line(sent_at="0000-00-00"),
                line(id="i" * 257),
                b"\x1b[2J\x1b]0;owned\x07\xe2\x80\xae\n",
                b"\n" * 1000,
                line(id=2),
                b'{"text": "cut in a letter \xe6\x97',
            ]
        )
    )
    done = winnow.run("import", str(path))
    assert done.code == 1
    told = [text.removeprefix(f"{tmp_path}/hostile\\x1b[31m.jsonl:") for text in done.err.splitlines()]
    assert [text.split(":")[0] for text in told] == ["2", "3", "4", "7", "8", "9", "1011"]
    assert "4 messages stored" in done.out
    assert "not messages: 1,000 blank line" in done.out
    assert "lines that could not be read: 7" in done.out
    assert not set(done.err + done.out) & set("\x1b\x07\u202e")
    assert [row[0] for row in stored(winnow, "#hostile")] == ["1", "\ufffdnul", "s", "2"]
    again = winnow.run("import", "--json", str(path))
    assert (again.code, again.json["stored"], again.json["known"], again.json["differing"]) == (1, 0, 4, 0)


def test_the_same_id_with_another_text_is_told_and_the_first_stays(
    winnow: Program, running: Up, tmp_path: Path
) -> None:
    path = tmp_path / "twice.jsonl"
    between = b"".join(line(id=f"n{number}", channel="#twice") for number in range(1200))  # more than one transaction
    path.write_bytes(
        line(id=1, text="first", channel="#twice")
        + line(id=1, text="second", channel="#twice")
        + line(id=1, text="first", channel="#twice")
        + between
        + line(id=1, text="third", channel="#twice")
    )
    done = winnow.run("import", str(path))
    assert done.code == 1
    assert [text.split(":")[1] for text in done.err.splitlines()] == ["2", "1204"]
    assert f"{path}:2: its identity 1 in #twice has another text already, which stays: second" in done.err
    assert "1,201 messages stored, 1 known already" in done.out
    assert "messages known with another text, which stays: 2" in done.out
    report = winnow.run("import", "--json", str(path)).json
    assert (report["messages"], report["stored"], report["known"], report["differing"]) == (1204, 0, 1202, 2)
    assert stored(winnow, "#twice")[0] == ["1", "first"]


def test_sql_and_html_in_every_field_are_words(winnow: Program, running: Up, tmp_path: Path) -> None:
    path = tmp_path / "sql.jsonl"
    fields = ("text", "author", "channel", "id", "reply_to", "thread", "source")
    path.write_bytes(line(**dict.fromkeys(fields, SQL_AND_HTML)))
    done = winnow.run("import", str(path), "--channel", SQL_AND_HTML)
    assert (done.code, done.err) == (0, "")
    row = winnow.sql(
        "SELECT text, author, channel, external_id, reply_to, thread, source FROM messages ORDER BY id DESC LIMIT 1"
    )
    assert row == [[SQL_AND_HTML] * 7]
    path = tmp_path / "2026-01-31.log"
    path.write_text(f"[10:00] <{SQL_AND_HTML[:5]}> {SQL_AND_HTML}\n")
    assert winnow.run("import", str(path), "--channel", "#sql").code == 0
    assert stored(winnow, "#sql")[0][1] == SQL_AND_HTML


def test_a_glob_with_every_kind_of_bad_file_stores_the_good_ones(winnow: Program, running: Up, tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(line(id="a", channel="#glob"))
    (tmp_path / "z.jsonl").write_bytes(line(id="z", channel="#glob"))
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    (tmp_path / "zero").symlink_to("/dev/zero")
    (tmp_path / "folder").mkdir()
    (tmp_path / "utf16.log").write_bytes("[10:00] <ada> hi\n".encode("utf-16-le"))
    (tmp_path / "no\ndate\x1b[1m.log").write_text("[10:00] <ada> hi\n")
    (tmp_path / os.fsdecode(b"\xff.jsonl")).write_bytes(line(id="ff", channel="#glob"))
    (tmp_path / "data").write_bytes(b"SQLite format 3\x00" + bytes(1000))
    done = winnow.run("import", *(str(path) for path in sorted(tmp_path.iterdir())))
    assert done.code == 2
    assert len(done.err.splitlines()) == 7
    assert all(text.startswith(f"error: {tmp_path}/") for text in done.err.splitlines())
    assert "\x1b" not in done.err
    assert "3 files: 3 messages stored" in done.out
    assert sorted(row[0] for row in stored(winnow, "#glob")) == ["a", "ff", "z"]


def peak_megabytes(running: Running) -> float:
    """The most memory the process has held; 0 once it has gone."""
    with suppress(OSError):
        for row in Path(f"/proc/{running.pid}/status").read_text().splitlines():
            if row.startswith("VmHWM:"):
                return int(row.split()[1]) / 1024
    return 0.0


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux, to measure the memory of a process")
def test_memory_does_not_grow_with_the_file(winnow: Program, running: Up, tmp_path: Path) -> None:
    peaks = []
    for number, megabytes in enumerate((1, 60)):
        path = tmp_path / f"{number}.jsonl"
        with path.open("wb") as file:
            for part in range(megabytes * 2):
                file.write(line(id=f"{number}.{part}", text="words " * 16_000, channel="#large"))  # 96 kB each
                file.write(b'{"text": "%b"}\n' % (b"y" * 400_000))
        started, peak = winnow.start("import", "--json", str(path)), 0.0
        while started.code is None:
            peak = max(peak, peak_megabytes(started))
            time.sleep(0.02)
        assert started.code == 1
        peaks.append(peak)
    assert winnow.sql("SELECT count(*) FROM messages WHERE channel = '#large'") == [["122"]]
    assert 0 < peaks[1] < peaks[0] + 40, peaks


def test_a_file_that_somebody_is_writing_ends(winnow: Program, running: Up, tmp_path: Path) -> None:
    path, stop = tmp_path / "2026-01-31.log", threading.Event()
    path.write_text("[10:00] <ada> first\n" * 10)

    def write() -> None:
        with path.open("a") as file:
            while not stop.is_set():
                file.write("[10:01] <lin> and on and on it goes\n")
                file.flush()
                time.sleep(0.002)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        done = winnow.run("import", str(path), "--channel", "#written", "--json")
    finally:
        stop.set()
        writer.join()
    assert (done.code, done.json["broken"]) == (0, 0)
    assert 10 <= done.json["stored"] == done.json["messages"]
    rest = winnow.run("import", str(path), "--channel", "#written", "--json").json
    assert (rest["known"], rest["differing"], rest["broken"]) == (done.json["stored"], 0, 0)
    assert done.json["stored"] + rest["stored"] == path.read_text().count("\n")


def test_ctrl_c_is_heard_in_the_midst_of_junk(winnow: Program, running: Up, tmp_path: Path) -> None:
    path = tmp_path / "2026-01-31.log"
    path.write_bytes(b"[10:00] <ada> first\n" + b"\njunk that nobody said\n" * 2_000_000)
    started = winnow.start("import", str(path), "--channel", "#junk")
    process = psutil.Process(started.pid)
    eventually(lambda: any(str(path) == file.path for file in process.open_files()), "the file is being read")
    began = time.monotonic()
    assert started.end(signal.SIGINT) == 130
    assert time.monotonic() - began < 10
    assert "Traceback" not in started.output
