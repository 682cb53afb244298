"""A message that comes in can be stored as it is, or is refused with a sentence that names what is wrong."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plugins.pipeline import incoming
from winnow.domain.messages import storable
from winnow.errors import InvalidInput

anything = st.text(st.characters(codec=None, exclude_categories=()), max_size=50)


def test_what_is_well_stays_as_it_is() -> None:
    message = incoming(1, "line one\nline two \u202e 🙂", thread="t", reply_to="0")
    assert (message.text, message.thread, message.reply_to) == ("line one\nline two \u202e 🙂", "t", "0")


@pytest.mark.parametrize("text", ["", "  ", "\n"])
def test_a_blank_text_is_a_message_too(text: str) -> None:
    assert incoming(1, text).text == text


@pytest.mark.parametrize("field", ["source", "channel", "external_id"])
@pytest.mark.parametrize("value", ["", " \t"])
def test_names_that_identify_are_not_empty(field: str, value: str) -> None:
    with pytest.raises(InvalidInput, match=f"needs a {field}, and this one's is empty"):
        incoming(1, **{field: value})


@pytest.mark.parametrize("field", ["source", "channel", "external_id", "author", "reply_to", "thread"])
def test_names_have_an_end(field: str) -> None:
    assert getattr(incoming(1, **{field: "x" * 256}), field) == "x" * 256
    with pytest.raises(InvalidInput, match=f"{field} has 257 characters; 256 at most"):
        incoming(1, **{field: "x" * 257})


def test_a_moment_has_a_zone() -> None:
    with pytest.raises(InvalidInput, match="needs a time zone"):
        incoming(1, sent_at=datetime(2025, 1, 1))  # noqa: DTZ001 - the point of it


@pytest.mark.parametrize(
    ("given_text", "stored"), [("a\x00b", "a\ufffdb"), ("plain", "plain"), ("🙂", "🙂"), ("\U0010ffff", "\U0010ffff")]
)
def test_what_postgresql_cannot_hold_is_replaced(given_text: str, stored: str) -> None:
    assert storable(given_text) == stored


@given(anything)
def test_every_text_becomes_one_that_can_be_stored(text: str) -> None:
    stored = storable(text)
    assert "\x00" not in stored
    stored.encode()
    assert storable(stored) == stored


@given(anything)
def test_every_field_is_made_storable(text: str) -> None:
    values: dict[str, Any] = dict.fromkeys(("author", "reply_to", "thread"), text)
    message = incoming(1, text, sent_at=datetime(2025, 1, 1, tzinfo=UTC), **values)
    for value in (message.text, message.author, message.reply_to or "", message.thread or ""):
        assert value == storable(text)
