"""Reads text in UTF-16 as if it had been saved in UTF-8, which is what every reader of a format takes."""

from __future__ import annotations

import codecs
import io
from typing import TYPE_CHECKING, BinaryIO, Literal, cast

from typing_extensions import override

if TYPE_CHECKING:
    from pathlib import Path

    from winnow.sources.base import Readable, Sized

_BLOCK_BYTES = 64 * 1024
_UTF32 = (codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)


def is_utf16(head: bytes) -> bool:
    """Whether a file begins with the byte order mark of UTF-16, in either order (UTF-32's begins with one of them)."""
    return head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) and not head.startswith(_UTF32)


class Narrowed:
    """A file in UTF-16 with a byte order mark, to be read as UTF-8; what is no text becomes U+FFFD."""

    def __init__(self, source: Readable) -> None:
        self._source = source

    @override
    def __str__(self) -> str:
        return str(self._source)

    @property
    def name(self) -> str:
        """As the file's."""
        return self._source.name

    @property
    def stem(self) -> str:
        """As the file's."""
        return self._source.stem

    def resolve(self) -> Path:
        """As the file's."""
        return self._source.resolve()

    def open(self, mode: Literal["rb"], /) -> BinaryIO:
        """Its text in UTF-8; no more of it than there is when it is opened. Raises OSError as the file does."""
        file = self._source.open(mode)
        return cast("BinaryIO", io.BufferedReader(_Narrowing(file, self._source.stat().st_size)))

    def stat(self) -> Sized:
        """Of no size that anybody knows: Chinese grows by half, English shrinks to a half."""
        return _UnknownSize()


class _UnknownSize:
    st_size = 0


class _Narrowing(io.RawIOBase):
    """The bytes of a file in UTF-16, in UTF-8; `left` of the file are read at most, or all if that is 0."""

    def __init__(self, file: BinaryIO, left: int) -> None:
        super().__init__()
        self._file = file
        self._left = left or None
        self._decode = codecs.getincrementaldecoder("utf-16")(errors="replace")
        self._ready = b""
        self._ended = False

    @override
    def readable(self) -> bool:
        return True

    @override
    def readinto(self, buffer: bytearray, /) -> int:  # type: ignore[override]  # a memoryview, in truth
        while not self._ready and not self._ended:
            self._fill()
        taken = self._ready[: len(buffer)]
        self._ready = self._ready[len(taken) :]
        buffer[: len(taken)] = taken
        return len(taken)

    def _fill(self) -> None:
        raw = self._file.read(_BLOCK_BYTES if self._left is None else min(_BLOCK_BYTES, self._left))
        if self._left is not None:
            self._left -= len(raw)
        self._ended = not raw
        self._ready = self._decode.decode(raw, final=self._ended).encode("utf-8", "replace")

    @override
    def close(self) -> None:
        self._file.close()
        super().close()
