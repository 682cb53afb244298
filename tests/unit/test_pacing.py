"""The pace of a server: known limits are kept, live before bulk, and what the server says corrects them."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from winnow.domain.pacing import LARGE_SHARE, WINDOW_SECONDS, Pace, RateLimits


def sent_within(pace: Pace, seconds: float, *, tokens: int = 1, is_large: bool = False, step: float = 0.05) -> int:
    """How many requests a caller that never tires gets through."""
    count, now = 0, 1000.0
    end = now + seconds
    while now < end:
        if pace.seconds_to_wait(now, tokens=tokens, is_large=is_large):
            now += step
        else:
            pace.sent(now, tokens=tokens)
            count += 1
    return count


def test_without_limits_nobody_waits() -> None:
    pace = Pace()
    assert not pace.is_limited
    for now in (0.0, 0.0, 0.1):
        assert pace.seconds_to_wait(now, tokens=10**9, is_large=True) == 0
        pace.sent(now, tokens=10**9)


def test_a_bucket_of_a_minute_and_then_the_rate() -> None:
    assert sent_within(Pace(requests_per_minute=60), 0.9) == 60
    assert 175 <= sent_within(Pace(requests_per_minute=60), 120) <= 181
    assert sent_within(Pace(tokens_per_minute=6000), 1, tokens=1000) == 6


def test_large_batches_leave_a_fifth_to_small_ones() -> None:
    pace = Pace(requests_per_minute=100)
    assert sent_within(pace, 0.04, is_large=True) == 100 * LARGE_SHARE
    assert pace.seconds_to_wait(1000, is_large=True) > 0
    assert sent_within(pace, 0.04) == 100 - 100 * LARGE_SHARE


def test_what_is_larger_than_the_bucket_goes_when_it_is_empty() -> None:
    pace = Pace(tokens_per_minute=100)
    assert pace.seconds_to_wait(1000, tokens=5000, is_large=True) == 0
    pace.sent(1000, tokens=5000)
    assert pace.seconds_to_wait(1000, tokens=1) > WINDOW_SECONDS


def test_the_lower_of_what_was_set_and_what_the_server_tells_holds() -> None:
    pace = Pace(most_requests_per_minute=30)
    pace.told(RateLimits(requests=500, requests_left=500), 1000)
    assert (pace.requests_rate, pace.requests_per_minute) == (30, 500)
    pace.told(RateLimits(requests=20, requests_left=20), 1000)
    assert pace.requests_rate == 20
    assert pace.tokens_rate is None


def test_what_the_server_says_is_used_up_is_used_up() -> None:
    pace = Pace()
    pace.told(RateLimits(tokens=1000, tokens_left=100), 1000)
    assert pace.seconds_to_wait(1000, tokens=100) == 0
    assert pace.seconds_to_wait(1000, tokens=100, is_large=True) > 0
    pace.told(RateLimits(tokens=1000, tokens_left=0), 1000)
    assert pace.seconds_to_wait(1000, tokens=100) == 6
    pace.told(RateLimits(tokens=1000, tokens_left=1000), 1001)
    assert pace.seconds_to_wait(1001, tokens=100) > 0, "requests on their way are not forgotten for it"


def test_a_higher_limit_is_used_at_once() -> None:
    pace = Pace()
    pace.told(RateLimits(requests=60, tokens=6000), 1000)
    for _ in range(60):
        pace.sent(1000, tokens=100)
    assert pace.seconds_to_wait(1000) == 1
    pace.told(RateLimits(requests=600, tokens=6000), 1000)
    assert pace.seconds_to_wait(1000) == 0
    assert pace.requests_at == 1006, "sixty requests are a tenth of the new minute"
    assert pace.seconds_to_wait(1000, tokens=100) == 1, "the limit of tokens is the same"
    pace.told(RateLimits(tokens=60_000), 1000)
    assert pace.seconds_to_wait(1000, tokens=100) == 0


def test_a_lower_limit_makes_what_was_sent_last_longer() -> None:
    pace = Pace(requests_per_minute=600, requests_at=1006)
    pace.told(RateLimits(requests=60), 1000)
    assert pace.requests_at == 1060
    assert pace.seconds_to_wait(1000) == 1


def test_what_was_felt_of_a_lower_limit_is_felt_of_a_higher_one_no_more() -> None:
    pace = Pace(requests_per_minute=100, spacing_seconds=0.8)
    pace.told(RateLimits(requests=100), 1000)
    assert pace.spacing_seconds == 0.8
    pace.told(RateLimits(requests=200), 1000)
    assert pace.spacing_seconds == 0.4
    pace.told(RateLimits(requests=100), 1000)
    assert pace.spacing_seconds == 0.4, "refusals slow down, and a limit is kept by itself"


def test_a_limit_that_a_person_set_is_no_faster_for_a_higher_one_of_the_server() -> None:
    pace = Pace(requests_per_minute=100, most_requests_per_minute=50, requests_at=1030, spacing_seconds=0.8)
    pace.told(RateLimits(requests=1000), 1000)
    assert (pace.requests_at, pace.spacing_seconds, pace.requests_rate) == (1030, 0.8, 50)


@given(
    rate=st.floats(1, 10_000),
    costs=st.lists(st.integers(1, 5000), min_size=1, max_size=50),
    is_large=st.booleans(),
)
def test_whoever_waits_as_long_as_told_gets_through(rate: float, costs: list[int], is_large: bool) -> None:
    pace, now = Pace(tokens_per_minute=rate), 1000.0
    for cost in costs:
        wait = pace.seconds_to_wait(now, tokens=cost, is_large=is_large)
        now += wait
        assert pace.seconds_to_wait(now, tokens=cost, is_large=is_large) < 1e-6
        pace.sent(now, tokens=cost)
    started_full = WINDOW_SECONDS * (LARGE_SHARE if is_large else 1.0)
    most = (now - 1000 + started_full) * rate / WINDOW_SECONDS
    assert sum(costs[:-1]) <= most + max(costs) + 1e-3 * sum(costs)
