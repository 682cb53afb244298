"""Chats of Signal are read from both texts that programs write of them."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from winnow.domain.messages import IncomingMessage
from winnow.sources.base import Skipped
from winnow.sources.signal import DELETED, NOTICE, read_signal

Chat = list[tuple[str, list[str], int]]
FIXTURE = Path(__file__).parents[1] / "fixtures" / "whatsapp" / "signal.txt"


def read(path: Path) -> tuple[list[IncomingMessage], list[Skipped]]:
    reading = read_signal(path)
    items = list(reading)
    assert reading.tally.balanced
    messages = [item for item in items if isinstance(item, IncomingMessage)]
    return messages, [item for item in items if isinstance(item, Skipped)]


def test_a_real_export_is_read() -> None:
    messages, skipped = read(FIXTURE)
    assert [(one.sent_at.isoformat()[:16], one.author, one.text) for one in messages] == [
        ("2019-12-24T12:23", "Jane Doe", "Hello John!"),
        ("2020-01-17T21:49", "John Doe", "Hello\nJane!"),
    ]
    assert skipped == []


@pytest.mark.parametrize(
    ("said", "text", "details"),
    [
        ("hello  \n", "hello", {}),
        ("hello  \n(- Ana: 👍, Bo Li: ❤️ -)\n", "hello", {"reactions": 2}),
        ("\n\n> first\n> second\n\nan answer  \n", "an answer", {"quote": "first\nsecond"}),
        ("look  ![a b.jpg](./media/a%20b.jpg)  \n", "look", {"media": "photo"}),
        ("[voice.m4a](./media/voice.m4a)  \n", "", {"media": "voice"}),
        ("  \n(( 😀 ))\n", "", {"media": "sticker"}),
        ("Missed voice call  \n", "Missed voice call", {"service": "call"}),
        ("a [link](https://example.org) (- no -)\n", "a [link](https://example.org) (- no -)", {}),
    ],
)
def test_what_markdown_says_beside_the_text_is_taken_out(
    tmp_path: Path, said: str, text: str, details: dict[str, object]
) -> None:
    path = tmp_path / "chat.md"
    path.write_text(f"[2019-05-29 15:04:05] Me: {said}[2019-05-29 15:04:06] Bo: x  \n")
    messages, _ = read(path)
    assert (messages[0].text, messages[0].details, messages[0].author) == (text, details, "Me")


def test_the_text_of_a_backup_is_read(tmp_path: Path) -> None:
    path = tmp_path / "Team (_id7).txt"
    path.write_text(
        "[Dec 24, 2019 12:23:05] <Ana> hello\nthere\n"
        '[Dec 24, 2019 12:24:05] *** <Bo> sent file "a.jpg"\n'
        "[Dec 24, 2019 12:24:05] <Bo> look (Ana: 👍; Cy: 👍)\n"
        "[Dec 24, 2019 12:24:06] *** Bo joined the group\n"
        "[Feb 31, 2019 12:24:06] <Bo> never\n"
        "[Dec 24, 2019 12:25:00] <Bo> f(a: 1)\n"
    )
    messages, skipped = read(path)
    assert [(one.author, one.text, one.details, one.channel) for one in messages] == [
        ("Ana", "hello\nthere", {}, "Team"),
        ("Bo", "a.jpg", {"media": "photo"}, "Team"),
        ("Bo", "look", {"reactions": 2}, "Team"),
        ("Bo", "f(a: 1)", {}, "Team"),
    ]
    assert [(told.line, told.reason) for told in skipped] == [
        (5, NOTICE),
        (6, "[Feb 31, 2019 12:24:06] is no time that there is"),
    ]


def test_what_was_deleted_is_counted(tmp_path: Path) -> None:
    path = tmp_path / "chat.md"
    path.write_text("[2019-05-29 15:04:05] Me: (This message was deleted)\n")
    messages, skipped = read(path)
    assert (messages, [told.reason for told in skipped]) == ([], [DELETED])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("signal")


@pytest.mark.parametrize("form", ["[{:%Y-%m-%d %H:%M:%S}] {}: {}", "[{:%b %d, %Y %H:%M:%S}] <{}> {}"])
@settings(deadline=None, max_examples=50)
@given(
    said=st.lists(
        st.tuples(
            st.sampled_from(["Ana", "Bo Li", "Ünal 🤓"]),
            st.lists(st.text(st.sampled_from("abc äж日:-/.,12"), max_size=20).map(str.strip), min_size=1, max_size=3),
            st.integers(0, 90_000),
        ),
        max_size=12,
    )
)
def test_a_chat_written_in_any_form_is_read_back(
    folder: Path, form: str, said: list[tuple[str, list[str], int]]
) -> None:
    moment, lines, expected = dt.datetime(2019, 12, 30, 22, 10, 7, tzinfo=dt.UTC), [], []
    for author, words, seconds in said:
        moment += dt.timedelta(seconds=seconds)
        lines.append(form.format(moment, author, "\n".join(words)))
        expected.append((moment, author, "\n".join(words).rstrip("\n")))
    path = folder / "chat.md"
    path.write_text("\n".join(lines))
    messages, skipped = read(path)
    assert [(one.sent_at, one.author, one.text) for one in messages] == expected
    assert skipped == []
