"""Opens archives that may have been made to do harm, and folders of what was in one, as files to be read.

Nothing is ever unpacked to the disk: members are streamed, and their names are compared and shown, never used as paths.
"""

from __future__ import annotations

import io
import os
import struct
import zipfile
import zlib
from contextlib import closing, contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import IO, TYPE_CHECKING, BinaryIO, Literal, Protocol

from typing_extensions import override

from winnow.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

    from winnow.sources.base import Readable

ZIP = b"PK\x03\x04"
EMPTY_ZIP = b"PK\x05\x06"
MAX_MEMBERS = 250_000
MAX_FILES = 1_000_000
MAX_MEMBER_BYTES = 16 * 2**30
MAX_BYTES = 64 * 2**30
# What chats are written in shrinks to a tenth, and one and the same message over and over to a hundredth.
MAX_RATIO = 250
FREE_BYTES = 64 * 2**20  # up to here nobody asks for the ratio

_MAX_DIRECTORY_BYTES = MAX_MEMBERS * 256
_METHODS = frozenset({zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED})
_ENCRYPTED = 0x1
_END = struct.Struct("<4s4H2LH")  # the end of central directory record, PKWARE's APPNOTE 4.3.16
_END64_LOCATOR = struct.Struct("<4sLQL")  # 4.3.15
_END64 = struct.Struct("<4sQ2H2L4Q")  # 4.3.14
_MAX_COMMENT_BYTES = 65_535
_UNKNOWN = 0xFFFFFFFF


class Tree(Protocol):
    """Files by name: those of an archive, or of a folder that one was unpacked to."""

    @property
    def names(self) -> tuple[str, ...]:
        """Of all files, in alphabetical order; parts are separated by `/`."""

    def member(self, name: str) -> Readable:
        """The file of that name, to be opened any number of times."""

    def close(self) -> None:
        """Closes what is open; nothing can be read after that."""


@dataclass(frozen=True, slots=True)
class _Size:
    st_size: int


@dataclass(frozen=True, slots=True)
class Member:
    """A file in an archive, which is read like any other. `archive` is where the archive lies."""

    archive: Path
    member: str
    _zip: zipfile.ZipFile
    _info: zipfile.ZipInfo

    @property
    def name(self) -> str:
        """Its last name, without any folder."""
        return PurePosixPath(self.member).name

    @property
    def stem(self) -> str:
        """Its name without the ending."""
        return PurePosixPath(self.member).stem

    @override
    def __str__(self) -> str:
        return f"{self.archive}:{self.member}"

    def resolve(self) -> Path:
        """Where it would lie if the archive was unpacked beside itself: good for its names only."""
        return self.archive.resolve().with_suffix("") / self.name

    def stat(self) -> _Size:
        """How large it is when unpacked, as the archive says; it is never read beyond that."""
        return _Size(self._info.file_size)

    def open(self, mode: Literal["rb"] = "rb", /) -> BinaryIO:
        """Its bytes; OSError, also while reading, when the archive is damaged there."""
        del mode
        with _as_os_error():
            return io.BufferedReader(_Stream(self._zip.open(self._info)))


class _Stream(io.RawIOBase):
    """A member being unpacked; what can be wrong with it is an OSError, as with any file."""

    def __init__(self, inner: IO[bytes]) -> None:
        self._inner = inner

    @override
    def readable(self) -> bool:
        return True

    @override
    def readinto(self, buffer: object, /) -> int:
        view = memoryview(buffer)  # type: ignore[arg-type]  # whatever can be written to
        with _as_os_error():
            read = self._inner.read(len(view))
        view[: len(read)] = read
        return len(read)

    @override
    def close(self) -> None:
        self._inner.close()
        super().close()


@contextmanager
def _as_os_error() -> Iterator[None]:
    try:
        yield
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, ValueError) as error:
        raise OSError(f"the archive is damaged there ({error})") from error


class Archive:
    """A zip file whose directory was read and found harmless.

    Raises:
        InvalidInput: it is none, cut off, encrypted, packed in an unusual way, or would unpack to far too much.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        _require_small_directory(path)
        try:
            self._zip = zipfile.ZipFile(path)
        except (zipfile.BadZipFile, NotImplementedError, ValueError, struct.error) as error:
            raise InvalidInput(f"{path} is an archive that is damaged or was cut off ({error})") from error
        except OSError as error:
            raise InvalidInput(f"{path} cannot be read: {error.strerror or error}") from error
        self._members = {info.filename: info for info in self._zip.infolist() if not info.is_dir()}
        self._require_harmless()

    @property
    def names(self) -> tuple[str, ...]:
        """Of all files in it, in alphabetical order."""
        return tuple(sorted(self._members))

    def member(self, name: str) -> Member:
        """The file of that name."""
        return Member(self.path, name, self._zip, self._members[name])

    def close(self) -> None:
        """Closes the file."""
        self._zip.close()

    def _require_harmless(self) -> None:
        infos = self._zip.infolist()
        if len(infos) > MAX_MEMBERS:
            raise InvalidInput(_too_many(self.path))
        for info in infos:
            shown = info.filename[:100]
            if info.flag_bits & _ENCRYPTED:
                raise InvalidInput(f"{self.path} is encrypted; unpack it with its password, and name what was in it")
            if info.compress_type not in _METHODS:
                raise InvalidInput(f"{self.path} holds {shown} packed in an unusual way; unpack it, and name the files")
            if info.file_size > MAX_MEMBER_BYTES:
                raise InvalidInput(
                    f"{self.path} holds {shown} of {_gib(info.file_size)}; {_gib(MAX_MEMBER_BYTES)} at most"
                )
            self._require_ratio(info.file_size, info.compress_size, shown)
        total = sum(info.file_size for info in infos)
        if total > MAX_BYTES:
            raise InvalidInput(f"{self.path} would unpack to {_gib(total)}; {_gib(MAX_BYTES)} at most")
        self._require_ratio(total, self.path.stat().st_size, "all of it")

    def _require_ratio(self, unpacked: int, packed: int, what: str) -> None:
        if unpacked > FREE_BYTES and unpacked > MAX_RATIO * packed:
            raise InvalidInput(
                f"{self.path} unpacks to more than {MAX_RATIO} times its size ({what}), as archives do that are meant "
                "to do harm; unpack it yourself if you trust it"
            )


class Folder:
    """A folder that an archive was unpacked to: its own files, and those of the folders in it.

    Raises:
        InvalidInput: it cannot be read, or holds more than a million files.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            with closing(_files_in(path)) as files:
                self.names = tuple(sorted(islice(files, MAX_FILES + 1)))
        except OSError as error:
            raise InvalidInput(f"{path} cannot be read: {error.strerror or error}") from error
        if len(self.names) > MAX_FILES:
            raise InvalidInput(f"{path} holds more than {MAX_FILES:,} files; name folders with fewer")

    def member(self, name: str) -> Path:
        """The file of that name, which is one of `names`."""
        return self.path / name

    def close(self) -> None:
        """Nothing is open."""


def _files_in(folder: Path) -> Generator[str, None, None]:
    with os.scandir(folder) as entries:
        for entry in entries:
            if _is(entry.is_file):
                yield entry.name
            elif _is(entry.is_dir):
                with os.scandir(entry) as inner:
                    yield from (f"{entry.name}/{one.name}" for one in inner if _is(one.is_file))


def _is(what: Callable[[], bool]) -> bool:
    try:
        return what()
    except OSError:  # a link to itself
        return False


def _too_many(path: Path) -> str:
    return f"{path} holds more than {MAX_MEMBERS:,} files; unpack it, and name the folder"


def _gib(size: int) -> str:
    return f"{size / 2**30:,.1f} GiB"


def _require_small_directory(path: Path) -> None:
    """An archive's directory is read into memory at once, so its size is looked at before."""
    try:
        with path.open("rb") as file:
            size = _directory_bytes(file)
    except OSError as error:
        raise InvalidInput(f"{path} cannot be read: {error.strerror or error}") from error
    if size is None:
        raise InvalidInput(f"{path} is an archive that was cut off: the directory at its end is missing")
    if size > _MAX_DIRECTORY_BYTES:
        raise InvalidInput(_too_many(path))


def _directory_bytes(file: BinaryIO) -> int | None:
    """The size of an archive's directory, as its last record says; None without one."""
    end = file.seek(0, io.SEEK_END)
    begin = max(0, end - _END.size - _MAX_COMMENT_BYTES)
    file.seek(begin)
    tail = file.read()
    place = tail.rfind(EMPTY_ZIP, 0, max(0, len(tail) - _END.size + len(EMPTY_ZIP)))
    if place < 0:
        return None
    size: int = _END.unpack_from(tail, place)[5]
    if size != _UNKNOWN or begin + place < _END64_LOCATOR.size:
        return size
    file.seek(begin + place - _END64_LOCATOR.size)
    mark, _, offset, _ = _END64_LOCATOR.unpack(file.read(_END64_LOCATOR.size))
    if mark != b"PK\x06\x07" or offset > end - _END64.size:
        return size
    file.seek(offset)
    large: int = _END64.unpack(file.read(_END64.size))[8]
    return large
