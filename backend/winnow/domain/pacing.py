"""How fast a server may be asked: a rate that is known, or felt for by its refusals. Pure; moments are in seconds.

`Pace` is what one process keeps for itself, or all of them share by way of the database (docs/adr/0019).
"""

from __future__ import annotations

from dataclasses import dataclass

# A rate limit lets the next request in after moments; longer wishes are for the caller to decide about.
LONGEST_WISH_SECONDS = 2.0
# A server that has only refused for so long limits no rate: it is ill. Refusals further apart have nothing to do with
# each other.
PATIENCE_SECONDS = 10.0
CHAIN_SECONDS = 5.0
# A wish is the rest of an interval, of a whole second, or of a minute: it says when, and little of how fast. So the
# pace is felt for: slower by a half with each refusal, a fifth faster after a while without one.
LEAST_STEP_SECONDS = 0.02
LONGEST_SPACING_SECONDS = 1.0
EASING_SECONDS = 5.0
EASED = 0.8
LEAST_SPACING_SECONDS = 0.005
# What a busy loop is late is made good at the next request, and nothing more: an idle line saves up no requests.
LATENESS_SECONDS = 0.02
# Limits are of a minute, and a bucket holds one: OpenAI's refills all the time. Large batches leave the last fifth of
# it to small ones, which somebody waits for.
WINDOW_SECONDS = 60.0
LARGE_SHARE = 0.8


@dataclass(frozen=True, slots=True, kw_only=True)
class RateLimits:
    """What a server's answer says of its limits: of a minute, and what is left of them just now. None: nothing."""

    requests: float | None = None
    requests_left: float | None = None
    tokens: float | None = None
    tokens_left: float | None = None


@dataclass(slots=True, kw_only=True)
class Pace:
    """The state of the way to a server.

    Attributes:
        requests_per_minute, tokens_per_minute: the limits that the server told.
        requests_at, tokens_at: when all that was sent will be paid off at these rates; a moment that is over: it is.
        open_at: nobody asks before.
        spacing_seconds: between two requests, as it was felt for.
        paced_at: when the spacing was last changed.
        refused_at, refused_since: the last refusal, and the first of those that no answer came between.
        most_requests_per_minute, most_tokens_per_minute: the limits that a person set.
    """

    requests_per_minute: float | None = None
    tokens_per_minute: float | None = None
    requests_at: float = 0.0
    tokens_at: float = 0.0
    open_at: float = 0.0
    spacing_seconds: float = 0.0
    paced_at: float = 0.0
    refused_at: float = 0.0
    refused_since: float | None = None
    most_requests_per_minute: float | None = None
    most_tokens_per_minute: float | None = None

    @property
    def requests_rate(self) -> float | None:
        """Requests a minute; None: any number."""
        return _lower(self.requests_per_minute, self.most_requests_per_minute)

    @property
    def tokens_rate(self) -> float | None:
        """Tokens a minute; None: any number."""
        return _lower(self.tokens_per_minute, self.most_tokens_per_minute)

    @property
    def most_tokens(self) -> float | None:
        """Of a large request, that it leaves small ones their share; None: any number."""
        return LARGE_SHARE * self.tokens_rate if self.tokens_rate else None

    @property
    def is_limited(self) -> bool:
        """Whether a request may have to wait."""
        return bool(self.spacing_seconds or self.requests_rate or self.tokens_rate)

    def seconds_to_wait(self, now: float, *, tokens: int = 0, is_large: bool = False) -> float:
        """How long a request of so many tokens has to wait; 0: not at all."""
        room = WINDOW_SECONDS * (LARGE_SHARE if is_large else 1.0)
        waits = [self.open_at - now]
        for rate, cost, paid_at in (
            (self.requests_rate, 1, self.requests_at),
            (self.tokens_rate, tokens, self.tokens_at),
        ):
            if rate:
                # What is larger than the bucket goes when the bucket is empty.
                waits.append(max(paid_at - now, 0.0) + min(cost * WINDOW_SECONDS / rate, room) - room)
        return max(0.0, *waits)

    def sent(self, now: float, *, tokens: int = 0) -> None:
        """A request leaves."""
        if self.spacing_seconds and now - self.paced_at > EASING_SECONDS:
            self.paced_at = now
            eased = self.spacing_seconds * EASED
            self.spacing_seconds = eased if eased >= LEAST_SPACING_SECONDS else 0.0
        self.open_at = now - min(now - self.open_at, LATENESS_SECONDS) + self.spacing_seconds
        if self.requests_rate:
            self.requests_at = max(self.requests_at, now) + WINDOW_SECONDS / self.requests_rate
        if self.tokens_rate:
            self.tokens_at = max(self.tokens_at, now) + tokens * WINDOW_SECONDS / self.tokens_rate

    def refused(self, now: float, *, wish: float | None, sent_at: float) -> bool:
        """Holds requests up and slows them down; False: this is no rate limit, and the caller's business."""
        if not wish or wish > LONGEST_WISH_SECONDS:
            self.refused_since = None
            return False
        is_first_of_its_flight = sent_at >= self.refused_at
        if self.refused_since is None or now - self.refused_at > CHAIN_SECONDS:
            self.refused_since = now
        self.refused_at = now
        if now + wish - self.refused_since > PATIENCE_SECONDS:
            self.spacing_seconds, self.open_at = 0.0, now  # whoever still waits shall hear it at once
            return False
        if is_first_of_its_flight:
            step = min(wish, max(LEAST_STEP_SECONDS, self.spacing_seconds / 2))
            self.spacing_seconds = min(self.spacing_seconds + step, LONGEST_SPACING_SECONDS)
            self.paced_at = now
        self.open_at = max(self.open_at, now + wish)
        return True

    def answered(self) -> None:
        """A request was answered, or failed for another reason: the server is not only refusing."""
        self.refused_since = None

    def told(self, limits: RateLimits, now: float) -> None:
        """The server knows better: its limits hold, lower or higher ones than before, and what it says is used up is.

        What was sent is paid off at the new rate, and what was felt of a lower limit is felt of a higher one no more.
        """
        if limits.requests:
            before, self.requests_per_minute = self.requests_rate, limits.requests
            longer = _ratio(before, self.requests_rate)
            self.spacing_seconds *= min(1.0, longer)
            self.requests_at = now + longer * max(0.0, self.requests_at - now)
            self.requests_at = max(self.requests_at, _paid_at(now, limits.requests, limits.requests_left))
        if limits.tokens:
            before, self.tokens_per_minute = self.tokens_rate, limits.tokens
            self.tokens_at = now + _ratio(before, self.tokens_rate) * max(0.0, self.tokens_at - now)
            self.tokens_at = max(self.tokens_at, _paid_at(now, limits.tokens, limits.tokens_left))


def _ratio(before: float | None, after: float | None) -> float:
    """By how much longer the same takes at the rate after than at the one before; 1 where there was none."""
    return before / after if before and after else 1.0


def _lower(told: float | None, chosen: float | None) -> float | None:
    known = [limit for limit in (told, chosen) if limit]
    return min(known, default=None)


def _paid_at(now: float, limit: float, left: float | None) -> float:
    return now if left is None else now + WINDOW_SECONDS * min(1.0, max(0.0, 1 - left / limit))
