"""Reads the archive of a mailing list, or any mailbox, in mbox form: mail after mail, each below a `From ` line.

A mail becomes one message: what its author wrote. What it quotes is kept in the details, signatures and lists' footers
are left out, and a mail that begins a thread has its subject as the first line. One mail is in memory at a time.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import re
from email.errors import MessageError
from email.utils import parseaddr, parsedate_to_datetime
from typing import TYPE_CHECKING

from winnow.domain.messages import MAX_TEXT_CHARACTERS, Details, IncomingMessage
from winnow.errors import InvalidInput
from winnow.sources.base import ContentIds, Item, Line, Reading, Tally, decode, lines_of
from winnow.sources.local_times import LocalTimes, as_written
from winnow.sources.mail_text import Words, header_text, words_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from winnow.sources.base import Readable

BLANK = "blank line"
NO_MAIL = "it stands above the first mail"

MAX_MAIL_BYTES = 5_000_000
_MOST_ROOTS = 65_536
_MOST_ID_CHARACTERS = 200
_MAX_NAME_CHARACTERS = 200
_MAX_HEADER_CHARACTERS = 16_384
_FROM_LINE = re.compile(rb"From \S.{0,300}? ?(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun),? .{0,80}\d\d:\d\d.{0,80}\Z")
_HEADER = re.compile(rb"(?P<name>[!-9;-~]{1,80}):[ \t]*(?P<value>.*)")
_ID = re.compile(r"<([^<>\s]{1,998})>")
_LIST_ID = re.compile(r"(?P<title>[^<]*)<(?P<id>[^<>\s]{1,250})>")
_REPLY = re.compile(
    r"(?:\[[^\]]{1,60}\]\s*)?(?:re|aw|sv|antw|rif|odp|отв|ответ|fwd?|wg)(?:\[\d+\])?\s?:", re.IGNORECASE
)
_REPLY_SIGNS = re.compile(r"\A(?:\s*(?:re|aw|sv|antw|rif|odp|отв|ответ|fwd?|wg)(?:\[\d+\])?\s?:\s*)+", re.IGNORECASE)
_PIPERMAIL = re.compile(r"(?P<user>\S+) at (?P<host>\S+) \((?P<name>.*)\)\Z")
_PROGRAMS = ("mailer-daemon", "postmaster", "noreply", "no-reply", "bounce")
_HEADERS_NEEDED = frozenset(
    [
        "from",
        "date",
        "subject",
        "message-id",
        "in-reply-to",
        "references",
        "list-id",
        "content-type",
        "content-transfer-encoding",
        "auto-submitted",
        "precedence",
        "x-autoreply",
        "x-autorespond",
    ]
)


def looks_like_mbox(head: bytes) -> bool:
    """Whether a file begins with the line above a mail, and headers below it."""
    lines = head.removeprefix(b"\xef\xbb\xbf").lstrip(b"\r\n").split(b"\n", 3)
    if len(lines) < 2 or not _FROM_LINE.match(lines[0].rstrip(b"\r")):  # noqa: PLR2004
        return False
    return any(_HEADER.match(line) for line in lines[1:3])


def read_mbox(path: Readable, *, channel: str | None = None, timezone: dt.tzinfo = dt.UTC) -> Reading:
    """The mails of a mailbox, in its order.

    Args:
        path: the mailbox.
        channel: of mails that name no list; else the file's name.
        timezone: of dates that name none.

    Raises:
        InvalidInput: the channel cannot be one, or, while iterating, the file cannot be read.
    """
    if channel is not None and not channel.strip():
        raise InvalidInput("the channel is empty; leave it out or name one, for example --channel dev-list")
    tally = Tally()
    mails = _Mails(channel or path.stem or path.name, timezone, tally)
    return Reading(path=path, format_name="mbox", items=_items(path, mails, tally), tally=tally)


def _items(path: Readable, mails: _Mails, tally: Tally) -> Iterator[Item]:
    after_blank = True
    for line in lines_of(path, tally=tally, max_bytes=MAX_MAIL_BYTES):
        raw = line.raw
        if after_blank and raw.startswith(b"From ") and _FROM_LINE.match(raw):
            yield from mails.release()
            mails.begin(line)
        elif mails.is_open:
            mails.add(line)
        else:
            yield line.skipped(NO_MAIL, "broken") if raw.strip() else line.skipped(BLANK, "noise")
        after_blank = not raw
    yield from mails.release()
    tally.notes.extend(mails.notes())


class _Mails:
    """The mail that is being collected, and what is known of those before it."""

    def __init__(self, channel: str, timezone: dt.tzinfo, tally: Tally) -> None:
        self._channel = channel
        self._tally = tally
        self._zone = timezone
        self._times = LocalTimes(timezone)
        self._local = False
        self._ids = ContentIds()
        self._roots: dict[str, str] = {}
        self._first: Line | None = None
        self._lines: list[bytes] = []
        self._bytes = 0
        self._cut = 0

    @property
    def is_open(self) -> bool:
        """Whether a mail is being collected."""
        return self._first is not None

    def begin(self, line: Line) -> None:
        """Begins the mail below a `From ` line."""
        self._first, self._lines, self._bytes = line, [], 0

    def add(self, line: Line) -> None:
        """Takes the next line of the mail, unless that has become too long."""
        self._tally.continued += 1
        self._bytes += len(line.raw) + 1
        if self._bytes <= MAX_MAIL_BYTES and not line.too_long:
            self._lines.append(line.raw)

    def release(self) -> Iterator[Item]:
        """The mail collected so far."""
        first, self._first = self._first, None
        if first is None:
            return
        self._tally.message_line = first.number
        self._cut += self._bytes > MAX_MAIL_BYTES
        try:
            yield self._message()
        except InvalidInput as error:
            yield first.skipped(str(error), "broken")
        self._lines = []

    def notes(self) -> list[str]:
        """What a person should know of the whole file."""
        told = self._times.notes() if self._local else []
        if self._cut:
            told.append(
                f"mails of more than {MAX_MAIL_BYTES:,} bytes, of which only the beginning was read: {self._cut:,}"
            )
        return told

    def _message(self) -> IncomingMessage:
        headers, below = _headers_of(self._lines)
        head, body = b"\n".join(self._lines[:below]), b"\n".join(_unescaped(self._lines[below + 1 :]))
        sent_at = self._sent_at(headers)
        try:
            words = words_of(headers, head, body)
        except (MessageError, ValueError, RecursionError) as error:
            raise InvalidInput(f"its parts cannot be taken apart: {type(error).__name__}") from error
        self._tally.recoded += words.guessed
        subject = header_text(headers.get("subject", ""))
        reply_to, thread = self._thread(headers)
        author, address = _author(headers.get("from", ""))
        is_first = reply_to is None and not _REPLY.match(subject)
        text = f"{subject}\n\n{words.text}".strip() if is_first and subject else words.text
        if len(text) > MAX_TEXT_CHARACTERS:
            raise InvalidInput(f"its text has {len(text):,} characters; {MAX_TEXT_CHARACTERS:,} at most")
        found = _ID.search(headers.get("message-id", ""))
        own = _short(found[1]) if found else self._made_up_id(sent_at, author, subject, text)
        listed = _LIST_ID.match(header_text(headers.get("list-id", "")))
        return IncomingMessage(
            source="mail",
            channel=listed["id"] if listed else self._channel,
            channel_title=listed["title"].strip(' "')[:_MAX_NAME_CHARACTERS] or None if listed else None,
            external_id=own,
            author=author,
            author_id=address or None,
            text=text,
            sent_at=sent_at,
            reply_to=reply_to,
            thread=self._root(own, thread),
            details=_details(headers, words, subject, address),
        )

    def _made_up_id(self, sent_at: dt.datetime, author: str, subject: str, text: str) -> str:
        return self._ids.next_of(as_written(sent_at, self._zone), author, subject, text)

    def _sent_at(self, headers: dict[str, str]) -> dt.datetime:
        written = header_text(headers.get("date", ""))
        if not written:
            raise InvalidInput("it has no Date")
        try:
            moment = parsedate_to_datetime(written)
            if moment.tzinfo is None:
                unknown = written.rstrip().endswith(("-0000", "GMT", "UTC"))
                self._local |= not unknown
                moment = moment.replace(tzinfo=dt.UTC) if unknown else self._times.at(moment)
            moment.astimezone(dt.UTC)
        except (ValueError, TypeError, OverflowError, IndexError) as error:
            raise InvalidInput(f"its Date {written[:60]} is no time that there is") from error
        return moment

    def _thread(self, headers: dict[str, str]) -> tuple[str | None, str | None]:
        """Which mail it answers, and the first one of its thread as far as its headers tell."""
        references = _ID.findall(headers.get("references", ""))
        answered = _ID.findall(headers.get("in-reply-to", "")) or references[-1:]
        first = (references or answered)[:1]
        return (_short(answered[0]) if answered else None), (_short(first[0]) if first else None)

    def _root(self, own: str, first: str | None) -> str:
        """The thread's first mail: of mailers that name only the mail before, by the mails read so far."""
        root = self._roots.get(first, first) if first else own
        if len(self._roots) >= _MOST_ROOTS:
            self._roots = {}
        self._roots[own] = root
        return root


def _headers_of(lines: list[bytes]) -> tuple[dict[str, str], int]:
    """The headers that matter, by their names in small letters, the first of each; and where the empty line stands."""
    headers: dict[str, str] = {}
    name = ""
    number = 0
    for number, line in enumerate(lines):
        if not line:
            return headers, number
        if line[:1] in b" \t":
            if name and len(headers[name]) < _MAX_HEADER_CHARACTERS:
                headers[name] += "\n" + decode(line)[0]
            continue
        found = _HEADER.match(line)
        name = found["name"].decode("ascii").lower() if found else ""
        if name not in _HEADERS_NEEDED or name in headers:
            name = ""
        elif found:
            headers[name] = decode(found["value"][:_MAX_HEADER_CHARACTERS])[0]
    return headers, number + 1


def _unescaped(lines: list[bytes]) -> Iterator[bytes]:
    for line in lines:
        yield line[1:] if line.startswith(b">From ") else line


def _short(message_id: str) -> str:
    """A Message-ID that fits, however long it is."""
    if len(message_id) <= _MOST_ID_CHARACTERS:
        return message_id
    return hashlib.blake2b(message_id.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


def _author(written: str) -> tuple[str, str]:
    """Name and address, also where an archive has hidden the @ as Mailman does."""
    if found := _PIPERMAIL.match(" ".join(written.split())):
        name, address = found["name"], f"{found['user']}@{found['host']}"
    else:
        name, address = parseaddr(" ".join(written.split()))
    name = header_text(name).strip("\"' ") or address.partition("@")[0] or written.strip()
    return name[:_MAX_NAME_CHARACTERS], address.lower()[:_MAX_NAME_CHARACTERS]


def _details(headers: dict[str, str], words: Words, subject: str, address: str) -> Details:
    details = Details()
    if words.quote:
        details["quote"] = words.quote
    if words.media:
        details["media"] = words.media
    if topic := _REPLY_SIGNS.sub("", subject):
        details["topic"] = topic
    automatic = headers.get("auto-submitted", "no").strip().lower()
    if (
        not automatic.startswith("no")
        or headers.get("precedence", "").strip().lower() == "auto_reply"
        or "x-autoreply" in headers
        or "x-autorespond" in headers
        or address.startswith(_PROGRAMS)
    ):
        details["bot"] = True
    return details
