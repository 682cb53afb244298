"""How much speaks for a message being the answer to another one, or the first of a conversation."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections import deque
    from collections.abc import Iterator

    from winnow.domain.threads.heard import Heard
    from winnow.domain.threads.memory import Memory
    from winnow.domain.threads.weights import Weights

# Upper ends (exclusive) of the ranges for which `Weights.distance` and `Weights.gap` have a weight each, and the last
# one for all above.
DISTANCES = (2, 3, 4, 6, 10, 20, 40)
GAPS_MINUTES = (1, 2, 4, 8, 16, 41, 240)
SHARED = (2.5, 5.0)
_SILENCE_SECONDS = 960
_SHORT_WORDS = 4
_LONG_WORDS = 10
_MINUTE = 60
_LATELY = 40


def _table(ends: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(sum(number >= end for end in ends) for number in range(ends[-1] + 1))


_DISTANCE_PLACE = _table(DISTANCES)
_GAP_PLACE = _table(GAPS_MINUTES)
_LAST_DISTANCE, _LAST_GAP = DISTANCES[-1], GAPS_MINUTES[-1]


def weigh(memory: Memory, heard: Heard, other: Heard, weights: Weights) -> float:
    """For `heard` answering `other`, which was said before."""
    distance = memory.heard - other.place
    minutes = int((heard.at - other.at) // _MINUTE)
    total = weights.distance[_DISTANCE_PLACE[distance] if distance < _LAST_DISTANCE else -1]
    total += weights.gap[_GAP_PLACE[minutes] if 0 <= minutes < _LAST_GAP else -1]
    if other.author == heard.author:
        total += _own(memory, heard, other, weights)
        if distance == 1:
            total += weights.own_next
    else:
        total += weights.anothers
        total += _addressed(memory, heard, other, weights) if heard.to else _open(memory, heard, other, weights)
        total += _anothers(memory, heard, other, weights)
    if not heard.words.isdisjoint(other.words):
        total += weights.shared[_rarity(memory, heard, other)]
    return total


def _own(memory: Memory, heard: Heard, other: Heard, weights: Weights) -> float:
    total = weights.own_last if memory.by[heard.author][-1] is other else weights.own_older
    if heard.to is not None:
        total += weights.own_same_addressee if other.to == heard.to else weights.own_new_addressee
    spoken_to = memory.to.get(heard.author)
    if spoken_to is not None and spoken_to[-1].place > other.place:
        total += weights.own_but_addressed_since
    return total


def _addressed(memory: Memory, heard: Heard, other: Heard, weights: Weights) -> float:
    """Where it speaks to somebody by name, and `other` is another one's."""
    if other.author != heard.to:
        return weights.both_to_a_third if other.to == heard.to else weights.addresses_another
    total = weights.addressed
    his = memory.by[other.author]
    if his[-1] is other:
        total += weights.addressed_last
    if other.to == heard.author:
        total += weights.addressed_mutual
        if all(later.to != heard.author for later in _later(his, other)):
            total += weights.addressed_last_mutual
    elif other.to is not None:
        total += weights.addressed_while_he_addresses_a_third
    if other.asks and not any(later.asks for later in _later(his, other)):
        total += weights.addressed_last_question
    return total


def _open(memory: Memory, heard: Heard, other: Heard, weights: Weights) -> float:
    """Where it names nobody at its beginning, and `other` is another one's."""
    if other.to == heard.author:
        total = weights.to_me
        if memory.to[heard.author][-1] is other:
            total += weights.to_me_last
        own = memory.by.get(heard.author)
        if own is not None and own[-1].place > other.place:
            total += weights.to_me_before_i_spoke
        if other.asks:
            total += weights.to_me_asking
    else:
        total = weights.to_a_third if other.to is not None else weights.both_open
    partner = memory.addressing.get(heard.author)
    if partner is not None and partner.to == other.author and memory.by[other.author][-1] is other:
        total += weights.partner_last
    return total


def _anothers(memory: Memory, heard: Heard, other: Heard, weights: Weights) -> float:
    total = 0.0
    if heard.mentions == other.author:
        total += weights.mentioned_last if memory.by[other.author][-1] is other else weights.mentioned
    if other.to != heard.author:
        last = memory.addressing.get(other.author)
        if last is not None and last.to == heard.author:
            total += weights.addresser_goes_on
    if heard.acknowledges:
        total += weights.acknowledges
    if heard.asks:
        if heard.calls_everybody:
            total += weights.asks_everybody
        if other.asks:
            total += weights.question_to_question
    return total


def _later(messages: deque[Heard], than: Heard) -> Iterator[Heard]:
    """The messages after one, the latest first."""
    for message in reversed(messages):
        if message is than:
            return
        yield message


def _rarity(memory: Memory, heard: Heard, other: Heard) -> int:
    """How telling the shared words are: the place in `Weights.shared`."""
    number = len(memory.messages)
    information = sum(math.log(1 + number / len(memory.with_word[word])) for word in heard.words & other.words)
    return sum(information >= end for end in SHARED)


def weigh_start(memory: Memory, heard: Heard, weights: Weights) -> float:
    """For `heard` being the first of a conversation."""
    total = weights.start
    if heard.to is not None:
        total += weights.start_addressing
    if heard.greets:
        total += weights.start_greeting
    if heard.asks and heard.to is None:
        total += weights.start_asking
    if heard.acknowledges:
        total += weights.start_acknowledging
    if heard.length < _SHORT_WORDS:
        total += weights.start_short
    elif heard.length >= _LONG_WORDS:
        total += weights.start_long
    own = memory.by.get(heard.author)
    if own is None:
        total += weights.start_newcomer
    elif heard.at - own[-1].at >= _SILENCE_SECONDS:
        total += weights.start_after_silence
    spoken_to = memory.to.get(heard.author)
    if spoken_to is not None and memory.heard - spoken_to[-1].place < _LATELY:
        total += weights.start_though_addressed
    return total
