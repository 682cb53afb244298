"""Reads what Slack exports: an archive, or the folder it was unpacked to.

In it are a list of users, lists of channels, and for each channel a folder with a file for each day.
Slack's own identities are kept: the channel's id, where a list has it, and a message's `ts`. Names are resolved by the
lists. What only happened (somebody joined, a topic was set) is counted by kind.

Form: https://slack.com/help/articles/220556107-How-to-read-Slack-data-exports
"""

from __future__ import annotations

import datetime as dt
import re
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from winnow.domain.messages import MAX_NAME_CHARACTERS, Details, IncomingMessage
from winnow.errors import InvalidInput
from winnow.sources.base import Item, Reading, Tally
from winnow.sources.json_stream import Values, no_object, skipped_entry
from winnow.sources.service import Happenings
from winnow.sources.slack_text import Fields, Marks, files_of, quote_of, words_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from winnow.sources.archives import Tree

SOURCE = "slack"
DELETED = "deleted in Slack"
NO_WORDS = "without words"

LISTS = ("channels.json", "groups.json", "dms.json", "mpims.json")
_USERS = "users.json"
_DAY = re.compile(r"\d{4}-\d\d-\d\d\.json")
_STAMP = re.compile(r"(\d{1,12})(?:\.(\d{1,6})\d*)?")
_MOST_NAMED = 1_000_000  # users, and channels
_MOST_MEMBERS_SHOWN = 8
_JOINS = frozenset(
    f"{where}_{what}" for where in ("channel", "group", "bot") for what in ("join", "leave", "add", "remove")
)
_GONE = frozenset({"tombstone", "message_deleted"})
# What people and programs say; every other subtype tells that something happened.
_SAID = frozenset(
    {"bot_message", "me_message", "file_share", "file_comment", "thread_broadcast", "reply_broadcast", "file_mention"}
)


def looks_like_slack(names: tuple[str, ...]) -> bool:
    """Whether these files are an export's: one of the lists, and the day of a channel or the users beside it."""
    root = _root(names)
    if root is None:
        return False
    return any(name == f"{root}{_USERS}" or _is_day(name, root) for name in names)


def read_slack(path: Path, tree: Tree) -> Reading:
    """The messages of an export, channel by channel and day by day; counted by message.

    Args:
        path: the archive or folder.
        tree: what is in it; closed at the end.

    Raises:
        InvalidInput: while iterating, a file in it cannot be read, is no JSON, or ends too early.
    """
    tally = Tally()
    return Reading(path=path, format_name="slack", items=_items(path, tree, tally), tally=tally, unit="message")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Channel:
    """A channel: its identity and the name of the folder with its days; `title` is what people call it."""

    id: str
    title: str | None


@dataclass(slots=True)
class _Workspace:
    """Who and what the lists name: users and programs by id, channels by the name of their folder."""

    users: dict[str, str] = field(default_factory=dict)
    programs: set[str] = field(default_factory=set)
    channels: dict[str, _Channel] = field(default_factory=dict)

    def channel(self, folder: str) -> _Channel:
        return self.channels.get(folder) or _Channel(id=folder, title=None)


def _root(names: tuple[str, ...]) -> str | None:
    """The folder in which the lists are, as it begins names; None without lists. Whoever packs again packs a folder."""
    folders = [name.removesuffix(one) for name in names for one in LISTS if name == one or name.endswith(f"/{one}")]
    return min(folders, key=lambda folder: (folder.count("/"), folder), default=None)


def _is_day(name: str, root: str) -> bool:
    parts = name.removeprefix(root).split("/") if name.startswith(root) else []
    return len(parts) == len(("folder", "day")) and _DAY.fullmatch(parts[1]) is not None


def _items(path: Path, tree: Tree, tally: Tally) -> Iterator[Item]:
    with closing(tree):
        root = _root(tree.names) or ""
        days = [name for name in tree.names if _is_day(name, root)]
        try:
            tally.size = sum(tree.member(name).stat().st_size for name in days)
        except OSError as error:
            raise InvalidInput(f"{path} cannot be read: {error.strerror or error}") from error
        workspace = _workspace(path, tree, root)
        names = {channel.id: channel.title or folder for folder, channel in workspace.channels.items()}
        reader = _Reader(workspace, Marks(workspace.users.get, names), tally)
        for name in days:
            yield from reader.day(Values(tree.member(name), tally, name=name), name.removeprefix(root))


def _workspace(path: Path, tree: Tree, root: str) -> _Workspace:
    workspace, apart = _Workspace(), Tally()
    present = set(tree.names)
    if f"{root}{_USERS}" in present:
        for user in _listed(path, tree, f"{root}{_USERS}", apart):
            _add_user(workspace, user)
    for name in LISTS:
        if f"{root}{name}" in present:
            for channel in _listed(path, tree, f"{root}{name}", apart):
                _add_channel(workspace, channel)
    return workspace


def _listed(path: Path, tree: Tree, name: str, apart: Tally) -> Iterator[Fields]:
    with closing(Values(tree.member(name), apart, name=f"{path}: {name}")) as values:
        if values.enter("start_array"):
            for one, _ in zip(values.elements(), range(_MOST_NAMED), strict=False):
                if isinstance(one, dict):
                    yield one


def _add_user(workspace: _Workspace, user: Fields) -> None:
    user_id = user.get("id")
    if isinstance(user_id, str):
        workspace.users[user_id] = _name_of(user) or user_id
        if user.get("is_bot") is True:
            workspace.programs.add(user_id)


def _add_channel(workspace: _Workspace, channel: Fields) -> None:
    channel_id, name, members = channel.get("id"), channel.get("name"), channel.get("members")
    if not isinstance(channel_id, str) or not channel_id:
        return
    folder = name if isinstance(name, str) and name else channel_id
    title = folder
    if folder == channel_id and isinstance(members, list):  # a conversation of two has no name
        shown = [workspace.users.get(one, one) for one in members[:_MOST_MEMBERS_SHOWN] if isinstance(one, str)]
        title = ", ".join(shown) or folder
    workspace.channels[folder] = _Channel(id=channel_id, title=title[:MAX_NAME_CHARACTERS])


def _name_of(user: Fields) -> str:
    """What people of the workspace see: the display name, else the real one, else the account's."""
    profile = user.get("profile")
    places = (
        (profile, "display_name"),
        (user, "display_name"),
        (user, "real_name"),
        (profile, "real_name"),
        (user, "name"),
    )
    for of, name in places:
        value = of.get(name) if isinstance(of, dict) else None
        if isinstance(value, str) and value.strip():
            return value.strip()[:MAX_NAME_CHARACTERS]
    return ""


class _Reader:
    """Turns the entries of days into messages."""

    def __init__(self, workspace: _Workspace, marks: Marks, tally: Tally) -> None:
        self._workspace = workspace
        self._marks = marks
        self._tally = tally
        self._happenings = Happenings(_JOINS)

    def day(self, values: Values, name: str) -> Iterator[Item]:
        """The entries of one day's file; `name` is `folder/day.json`."""
        channel = self._workspace.channel(str(PurePosixPath(name).parent))
        with closing(values):
            try:
                if values.enter("start_array"):
                    for entry in values.elements():
                        self._count()
                        yield self._item(entry, channel, name)
                else:
                    yield skipped_entry(self._count(), None, f"{name} is no list of messages", "broken")
                values.end()
            except InvalidInput as error:  # a bad day keeps no other one out
                yield skipped_entry(self._count(), None, str(error), "broken")

    def _count(self) -> int:
        self._tally.lines += 1
        self._tally.message_line = self._tally.lines
        return self._tally.lines

    def _item(self, entry: object, channel: _Channel, name: str) -> Item:
        number = self._tally.lines
        if not isinstance(entry, dict):
            return skipped_entry(number, entry, f"{name}: {no_object(entry)}", "broken")
        try:
            said = self._message(entry, channel)
        except InvalidInput as error:
            return skipped_entry(number, entry, f"{name}: {error}", "broken")
        return said if isinstance(said, IncomingMessage) else skipped_entry(number, entry, said, "noise")

    def _message(self, entry: Fields, channel: _Channel) -> IncomingMessage | str:
        """The message, or why there is none.

        Raises:
            InvalidInput: it should be one, and cannot be read.
        """
        subtype, changed = _text(entry, "subtype"), entry.get("message")
        if subtype == "message_changed" and isinstance(changed, dict):
            return self._message(changed, channel)
        if subtype in _GONE:
            return DELETED
        if subtype is not None and subtype not in _SAID:
            return self._happenings.reason(subtype)
        ts, author_id = _text(entry, "ts"), self._author_id(entry)
        by_program = self._by_program(entry, author_id)
        text = words_of(entry, self._marks, by_program=by_program)
        edited = entry.get("edited")
        if not text.strip() and not edited:
            return NO_WORDS
        thread = _text(entry, "thread_ts")
        message = IncomingMessage(
            source=SOURCE,
            channel=channel.id,
            external_id=ts or "",
            author=self._author(entry, author_id),
            text=text,
            sent_at=_moment(ts, "ts"),
            reply_to=thread if thread != ts else None,
            thread=thread,
            author_id=author_id,
            channel_title=channel.title,
            details=_details(entry, self._marks, by_program=by_program),
        )
        if isinstance(edited, dict):
            return replace(message, edited_at=_moment(_text(edited, "ts"), "edited.ts"))
        return message

    def _author_id(self, entry: Fields) -> str | None:
        comment = entry.get("comment")
        by_comment = _text(comment, "user") if isinstance(comment, dict) else None
        return _text(entry, "user") or by_comment or _text(entry, "bot_id")

    def _author(self, entry: Fields, author_id: str | None) -> str:
        """The name that the message itself shows, of programs, or the user's; else what the program is called."""
        if named := _text(entry, "username"):
            return named[:MAX_NAME_CHARACTERS]
        if author_id in self._workspace.users:
            return self._workspace.users[author_id]
        for name in ("user_profile", "bot_profile"):
            profile = entry.get(name)
            if isinstance(profile, dict) and (shown := _name_of(profile)):
                return shown
        return author_id or ""

    def _by_program(self, entry: Fields, author_id: str | None) -> bool:
        return (
            entry.get("subtype") == "bot_message"
            or _text(entry, "bot_id") is not None
            or author_id in self._workspace.programs
        )


def _details(entry: Fields, marks: Marks, *, by_program: bool) -> Details:
    details = Details()
    if by_program:
        details["bot"] = True
    if files := files_of(entry):
        kind = files[0].get("mimetype")
        details["media"] = "photo" if isinstance(kind, str) and kind.startswith("image/") else "document"
    if quote := quote_of(entry, marks):
        details["quote"] = quote
    if reactions := _reactions(entry.get("reactions")):
        details["reactions"] = reactions
    return details


def _reactions(value: object) -> int:
    counts = [one.get("count") for one in value if isinstance(one, dict)] if isinstance(value, list) else []
    return sum(count for count in counts if isinstance(count, int) and 0 < count < _MOST_NAMED)


def _text(of: Fields, name: str) -> str | None:
    value = of.get(name)
    return value if isinstance(value, str) and value else None


def _moment(ts: str | None, name: str) -> dt.datetime:
    """Slack's `ts`: seconds since 1970, and behind the point microseconds, or a number that tells messages apart."""
    found = _STAMP.fullmatch(ts or "")
    if found is None:
        raise InvalidInput(f"its {name} is missing" if ts is None else f"its {name} is no time")
    try:
        moment = dt.datetime.fromtimestamp(int(found[1]), dt.UTC)
    except (ValueError, OverflowError, OSError) as error:
        raise InvalidInput(f"its {name} is no time") from error
    return moment + dt.timedelta(microseconds=int((found[2] or "0").ljust(6, "0")))
