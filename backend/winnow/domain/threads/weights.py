"""What each sign weighs."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    """Log-odds of a softmax over the messages that may be answered and the start of a new conversation."""

    distance: tuple[float, ...]
    gap: tuple[float, ...]
    shared: tuple[float, ...]
    own_last: float
    own_older: float
    own_next: float
    own_same_addressee: float
    own_new_addressee: float
    own_but_addressed_since: float
    anothers: float
    addressed: float
    addressed_last: float
    addressed_mutual: float
    addressed_last_mutual: float
    addressed_while_he_addresses_a_third: float
    addressed_last_question: float
    both_to_a_third: float
    addresses_another: float
    to_me: float
    to_me_last: float
    to_me_before_i_spoke: float
    to_me_asking: float
    to_a_third: float
    both_open: float
    partner_last: float
    mentioned: float
    mentioned_last: float
    addresser_goes_on: float
    acknowledges: float
    asks_everybody: float
    question_to_question: float
    start: float
    start_addressing: float
    start_greeting: float
    start_asking: float
    start_acknowledging: float
    start_short: float
    start_long: float
    start_newcomer: float
    start_after_silence: float
    start_though_addressed: float


WEIGHTS = Weights(
    distance=(1.1, 1.0, 0.65, 0.45, -0.1, -0.6, -1.4, -1.7),
    gap=(0.75, 0.6, -0.1, -0.65, -0.45, -0.4, -0.65, -2.0),
    shared=(1.5, 2.15, 2.7),
    own_last=0.7,
    own_older=-0.9,
    own_next=1.05,
    own_same_addressee=1.45,
    own_new_addressee=-1.6,
    own_but_addressed_since=-0.25,
    anothers=-0.35,
    addressed=2.5,
    addressed_last=0.4,
    addressed_mutual=0.65,
    addressed_last_mutual=1.5,
    addressed_while_he_addresses_a_third=-1.85,
    addressed_last_question=0.45,
    both_to_a_third=-1.55,
    addresses_another=-2.45,
    to_me=1.85,
    to_me_last=0.5,
    to_me_before_i_spoke=-1.75,
    to_me_asking=0.55,
    to_a_third=-2.35,
    both_open=-0.95,
    partner_last=0.75,
    mentioned=2.65,
    mentioned_last=3.35,
    addresser_goes_on=1.05,
    acknowledges=1.85,
    asks_everybody=-1.8,
    question_to_question=-0.3,
    start=0.65,
    start_addressing=-1.7,
    start_greeting=1.0,
    start_asking=0.5,
    start_acknowledging=-0.65,
    start_short=-0.8,
    start_long=0.7,
    start_newcomer=2.15,
    start_after_silence=0.55,
    start_though_addressed=-0.3,
)
"""Fitted to ten annotated hours of an IRC channel (`python -m bench.threads --fit`); the last gap is by hand."""
