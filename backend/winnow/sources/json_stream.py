"""Walks through a JSON text of any size; of its values one at a time is held, and none beyond all measure."""

from __future__ import annotations

import codecs
import re
from typing import TYPE_CHECKING, Final, Literal

import ijson
import orjson

from winnow.errors import InvalidInput
from winnow.sources.base import EXCERPT_CHARACTERS, UTF8_BOM, Skipped

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator
    from typing import BinaryIO

    from winnow.sources.base import Readable, Tally

MAX_VALUE_BYTES = 32 * 1024 * 1024
MAX_VALUE_PARTS = 500_000
MAX_DEPTH = 100

_BLOCK_BYTES = 64 * 1024
_EXCERPT_VALUES = 20
# Telegram Desktop writes control characters as \x0B, which is no JSON. Escapes are taken two by two, from the left.
_ESCAPE = re.compile(r"\\(?:x([0-9A-Fa-f]{2})|[^x])", re.DOTALL)
_CUT_ESCAPE = re.compile(r"\\(?:x[0-9A-Fa-f]?)?\Z")
# A row of twice as many digits as a window has fills one; two that meet where blocks do have less than Python's 4,300.
_WINDOW_BYTES = 1000
_ROW_OF_DIGITS = re.compile(rb"[0-9]{2000}")

Event = tuple[str, object]
Opening = Literal["start_map", "start_array"]


class TooLarge:
    """Stands for a value that has more parts or is nested more deeply than any message."""


TOO_LARGE: Final = TooLarge()


class Values:
    """The values of one JSON text, in its order: ask for what comes next, and take or leave it.

    Args:
        source: the text. Bytes that are not UTF-8 become U+FFFD, and are counted in `tally.recoded`.
        tally: counts the bytes as they are read.
        name: how errors name the text.

    Raises:
        InvalidInput: by every method, the text ends too early, is no JSON from here on, or cannot be read.
    """

    def __init__(self, source: Readable, tally: Tally, *, name: str | None = None) -> None:
        self._name = name or str(source)
        self._tally = tally
        self._text: _Text | None = None
        self._events = self._read(source)

    def close(self) -> None:
        """Closes the file; needed only where the walk is abandoned."""
        self._events.close()

    def end(self) -> None:
        """Reads on behind the value that was walked through, where nothing may stand."""
        for _ in self._events:
            pass

    def enter(self, opening: Opening) -> bool:
        """Steps into the next value if it is an object (`start_map`) or a list; any other is left behind."""
        event = self._next()
        if event[0] == opening:
            return True
        self._build(event, keep=False)
        return False

    def names(self) -> Iterator[str]:
        """The keys of the object stepped into; after each one its value comes next, and must be taken or left."""
        while (event := self._next())[0] == "map_key":
            yield str(event[1])

    def elements(self) -> Iterator[object]:
        """The values of the list stepped into, each built, or `TOO_LARGE`."""
        while (event := self._next())[0] != "end_array":
            yield self._build(event)

    def objects(self) -> Iterator[None]:
        """Steps into each object of the list stepped into, whose keys must then be walked; leaves other values."""
        while (event := self._next())[0] != "end_array":
            if event[0] == "start_map":
                yield
            else:
                self._build(event, keep=False)

    def take(self) -> object:
        """The next value, or `TOO_LARGE`."""
        return self._build(self._next())

    def leave(self) -> None:
        """Passes over the next value."""
        self._build(self._next(), keep=False)

    def _next(self) -> Event:
        return next(self._events)

    def _build(self, event: Event, *, keep: bool = True) -> object:
        """The value that begins with the event; None where it is not to be kept."""
        if self._text is not None:
            self._text.since_value = 0
        kind, value = event
        if kind not in {"start_map", "start_array"}:
            return value if keep else None
        if keep:
            return self._container(kind)
        self._pass_over(1)
        return None

    def _container(self, kind: str) -> object:
        top: dict[str, object] | list[object] = {} if kind == "start_map" else []
        stack = [top]
        key, parts = "", 0
        for event, value in self._events:
            if event == "map_key":
                key = str(value)
                continue
            if event in {"end_map", "end_array"}:
                done = stack.pop()
                if not stack:
                    return done
                top = stack[-1]
                continue
            parts += 1
            if parts > MAX_VALUE_PARTS or len(stack) > MAX_DEPTH:
                self._pass_over(len(stack) + (event in {"start_map", "start_array"}))
                return TOO_LARGE
            part = {} if event == "start_map" else [] if event == "start_array" else value
            if isinstance(top, dict):
                top[key] = part
            else:
                top.append(part)
            if part is not value:
                stack.append(part)  # type: ignore[arg-type]  # a container, as it is not the value
                top = stack[-1]
        raise AssertionError("the events end with an error, or with the value")

    def _pass_over(self, depth: int) -> None:
        """Reads on to the end of the containers that are open, `depth` of them."""
        text = self._text
        for event, _ in self._events:
            if event in {"start_map", "start_array"}:
                depth += 1
            elif event in {"end_map", "end_array"}:
                depth -= 1
                if not depth:
                    return
            if text is not None:
                text.since_value = 0

    def _read(self, source: Readable) -> Generator[Event, None, None]:
        try:
            with source.open("rb") as file:
                self._text = _Text(file, self._tally, self._name)
                yield from ijson.basic_parse(self._text, buf_size=_BLOCK_BYTES)
        except OSError as error:
            raise InvalidInput(f"{self._name} cannot be read: {error.strerror or error}") from error
        except (ijson.JSONError, ValueError, ArithmeticError, RecursionError) as error:
            ended = self._text is not None and self._text.ended
            what = "ends in the middle, as if it was cut off" if ended else "is no JSON"
            raise InvalidInput(f"{self._name} {what}, after {self._where()}; what stands before is read") from error

    def _where(self) -> str:
        return f"message {self._tally.lines:,}" if self._tally.lines else f"{self._tally.bytes:,} bytes at most"


class _Text:
    """A JSON text as the parser reads it: good UTF-8 without a byte order mark, with JSON's own escapes only.

    Attributes:
        since_value: bytes given since somebody said that a value was done; a parser holds as many.
        ended: all of it was read.
    """

    def __init__(self, file: BinaryIO, tally: Tally, name: str) -> None:
        self._file = file
        self._tally = tally
        self._name = name
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._begun = False
        self._held = ""
        self.since_value = 0
        self.ended = False

    def read(self, size: int) -> bytes:
        """About `size` bytes more, none at the end; the parser asks for none at first, to see their type."""
        while size and not self.ended:
            raw = self._file.read(size)
            self._tally.bytes += len(raw)
            self.since_value += len(raw)
            if self.since_value > MAX_VALUE_BYTES:
                raise InvalidInput(
                    f"{self._name} holds a value of more than {MAX_VALUE_BYTES:,} bytes after message "
                    f"{self._tally.lines:,}; what stands before is read"
                )
            self.ended = not raw
            if text := self._mended(raw):
                return text
        return b""

    def _mended(self, raw: bytes) -> bytes:
        if not self._begun and raw:
            raw, self._begun = raw.removeprefix(UTF8_BOM), True
        text = self._held + self._decoder.decode(raw, final=self.ended)
        self._held = ""
        if "\ufffd" in text:
            self._tally.recoded += max(0, text.count("\ufffd") - raw.count(b"\xef\xbf\xbd"))
        if "\\" not in text:
            return _with_numbers_cut(text.encode())
        if not self.ended and (cut := _cut_escape(text)):
            text, self._held = text[:-cut], text[-cut:]
        if "\\x" in text:
            text = _ESCAPE.sub(lambda found: f"\\u00{found[1]}" if found[1] else found[0], text)
        return _with_numbers_cut(text.encode())


def _with_numbers_cut(raw: bytes) -> bytes:
    """The same text, but no number of thousands of digits in it, at which ijson's parser in C crashes.

    A digit of such a row becomes an escape: in a string that is the same digit, in a number it is none.
    """
    if not any(raw[i : i + _WINDOW_BYTES].isdigit() for i in range(0, len(raw), _WINDOW_BYTES)):
        return raw
    return _ROW_OF_DIGITS.sub(lambda found: b"%b\\u003%b" % (found[0][:-1], found[0][-1:]), raw)


def _cut_escape(text: str) -> int:
    """How many characters at the end are the beginning of an escape."""
    if not (found := _CUT_ESCAPE.search(text, max(0, len(text) - 3))):
        return 0
    before = text[: found.start()]
    escaped = (len(before) - len(before.rstrip("\\"))) % 2
    return 0 if escaped else len(found[0])


def keys_of(head: bytes) -> set[str]:
    """The keys of the object that the first bytes of a file begin; empty if they begin none."""
    found: set[str] = set()
    depth = 0
    try:
        for event, value in ijson.basic_parse(_with_numbers_cut(head.removeprefix(UTF8_BOM))):
            if depth == 0 and event != "start_map":
                return found
            if event in {"start_map", "start_array"}:
                depth += 1
            elif event in {"end_map", "end_array"}:
                depth -= 1
            elif event == "map_key" and depth == 1:
                found.add(value)
    except (ijson.JSONError, ValueError, ArithmeticError, RecursionError):
        pass  # cut, or not JSON from here on; what stands before tells enough
    return found


def no_object(entry: object) -> str:
    """Why an entry that is no object is no message."""
    return "it has more parts than any message" if isinstance(entry, TooLarge) else "it is not a JSON object"


def skipped_entry(number: int, entry: object, reason: str, kind: Literal["noise", "broken"]) -> Skipped:
    """An entry of a JSON text as one that gave no message."""
    return Skipped(
        line=number, reason=reason, excerpt=_excerpt(entry) if kind == "broken" else "", kind=kind, unit="message"
    )


def _excerpt(entry: object) -> str:
    if isinstance(entry, TooLarge):
        return ""
    if isinstance(entry, dict):
        entry = {
            key: value[:EXCERPT_CHARACTERS] if isinstance(value, str) else value
            for key, value in list(entry.items())[:_EXCERPT_VALUES]
        }
    try:
        text = orjson.dumps(entry, default=str).decode()
    except (TypeError, ValueError):  # lone surrogates, integers of more than 64 bits
        text = repr(entry)
    return text[:EXCERPT_CHARACTERS]
