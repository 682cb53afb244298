"""Waits grow from two seconds to ten minutes, spread over their whole length, and never undercut the server's wish."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from winnow.domain.backoff import backoff_seconds


@pytest.mark.parametrize(
    ("failures", "seconds"), [(0, 2), (1, 4), (2, 8), (8, 512), (9, 600), (50, 600), (100_000, 600)]
)
def test_the_longest_wait_doubles_with_each_failure(failures: int, seconds: float) -> None:
    assert backoff_seconds(failures, random_share=1) == seconds


@pytest.mark.parametrize(("wish", "seconds"), [(None, 4), (0, 4), (0.1, 0.2), (3, 4.5), (100, 104), (3600, 3604)])
def test_the_server_s_wish_comes_first(wish: float | None, seconds: float) -> None:
    assert backoff_seconds(1, at_least=wish, random_share=1) == seconds


@given(st.integers(0, 10_000), st.one_of(st.none(), st.floats(0, 10_000)), st.floats(0, 1))
def test_a_wait_is_within_its_bounds(failures: int, wish: float | None, share: float) -> None:
    seconds = backoff_seconds(failures, at_least=wish, random_share=share)
    assert max(0.0, wish or 0.0) <= seconds <= 600.0 + (wish or 0.0)


def test_two_workers_do_not_come_back_together() -> None:
    assert len({backoff_seconds(8) for _ in range(50)}) > 40
