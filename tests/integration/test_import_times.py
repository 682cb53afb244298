"""Times that were imported in a wrong zone are put right by whoever imports the file again and names the zone."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

import pytest

from winnow.pipeline.import_files import How, import_files

if TYPE_CHECKING:
    from pathlib import Path

    import asyncpg

    from winnow.pipeline.import_report import ImportReport
    from winnow.storage.unit_of_work import UnitsOfWork

BERLIN = ZoneInfo("Europe/Berlin")
FILES = {
    "_chat.txt": "[31.01.26, 09:30:00] Ada: we take the old format\n[31.01.26, 09:31:00] Bob: fine\n",
    "ops.log": "[2026-01-31 09:30:00] <ada> we take the old format\n[2026-01-31 09:31:00] <bob> fine\n",
    "chat.csv": "date,author,text\n2026-01-31 09:30:00,ada,we take the old format\n2026-01-31 09:31:00,bob,fine\n",
    "list.mbox": (
        "From ada@x.org Sat Jan 31 09:30:00 2026\nFrom: Ada <ada@x.org>\nDate: Sat, 31 Jan 2026 09:30:00\n"
        "Subject: format\n\nwe take the old format\n\n"
        "From bob@x.org Sat Jan 31 09:31:00 2026\nFrom: Bob <bob@x.org>\nDate: Sat, 31 Jan 2026 09:31:00\n"
        "Subject: other\n\nfine\n"
    ),
}
WRITTEN = [datetime(2026, 1, 31, 9, 30), datetime(2026, 1, 31, 9, 31)]  # noqa: DTZ001 - as a clock shows it


async def run(units: UnitsOfWork, path: Path, zone: str | None) -> ImportReport:
    how = How(timezone=ZoneInfo(zone or "UTC"), zone_named=zone is not None)
    return await import_files(units, [path], how, tick=lambda _: None)


async def moments(sql: asyncpg.Connection) -> list[datetime]:
    return [row["sent_at"] for row in await sql.fetch("SELECT sent_at FROM messages ORDER BY sent_at")]


@pytest.mark.parametrize("name", FILES)
async def test_the_zone_that_is_named_later_holds(
    units: UnitsOfWork, sql: asyncpg.Connection, tmp_path: Path, name: str
) -> None:
    path = tmp_path / name
    path.write_text(FILES[name])
    assert (await run(units, path, None)).stored == 2
    assert await moments(sql) == [one.replace(tzinfo=UTC) for one in WRITTEN]
    report = await run(units, path, "Europe/Berlin")
    assert (report.stored, report.known, report.retimed) == (0, 2, 2)
    assert await moments(sql) == [one.replace(tzinfo=BERLIN) for one in WRITTEN]
    assert (await run(units, path, "Europe/Berlin")).retimed == 0
    assert (await run(units, path, None)).retimed == 0
    assert await moments(sql) == [one.replace(tzinfo=BERLIN) for one in WRITTEN]


async def test_times_that_name_their_zone_or_are_far_away_stay(
    units: UnitsOfWork, sql: asyncpg.Connection, tmp_path: Path
) -> None:
    path = tmp_path / "chat.csv"
    path.write_text("id,date,author,text\n1,2026-01-31T09:30:00Z,ada,exact\n2,2026-01-31 09:30:00,ada,far\n")
    await run(units, path, None)
    await sql.execute("UPDATE messages SET sent_at = sent_at - interval '3 days'")
    before = await moments(sql)
    assert (await run(units, path, "Asia/Tokyo")).retimed == 0
    assert await moments(sql) == before


async def test_what_was_read_out_of_them_follows(units: UnitsOfWork, sql: asyncpg.Connection, tmp_path: Path) -> None:
    path = tmp_path / "_chat.txt"
    path.write_text(FILES["_chat.txt"])
    await run(units, path, None)
    first, second = [row["id"] for row in await sql.fetch("SELECT id FROM messages ORDER BY sent_at")]
    old, new, unproven = [
        await sql.fetchval(
            "INSERT INTO atoms (type, title, content, confidence, said_at) VALUES ('decision', 't', $1, 0.9, $2) "
            "RETURNING id",
            f"atom {number}",
            moment.replace(tzinfo=UTC),
        )
        for number, moment in enumerate([*WRITTEN, WRITTEN[1]])
    ]
    for atom, message in ((old, first), (old, second), (new, second)):
        await sql.execute("INSERT INTO atom_evidence (atom_id, message_id, start_char, end_char, quote) "
                          "VALUES ($1, $2, 0, 2, 'xx')", atom, message)  # fmt: skip
    await sql.execute("INSERT INTO atom_claims VALUES ($1, 0, $2, 'xx')", unproven, second)
    await sql.execute("UPDATE atoms SET superseded_by = $1, valid_until = $2 WHERE id = $3",
                      new, WRITTEN[1].replace(tzinfo=UTC), old)  # fmt: skip
    await run(units, path, "Europe/Berlin")
    hour = timedelta(hours=1)
    rows = await sql.fetch("SELECT said_at, valid_until FROM atoms ORDER BY id")
    was = [one.replace(tzinfo=UTC) for one in WRITTEN]
    assert [row["said_at"] for row in rows] == [was[0] - hour, was[1] - hour, was[1] - hour]
    assert [row["valid_until"] for row in rows] == [was[1] - hour, None, None]
