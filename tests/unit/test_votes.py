"""A vote is a sign at the beginning, or words of agreement and nothing else."""

from __future__ import annotations

import pytest

from winnow.domain.votes import vote_in

VOTES = {
    "+1": 1,
    "+1 but let us wait for the tests": 1,
    "bob: +1": 1,
    "+0.5": 1,
    "👍": 1,
    "agreed": 1,
    "Agreed, go ahead": 1,
    "works for me": 1,
    "согласен": 1,
    "-1": -1,
    "👎": -1,
    "disagree": -1,
    "не согласна": -1,
    "0": 0,
    "+0": 0,
    "+25 degrees outside": 0,
    "agreed? I am not so sure of that": 0,
    "agreed prices are in the contract of last year": 0,
    "We agreed to close it": 0,
    "": 0,
}


@pytest.mark.parametrize(("text", "vote"), VOTES.items())
def test_votes_are_told_from_other_words(text: str, vote: int) -> None:
    assert vote_in(text) == vote
