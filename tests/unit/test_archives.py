"""An archive that was made to do harm is refused in one sentence before anything of it is unpacked."""

from __future__ import annotations

import json
import struct
import zipfile
from typing import TYPE_CHECKING, Any

import pytest

from winnow.domain.messages import IncomingMessage
from winnow.errors import InvalidInput
from winnow.sources import archives
from winnow.sources.archives import Archive, Folder
from winnow.sources.recognise import open_source

if TYPE_CHECKING:
    from pathlib import Path

LINE = json.dumps({"text": "hi", "sent_at": 1, "channel": "c"}).encode() + b"\n"


def made(folder: Path, files: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> Path:
    path = folder / "chat.zip"
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def patched(path: Path, mark: bytes, offset: int, form: str, *values: int) -> Path:
    """Writes values over the headers that begin with the mark."""
    content = bytearray(path.read_bytes())
    place = content.find(mark)
    while place >= 0:
        struct.pack_into(form, content, place + offset, *values)
        place = content.find(mark, place + 4)
    path.write_bytes(content)
    return path


def refused(path: Path) -> str:
    with pytest.raises(InvalidInput) as caught:
        list(open_source(path))
    assert str(caught.value).startswith(f"{path}")
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_an_archive_with_one_chat_in_it_is_read_as_that_chat(tmp_path: Path) -> None:
    path = made(tmp_path, {"WhatsApp/chat.txt": LINE * 3, "photo.jpg": b"\xff\xd8", "../../evil.png": b"x"})
    reading = open_source(path)
    assert [item.text for item in reading if isinstance(item, IncomingMessage)] == ["hi"] * 3
    assert (reading.format_name, reading.tally.bytes, reading.tally.size) == ("jsonl", 3 * len(LINE), 3 * len(LINE))
    assert (reading.path.name, reading.path.stem, str(reading.path)) == (
        "chat.txt",
        "chat",
        f"{path}:WhatsApp/chat.txt",
    )


@pytest.mark.parametrize("name", ["_chat.txt", "WhatsApp Chat with Team.txt", "Chat de WhatsApp con Team.txt"])
def test_documents_that_were_sent_in_a_chat_are_not_taken_for_it(tmp_path: Path, name: str) -> None:
    beside = {
        "DOC-20200101-WA0001.txt": b"notes",
        "list.csv": b"a,b\n",
        "data.json": b"{}",
        f"__MACOSX/._{name}": b"\0",
    }
    path = made(tmp_path, {name: b"31/12/2019, 23:59 - Ana: hi\n", "IMG-1.jpg": b"\xff\xd8", **beside})
    reading = open_source(path)
    assert [item.text for item in reading if isinstance(item, IncomingMessage)] == ["hi"]
    assert (reading.format_name, reading.path.name) == ("whatsapp", name)


def test_damage_at_the_very_beginning_is_told_in_a_sentence(tmp_path: Path) -> None:
    path = made(tmp_path, {"a.txt": LINE * 50})
    content = bytearray(path.read_bytes())
    content[45] ^= 0xFF
    path.write_bytes(content)
    assert "the archive is damaged there" in refused(path)


@pytest.mark.parametrize(
    ("files", "sentence"),
    [
        ({"a.txt": LINE, "b.json": LINE}, "several files that may be chats"),
        ({"a.png": b"x", "b.png": b"x"}, "nothing that may be a chat"),
        ({"a.png": b"\x89PNG\x00"}, "is not text"),
        ({"a.txt": b""}, "is empty"),
        ({"inner.zip": b"PK\x03\x04"}, "is of no kind|is not text"),
    ],
)
def test_what_is_no_chat_is_refused(tmp_path: Path, files: dict[str, bytes], sentence: str) -> None:
    told = refused(made(tmp_path, files))
    assert any(words in told for words in sentence.split("|"))


def test_bombs_are_refused(tmp_path: Path) -> None:
    bomb = made(tmp_path, {"chat.txt": bytes(70_000_000)})
    assert bomb.stat().st_size < 100_000
    assert "unpacks to more than 250 times its size" in refused(bomb)


def test_many_members_of_one_and_the_same_data_are_a_bomb_together(tmp_path: Path) -> None:
    path = made(tmp_path, {f"{number}.txt": b"x" for number in range(40)})
    patched(path, b"PK\x01\x02", 20, "<LL", 60_000, 2_000_000)
    assert "unpacks to more than 250 times its size (all of it)" in refused(path)


@pytest.mark.parametrize(
    ("limit", "value", "sentence"),
    [
        ("MAX_MEMBERS", 3, "more than 3 files; unpack it"),
        ("MAX_MEMBER_BYTES", 10, "at most"),
        ("MAX_BYTES", 20, "would unpack to"),
    ],
)
def test_there_is_an_end_to_everything(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: str, value: int, sentence: str
) -> None:
    path = made(tmp_path, {f"{number}.txt": b"12345678901" for number in range(4)})
    monkeypatch.setattr(archives, limit, value)
    assert sentence in refused(path)


def test_a_directory_too_large_to_be_held_is_never_read(tmp_path: Path) -> None:
    path = made(tmp_path, {"a.txt": LINE})
    patched(path, b"PK\x05\x06", 12, "<L", 3_000_000_000)
    assert "holds more than 250,000 files" in refused(path)


@pytest.mark.parametrize(
    ("offset", "value", "sentence"),
    [(8, 0x1, "is encrypted"), (10, zipfile.ZIP_LZMA, "in an unusual way"), (10, 99, "in an unusual way")],
)
def test_what_needs_a_password_or_another_program_is_refused(
    tmp_path: Path, offset: int, value: int, sentence: str
) -> None:
    path = patched(made(tmp_path, {"a.txt": LINE}), b"PK\x01\x02", offset, "<H", value)
    assert sentence in refused(path)


def test_one_that_was_cut_off_is_refused_wherever_the_cut_is(tmp_path: Path) -> None:
    whole = made(tmp_path, {"a.txt": LINE * 50, "b.jpg": b"x" * 500}).read_bytes()
    for size in range(4, len(whole), 7):
        path = tmp_path / "cut.zip"
        path.write_bytes(whole[:size])
        assert "cut off" in refused(path)


def test_damage_inside_ends_the_reading_with_a_sentence(tmp_path: Path) -> None:
    lines = b"".join(
        json.dumps({"text": f"{number**7}", "sent_at": number, "channel": "c"}).encode() + b"\n"
        for number in range(40_000)
    )
    path = made(tmp_path, {"a.txt": lines})
    content = bytearray(path.read_bytes())
    content[len(content) // 2 : len(content) // 2 + 50] = bytes(50)
    path.write_bytes(content)
    assert "the archive is damaged there" in refused(path)


def test_names_are_shown_and_never_paths(tmp_path: Path) -> None:
    names = ["../../up.txt", "/etc/passwd.txt", "C:\\x.txt"]
    archive = Archive(made(tmp_path, dict.fromkeys(names, LINE)))
    assert archive.names == tuple(sorted(names))
    member = archive.member("../../up.txt")
    assert (member.name, member.resolve()) == ("up.txt", tmp_path / "chat" / "up.txt")
    archive.close()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["chat.zip"]


def test_a_folder_is_two_levels_of_files(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    for name in ("x", "a/y", "a/b/z"):
        (tmp_path / name).write_text("1")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    assert Folder(tmp_path).names == ("a/y", "x")


def test_members_are_read_like_any_file(tmp_path: Path) -> None:
    archive = Archive(made(tmp_path, {"a.txt": b"one\ntwo\n" * 100_000}))
    with archive.member("a.txt").open("rb") as file:
        assert [file.readline(), file.read(3), file.readline(2)] == [b"one\n", b"two", b"\n"]
        assert len(file.read()) == 800_000 - 8
    values: Any = archive.member("a.txt").stat()
    assert values.st_size == 800_000
    archive.close()
