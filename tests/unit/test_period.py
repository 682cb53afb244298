"""A period is written in days or in moments with their zone, and nothing else is guessed."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from winnow.errors import InvalidInput
from winnow.pipeline.period import read_moment


@pytest.mark.parametrize(
    ("given_text", "end", "moment"),
    [
        ("2026-01-31", False, datetime(2026, 1, 31, tzinfo=UTC)),
        ("2026-01-31", True, datetime(2026, 2, 1, tzinfo=UTC)),
        (" 2026-01-31T09:30:00Z ", True, datetime(2026, 1, 31, 9, 30, tzinfo=UTC)),
        ("2026-01-31T09:30+02:00", False, datetime(2026, 1, 31, 7, 30, tzinfo=UTC)),
    ],
)
def test_days_and_moments_are_read(given_text: str, end: bool, moment: datetime) -> None:
    assert read_moment(given_text, end=end) == moment


@pytest.mark.parametrize("given_text", ["", "yesterday", "2026-02-30", "2026-01-31T09:30", "0001-01-01T00:00+14:00"])
def test_what_is_no_time_is_refused_with_how_to_write_one(given_text: str) -> None:
    with pytest.raises(InvalidInput, match="write a day"):
        read_moment(given_text)


def test_the_last_day_of_all_has_no_end() -> None:
    with pytest.raises(InvalidInput):
        read_moment("9999-12-31", end=True)


@given(st.text(max_size=30), st.booleans())
def test_any_text_is_read_or_refused(text: str, end: bool) -> None:
    with suppress(InvalidInput):
        assert read_moment(text, end=end).tzinfo is UTC
