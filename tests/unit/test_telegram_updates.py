"""Of every update of the Bot API comes a message with all that is known of it, a deletion or a reason, and no error."""

from __future__ import annotations

import json
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plugins.telegram_server import CHAT, PERSON
from winnow.domain.messages import IncomingMessage
from winnow.sources.telegram import MESSAGES, READ_KINDS, Deleted, Ignored, Reason, read_update

FIXTURES = Path(__file__).parents[1] / "fixtures" / "telegram"
DATE = 1767225600
SENT_AT = datetime(2026, 1, 1, tzinfo=UTC)
CHANNEL = {"id": -1002236736395, "title": "News", "type": "channel"}


def said(kind: str = "message", *, update_id: int = 5, **values: Any) -> Any:
    """What is read of an update with this message in it; None takes a member away."""
    message = {"message_id": 7, "date": DATE, "chat": CHAT, "from": PERSON, "text": "hello"} | values
    return read_update({"update_id": update_id, kind: {name: one for name, one in message.items() if one is not None}})


def lines(name: str) -> list[Any]:
    return [json.loads(line) for line in (FIXTURES / name).read_text("utf-8").splitlines()]


@pytest.mark.parametrize("kind", MESSAGES)
def test_every_kind_of_message_is_one_with_its_whole_identity(kind: str) -> None:
    assert said(kind, edit_date=DATE + 60 if "edited" in kind else None) == IncomingMessage(
        source="telegram",
        channel="-1001234567890",
        external_id="7",
        author="Ana Ng",
        author_id="user42",
        text="hello",
        sent_at=SENT_AT,
        channel_title="Backend",
        edited_at=SENT_AT + timedelta(seconds=60, microseconds=5) if "edited" in kind else None,
    )


def test_real_updates_are_read() -> None:
    one = read_update(json.loads((FIXTURES / "Update.json").read_text("utf-8")))
    assert isinstance(one, IncomingMessage)
    assert (one.channel, one.external_id, one.text) == ("1111111", "1365", "Bold and italics")
    assert one.details == {"media": "audio", "forwarded_from": "ForwardFirstname ForwardLastname"}
    assert one.reply_to is None, "what it answers is in another chat"
    found = [read_update(update) for update in lines("teloxide-updates.jsonl")]
    assert [item.text for item in found if isinstance(item, IncomingMessage)] == ["/report", "4"]
    assert Counter(item.reason for item in found if isinstance(item, Ignored)) == {
        Reason.OTHER_KIND: 11, Reason.NO_TEXT: 2, Reason.SERVICE: 1, Reason.UNREADABLE: 1,
    }  # fmt: skip


@pytest.mark.parametrize("kind", MESSAGES[:3])
def test_real_messages_are_read_in_every_kind_of_update(kind: str) -> None:
    found = [read_update({"update_id": 1, kind: message}) for message in lines("teloxide-messages.jsonl")]
    texts = [item.text for item in found if isinstance(item, IncomingMessage)]
    assert texts == ["Лол кек 😂", "😡", "text", "www.example.com", "blah", "El Psy Kongroo", "El Psy Kongroo"]
    reasons = Counter(item.reason for item in found if isinstance(item, Ignored))
    assert reasons == {Reason.SERVICE: 21, Reason.NO_TEXT: 5, Reason.UNREADABLE: 1, Reason.MIGRATED: 1}


TOPIC = {"message_id": 4, "chat": CHAT, "forum_topic_created": {"name": "Releases"}}
FORM: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "caption": ({"text": None, "caption": "the plan", "photo": [{}]}, {"text": "the plan", "media": "photo"}),
    "album": ({"text": None, "caption": "one", "video": {}, "media_group_id": "99"},
              {"text": "one", "media": "video", "media_group": "99"}),
    "animation": ({"text": None, "caption": "haha", "animation": {}, "document": {}}, {"media": "animation"}),
    "poll": ({"text": None, "poll": {"question": "Ship?", "options": [{"text": "yes"}, {"text": "no"}]}},
             {"text": "Ship?\nyes\nno", "media": "poll"}),
    "checklist": ({"text": None, "checklist": {"title": "Release", "tasks": [{"id": 1, "text": "tag"}]}},
                  {"text": "Release\ntag", "media": "checklist"}),
    "sticker": ({"text": None, "sticker": {"emoji": "😡"}}, {"text": "😡", "media": "sticker"}),
    "reply": ({"reply_to_message": {"message_id": 3, "chat": CHAT}}, {"reply_to": "3"}),
    "reply elsewhere": ({"reply_to_message": {"message_id": 3, "chat": CHANNEL}}, {"reply_to": None}),
    "topic": ({"message_thread_id": 4, "is_topic_message": True, "reply_to_message": TOPIC},
              {"thread": "4", "topic": "Releases", "reply_to": None}),
    "reply in a topic": ({"message_thread_id": 4, "is_topic_message": True,
                          "reply_to_message": {"message_id": 6, "chat": CHAT}}, {"thread": "4", "reply_to": "6"}),
    "comments are no topic": ({"message_thread_id": 4}, {"thread": None}),
    "quote": ({"quote": {"text": "the second half", "position": 9}}, {"quote": "the second half"}),
    "reply across topics": ({"external_reply": {"message_id": 8, "chat": CHAT, "origin": {}}}, {"reply_to": "8"}),
    "reply to another chat": ({"external_reply": {"message_id": 8, "chat": CHANNEL}, "quote": {"text": "so"}},
                              {"reply_to": None, "quote": "so"}),
    "forward of a user": ({"forward_origin": {"type": "user", "sender_user": PERSON}}, {"forwarded_from": "Ana Ng"}),
    "forward of a hidden user": ({"forward_origin": {"type": "hidden_user", "sender_user_name": "Somebody"}},
                                 {"forwarded_from": "Somebody"}),
    "forward of a channel": ({"forward_origin": {"type": "channel", "chat": CHANNEL}}, {"forwarded_from": "News"}),
    "forward of old": ({"forward_sender_name": "Somebody"}, {"forwarded_from": "Somebody"}),
    "bot": ({"from": PERSON | {"is_bot": True}}, {"bot": True}),
    "through a bot": ({"via_bot": PERSON | {"is_bot": True}}, {"bot": None}),
    "for a business": ({"sender_business_bot": PERSON}, {"bot": True}),
    "administrator": ({"from": {"id": 1087968824, "is_bot": True, "first_name": "Group"}, "sender_chat": CHAT,
                       "author_signature": "owner"},
                      {"author": "Backend", "author_id": "channel1234567890", "bot": None}),
    "channel": ({"chat": CHANNEL, "sender_chat": CHANNEL, "from": None},
                {"author": "News", "author_id": "channel2236736395", "channel": "-1002236736395"}),
    "signed post": ({"chat": CHANNEL, "sender_chat": CHANNEL, "from": None, "author_signature": "Ana"},
                    {"author": "Ana", "author_id": "channel2236736395"}),
    "post of old": ({"chat": CHANNEL, "from": None}, {"author": "News", "author_id": "channel2236736395"}),
    "small group": ({"chat": {"id": -599, "title": "Few", "type": "group"}}, {"channel": "-599"}),
    "private": ({"chat": {"id": 42, "type": "private", "first_name": "Ana", "last_name": "Ng"}},
                {"channel": "42", "channel_title": "Ana Ng"}),
    "business": ({"business_connection_id": "AbC", "chat": {"id": 42, "type": "private", "first_name": "Ana"}},
                 {"channel": "business:AbC:42"}),
    "no author": ({"from": None}, {"author": "", "author_id": None}),
    "deleted account": ({"from": {"id": 42, "first_name": ""}}, {"author": "", "author_id": "user42"}),
    "only a user name": ({"from": {"id": 42, "username": "ana"}}, {"author": "ana"}),
}  # fmt: skip


@pytest.mark.parametrize("name", FORM)
def test_what_is_known_of_a_message_is_told(name: str) -> None:
    values, expected = FORM[name]
    message = said(**values)
    assert isinstance(message, IncomingMessage)
    for what, value in expected.items():
        found = getattr(message, what) if hasattr(message, what) else message.details.get(what)
        assert found == value, what


def test_addresses_behind_words_stand_below_the_text_once() -> None:
    entities = [
        {"type": "text_link", "offset": 3, "length": 4, "url": "https://a.example/x"},
        {"type": "bold", "offset": 0, "length": 9_000_000},
        {"type": "text_link", "offset": -1, "length": "x", "url": "https://a.example/x"},
        {"type": "text_link", "url": "https://b.example"},
        {"type": "text_link", "url": "https://c.example/" + "c" * 3000},
        {"type": "text_link", "url": 5},
        "no entity",
    ]
    text = "👩‍👩‍👧 see this and https://b.example"
    assert said(text=text, entities=entities).text == f"{text}\nhttps://a.example/x"
    assert said(text=None, photo=[], caption="plan", caption_entities=entities[:1]).text == "plan\nhttps://a.example/x"


def test_a_caption_that_was_taken_away_is_an_edit_to_nothing() -> None:
    message = said("edited_message", text=None, photo=[{}], edit_date=DATE + 9)
    assert isinstance(message, IncomingMessage)
    assert (message.text, message.edited_at) == ("", SENT_AT + timedelta(seconds=9, microseconds=5))


def test_edits_of_one_second_keep_their_order_and_one_without_a_time_is_the_first() -> None:
    moments = [said("edited_message", update_id=number, edit_date=DATE + 1).edited_at for number in (8, 9)]
    assert moments[0] < moments[1]
    assert SENT_AT <= said("edited_message").edited_at < moments[0]


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"text": None, "photo": [{}]}, Reason.NO_TEXT),
        ({"text": None, "sticker": {}}, Reason.NO_TEXT),
        ({"text": None, "new_chat_members": [PERSON]}, Reason.SERVICE),
        ({"text": None, "pinned_message": {"text": "pinned"}}, Reason.SERVICE),
        ({"text": None, "new_chat_title": "Other"}, Reason.SERVICE),
        ({"text": 5}, Reason.SERVICE),
        ({"chat": None}, Reason.UNREADABLE),
        ({"chat": {"id": "5"}}, Reason.UNREADABLE),
        ({"chat": {"id": True}}, Reason.UNREADABLE),
        ({"chat": {"id": 2**70}}, Reason.UNREADABLE),
        ({"message_id": 0}, Reason.UNREADABLE),
        ({"date": None}, Reason.UNREADABLE),
        ({"date": -1}, Reason.UNREADABLE),
        ({"date": 10**15}, Reason.UNREADABLE),
        ({"text": "x" * 100_001}, Reason.TOO_LONG),
    ],
)
def test_what_gives_no_message_has_its_reason(values: dict[str, Any], reason: Reason) -> None:
    assert said(**values) == Ignored(reason=reason)


@pytest.mark.parametrize("update", [None, [], 5, "x", {"message": 5}, {"message": {}}, {"message": []}])
def test_what_is_no_update_is_unreadable(update: object) -> None:
    assert read_update(update) == Ignored(reason=Reason.UNREADABLE)


def test_a_group_that_becomes_a_supergroup_is_told_with_both_ids() -> None:
    found = said(text=None, chat={"id": -599}, migrate_to_chat_id=-1001555)
    assert found == Ignored(reason=Reason.MIGRATED, moved=(-599, -1001555))
    assert said(text=None, migrate_from_chat_id=-599) == Ignored(reason=Reason.SERVICE)


def test_deletions_are_handed_over_as_identities() -> None:
    chat = {"id": 42, "type": "private"}
    gone = {"business_connection_id": "AbC", "chat": chat, "message_ids": [7, 8, 7, "9", True]}
    assert read_update({"deleted_business_messages": gone}) == Deleted(
        channel="business:AbC:42", external_ids=("7", "8")
    )
    stored = said("business_message", business_connection_id="AbC", chat=chat)
    assert (stored.source, stored.channel, stored.external_id) == ("telegram", "business:AbC:42", "7")
    assert read_update({"deleted_business_messages": {"chat": chat}}) == Ignored(reason=Reason.UNREADABLE)


def test_only_allowed_chats_are_read() -> None:
    def update(chat: int) -> dict[str, Any]:
        return {"message": {"message_id": 7, "date": DATE, "chat": {"id": chat}, "text": "hello"}}

    chats = frozenset({-100, 7})
    assert [isinstance(read_update(update(chat), chats=chats), IncomingMessage) for chat in (-100, 7, 100)] == [
        True, True, False,
    ]  # fmt: skip
    assert read_update(update(100), chats=chats) == Ignored(reason=Reason.OTHER_CHAT)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inside: st.lists(inside, max_size=3) | st.dictionaries(st.text(max_size=8), inside, max_size=3),
    max_leaves=8,
)
NAMES = (
    *(
        "message_id",
        "date",
        "edit_date",
        "chat",
        "from",
        "sender_chat",
        "text",
        "entities",
        "caption",
        "poll",
        "sticker",
    ),
    *("checklist", "photo", "reply_to_message", "external_reply", "quote", "forward_origin", "forward_from_chat"),
    *("message_thread_id", "is_topic_message", "direct_messages_topic", "media_group_id", "business_connection_id"),
    *("author_signature", "migrate_to_chat_id", "message_ids"),
)
WELL = {"message_id": 7, "date": DATE, "chat": CHAT, "from": PERSON, "text": "hello"}


@given(
    kind=st.sampled_from(READ_KINDS), update_id=JSON, wrong=st.dictionaries(st.sampled_from(NAMES), JSON, max_size=4)
)
def test_whatever_stands_in_an_update_it_is_read(kind: str, update_id: Any, wrong: dict[str, Any]) -> None:
    found = read_update({"update_id": update_id, kind: WELL | wrong})
    assert isinstance(found, IncomingMessage | Deleted | Ignored)


@given(JSON)
def test_whatever_comes_instead_of_an_update_is_read(update: Any) -> None:
    assert isinstance(read_update(update), Ignored)
