"""Tells a file from every other one, and from what it was before it changed, without reading all of it."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from winnow.errors import InvalidInput

_EDGE_BYTES = 64 * 1024


def fingerprint(path: Path, *options: object) -> bytes:
    """32 bytes made of the file's size, its time of change, its first and last 64 KiB, and of what is to hold of it.

    Of a folder, the names, sizes and times of the files in it and in its folders.

    Raises:
        InvalidInput: it cannot be read.
    """
    digest = hashlib.blake2b(repr(options).encode("utf-8", "backslashreplace"), digest_size=32)
    try:
        if path.is_dir():
            _add_folder(digest, path)
        else:
            _add_file(digest, path)
    except OSError as error:
        raise InvalidInput(f"{path} cannot be read: {error.strerror or error}") from error
    return digest.digest()


def _add_file(digest: hashlib.blake2b, path: Path) -> None:
    with path.open("rb") as file:
        state = os.fstat(file.fileno())
        digest.update(b"%d %d" % (state.st_size, state.st_mtime_ns))
        digest.update(file.read(_EDGE_BYTES))
        file.seek(max(0, state.st_size - _EDGE_BYTES))
        digest.update(file.read(_EDGE_BYTES))


def _add_folder(digest: hashlib.blake2b, folder: Path) -> None:
    for entry in _sorted(folder):
        _add_entry(digest, entry)
        if entry.is_dir(follow_symlinks=False):
            for inner in _sorted(Path(entry.path)):
                _add_entry(digest, inner)


def _sorted(folder: Path) -> list[os.DirEntry[str]]:
    with os.scandir(folder) as entries:
        return sorted(entries, key=lambda entry: entry.name)


def _add_entry(digest: hashlib.blake2b, entry: os.DirEntry[str]) -> None:
    state = entry.stat(follow_symlinks=False)
    digest.update(os.fsencode(entry.name) + b"\0%d %d\0" % (state.st_size, state.st_mtime_ns))
