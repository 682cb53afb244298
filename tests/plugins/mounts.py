"""Disks of a test's own: small ones to fill, read-only views; only root can have them."""

from __future__ import annotations

import subprocess
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def _mount(*arguments: str | Path) -> None:
    try:
        done = subprocess.run(["mount", *arguments], capture_output=True, check=False)
    except FileNotFoundError:
        pytest.skip("there is no program mount")
    if done.returncode != 0:
        pytest.skip(f"this account cannot mount: {done.stderr.decode().strip()}")


@contextmanager
def small_disk(folder: Path, options: str) -> Iterator[Path]:
    """A disk in memory at a new folder, for example with `size=40m`; skips the test where that cannot be."""
    folder.mkdir()
    _mount("-t", "tmpfs", "-o", f"mode=711,{options}", "tmpfs", folder)
    try:
        yield folder
    finally:
        subprocess.run(["umount", folder], check=True)


@contextmanager
def read_only(folder: Path) -> Iterator[None]:
    """The folder cannot be written for the block; skips the test where that cannot be."""
    _mount("--bind", folder, folder)
    try:
        _mount("-o", "remount,ro,bind", folder)
        yield
    finally:
        subprocess.run(["umount", folder], check=True)


def fill_up(file: Path) -> None:
    """Writes until there is no room left, not for one byte."""
    with suppress(OSError), file.open("wb", buffering=0) as stream:
        for size in (2**20, 2**12, 1):
            with suppress(OSError):
                while stream.write(bytes(size)) == size:
                    pass
