"""A file in UTF-16 with a byte order mark is read as if it had been saved in UTF-8."""

from __future__ import annotations

import codecs
import zipfile
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from winnow.domain.messages import IncomingMessage
from winnow.sources.recognise import open_source
from winnow.sources.wide import Narrowed, is_utf16

if TYPE_CHECKING:
    from pathlib import Path

MARKS = {"utf-16-le": codecs.BOM_UTF16_LE, "utf-16-be": codecs.BOM_UTF16_BE}
FILES = {
    "2026-01-31.log": "[10:00] <ада> привет\n[10:01] <bob> 你好 🎉\n",
    "_chat.txt": "[31.01.26, 09:30:00] Ада: привет\n[31.01.26, 09:31:00] Bob: 你好 🎉\n",
    "chat.csv": "date,author,text\n2026-01-31 09:30:00,ада,привет\n2026-01-31 09:31:00,bob,你好 🎉\n",
}


def messages(path: Path) -> list[IncomingMessage]:
    return [item for item in open_source(path) if isinstance(item, IncomingMessage)]


@pytest.mark.parametrize("encoding", MARKS)
@pytest.mark.parametrize("name", FILES)
def test_a_chat_in_utf_16_gives_the_same_messages(tmp_path: Path, name: str, encoding: str) -> None:
    path = tmp_path / name
    path.write_text(FILES[name], "utf-8")
    expected = messages(path)
    assert [one.text for one in expected] == ["привет", "你好 🎉"]
    wide = MARKS[encoding] + FILES[name].encode(encoding)
    path.write_bytes(wide)
    assert messages(path) == expected
    archive = tmp_path / "chat.zip"
    with zipfile.ZipFile(archive, "w") as packed:
        packed.writestr(name, wide)
    assert [(one.author, one.text) for one in messages(archive)] == [(one.author, one.text) for one in expected]


@pytest.mark.parametrize("encoding", MARKS)
@given(text=st.text(max_size=300), chunk=st.integers(1, 50), repeat=st.integers(1, 300))
def test_every_text_is_read_whole_in_pieces_of_any_size(
    tmp_path_factory: pytest.TempPathFactory, encoding: str, text: str, chunk: int, repeat: int
) -> None:
    path = tmp_path_factory.mktemp("wide", numbered=True) / "file"
    whole = text * repeat
    path.write_bytes(MARKS[encoding] + whole.encode(encoding))
    with Narrowed(path).open("rb") as file:
        pieces = list(iter(lambda: file.read(chunk * 97), b""))
    assert b"".join(pieces) == whole.encode()


def test_what_is_cut_or_no_text_is_marked_and_nothing_fails(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(codecs.BOM_UTF16_LE + "ab".encode("utf-16-le") + b"\x00\xd8" + b"c\x00" + b"d")
    with Narrowed(path).open("rb") as file:
        assert file.read().decode() == "ab\ufffdc\ufffd"


def test_utf_32_is_not_taken_for_it() -> None:
    assert is_utf16("a".encode("utf-16"))
    assert not is_utf16("a".encode("utf-32"))
    assert not is_utf16(b"a")
