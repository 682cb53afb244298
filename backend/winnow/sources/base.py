"""What every source gives: a stream of messages and of lines that are none, each line of the file told exactly once."""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, BinaryIO, Literal, Protocol, Self

from winnow.domain.messages import IncomingMessage
from winnow.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator
    from pathlib import Path

MAX_LINE_BYTES = 8 * 1024 * 1024
EXCERPT_CHARACTERS = 80
_SWALLOW_BYTES = 64 * 1024
UTF8_BOM = b"\xef\xbb\xbf"

Unit = Literal["line", "message"]
"""What the parts of a file are counted by: its lines, or where lines mean nothing (JSON, archives) its entries."""


class Sized(Protocol):
    """What is known of a file before it is read."""

    @property
    def st_size(self) -> int:
        """Bytes; 0 where nobody knows."""


class Readable(Protocol):
    """A file (`pathlib.Path`), or what is read like one: a member of an archive. `str()` names it to people.

    `open` raises OSError when it cannot be read, and so do the reads of what it returns.
    """

    @property
    def name(self) -> str:
        """Its last name, without any folder."""

    @property
    def stem(self) -> str:
        """Its name without the ending."""

    def resolve(self) -> Path:
        """Where it lies; of a member of an archive where it would if that was unpacked: good for its names only."""

    def open(self, mode: Literal["rb"], /) -> BinaryIO:
        """Its bytes, from the beginning."""

    def stat(self) -> Sized:
        """Its size."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Skipped:
    """A line (or where lines mean nothing, an entry) that gave no message.

    Attributes:
        line: number of the line in its file, from 1, or of the entry.
        reason: why, as a statement; for noise one of a small fixed set, so that it can be counted.
        excerpt: the beginning of the line, at most 80 characters.
        kind: `noise` was never a message (a join, a blank line); `broken` may have been one and could not be read,
            so it is told to the person by line number and the command ends with an error.
        unit: what `line` counts.
    """

    line: int
    reason: str
    excerpt: str
    kind: Literal["noise", "broken"]
    unit: Unit = "line"

    @property
    def is_error(self) -> bool:
        """Whether a person should look at the line."""
        return self.kind == "broken"


Item = IncomingMessage | Skipped


@dataclass(slots=True, kw_only=True)
class Tally:
    """What became of the lines (or entries) of a file so far: `lines = messages + continued + noise + broken`.

    Attributes:
        lines: lines read.
        messages: messages given.
        continued: lines that were joined to the message above them.
        noise: lines that were never messages, by reason.
        broken: lines that could not be read.
        message_line: the line at which the message given last begins.
        recoded: lines among all these that were not UTF-8 and whose letters had to be guessed; worth a remark.
        notes: what had to be decided about the whole file, a sentence each without a full stop; complete at the end.
        bytes: how many were read; of archives, as they are when unpacked.
        size: how many there are to read; 0 while that is not known.
    """

    lines: int = 0
    messages: int = 0
    continued: int = 0
    noise: Counter[str] = field(default_factory=Counter)
    broken: int = 0
    message_line: int = 0
    recoded: int = 0
    notes: list[str] = field(default_factory=list)
    bytes: int = 0
    size: int = 0

    @property
    def balanced(self) -> bool:
        """Whether every line read is accounted for; true once the reading has ended."""
        return self.lines == self.messages + self.continued + self.noise.total() + self.broken


class Reading:
    """One file being read: iterate it once; `tally` says at any time how far it is and what was found.

    Opens the file at the first step and closes it at the end, on an error, or on `close()`.

    `unit` says what its items are counted by.

    Raises:
        InvalidInput: while iterating, the file can no longer be read.
    """

    def __init__(
        self, *, path: Readable, format_name: str, items: Iterator[Item], tally: Tally, unit: Unit = "line"
    ) -> None:
        self.path = path
        self.format_name = format_name
        self.unit = unit
        self.tally = tally
        self._items = items

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Item:
        item = next(self._items)
        if isinstance(item, IncomingMessage):
            self.tally.messages += 1
        elif item.is_error:
            self.tally.broken += 1
        else:
            self.tally.noise[item.reason] += 1
        return item

    def close(self) -> None:
        """Stops reading and closes the file; needed only where the iteration is abandoned."""
        close = getattr(self._items, "close", None)
        if close is not None:
            close()


@dataclass(slots=True)
class Line:
    """One raw line without its line end; of one that is too long only the beginning is kept."""

    number: int
    raw: bytes
    too_long: bool = False

    def skipped(self, reason: str, kind: Literal["noise", "broken"]) -> Skipped:
        """This line as one that gave no message."""
        excerpt = self.raw[: EXCERPT_CHARACTERS * 4].decode("utf-8", "replace").strip()
        return Skipped(line=self.number, reason=reason, excerpt=excerpt[:EXCERPT_CHARACTERS], kind=kind)


def lines_of(path: Readable, *, tally: Tally, max_bytes: int = MAX_LINE_BYTES) -> Generator[Line, None, None]:
    """The lines of a file or of a member of an archive, counted, one at a time; holds one of `max_bytes` at most.

    Reads what was there when the file was opened, and the rest of a line that somebody was writing just then: a file
    that grows faster than it is read ends, too. A byte order mark is not part of the first line.

    Raises:
        InvalidInput: the file cannot be opened or read.
    """
    try:
        with path.open("rb") as file:
            tally.size = path.stat().st_size
            left = tally.size or math.inf  # those of /proc have words, and no size
            while left > 0 and (raw := file.readline(max_bytes + 2)):
                tally.lines += 1
                taken = len(raw)
                if tally.lines == 1:
                    raw = raw.removeprefix(UTF8_BOM)
                if len(raw) <= max_bytes and raw.endswith(b"\n"):  # nearly all are
                    left -= taken
                    tally.bytes += taken
                    yield Line(tally.lines, raw.rstrip(b"\r\n"))
                    continue
                line, swallowed = _line(file, tally.lines, raw, max_bytes)
                left -= taken + swallowed
                tally.bytes += taken + swallowed
                yield line
    except OSError as error:
        raise InvalidInput(f"{path} cannot be read: {error.strerror or error}") from error


def _line(file: BinaryIO, number: int, raw: bytes, max_bytes: int) -> tuple[Line, int]:
    """The line that begins with `raw`, and how many bytes more of the file it takes."""
    taken, most = 0, max_bytes + 2
    if not raw.endswith(b"\n") and len(raw) < most:  # the end of the file, unless somebody has written on
        rest = file.readline(most - len(raw))
        raw, taken = raw + rest, len(rest)
    content = raw.rstrip(b"\r\n")
    if len(content) <= max_bytes and (raw.endswith(b"\n") or len(raw) < most):
        return Line(number=number, raw=content), taken
    while not raw.endswith(b"\n") and (raw := file.readline(_SWALLOW_BYTES)):
        taken += len(raw)
    return Line(number=number, raw=content[: EXCERPT_CHARACTERS * 4], too_long=True), taken


def decode(raw: bytes) -> tuple[str, bool]:
    """The text of a raw line, and whether its encoding had to be guessed.

    Old IRC logs mix encodings line by line: what is not UTF-8 was nearly always Windows-1252, whose five unassigned
    bytes become U+FFFD. A line that is UTF-8 for the greater part was damaged or cut in the middle of a character,
    and only what is damaged becomes U+FFFD. A message with a doubtful letter is worth more than no message.
    """
    try:
        return raw.decode("utf-8"), False
    except UnicodeDecodeError:
        text = raw.decode("utf-8", "replace")
        damaged = text.count("\ufffd")
        whole = sum(character > "\x7f" for character in text) - damaged
        return (text if whole and whole >= damaged else raw.decode("cp1252", "replace")), True


class ContentIds:
    """Identities made of a message's content, for sources that have none of their own.

    The id is a hash of the parts and of how often the same parts came before, so it stays when the file is read again,
    grows at its end, or is renamed. Counts are kept of the last 65,536 to 131,072 different contents only: memory
    stays flat, and a repetition further apart than that would need the same author, text and minute.
    """

    _GENERATION = 65_536

    def __init__(self) -> None:
        self._young: dict[int, int] = {}
        self._old: dict[int, int] = {}

    def next_of(self, *parts: str) -> str:
        """The id of the next message with these parts: 32 hexadecimal digits."""
        digest = hashlib.blake2b(digest_size=16)
        for part in parts:
            encoded = part.encode("utf-8", "surrogatepass")
            digest.update(b"%d:%b" % (len(encoded), encoded))  # the length keeps ("ab", "c") apart from ("a", "bc")
        digest.update(b"%d" % self._repetition(int.from_bytes(digest.digest()[:8])))
        return digest.hexdigest()

    def _repetition(self, key: int) -> int:
        count = self._young.get(key, self._old.get(key, -1)) + 1
        self._young[key] = count
        if len(self._young) >= self._GENERATION:
            self._old, self._young = self._young, {}
        return count
