"""Reads what Telegram Desktop exports as JSON (`result.json`): one chat, or a whole account with the chats it has left.

Messages of supergroups and channels have the identities of the Bot API, so one that came by the webhook too is stored
once. In all other chats Telegram numbers messages for each account apart: a
bot's number 7 is another message than the exporter's, and its chat with somebody another chat than theirs. So these are
channels of their own, `export:…`. An export writes ids without their sign and prefix; which there are follows from the
type of the chat. Of what nobody said with words (a photo without a caption, a call, a pin) nothing is stored, and it is
counted.

Numbers: https://telegramplayground.github.io/pyrogram/topics/message-identifiers.html
Form: https://core.telegram.org/import-export, and the exporter itself, telegramdesktop/tdesktop,
Telegram/SourceFiles/export/output/export_output_json.cpp.
"""

from __future__ import annotations

import datetime as dt
from collections import OrderedDict
from contextlib import closing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from winnow.domain.messages import MAX_NAME_CHARACTERS, Details, IncomingMessage
from winnow.errors import InvalidInput
from winnow.sources.base import Item, Reading, Tally
from winnow.sources.json_stream import Values, keys_of, no_object, skipped_entry
from winnow.sources.local_times import zone_note
from winnow.sources.service import Happenings
from winnow.sources.telegram_fields import Fields, inner, number, objects, words
from winnow.sources.telegram_text import list_text, text_with_links

if TYPE_CHECKING:
    from collections.abc import Iterator

    from winnow.sources.base import Readable

SOURCE = "telegram"
UNSUPPORTED = "unsupported by the Telegram Desktop that exported it"

_CHANNELS = frozenset({"private_supergroup", "public_supergroup", "private_channel", "public_channel"})
_BROADCASTS = frozenset({"private_channel", "public_channel"})
_BEFORE_CHANNELS = 1_000_000_000_000
_NUMBERED_APART = "export:"
_TITLES = {"saved_messages": "Saved Messages", "replies": "Replies"}
_JOINS = frozenset({"join_group_by_link", "join_group_by_request", "invite_members", "remove_members"})
# What the Bot API calls the media of an export; a key that is there, or a value of `media_type`.
_MEDIA_KEYS = {
    "poll": "poll",
    "todo_list": "checklist",
    "photo": "photo",
    "contact_information": "contact",
    "place_name": "venue",
    "location_information": "location",
    "game_title": "game",
    "invoice_information": "invoice",
    "giveaway_information": "giveaway",
    "giveaway_results": "giveaway_winners",
    "paid_stars_amount": "paid_media",
    "file": "document",
}
_MEDIA_TYPES = {
    "sticker": "sticker",
    "voice_message": "voice",
    "video_message": "video_note",
    "animation": "animation",
    "video_file": "video",
    "audio_file": "audio",
}
# Until 2021 a peer was one number: of chats and channels with these on top.
_OLD_CHATS, _OLD_CHANNELS = 2**32, 2**33
_MOST_TOPICS = 65_536


def looks_like_telegram(head: bytes) -> bool:
    """Whether a file's first bytes begin an export: a chat with id, type and messages, or an account's lists."""
    if not head.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"{"):
        return False
    keys = keys_of(head)
    if {"id", "type", "messages"} <= keys or {"chats", "left_chats"} & keys:
        return True
    return bool(keys & {"personal_information", "profile_pictures", "contacts"}) and "about" in keys


def read_telegram_export(path: Readable, *, timezone: dt.tzinfo = dt.UTC) -> Reading:
    """The messages of all chats of an export, in its order; counted by message, for its lines mean nothing.

    Args:
        path: the export's `result.json`.
        timezone: of the exporting computer. Exports since 2021 have moments, and it does not matter.

    Raises:
        InvalidInput: while iterating, the file cannot be read, is no JSON, or ends too early.
    """
    tally = Tally()
    return Reading(path=path, format_name="telegram", items=_items(path, timezone, tally), tally=tally, unit="message")


@dataclass(slots=True, kw_only=True)
class _Chat:
    """The chat whose messages come next. `topic_of` knows of the last messages of it which topic they are in."""

    fields: Fields = field(default_factory=dict)
    topics: dict[int, str] = field(default_factory=dict)
    topic_of: OrderedDict[int, int] = field(default_factory=OrderedDict)

    @property
    def kind(self) -> str:
        return words(self.fields, "type")

    @property
    def channel(self) -> str:
        chat_id = number(self.fields, "id")
        if chat_id is None:
            raise InvalidInput("its chat has no id, or only after its messages")
        if not self.kind:
            raise InvalidInput("its chat has no type, or only after its messages")
        if self.kind in _CHANNELS:
            return str(-(_BEFORE_CHANNELS + chat_id))
        return f"{_NUMBERED_APART}{-chat_id if self.kind == 'private_group' else chat_id}"

    @property
    def title(self) -> str | None:
        return (words(self.fields, "name") or _TITLES.get(self.kind, ""))[:MAX_NAME_CHARACTERS] or None

    def topic(self, message_id: int, answered: int | None) -> int | None:
        """The topic a message is in: that of what it answers, or what it answers is the topic's beginning itself."""
        if answered is None:
            return None
        topic = answered if answered in self.topics else self.topic_of.get(answered)
        if topic is not None:
            self.topic_of[message_id] = topic
            if len(self.topic_of) > _MOST_TOPICS:
                self.topic_of.popitem(last=False)
        return topic


def _items(path: Readable, timezone: dt.tzinfo, tally: Tally) -> Iterator[Item]:
    happenings, guessed = Happenings(_JOINS), False
    try:
        tally.size = path.stat().st_size
    except OSError as error:
        raise InvalidInput(f"{path} cannot be read: {error.strerror or error}") from error
    with closing(Values(path, tally)) as values:
        for chat, entry in _entries(values):
            tally.lines += 1
            tally.message_line = tally.lines
            guessed = guessed or (isinstance(entry, dict) and "date_unixtime" not in entry)
            yield _item(chat, entry, tally.lines, timezone, happenings)
    if guessed:
        tally.notes.append(zone_note(timezone))


def _item(chat: _Chat, entry: object, place: int, timezone: dt.tzinfo, happenings: Happenings) -> Item:
    if not isinstance(entry, dict):
        return skipped_entry(place, entry, no_object(entry), "broken")
    try:
        said = _message(chat, entry, timezone)
    except InvalidInput as error:
        return skipped_entry(place, entry, str(error), "broken")
    if isinstance(said, IncomingMessage):
        return said
    return skipped_entry(place, entry, said or _happening(chat, entry, happenings), "noise")


def _entries(values: Values) -> Iterator[tuple[_Chat, object]]:
    """Every entry of every chat's list of messages, with its chat."""
    if not values.enter("start_map"):
        return
    chat = _Chat()
    for key in values.names():
        if key in {"chats", "left_chats"}:
            yield from _listed(values)
        else:
            yield from _of_chat(values, chat, key)
    values.end()


def _listed(values: Values) -> Iterator[tuple[_Chat, object]]:
    if not values.enter("start_map"):
        return
    for key in values.names():
        if key != "list":
            values.leave()
        elif values.enter("start_array"):
            for _ in values.objects():
                chat = _Chat()
                for name in values.names():
                    yield from _of_chat(values, chat, name)


def _of_chat(values: Values, chat: _Chat, key: str) -> Iterator[tuple[_Chat, object]]:
    if key in {"name", "type", "id"}:
        chat.fields[key] = values.take()
    elif key != "messages":
        values.leave()
    elif values.enter("start_array"):
        for entry in values.elements():
            yield chat, entry


def _happening(chat: _Chat, entry: Fields, happenings: Happenings) -> str:
    action, message_id = entry.get("action"), number(entry, "id")
    if action == "topic_created" and message_id is not None and len(chat.topics) < _MOST_TOPICS:
        chat.topics[message_id] = words(entry, "title")
    return happenings.reason(action)


def _message(chat: _Chat, entry: Fields, timezone: dt.tzinfo) -> IncomingMessage | str:
    """The message, or why there is none; empty for what only happened.

    Raises:
        InvalidInput: it should be one, and cannot be read.
    """
    match entry.get("type"):
        case "service":
            return ""
        case "unsupported":
            return UNSUPPORTED
    message_id = number(entry, "id")
    if message_id is None:
        raise InvalidInput("it has no id")
    text, media, edited_at = _text(entry), _media(entry), _edited_at(entry, timezone)
    if not text.strip() and media and edited_at is None:  # a caption that was taken away has to go here, too
        return f"{media} without words"
    answered = number(entry, "reply_to_message_id")
    topic = chat.topic(message_id, answered)
    reply_to = answered if answered != topic and not words(entry, "reply_to_peer_id") else None
    return IncomingMessage(
        source=SOURCE,
        channel=chat.channel,
        external_id=str(message_id),
        author=_author(chat, entry),
        text=text,
        sent_at=_moment(entry, "date", timezone),
        reply_to=None if reply_to is None else str(reply_to),
        thread=None if topic is None else str(topic),
        author_id=_author_id(entry),
        channel_title=chat.title,
        edited_at=edited_at,
        details=_details(chat, entry, media, topic),
    )


def _text(entry: Fields) -> str:
    """The words, or what a poll, a checklist or a sticker says instead; hidden links below, as by the Bot API."""
    said = entry.get("text_entities") or entry.get("text")
    if text := _plain(said):
        parts = said if isinstance(said, list) else []
        return text_with_links(text, (words(part, "href") for part in parts if isinstance(part, dict)))
    for name, heading in (("poll", "question"), ("todo_list", "title")):
        if name in entry:
            content = inner(entry, name)
            lines = [_plain(one.get("text")) for one in objects(content, "answers")]
            return list_text(_plain(content.get(heading)), lines)
    return words(entry, "sticker_emoji")


def _plain(said: object) -> str:
    """A text, which may come in parts: words, or objects that have some."""
    parts = said if isinstance(said, list) else [said]
    return "".join(
        words(part, "text") if isinstance(part, dict) else part for part in parts if isinstance(part, str | dict)
    )


def _media(entry: Fields) -> str | None:
    kind = words(entry, "media_type")
    return _MEDIA_TYPES.get(kind) or next((name for key, name in _MEDIA_KEYS.items() if key in entry), None)


def _author(chat: _Chat, entry: Fields) -> str:
    """Who said it: below a channel's posts may stand a person's name; in groups such a mark is a rank."""
    signature = words(entry, "author") if chat.kind in _BROADCASTS else ""
    return (signature or words(entry, "from"))[:MAX_NAME_CHARACTERS]


def _author_id(entry: Fields) -> str | None:
    """`user1`, `chat1` or `channel1`; before 2021 it was a number, in which chats and channels stood above users."""
    if (old := number(entry, "from_id")) is None:
        return words(entry, "from_id")[:MAX_NAME_CHARACTERS] or None
    if old >= _OLD_CHANNELS:
        return f"channel{old - _OLD_CHANNELS}"
    return f"chat{old - _OLD_CHATS}" if old >= _OLD_CHATS else f"user{old}"


def _edited_at(entry: Fields, timezone: dt.tzinfo) -> dt.datetime | None:
    if "edited" not in entry and "edited_unixtime" not in entry:
        return None
    edited_at = _moment(entry, "edited", timezone)
    return edited_at if edited_at.year > 1970 else None  # how old exports write that it never was  # noqa: PLR2004


def _moment(entry: Fields, name: str, timezone: dt.tzinfo) -> dt.datetime:
    """The moment as newer exports have it, or the older ones' time on the clock of the computer."""
    seconds, written = entry.get(f"{name}_unixtime"), entry.get(name)
    try:
        if isinstance(seconds, str | int) and not isinstance(seconds, bool):
            return dt.datetime.fromtimestamp(int(seconds), dt.UTC)
        if isinstance(written, str):
            moment = dt.datetime.fromisoformat(written)
            return moment if moment.tzinfo else moment.replace(tzinfo=timezone)
    except (ValueError, OverflowError, OSError) as error:
        raise InvalidInput(f"its {name} is no time") from error
    raise InvalidInput(f"it has no {name}")


def _details(chat: _Chat, entry: Fields, media: str | None, topic: int | None) -> Details:
    details = Details()
    if media:
        details["media"] = media
    if forwarded_from := words(entry, "forwarded_from"):
        details["forwarded_from"] = forwarded_from
    if topic is not None and (title := chat.topics.get(topic)):
        details["topic"] = title
    if chat.kind == "bot_chat" and _author_id(entry) == f"user{number(chat.fields, 'id')}":
        details["bot"] = True
    if reactions := sum(max(0, number(one, "count") or 0) for one in objects(entry, "reactions")):
        details["reactions"] = reactions
    return details
