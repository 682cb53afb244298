"""Updates of Telegram's Bot API: one update in, what it says out. Pure, and nothing of an update is trusted.

https://core.telegram.org/bots/api#update
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum

from winnow.domain.messages import MAX_NAME_CHARACTERS, MAX_TEXT_CHARACTERS, YEARS, Details, IncomingMessage
from winnow.sources.telegram_fields import Fields, display_name, inner, number, objects, words
from winnow.sources.telegram_text import list_text, text_with_links

SOURCE = "telegram"
WEBHOOK_PATH = "/api/v1/webhooks/telegram"
EDITS = ("edited_message", "edited_channel_post", "edited_business_message")
MESSAGES = ("message", "channel_post", "business_message", *EDITS)
DELETIONS = "deleted_business_messages"
READ_KINDS = (*MESSAGES, DELETIONS)
"""What Telegram is asked to send; it sends nothing else then."""

# What comes with a message. One without words and without any of these tells that something happened (a join, a pin …):
# of such kinds there are dozens, and each year more. An animation is a document, too; a venue a location.
MEDIA = (
    *("animation", "audio", "photo", "sticker", "video", "video_note", "voice", "document", "poll", "checklist"),
    *("paid_media", "story", "contact", "dice", "game", "venue", "location", "invoice", "giveaway", "giveaway_winners"),
)
# As Telegram Desktop's exports write it: of -1001234567890 only 1234567890.
_CHANNELS_BELOW = -1_000_000_000_000
_LAST_SECOND = int(datetime(YEARS[-1], 12, 31, tzinfo=UTC).timestamp())
_MICROSECONDS = 1_000_000


class Reason(StrEnum):
    """Why an update gives no message.

    `OTHER_KIND`: it is about something else (a reaction, a vote, a button …). `OTHER_CHAT`: its chat is not among
    those allowed. `SERVICE`: nobody said anything, Telegram tells that something happened. `MIGRATED`: the same, a
    group has become a supergroup and goes on under another id. `NO_TEXT`: a photo without a caption and the like.
    `TOO_LONG`: longer than any message of Telegram's. `UNREADABLE`: without chat, id or time. `STILL_TO_COME`: from
    more than a day ahead. `REFUSED`: the database cannot hold it, by a fault of ours.
    """

    OTHER_KIND = "other_kind"
    OTHER_CHAT = "other_chat"
    SERVICE = "service"
    MIGRATED = "migrated"
    NO_TEXT = "no_text"
    TOO_LONG = "too_long"
    UNREADABLE = "unreadable"
    STILL_TO_COME = "still_to_come"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ignored:
    """An update that gives no message; `moved` is of a group that has become a supergroup: from which id to which."""

    reason: Reason
    moved: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Deleted:
    """Messages of one channel that somebody has deleted."""

    channel: str
    external_ids: tuple[str, ...]
    source: str = SOURCE


Read = IncomingMessage | Deleted | Ignored


def read_update(update: object, *, chats: frozenset[int] = frozenset()) -> Read:
    """What one update says.

    Args:
        update: as it was in the JSON.
        chats: the chats that are read; none: all are.
    """
    if not isinstance(update, dict):
        return Ignored(reason=Reason.UNREADABLE)
    kind = next((name for name in READ_KINDS if name in update), None)
    if kind is None:
        return Ignored(reason=Reason.OTHER_KIND)
    said = inner(update, kind)
    chat = number(inner(said, "chat"), "id")
    if chat is None:
        return Ignored(reason=Reason.UNREADABLE)
    if chats and chat not in chats:
        return Ignored(reason=Reason.OTHER_CHAT)
    if kind == DELETIONS:
        return _deleted(said)
    return _message(said, edited=kind in EDITS, update_id=number(update, "update_id") or 0)


def _deleted(said: Fields) -> Read:
    given = said.get("message_ids")
    ids = given if isinstance(given, list) else []
    found = tuple(dict.fromkeys(str(one) for one in ids if isinstance(one, int) and not isinstance(one, bool)))
    return Deleted(channel=_channel(said), external_ids=found) if found else Ignored(reason=Reason.UNREADABLE)


def _message(said: Fields, *, edited: bool, update_id: int) -> Read:
    message_id, sent_at = number(said, "message_id"), _moment(said, "date")
    if message_id is None or message_id <= 0 or sent_at is None:  # 0: not sent yet, only planned
        return Ignored(reason=Reason.UNREADABLE)
    text, media = _text(said), next((name for name in MEDIA if name in said), None)
    if not text.strip() and (ignored := _wordless(said, media, edited=edited)):
        return ignored
    if len(text) > MAX_TEXT_CHARACTERS:
        return Ignored(reason=Reason.TOO_LONG)
    author, author_id = _author(said)
    return IncomingMessage(
        source=SOURCE,
        channel=_channel(said),
        external_id=str(message_id),
        author=author,
        text=text,
        sent_at=sent_at,
        reply_to=_reply_to(said),
        thread=_thread(said),
        author_id=author_id,
        channel_title=display_name(inner(said, "chat")) or None,
        edited_at=_edited_at(said, sent_at, edited=edited, update_id=update_id),
        details=_details(said, media),
    )


def _wordless(said: Fields, media: str | None, *, edited: bool) -> Ignored | None:
    """Why a message without words is none; None for a caption that was taken away, which has to go here as well."""
    if media:
        return None if edited else Ignored(reason=Reason.NO_TEXT)
    old, new = number(inner(said, "chat"), "id"), number(said, "migrate_to_chat_id")
    if old is not None and new is not None:
        return Ignored(reason=Reason.MIGRATED, moved=(old, new))
    return Ignored(reason=Reason.SERVICE)


def _text(said: Fields) -> str:
    """The words, or the caption, or what a poll, a checklist or a sticker says instead."""
    for name, entities in (("text", "entities"), ("caption", "caption_entities")):
        if text := words(said, name):
            return text_with_links(text, (words(one, "url") for one in objects(said, entities)))
    for name, heading, lines in (("poll", "question", "options"), ("checklist", "title", "tasks")):
        if name in said:
            content = inner(said, name)
            return list_text(words(content, heading), [words(line, "text") for line in objects(content, lines)])
    return words(inner(said, "sticker"), "emoji")


def _channel(said: Fields) -> str:
    """The chat's id. A business account's chats have the ids of the bot's own with the same people: they are apart."""
    chat = number(inner(said, "chat"), "id")
    connection = words(said, "business_connection_id")
    return f"business:{connection[: MAX_NAME_CHARACTERS // 2]}:{chat}" if connection else str(chat)


def _author(said: Fields) -> tuple[str, str | None]:
    """Display name and identity; of what was said in the name of a chat, the chat's, or the signature below a post."""
    chat, sender = inner(said, "chat"), inner(said, "sender_chat")
    if not sender and "from" not in said and chat.get("type") == "channel":
        sender = chat
    if not sender:
        user = inner(said, "from")
        number_of_user = number(user, "id")
        return display_name(user), None if number_of_user is None else f"user{number_of_user}"
    # Below an anonymous administrator's message stands a rank ("owner"), which is nobody's name.
    signature = words(said, "author_signature") if chat.get("type") == "channel" else ""
    return (signature or display_name(sender))[:MAX_NAME_CHARACTERS], _id_as_in_exports(sender)


def _id_as_in_exports(chat: Fields) -> str | None:
    number_of_chat = number(chat, "id")
    if number_of_chat is None:
        return None
    if number_of_chat < _CHANNELS_BELOW:
        return f"channel{_CHANNELS_BELOW - number_of_chat}"
    return f"chat{-number_of_chat}" if number_of_chat < 0 else f"user{number_of_chat}"


def _reply_to(said: Fields) -> str | None:
    """The message of this chat that it answers. In a topic everything hangs on the topic's own first message."""
    answered = inner(said, "reply_to_message") or inner(said, "external_reply")
    message_id = number(answered, "message_id")
    elsewhere = number(inner(answered, "chat"), "id") != number(inner(said, "chat"), "id")
    if message_id is None or elsewhere or "forum_topic_created" in answered:
        return None
    return None if _thread(said) == str(message_id) else str(message_id)


def _thread(said: Fields) -> str | None:
    topic = number(said, "message_thread_id") if said.get("is_topic_message") is True else None
    if topic is None:
        topic = number(inner(said, "direct_messages_topic"), "topic_id")
    return None if topic is None else str(topic)


def _edited_at(said: Fields, sent_at: datetime, *, edited: bool, update_id: int) -> datetime | None:
    """When it was edited. Telegram tells seconds; the update's number keeps edits of one second in their order."""
    moment = _moment(said, "edit_date") or (sent_at if edited else None)
    return moment + timedelta(microseconds=update_id % _MICROSECONDS) if moment else None


def _moment(said: Fields, name: str) -> datetime | None:
    seconds = number(said, name)
    return datetime.fromtimestamp(seconds, UTC) if seconds is not None and 0 <= seconds < _LAST_SECOND else None


def _details(said: Fields, media: str | None) -> Details:
    details = Details()
    if media:
        details["media"] = media
    if quote := words(inner(said, "quote"), "text"):
        details["quote"] = quote
    if forwarded_from := _forwarded_from(said):
        details["forwarded_from"] = forwarded_from
    if group := words(said, "media_group_id"):
        details["media_group"] = group
    if topic := words(inner(inner(said, "reply_to_message"), "forum_topic_created"), "name"):
        details["topic"] = topic
    if _by_a_program(said):
        details["bot"] = True
    return details


def _forwarded_from(said: Fields) -> str:
    """Who said it first, as Telegram tells it today (`forward_origin`) or told it before 2024."""
    origin = inner(said, "forward_origin")
    named = [(origin, name) for name in ("sender_user", "sender_chat", "chat")]
    for of, name in (*named, (said, "forward_from_chat"), (said, "forward_from")):
        if shown := display_name(inner(of, name)):
            return shown
    return words(origin, "sender_user_name") or words(said, "forward_sender_name")


def _by_a_program(said: Fields) -> bool:
    """Whether a bot said it. Anonymous administrators and channels speak through a bot's account, and are none."""
    if "sender_business_bot" in said:
        return True
    return "sender_chat" not in said and inner(said, "from").get("is_bot") is True
