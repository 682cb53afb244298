"""Embedded servers keep to their own folder: no other folder changes, whoever runs them and wherever it lies."""

from __future__ import annotations

import os
import signal
import stat
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from plugins.program import NOBODY, gone

if TYPE_CHECKING:
    from plugins.program import Program

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root's PostgreSQL runs under another account")


def owners(*folders: Path) -> dict[Path, tuple[int, int, int]]:
    paths = {path for folder in folders for path in (folder, *folder.parents)}
    return {path: (info.st_mode, info.st_uid, info.st_gid) for path in paths for info in [path.stat()]}


@as_root
def test_as_root_no_folder_that_was_there_changes(another: Program, open_folder: Path) -> None:
    private, shared = open_folder / "private", open_folder / "for all"
    private.mkdir(mode=0o700)
    shared.mkdir(mode=0o755)
    another.data = shared / "made" / "on the way"
    another.prefix = ("sh", "-c", 'umask 077; exec "$@"', "sh")  # as administrators have it
    before = owners(private, shared, open_folder)
    assert another.run("migrate").code == 0
    assert owners(private, shared, open_folder) == before
    assert stat.S_IMODE(another.data.stat().st_mode) == 0o711
    assert stat.S_IMODE((another.data / "nats").stat().st_mode) == 0o700
    assert stat.S_IMODE((another.data / "postgresql").stat().st_mode) == 0o700


@as_root
def test_as_root_a_folder_that_postgresql_cannot_get_to_is_refused_not_opened(
    another: Program, open_folder: Path
) -> None:
    closed = open_folder / "closed"
    closed.mkdir(mode=0o700)
    another.data = closed / "data"
    before = owners(closed)
    refused = another.run("migrate")
    assert refused.code == 3
    assert f"cannot enter {closed}" in refused.sentence
    assert "--data-dir" in refused.sentence
    assert owners(closed) == before


def test_an_ordinary_user_can_have_it_anywhere(ordinary: Program, open_folder: Path) -> None:
    home = open_folder / "Müllers Ordner, 'n & ärgerlich; $HOME 100%"
    home.mkdir(mode=0o700)
    if os.geteuid() == 0:
        os.chown(home, NOBODY, NOBODY)
    ordinary.data = home / "данные 数据" / ("far too long for the path of a socket " * 3).strip()
    before = socket_folders()
    up = ordinary.up()
    everything = up.processes()
    user_id = ordinary.data.stat().st_uid
    assert {process.uids().effective for process in everything.values()} == {user_id}
    assert stat.S_IMODE(ordinary.data.stat().st_mode) == 0o700
    assert ordinary.run("status", "--json").json["queue"]["workers"]
    assert socket_folders() > before, "the path is too long for a socket, so it must be elsewhere"
    assert up.end(signal.SIGINT) == 0
    assert gone(everything.values())
    assert socket_folders() == before
    by_default = ordinary.run("migrate", WINNOW_DATA_DIR=None, HOME=str(home), XDG_DATA_HOME=None)
    assert by_default.code == 0, by_default
    assert (home / ".local" / "share" / "winnow" / "postgresql").is_dir()


def socket_folders() -> set[Path]:
    user_id = NOBODY if os.geteuid() == 0 else os.geteuid()
    return set(Path(tempfile.gettempdir()).glob(f"winnow-{user_id}-*"))


@as_root
def test_an_account_without_a_home_is_told_to_choose_a_folder(ordinary: Program) -> None:
    refused = ordinary.run("migrate", WINNOW_DATA_DIR=None, HOME=None, XDG_DATA_HOME=None)
    assert refused.code == 3
    assert "--data-dir" in refused.sentence
