"""Chats of any length in every form that is imported: a writer for each, of messages that nobody said."""

from __future__ import annotations

import csv
import json
import zipfile
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

START = datetime(2024, 1, 1, 8, tzinfo=UTC)
PEOPLE = ("ada", "grace", "lin", "mary", "edsger", "alan", "barbara", "ken")
TALK = (
    "the build is red again since the cache was moved and nobody knows why it happens only at night so we decided to "
    "look at the index first then write down what we found before the release on friday"
)
WORDS = tuple(TALK.split())
A_DAY = 2_000  # messages


class Said(NamedTuple):
    """One made-up message: its number from 1, when, by whom, what."""

    number: int
    at: datetime
    author: int
    text: str


def said(count: int) -> Iterator[Said]:
    """`count` messages, all different, of some 90 characters."""
    for number in range(1, count + 1):
        shift = number * 7 % len(WORDS)
        words = " ".join([*WORDS[shift:], *WORDS[:shift]][: 12 + number % 9])
        at = START + timedelta(days=number // A_DAY, seconds=number % A_DAY * 20)
        yield Said(number, at, number * 5 % len(PEOPLE), f"{words} {number}")


def write_jsonl(path: Path, count: int) -> None:
    """JSON Lines."""
    with path.open("w") as file:
        for one in said(count):
            fields = {"id": one.number, "sent_at": one.at.isoformat(), "author": PEOPLE[one.author], "channel": "made"}
            file.write(json.dumps({**fields, "text": one.text}) + "\n")


def write_irc(path: Path, count: int) -> None:
    """An IRC log with dates."""
    with path.open("w") as file:
        for one in said(count):
            file.write(f"[{one.at:%Y-%m-%d %H:%M:%S}] <{PEOPLE[one.author]}> {one.text}\n")


def write_telegram(path: Path, count: int) -> None:
    """What Telegram Desktop exports, with every text twice and indented by one, as it does."""
    with path.open("w") as file:
        file.write('{\n "name": "made",\n "type": "private_supergroup",\n "id": 1000000001,\n "messages": [')
        for one in said(count):
            entry = {
                "id": one.number,
                "type": "message",
                "date": f"{one.at:%Y-%m-%dT%H:%M:%S}",
                "date_unixtime": str(int(one.at.timestamp())),
                "from": PEOPLE[one.author],
                "from_id": f"user{one.author}",
                "reply_to_message_id": max(1, one.number - 3),
                "text": one.text,
                "text_entities": [{"type": "plain", "text": one.text}],
            }
            file.write(f"{',' if one.number > 1 else ''}\n  {json.dumps(entry, indent=1)}")
        file.write("\n ]\n}\n")


def write_slack(path: Path, count: int) -> None:
    """A Slack archive with a file a day."""
    people = [{"id": f"U{number}", "profile": {"display_name": name}} for number, name in enumerate(PEOPLE)]
    messages = said(count)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("users.json", json.dumps(people))
        archive.writestr("channels.json", json.dumps([{"id": "C1", "name": "made"}]))
        while day := list(islice(messages, A_DAY)):
            entries = [
                {
                    "type": "message",
                    "user": f"U{one.author}",
                    "text": f"<@U1> {one.text}",
                    "ts": f"{one.at.timestamp():.0f}.{one.number % 1_000_000:06}",
                    "team": "T1",
                }
                for one in day
            ]
            archive.writestr(f"made/{day[0].at:%Y-%m-%d}.json", json.dumps(entries, indent=4))


def write_whatsapp(path: Path, count: int) -> None:
    """A chat as Android exports it."""
    with path.open("w") as file:
        file.writelines(f"{one.at:%d/%m/%Y, %H:%M} - {PEOPLE[one.author]}: {one.text}\n" for one in said(count))


def write_signal(path: Path, count: int) -> None:
    """A chat as Signal's texts are."""
    with path.open("w") as file:
        file.writelines(f"[{one.at:%Y-%m-%d, %H:%M}] {PEOPLE[one.author]}: {one.text}\n" for one in said(count))


def write_csv(path: Path, count: int) -> None:
    """A table with a header."""
    with path.open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["id", "channel", "author", "sent_at", "text"])
        table.writerows([one.number, "made", PEOPLE[one.author], one.at.isoformat(), one.text] for one in said(count))


def write_mbox(path: Path, count: int) -> None:
    """A mailing list, each mail an answer to the one before it."""
    with path.open("w") as file:
        for one in said(count):
            name = PEOPLE[one.author]
            address = f"{name.lower()}@example.org"
            file.write(
                f"From {address} {one.at:%a %b %d %H:%M:%S %Y}\nFrom: {name} <{address}>\n"
                f"Date: {format_datetime(one.at)}\nMessage-ID: <{one.number}@example.org>\n"
                f"In-Reply-To: <{one.number - 1}@example.org>\nSubject: Re: made\n\n{one.text}\n\n"
            )


# A writer of each format, by the name that recognising it must give.
WRITERS: dict[str, Callable[[Path, int], None]] = {
    "telegram": write_telegram,
    "slack": write_slack,
    "irc": write_irc,
    "jsonl": write_jsonl,
    "whatsapp": write_whatsapp,
    "signal": write_signal,
    "csv": write_csv,
    "mbox": write_mbox,
}
