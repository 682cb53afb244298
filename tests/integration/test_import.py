"""An import stores each message once, goes on where it was interrupted, and counts what became of every one."""

from __future__ import annotations

import asyncio
import json
import os
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from winnow.errors import DatabaseUnavailable
from winnow.pipeline import import_files as importing
from winnow.pipeline.import_files import How, import_files, survey_files
from winnow.pipeline.ingest import Ingested, ingest

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import asyncpg

    from winnow.domain.messages import IncomingMessage
    from winnow.pipeline.import_report import ImportReport
    from winnow.storage.unit_of_work import UnitsOfWork

HOW = How(timezone=UTC)
LINE: dict[str, Any] = {"sent_at": "2026-01-31T09:30:00Z", "author": "ada", "channel": "#ops"}
PARTS = 5


@pytest.fixture(autouse=True)
def _small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importing, "CHUNK", 10)


def written(folder: Path, *lines: dict[str, Any] | str, name: str = "chat.jsonl") -> Path:
    path = folder / name
    path.write_text("".join(f"{one if isinstance(one, str) else json.dumps({**LINE, **one})}\n" for one in lines))
    return path


def many(folder: Path, count: int = PARTS * 10) -> Path:
    return written(folder, *({"id": number, "text": f"words {number}"} for number in range(count)))


async def run(units: UnitsOfWork, *paths: Path, how: How = HOW) -> ImportReport:
    report = await import_files(units, paths, how, tick=lambda _: None)
    fates = (
        report.stored,
        report.changed,
        report.known,
        report.differing,
        report.off,
        report.forgotten,
        report.resumed,
    )
    assert report.messages == sum(fates)
    return report


async def rows(sql: asyncpg.Connection) -> list[int]:
    return [row["items"] for row in await sql.fetch("SELECT items FROM import_progress")]


class Interrupted:
    """Counts what the database is asked about; the import is interrupted at a part."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.at: int | None = None
        self.error: type[BaseException] = asyncio.CancelledError
        self.asked: list[str] = []
        original = ingest

        async def asked(units: UnitsOfWork, messages: Sequence[IncomingMessage], **given: Any) -> Ingested:
            if self.at is not None and len(self.asked) >= self.at:
                raise self.error
            self.asked += [message.external_id for message in messages]
            return await original(units, messages, **given)

        monkeypatch.setattr(importing, "ingest", asked)


@pytest.fixture
def interrupted(monkeypatch: pytest.MonkeyPatch) -> Interrupted:
    return Interrupted(monkeypatch)


@pytest.mark.parametrize("error", [asyncio.CancelledError, DatabaseUnavailable])
async def test_an_interrupted_import_goes_on_without_asking_about_what_is_stored(
    units: UnitsOfWork, sql: asyncpg.Connection, interrupted: Interrupted, tmp_path: Path, error: type[BaseException]
) -> None:
    path = many(tmp_path)
    interrupted.at, interrupted.error = 30, error
    with pytest.raises(error):
        await run(units, path)
    assert await rows(sql) == [30]
    interrupted.at, interrupted.asked = None, []
    report = await run(units, path)
    assert interrupted.asked == [str(number) for number in range(30, 50)]
    assert (report.stored, report.known, report.resumed) == (20, 0, 30)
    assert await rows(sql) == []
    assert await sql.fetchval("SELECT count(DISTINCT external_id) FROM messages") == 50
    interrupted.asked = []
    assert (await run(units, path)).known == 50
    assert len(interrupted.asked) == 50


@pytest.mark.parametrize("change", ["content", "time", "option", "name"])
async def test_only_the_same_file_goes_on_in_the_middle(
    units: UnitsOfWork, interrupted: Interrupted, tmp_path: Path, change: str
) -> None:
    path, how = many(tmp_path), HOW
    interrupted.at = 30
    with pytest.raises(asyncio.CancelledError):
        await run(units, path)
    interrupted.at, interrupted.asked = None, []
    match change:
        case "content":
            state = path.stat()
            path.write_text(path.read_text().replace('words 1"', 'WORDS 1"'))
            os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))
        case "time":
            os.utime(path, (1, 1))
        case "option":
            how = How(timezone=UTC, channel="#other")
        case _:
            path = path.rename(tmp_path / "renamed.jsonl")
    report = await run(units, path, how=how)
    assert len(interrupted.asked) == (20 if change == "name" else 50)
    assert report.stored == 20


async def test_of_two_imports_of_one_file_the_one_that_is_further_tells(
    units: UnitsOfWork, sql: asyncpg.Connection, tmp_path: Path
) -> None:
    path = many(tmp_path)
    both = await asyncio.gather(run(units, path), run(units, path))
    assert sum(report.stored for report in both) == 50
    assert await sql.fetchval("SELECT count(*) FROM messages") == 50
    assert await rows(sql) in ([], [10 * PARTS])


async def test_rows_of_imports_that_nobody_comes_back_to_do_not_stay(
    units: UnitsOfWork, sql: asyncpg.Connection, tmp_path: Path
) -> None:
    await sql.execute(
        "INSERT INTO import_progress VALUES ('\\x01', 7, now() - interval '91 days'), ('\\x02', 8, now())"
    )
    await run(units, many(tmp_path))
    assert await rows(sql) == [8]


async def test_every_fate_is_counted(units: UnitsOfWork, sql: asyncpg.Connection, tmp_path: Path) -> None:
    edit = {"id": 1, "text": "edited", "edited_at": "2026-01-31T10:00:00Z"}
    await run(units, written(tmp_path, {"id": 1, "text": "one"}, {"id": 2, "text": "two"}))
    await sql.execute("INSERT INTO channels (source, channel, mode) VALUES ('jsonl', '#off', 'off')")
    await sql.execute("INSERT INTO forgotten_messages VALUES (winnow_identity('jsonl', '#ops', '3'))")
    report = await run(
        units,
        written(
            tmp_path,
            {"id": 2, "text": "two"},
            {"id": 2, "text": "another"},
            edit,
            {"id": 3, "text": "gone"},
            {"id": 4, "text": "x", "channel": "#off"},
            {"id": 5, "text": " "},
            "",
            "broken",
        ),
    )
    fates = (report.stored, report.changed, report.known, report.differing, report.off, report.forgotten)
    assert fates == (1, 1, 1, 1, 1, 1)
    assert (report.blank, report.broken, dict(report.not_messages)) == (1, 1, {"blank line": 1})
    assert [(item.line, item.unit) for _, item in report.first_broken] == [(8, "line"), (2, "line")]


async def test_a_clock_that_runs_ahead_is_told_and_its_messages_left_out(
    units: UnitsOfWork, sql: asyncpg.Connection, tmp_path: Path
) -> None:
    now = datetime.now(UTC)
    lines = [
        {"id": 1, "text": "an hour ahead", "sent_at": (now + timedelta(hours=1)).isoformat()},
        {"id": 2, "text": "of 2900", "sent_at": "2900-01-01T00:00:00Z"},
        {"id": 3, "text": "edited in 2900", "edited_at": "2900-01-01T00:00:00Z"},
    ]
    report = await run(units, written(tmp_path, *lines))
    assert (report.stored, report.broken) == (1, 2)
    assert [item.reason.split(",")[0] for _, item in report.first_broken] == [
        "it says it was sent on 2900-01-01",
        "it says it was edited on 2900-01-01",
    ]
    assert await sql.fetchval("SELECT text FROM messages") == "an hour ahead"


async def test_a_dry_run_reads_everything_and_stores_nothing(
    units: UnitsOfWork, sql: asyncpg.Connection, tmp_path: Path
) -> None:
    await run(units, written(tmp_path, {"id": 1, "text": "one"}))
    lines = [{"id": n, "text": "x", "author": f"a{n % 3}", "channel": f"#{n % 2}"} for n in range(30)]
    path = written(
        tmp_path, {"id": 1, "text": "one"}, *lines, "broken", {"id": 9, "text": "y", "sent_at": "2026-02-01T00:00:00Z"}
    )
    for asked, known in ((units, 1), (None, 0)):
        report = await survey_files(asked, [path, tmp_path / "missing"], HOW, tick=lambda _: None)
        assert (report.messages, report.stored, report.known, report.broken, len(report.refused)) == (
            32,
            0,
            known,
            1,
            1,
        )
        assert dict(report.survey.channels) == {"#0": 15, "#1": 15, "#ops": 2}
        assert (report.survey.authors, report.survey.last) == (4, datetime(2026, 2, 1, tzinfo=UTC))
    assert await sql.fetchval("SELECT count(*) FROM messages") == 1
    assert await rows(sql) == []


async def test_how_far_it_is_goes_up_to_all_of_it(units: UnitsOfWork, tmp_path: Path) -> None:
    shares: list[float] = []
    paths = [many(tmp_path), written(tmp_path, {"id": "x", "text": "other"}, name="b.jsonl"), tmp_path / "missing"]
    await import_files(units, paths, HOW, tick=lambda report: shares.append(report.bytes / report.size))
    assert shares == sorted(shares)
    assert len({share for share in shares if 0 < share < 1}) >= PARTS
    assert shares[-1] == 1


async def test_ten_thousand_channels_in_one_file_are_all_named(
    units: UnitsOfWork, sql: asyncpg.Connection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importing, "CHUNK", 500)
    chats = [{"name": f"c{n}", "type": "private_group", "id": n, "messages": [
        {"id": 1, "type": "message", "date_unixtime": "1769936400", "from": "Ann", "from_id": "user1", "text": "x"}
    ]} for n in range(1, 10_001)]  # fmt: skip
    path = tmp_path / "result.json"
    path.write_text(json.dumps({"about": "", "chats": {"list": chats}}))
    report = await run(units, path)
    assert (report.stored, len(report.survey.channels), report.survey.authors) == (10_000, 10_000, 1)
    assert await sql.fetchval("SELECT count(*) FROM channels") == 10_000
