"""Somebody's words in Markdown are words: no link, no heading, no HTML, no line of their own."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from winnow.domain.markdown import escaped

SIGNS = st.text(alphabet="\\`*_[]<>&|~$#+=:-!()1.) \n\tax\u202e\x1b\x85", max_size=30)
ACTIVE = re.compile(r"(?<!\\)(?:\\\\)*[`*_\[\]<>&|~$]")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain words, v1.2.3 (yes)", "plain words, v1.2.3 (yes)"),
        ("# heading", "\\# heading"),
        ("- item", "\\- item"),
        ("12. item", "12\\. item"),
        ("1) item", "1\\) item"),
        ("3.1.4 pi", "3\\.1.4 pi"),
        ("--- \n ***", "\\--- \\*\\*\\*"),
        ("![x](http://tracker/p.png)", "!\\[x\\](http://tracker/p.png)"),
        ("<script>alert(1)</script>", "\\<script\\>alert(1)\\</script\\>"),
        ("&lt;b&gt;", "\\&lt;b\\&gt;"),
        ("a\n\n# b", "a # b"),
        ("back\\slash `code`", "back\\\\slash \\`code\\`"),
        ("\u202eevil\x1b[2J", "\ufffdevil\ufffd\\[2J"),
        ("", ""),
        (" \n ", ""),
    ],
)
def test_signs_are_shown_as_they_are(text: str, shown: str) -> None:
    assert escaped(text) == shown


@given(SIGNS | st.text(max_size=60))
def test_nothing_is_left_that_does_something(text: str) -> None:
    shown = escaped(text)
    assert not ACTIVE.search(shown)
    assert len(shown.splitlines()) <= 1
    assert not re.match(r"[#+=:-]|\d+[.)]", shown)


@given(SIGNS)
def test_no_letter_is_lost(text: str) -> None:
    def letters(given_text: str) -> str:
        return "".join(sign for sign in given_text if sign.isalnum())

    assert letters(escaped(text)) == letters(text)
