"""Any line can be taken apart, in time proportional to its length."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from winnow.sources.irc_lines import Said, colon_author, parse_line


@given(st.text(max_size=200))
def test_any_line_can_be_parsed(line: str) -> None:
    parse_line(line)


@pytest.mark.parametrize(
    "piece", ["[", " ", "<", "* a ", "a ", "- ", "--- Log opened ", "Jan ", "1", "[10:00] ( ", "a:", ")"]
)
def test_long_lines_take_no_long_time(piece: str) -> None:
    began = time.process_time()
    for start in ("", "[10:00] ", "* ada (", "--- Log opened "):
        parse_line(start + piece * 100_000)
        colon_author(start + piece * 100_000)
    assert time.process_time() - began < 2  # a quadratic pattern takes minutes here


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("[10:00] <ada>  two spaces ", " two spaces "),
        ("[10:00] <ada>\t\tindented", "\tindented"),
        ("[10:00] <ada>", ""),
        ("[10:00]  * ada", ""),
        ("[10:00] <ada> <lin> said so", "<lin> said so"),
        ("[10:00] <ada> * has quit (all of it)", "* has quit (all of it)"),
        ("[10:00] * ada has left the building", "has left the building"),
        ("[10:00] * ada is now known as the boss", "is now known as the boss"),
        ("[10:00] • ada joined", "joined"),
    ],
)
def test_text_is_verbatim(line: str, text: str) -> None:
    parsed = parse_line(line)
    assert isinstance(parsed, Said)
    assert (parsed.author, parsed.text) == ("ada", text)
