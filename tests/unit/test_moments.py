"""Days and moments are read as people mean them, and never guessed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from winnow.domain.moments import end_moment, first_moment, last_moment

NINE = datetime(2026, 1, 31, 9, 30, tzinfo=UTC)
DAY = datetime(2026, 1, 31, tzinfo=UTC)


@pytest.mark.parametrize(
    ("given_text", "first", "end"),
    [
        ("2026-01-31", DAY, DAY + timedelta(days=1)),
        (" 2026-01-31 ", DAY, DAY + timedelta(days=1)),
        ("2026-01-31T09:30:00Z", NINE, NINE),
        ("2026-01-31t09:30z", NINE, NINE),
        ("2026-01-31 11:30:00+02:00", NINE, NINE),
        ("2026-01-31T09:30:00.000000Z", NINE, NINE),
        ("2999-12-31", datetime(2999, 12, 31, tzinfo=UTC), datetime(3000, 1, 1, tzinfo=UTC)),
    ],
)
def test_days_and_moments_are_read(given_text: str, first: datetime, end: datetime) -> None:
    assert (first_moment(given_text), end_moment(given_text)) == (first, end)
    assert last_moment(given_text) == (end if first == end else end - timedelta(microseconds=1))


@pytest.mark.parametrize(
    ("wrong", "word"),
    [
        ("yesterday", "write it like"),
        ("", "write it like"),
        ("2026-02-30", "write it like"),
        ("2026-1-31", "write it like"),
        ("31.01.2026", "write it like"),
        ("20260131", "write it like"),
        ("1711930000", "write it like"),
        ("２０２６-01-31", "write it like"),
        ("2026-01-31T25:00:00Z", "write it like"),
        ("2026-01-31T09:30:00", "time zone"),
        ("0001-01-01", "out of range"),
        ("0001-01-01T00:00:00+14:00", "out of range"),
        ("9999-12-31", "out of range"),
    ],
)
def test_what_is_none_is_refused_with_a_sentence(wrong: str, word: str) -> None:
    for read in (first_moment, end_moment, last_moment):
        with pytest.raises(ValueError, match=word):
            read(wrong)


@given(st.text(max_size=40))
def test_any_text_is_read_or_refused_in_one_line(text: str) -> None:
    try:
        found = first_moment(text)
    except ValueError as error:
        said = str(error)
    else:
        said = found.isoformat()
    assert len(said.splitlines()) == 1
