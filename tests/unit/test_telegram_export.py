"""An export of Telegram Desktop gives the messages that the Bot API would have given, and tells everything else."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from winnow.domain.messages import IncomingMessage
from winnow.sources.base import Skipped, Tally
from winnow.sources.recognise import open_source
from winnow.sources.telegram import read_update
from winnow.sources.telegram_export import read_telegram_export

FIXTURES = Path(__file__).parents[1] / "fixtures" / "telegram"
SAID: dict[str, Any] = {
    "id": 7,
    "type": "message",
    "date_unixtime": "1769936400",
    "from": "Ann",
    "from_id": "user5",
    "text": "hi",
}
MOMENT = datetime(2026, 2, 1, 9, tzinfo=UTC)


def read(path: Path, **given_too: Any) -> tuple[list[IncomingMessage], list[Skipped], Tally]:
    reading = read_telegram_export(path, **given_too)
    items = list(reading)
    assert reading.tally.balanced
    assert (reading.unit, reading.tally.bytes) == ("message", path.stat().st_size)
    messages = [item for item in items if isinstance(item, IncomingMessage)]
    return messages, [item for item in items if isinstance(item, Skipped)], reading.tally


def export(folder: Path, *entries: Any, kind: str = "private_supergroup", **chat: Any) -> Path:
    path = folder / "result.json"
    path.write_text(json.dumps({"name": "Team", "type": kind, "id": 1292077344, **chat, "messages": entries}, indent=1))
    return path


def one(folder: Path, **fields: Any) -> IncomingMessage:
    (message,), skipped, _ = read(export(folder, {**SAID, **fields}))
    assert skipped == []
    return message


@pytest.mark.parametrize(
    ("name", "messages", "noise", "channel"),
    [
        ("tg2md-real-private_channel", 13, 6, "-1001292077344"),
        ("tkonverter-allfields", 14, 73, "export:10001"),
        ("vorot93-account-export", 3, 1, "export:-123456"),
        ("vorot93-voice-export", 0, 1, ""),
    ],
)
def test_every_real_export_is_read_whole(name: str, messages: int, noise: int, channel: str) -> None:
    path = FIXTURES / f"{name}.json"
    found, _, tally = read(path)
    assert (len(found), tally.noise.total(), tally.broken) == (messages, noise, 0)
    assert {message.channel for message in found} <= {channel}
    assert open_source(path).format_name == "telegram"


def test_a_real_channel_is_as_it_was() -> None:
    messages, _, tally = read(FIXTURES / "tg2md-real-private_channel.json", timezone=ZoneInfo("Europe/Berlin"))
    by_id = {message.external_id: message for message in messages}
    assert by_id["5"] == IncomingMessage(
        source="telegram",
        channel="-1001292077344",
        external_id="5",
        author="test",
        text="italic\n\nbold\n\nunderline\n\nstrikethrough\n\nmonospace",
        sent_at=datetime(2020, 11, 12, 11, 58, 18, tzinfo=UTC),
        author_id="channel1292077344",
        channel_title="test",
        edited_at=datetime(2020, 11, 12, 12, 3, tzinfo=UTC),
    )
    assert by_id["14"].text == "text link\n\nexample.com\n\nexample@example.com\nhttp://example.com/"
    assert by_id["22"].details == {"media": "document"}
    assert tally.noise["photo without words"] == 3


def test_an_account_has_many_chats_and_some_that_were_left(tmp_path: Path) -> None:
    chats = [
        {"name": None, "type": "personal_chat", "id": 42, "messages": [{**SAID, "id": 1}]},
        {"type": "saved_messages", "id": 5, "messages": [{**SAID, "id": 2}]},
        {"name": "Old", "type": "private_group", "id": 99, "messages": [{**SAID, "id": 3}, {**SAID, "id": 4}]},
    ]
    left = [{"name": "Gone", "type": "public_channel", "id": 1000000001, "messages": [{**SAID, "id": 5}]}]
    path = tmp_path / "result.json"
    about = {"about": "x", "personal_information": {"user_id": 5}, "contacts": {"list": [{"user_id": 1, "date": "x"}]}}
    path.write_text(json.dumps({**about, "chats": {"about": "x", "list": chats}, "left_chats": {"list": left}}))
    messages, _, _ = read(path)
    assert [(one.channel, one.channel_title) for one in messages] == [
        ("export:42", None),
        ("export:5", "Saved Messages"),
        ("export:-99", "Old"),
        ("export:-99", "Old"),
        ("-1001000000001", "Gone"),
    ]


def test_by_the_bot_api_and_by_an_export_a_message_of_a_supergroup_is_the_same(tmp_path: Path) -> None:
    said = {"message_id": 7, "date": 1769936400, "chat": {"id": -1001292077344, "title": "Team", "type": "supergroup"}}
    said |= {"from": {"id": 5, "is_bot": False, "first_name": "Ann"}, "text": "see this"}
    link = {"type": "text_link", "offset": 4, "length": 4, "url": "https://a.example/x"}
    live = read_update({"update_id": 1, "message": said | {"entities": [link]}})
    parts = ["see ", {"type": "text_link", "text": "this", "href": "https://a.example/x"}]
    assert one(tmp_path, text=parts) == live


@pytest.mark.parametrize("kind", ["private_group", "personal_chat", "bot_chat", "saved_messages"])
def test_where_telegram_numbers_for_each_account_apart_nothing_is_taken_for_a_bot_s(tmp_path: Path, kind: str) -> None:
    (exported,), _, _ = read(export(tmp_path, SAID, kind=kind, id=42))
    for chat in (42, -42):
        live = read_update({"message": {"message_id": 7, "date": 1, "chat": {"id": chat}, "text": "another"}})
        assert isinstance(live, IncomingMessage)
        assert exported.channel != live.channel


def test_moments_are_utc_and_times_without_one_are_of_the_computer(tmp_path: Path) -> None:
    assert one(tmp_path, date="2020-01-01T00:00:00").sent_at == MOMENT
    entry = {**SAID, "date": "2026-07-01T10:00:00"}
    del entry["date_unixtime"]
    (message,), _, tally = read(export(tmp_path, entry), timezone=ZoneInfo("Europe/Berlin"))
    assert message.sent_at.isoformat() == "2026-07-01T10:00:00+02:00"
    assert "read as Europe/Berlin" in " ".join(tally.notes)
    assert read(export(tmp_path, SAID))[2].notes == []


def test_text_comes_in_parts_and_hidden_links_are_found_below_it(tmp_path: Path) -> None:
    hidden = {"type": "text_link", "text": "this", "href": "https://a.example/x"}
    parts = ["see ", hidden, {"type": "bold", "text": "!"}]
    assert one(tmp_path, text=parts).text == "see this!\nhttps://a.example/x"
    link = {"type": "link", "text": "https://a.example/x"}
    assert one(tmp_path, text=[link, {**hidden, "text": "there"}]).text == "https://a.example/xthere"
    assert one(tmp_path, text="", text_entities=[{"type": "plain", "text": "new form"}]).text == "new form"


def test_what_an_export_says_beside_the_text_is_kept(tmp_path: Path) -> None:
    message = one(
        tmp_path,
        edited_unixtime="1769936460",
        reply_to_message_id=3,
        forwarded_from="Lin",
        photo="photos/1.jpg",
        reactions=[{"count": 2}, {"count": 3}, {"count": -9}, {"count": "x"}, None],
    )
    assert message.edited_at == datetime(2026, 2, 1, 9, 1, tzinfo=UTC)
    assert (message.reply_to, message.thread) == ("3", None)
    assert message.details == {"forwarded_from": "Lin", "media": "photo", "reactions": 5}
    assert one(tmp_path, reply_to_message_id=3, reply_to_peer_id="channel9").reply_to is None
    assert one(tmp_path, edited="1970-01-01T01:00:00").edited_at is None


@pytest.mark.parametrize(
    ("fields", "text", "media"),
    [
        (
            {"poll": {"question": "Lunch?", "answers": [{"text": "Pizza"}, {"text": "Soup"}]}},
            "Lunch?\nPizza\nSoup",
            "poll",
        ),
        ({"todo_list": {"title": "Do", "answers": [{"text": "it"}]}}, "Do\nit", "checklist"),
        ({"media_type": "sticker", "sticker_emoji": "👍", "file": "s.webp"}, "👍", "sticker"),
    ],
)
def test_polls_checklists_and_stickers_say_something(tmp_path: Path, fields: Any, text: str, media: str) -> None:
    message = one(tmp_path, text="", **fields)
    assert (message.text, message.details.get("media")) == (text, media)


def test_topics_are_threads(tmp_path: Path) -> None:
    entries = [
        {"id": 10, "type": "service", "action": "topic_created", "title": "Releases"},
        {**SAID, "id": 11, "reply_to_message_id": 10},
        {**SAID, "id": 12, "reply_to_message_id": 11},
        {**SAID, "id": 13, "reply_to_message_id": 12},
        {**SAID, "id": 14},
    ]
    messages, (created,), _ = read(export(tmp_path, *entries))
    assert created.reason == "service message (topic_created)"
    assert [(one.thread, one.reply_to, one.details.get("topic")) for one in messages] == [
        ("10", None, "Releases"),
        ("10", "11", "Releases"),
        ("10", "12", "Releases"),
        (None, None, None),
    ]


def test_who_said_it(tmp_path: Path) -> None:
    assert (one(tmp_path).author, one(tmp_path).author_id) == ("Ann", "user5")
    assert one(tmp_path, **{"from": None}).author == ""
    assert [one(tmp_path, from_id=number).author_id for number in (5, 2**32 + 5, 2**33 + 5)] == [
        "user5",
        "chat5",
        "channel5",
    ]
    assert one(tmp_path, author="owner").author == "Ann"
    (post,), _, _ = read(export(tmp_path, {**SAID, "author": "Lin"}, kind="public_channel"))
    assert post.author == "Lin"
    (of_bot, mine), _, _ = read(
        export(tmp_path, {**SAID, "from_id": "user8"}, {**SAID, "id": 8}, kind="bot_chat", id=8)
    )
    assert (of_bot.details, mine.details) == ({"bot": True}, {})


def test_what_happened_is_counted_by_kind_and_kinds_have_an_end(tmp_path: Path) -> None:
    actions: list[Any] = [
        *(f"kind_{number}" for number in range(1000)),
        "invite_members",
        "remove_members",
        None,
        "<b>",
        [],
    ]
    entries = [{"id": 1, "type": "service", "action": action} for action in actions]
    _, skipped, tally = read(export(tmp_path, *entries, {"id": 2, "type": "unsupported"}))
    assert len(skipped) == tally.noise.total() == 1006
    assert len(tally.noise) == 103
    assert (tally.noise["joined or left"], tally.noise["other service message"]) == (2, 903)


@pytest.mark.parametrize(
    ("entry", "reason"),
    [
        ([], "not a JSON object"),
        ("x", "not a JSON object"),
        ({**SAID, "id": None}, "no id"),
        ({**SAID, "id": "7"}, "no id"),
        ({**SAID, "id": 2**70}, "no id"),
        ({**SAID, "date_unixtime": "soon"}, "date is no time"),
        ({**SAID, "date_unixtime": "9" * 400}, "date is no time"),
        ({**SAID, "date_unixtime": "99999999999"}, "is in 5138"),
        ({**SAID, "date_unixtime": None}, "no date"),
        ({**SAID, "edited": "never"}, "edited is no time"),
        ({**SAID, "text": "x" * 5_000_000}, "text has 5,000,000 characters"),
        ({**SAID, "text": [[[]]] * 300_000}, "more parts than any message"),
        ({**SAID, "x": json.loads("[" * 200 + "]" * 200)}, "more parts than any message"),
    ],
    ids=lambda value: str(value)[:50],
)
def test_a_bad_message_is_told_by_number_and_its_neighbours_are_read(tmp_path: Path, entry: Any, reason: str) -> None:
    messages, (told,), tally = read(export(tmp_path, {**SAID, "id": 1}, entry, {**SAID, "id": 3}))
    assert [message.external_id for message in messages] == ["1", "3"]
    assert (told.line, told.unit, told.is_error, tally.broken) == (2, "message", True, 1)
    assert reason in told.reason
    assert len(told.excerpt) <= 80


@pytest.mark.parametrize("chat", [{"id": None}, {"kind": ""}, {"id": "x"}])
def test_a_chat_that_nobody_can_name_is_told_with_each_message(tmp_path: Path, chat: Any) -> None:
    messages, skipped, _ = read(export(tmp_path, SAID, SAID, **chat))
    assert (messages, [told.is_error for told in skipped]) == ([], [True, True])


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from([*SAID, "count", "href", "poll"]), inner, max_size=4)
    ),
    max_leaves=8,
)
NAMES = [
    *SAID,
    "text_entities",
    "poll",
    "todo_list",
    "reactions",
    "edited",
    "reply_to_message_id",
    "media_type",
    "action",
]


@settings(deadline=None)
@given(
    st.lists(
        st.dictionaries(st.sampled_from(NAMES), ANYTHING).map(lambda given: {**SAID, **given}) | ANYTHING, max_size=6
    )
)
def test_whatever_stands_in_an_export_each_entry_is_told_once(
    tmp_path_factory: pytest.TempPathFactory, entries: list[Any]
) -> None:
    messages, skipped, tally = read(export(tmp_path_factory.getbasetemp(), *entries))
    assert len(messages) + len(skipped) == tally.lines == len(entries)
