"""A JSON text of any size is walked through in flat memory, and one that is cut or damaged gives what stands before."""

from __future__ import annotations

import json
import tracemalloc
from contextlib import nullcontext
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from winnow.domain.messages import IncomingMessage
from winnow.errors import InvalidInput
from winnow.sources.base import Tally
from winnow.sources.json_stream import TOO_LARGE, Values, keys_of
from winnow.sources.telegram_export import read_telegram_export

if TYPE_CHECKING:
    from pathlib import Path

HEAD = b'{"name": "c", "type": "private_group", "id": 1, "messages": ['
SAID = b'{"id": %d, "type": "message", "date_unixtime": "1769936400", "text": "%b"}'


def elements(path: Path, content: bytes) -> tuple[list[object], Tally]:
    path.write_bytes(content)
    values = Values(path, tally := Tally())
    assert values.enter("start_array")
    found = list(values.elements())
    values.end()
    return found, tally


def texts(path: Path, content: bytes) -> tuple[list[str], str]:
    """What is read of an export, and with which sentence the reading ended."""
    path.write_bytes(content)
    found = []
    try:
        for item in read_telegram_export(path):
            assert isinstance(item, IncomingMessage)
            found.append(item.text)
    except InvalidInput as error:
        return found, str(error)
    return found, ""


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**80), 2**80)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=20,
)


@settings(deadline=None)
@given(st.lists(VALUES, max_size=5), st.booleans(), st.sampled_from([b"", b"\xef\xbb\xbf"]))
def test_every_value_comes_as_it_was_written(
    tmp_path_factory: pytest.TempPathFactory, given_values: list[object], ascii_only: bool, mark: bytes
) -> None:
    path = tmp_path_factory.getbasetemp() / "values.json"
    found, tally = elements(path, mark + json.dumps(given_values, ensure_ascii=ascii_only).encode())
    assert found == given_values
    assert tally.recoded == 0


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 400), st.sampled_from([b"\\x0B", b"\\\\x0B", b"\\u000b", b"\\n", b"\\\\", "ж".encode(), b'\\"']))
def test_escapes_of_telegram_desktop_and_letters_stay_whole_wherever_a_block_ends(
    tmp_path_factory: pytest.TempPathFactory, shift: int, piece: bytes
) -> None:
    path = tmp_path_factory.getbasetemp() / "escapes.json"
    written = piece * 40_000
    (found,), tally = elements(path, b'["' + b"a" * shift + written + b'"]')
    whole = {b"\\x0B": "\x0b", b"\\\\x0B": "\\x0B"}.get(piece) or json.loads(b'"' + piece + b'"')
    assert found == "a" * shift + whole * 40_000
    assert tally.recoded == 0


@pytest.mark.parametrize("digits", [1999, 2000, 4299, 4300, 70_000, 200_000])
def test_a_row_of_digits_is_what_it_was_in_a_string_and_no_number_elsewhere(tmp_path: Path, digits: int) -> None:
    row = b"7" * digits
    (shown, _), _ = elements(tmp_path / "x", b'["' + row + b'", 1]')
    assert shown == row.decode()
    for number in (row, b"-" + row, b"1." + row, b"1e" + row, row + b"."):
        path = tmp_path / "x"
        path.write_bytes(b"[1, " + number + b", 2]")
        values = Values(path, Tally())
        assert values.enter("start_array")
        with (
            pytest.raises(InvalidInput)
            if digits >= 2000 or number[-1:] == b"." or number[:2] == b"1e"
            else nullcontext()
        ):
            assert len(list(values.elements())) == 3


def test_bytes_that_are_no_utf_8_cost_a_letter_each(tmp_path: Path) -> None:
    found, tally = elements(tmp_path / "x", b'["caf\xe9", "\xef\xbf\xbd", "ok"]')
    assert (found, tally.recoded) == (["caf\ufffd", "\ufffd", "ok"], 1)


@pytest.mark.parametrize(
    ("tail", "sentence"),
    [
        (b"", "ends in the middle, as if it was cut off, after message 2"),
        (b', {"id": 3, "te', "ends in the middle"),
        (b"]", "ends in the middle"),
        (b", ###]}", "is no JSON, after message 2"),
        (b', {"id": ' + b"9" * 5000 + b"}]}", "is no JSON, after message 2"),
        (b", NaN]}", "is no JSON"),
        (b"]} trailing", "is no JSON"),
        (b', "' + b"x" * 40_000_000, "holds a value of more than 33,554,432 bytes after message 2"),
        (b"]}", ""),
    ],
    ids=lambda value: repr(value[:20]),
)
def test_what_stands_before_the_damage_is_read(tmp_path: Path, tail: bytes, sentence: str) -> None:
    found, told = texts(tmp_path / "result.json", HEAD + SAID % (1, b"one") + b"," + SAID % (2, b"two") + tail)
    assert found == ["one", "two"]
    assert sentence in told
    assert bool(told) == bool(sentence)
    assert "\n" not in told


def test_memory_stays_flat(tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    with path.open("wb") as file:
        file.write(HEAD)
        for number in range(20_000):
            file.write(SAID % (number, b"x" * 1000) + b",")
        file.write(SAID % (20_000, b"y" * 5_000_000) + b"]}")
    reading = read_telegram_export(path)
    tracemalloc.start()
    for _ in range(20_000):
        next(reading)
    _, peak = tracemalloc.get_traced_memory()
    (last,) = list(reading)
    _, peak_at_end = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert getattr(last, "reason", "").startswith("a message's text has 5,000,000 characters")
    assert peak < 2_000_000 < path.stat().st_size / 10
    assert peak_at_end < 60_000_000


def test_values_beyond_all_measure_are_left_behind(tmp_path: Path) -> None:
    deep = b"[" * 100_000 + b"]" * 100_000
    found, _ = elements(tmp_path / "x", b"[1, " + deep + b", 2, [" + b"[]," * 600_000 + b"[]], 3]")
    assert found == [1, TOO_LARGE, 2, TOO_LARGE, 3]


@pytest.mark.parametrize(
    ("head", "keys"),
    [
        (b'{"a": {"b": 1}, "c": [{"d": 1}], "e', {"a", "c"}),
        (b"[1]", set()),
        (b"x", set()),
        (b"", set()),
        (b'{"a": ' + b"9" * 5000 + b"}", {"a"}),
    ],
)
def test_keys_are_seen_in_what_there_is(head: bytes, keys: set[str]) -> None:
    assert keys_of(head) == keys
