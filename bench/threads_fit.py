"""The weights of the signs, from annotated chats: softmax regression over what each message may answer.

The score is linear in the weights, so it is asked for once with unit vectors in their place, and tells which signs it
has. The gold answer may be any of several; the likelihood is that of all of them together.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

import numpy as np
from typing_extensions import override

from winnow.domain.threads.heard import hear
from winnow.domain.threads.linker import LOOK_BACK
from winnow.domain.threads.memory import Memory
from winnow.domain.threads.weighing import DISTANCES, GAPS_MINUTES, SHARED, weigh, weigh_start
from winnow.domain.threads.weights import WEIGHTS, Weights
from winnow.domain.votes import vote_in

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.irc_links import Annotated
    from numpy.typing import NDArray

STEPS = 250
_RATE, _DECAY = 0.08, 0.0003
_SIZES = {"distance": len(DISTANCES) + 1, "gap": len(GAPS_MINUTES) + 1, "shared": len(SHARED) + 1}
_GRAIN = 20
_BEYOND_A_NIGHT = WEIGHTS.gap[-1]  # by hand: IRC channels of thousands never pause so long


class _Signs(np.ndarray):
    """A vector that is never changed in place, as numbers are not."""

    @override
    def __iadd__(self, other: Any) -> Any:
        return self + other


@dataclass(frozen=True)
class Choice:
    """What one message may answer: the signs for each, and which are right; in the first row it answers nothing."""

    signs: NDArray[np.float32]
    right: NDArray[np.bool_]


def choices(annotated: Annotated) -> list[Choice]:
    """Of every annotated message."""
    unit = _unit_weights()
    memory, found = Memory(LOOK_BACK), []
    for said in annotated.messages:
        heard = hear(said.id, said.name.casefold(), said.at, said.text, memory.names, votes=vote_in(said.text) != 0)
        if (right := annotated.answers.get(said.id)) is not None:
            others = memory.candidates(heard)
            signs = [weigh_start(memory, heard, unit), *(weigh(memory, heard, other, unit) for other in others)]
            places = [said.id, *(other.id for other in others)]
            found.append(Choice(np.array(signs, np.float32), np.array([place in right for place in places])))
        memory.add(heard, said.name)
    return found


def fit(given: Sequence[Choice]) -> Weights:
    """The weights under which the right answers are likeliest, by Adam (Kingma & Ba 2015), rounded to twentieths."""
    usable = [choice for choice in given if choice.right.any()]
    signs = np.concatenate([choice.signs for choice in usable])
    right = np.concatenate([choice.right for choice in usable]).astype(np.float32)
    sizes = [len(choice.right) for choice in usable]
    starts, group = np.cumsum([0, *sizes[:-1]]), np.repeat(np.arange(len(sizes)), sizes)
    weights = np.zeros(signs.shape[1], np.float32)
    mean: NDArray[Any] = np.zeros_like(weights)
    spread: NDArray[Any] = np.zeros_like(weights)
    for step in range(1, STEPS + 1):
        weighed = signs @ weights
        odds = np.exp(weighed - np.maximum.reduceat(weighed, starts)[group])
        likely = odds / np.add.reduceat(odds, starts)[group]
        wanted = likely * right
        wanted /= np.add.reduceat(wanted, starts)[group]
        slope = signs.T @ (likely - wanted) / len(sizes) + _DECAY * weights
        mean = 0.9 * mean + 0.1 * slope
        spread = 0.999 * spread + 0.001 * slope * slope
        weights -= _RATE * (mean / (1 - 0.9**step)) / (np.sqrt(spread / (1 - 0.999**step)) + 1e-8)
    return _as_weights([round(float(weight) * _GRAIN) / _GRAIN for weight in weights])


def _unit_weights() -> Weights:
    count = sum(_SIZES.get(field.name, 1) for field in fields(Weights))
    return _as_weights(list(np.eye(count, dtype=np.float32).view(_Signs)))


def _as_weights(values: list[Any]) -> Weights:
    given: dict[str, Any] = {}
    left = iter(values)
    for field in fields(Weights):
        size = _SIZES.get(field.name)
        given[field.name] = next(left) if size is None else tuple(next(left) for _ in range(size))
    if isinstance(given["start"], float):
        given["gap"] = (*given["gap"][:-1], _BEYOND_A_NIGHT)
    return Weights(**given)


def as_source(weights: Weights) -> str:
    """As they stand in `domain/threads/weights.py`."""
    lines = [f"    {field.name}={getattr(weights, field.name)}," for field in fields(Weights)]
    return "\n".join(["WEIGHTS = Weights(", *lines, ")"])
