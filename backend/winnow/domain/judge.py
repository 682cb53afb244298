"""The judge: a small classifier that people teach by accepting, rejecting and correcting what was found.

It starts from the confidence that an atom was found with, and learns how far that is off in this workspace: by type, by
extractor, by the words used. Without reviews it changes nothing. What is kept of the words is a hash, and several words
share each (see judge_features).
"""

from __future__ import annotations

import json
import math
from collections import defaultdict
from dataclasses import asdict, dataclass, field, replace
from enum import StrEnum
from struct import calcsize, pack, unpack_from
from typing import TYPE_CHECKING
from zlib import crc32

import numpy as np

from winnow.domain.judge_features import features, log_odds
from winnow.domain.judge_fit import fit

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from winnow.domain.knowledge import AtomType

MOST_REVIEWS = 5_000
"""The latest ones are learned from; more would teach little and take longer than seconds."""
LEAST_TO_USE = 20
"""Judged atoms; by fewer nobody can say whether a judge is better than the confidences as found."""
CUT = 0.5
_FOLDS = 5
_LEAST_TO_MEASURE = 10
_MAGIC = b"WJ01"
_HEAD = f"<{len(_MAGIC)}sII"
_TINY = 1e-4
_LEAST, _MOST = 0.01, 0.99


class Verdict(StrEnum):
    """What a person judged of an atom. Merged: it was right, and said before."""

    ACCEPT = "accept"
    REJECT = "reject"
    EDIT = "edit"
    MERGE = "merge"


@dataclass(frozen=True, slots=True, kw_only=True)
class AtomAsFound:
    """An atom as its extractor found it. `confidence` (0 to 1) is the extractor's own, never a judge's."""

    type: AtomType
    title: str
    content: str
    extractor: str
    confidence: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Review:
    """What a person judged of an atom; `corrected` is the type it was given by an edit, None: it kept its own."""

    atom: AtomAsFound
    verdict: Verdict
    corrected: AtomType | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted:
    """How many atoms of a kind people looked at, and how many of them they found right."""

    reviews: int
    right: int

    @property
    def precision(self) -> float:
        """The share of the right ones."""
        return self.right / self.reviews if self.reviews else 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """How well confidences tell right from wrong: at the cut of 0.5, by rank (AUC), and by distance (Brier, 0: best).

    None where there is nothing to divide by.
    """

    precision: float | None
    recall: float | None
    auc: float | None
    brier: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What a judge was taught by, and what that is worth.

    `before` is of the extractors' confidences, `after` of a judge's who had not seen the atoms in question: taught by
    four fifths of the reviews, tried on the fifth, five times. None below ten reviews, or when all verdicts are alike.
    """

    reviews: int = 0
    right: int = 0
    by_type: Mapping[str, Accepted] = field(default_factory=dict)
    by_extractor: Mapping[str, Accepted] = field(default_factory=dict)
    before: Figures | None = None
    after: Figures | None = None

    @property
    def precision(self) -> float | None:
        """Of all that people looked at, the share they found right."""
        return self.right / self.reviews if self.reviews else None

    def as_data(self) -> dict[str, object]:
        """For JSON; `Report.of_data` reads it."""
        return asdict(self)

    @classmethod
    def of_data(cls, data: Mapping[str, object]) -> Report:
        """The report that `as_data` wrote.

        Raises:
            ValueError: it is no report.
        """
        try:
            return cls._of_data(data)
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError("this is no judge's report") from error

    @classmethod
    def _of_data(cls, data: Mapping[str, object]) -> Report:
        given: dict[str, object] = dict(data)
        for name in ("by_type", "by_extractor"):
            counts = given[name]
            if not isinstance(counts, dict):
                raise TypeError(name)
            given[name] = {kind: Accepted(**count) for kind, count in counts.items()}
        for name in ("before", "after"):
            figures = given[name]
            if isinstance(figures, dict):
                given[name] = Figures(**figures)
        return cls(**given)  # type: ignore[arg-type]


@dataclass(frozen=True, slots=True, eq=False)
class Judge:
    """Says how likely a person would find an atom right. `weights` are by bucket (see judge_features)."""

    weights: Mapping[int, float] = field(default_factory=dict)
    report: Report = field(default_factory=Report)

    @property
    def used(self) -> bool:
        """Whether it was shown to be better here than the confidences as found, by atoms that were right and wrong."""
        report = self.report
        if report.reviews < LEAST_TO_USE or not 0 < report.right < report.reviews:
            return False
        return report.before is not None and report.after is not None and report.after.brier < report.before.brier

    @property
    def use(self) -> str:
        """In one sentence: whether it is used, and why not."""
        report = self.report
        if self.used:
            return f"used: taught by {report.reviews} atoms, and better than the confidences as found here"
        if report.reviews < LEAST_TO_USE:
            return f"taught by {report.reviews} atoms; used from {LEAST_TO_USE} on"
        if not 0 < report.right < report.reviews:
            return "not used: all judged atoms were right, or all were wrong"
        return "not used: no better than the confidences as found here"

    def confidence(self, atom: AtomAsFound) -> float:
        """0 to 1; the atom's own, exactly, from a judge whom nobody taught."""
        if not self.weights:
            return atom.confidence
        return self.weighed(atom.confidence, features(atom))

    def weighed(self, confidence: float, seen: Mapping[int, float]) -> float:
        """What becomes of a confidence by what is seen in an atom (see judge_features)."""
        learned = sum(value * self.weights.get(bucket, 0.0) for bucket, value in seen.items())
        return min(_MOST, max(_LEAST, _sigmoid(log_odds(confidence) + learned)))

    def dumps(self) -> bytes:
        """For the database; `Judge.loads` reads it. Holds weights, buckets and counts: no words."""
        buckets = np.array(sorted(self.weights), dtype="<u4")
        values = np.array([self.weights[int(bucket)] for bucket in buckets], dtype="<f4")
        report = json.dumps(self.report.as_data()).encode()
        return pack(_HEAD, _MAGIC, len(buckets), len(report)) + buckets.tobytes() + values.tobytes() + report

    @classmethod
    def loads(cls, data: bytes) -> Judge:
        """The judge that `dumps` wrote.

        Raises:
            ValueError: these are no judge's bytes.
        """
        head = calcsize(_HEAD)
        if len(data) < head:
            raise ValueError("these are no judge's bytes: too few")
        magic, count, report_bytes = unpack_from(_HEAD, data)
        if magic != _MAGIC or len(data) != head + 8 * count + report_bytes:
            raise ValueError("these are no judge's bytes")
        buckets = np.frombuffer(data, "<u4", count, head)
        values = np.frombuffer(data, "<f4", count, head + 4 * count)
        report = Report.of_data(json.loads(data[head + 8 * count :]))
        return cls(dict(zip(buckets.tolist(), values.tolist(), strict=True)), report)


def train(reviews: Sequence[Review]) -> Judge:
    """A judge taught by the latest reviews (at most 5,000, oldest first); the same reviews make the same judge.

    One of several reviews of the same words counts, the last.
    """
    examples = _examples(reviews[-MOST_REVIEWS:])
    if not examples:
        return Judge()
    before, after = _measured(examples)
    first = [one for one in examples if one.asked]
    report = Report(
        reviews=len(first),
        right=sum(one.right for one in first),
        by_type=_accepted(first, lambda atom: atom.type.value),
        by_extractor=_accepted(first, lambda atom: atom.extractor),
        before=before,
        after=after,
    )
    return Judge(_weights(examples), report)


@dataclass(frozen=True, slots=True)
class _Example:
    """An atom and whether it is right; `asked`: a person saw it as it stands here, not with another type."""

    atom: AtomAsFound
    seen: Mapping[int, float]
    right: bool
    asked: bool = True


def _examples(reviews: Sequence[Review]) -> list[_Example]:
    """A correction of the type teaches twice: that it was not the one, and that it is the other."""
    latest: dict[tuple[AtomType, str], list[_Example]] = {}
    for review in reviews:
        atom, corrected = review.atom, review.corrected
        retyped = review.verdict is Verdict.EDIT and corrected is not None and corrected is not atom.type
        made = [_Example(atom, features(atom), right=review.verdict is not Verdict.REJECT and not retyped)]
        if retyped and corrected is not None:
            other = replace(atom, type=corrected)
            made.append(_Example(other, features(other), right=True, asked=False))
        key = (atom.type, atom.content)
        latest.pop(key, None)
        latest[key] = made
    return [one for made in latest.values() for one in made]


def _weights(examples: Sequence[_Example]) -> dict[int, float]:
    seen = [one.seen for one in examples]
    buckets = sorted({bucket for one in seen for bucket in one})
    column = {bucket: place for place, bucket in enumerate(buckets)}
    rows = np.repeat(np.arange(len(seen)), [len(one) for one in seen])
    columns = np.array([column[bucket] for one in seen for bucket in one], dtype=np.int64)
    values = np.array([value for one in seen for value in one.values()])
    offsets = np.array([log_odds(one.atom.confidence) for one in examples])
    right = np.array([one.right for one in examples], dtype=float)
    fitted = fit(rows, columns, values, offsets, right, size=len(buckets))
    kept = fitted.astype(np.float32)
    return {bucket: float(weight) for bucket, weight in zip(buckets, kept, strict=True) if abs(weight) > _TINY}


def _measured(examples: Sequence[_Example]) -> tuple[Figures | None, Figures | None]:
    """Before and after, each atom by a judge that was not taught by it nor by its twins."""
    if sum(one.asked for one in examples) < _LEAST_TO_MEASURE or len({one.right for one in examples}) == 1:
        return None, None
    folds: defaultdict[int, list[_Example]] = defaultdict(list)
    for one in examples:
        folds[crc32(" ".join(one.atom.content.casefold().split()).encode("utf-8", "surrogatepass")) % _FOLDS].append(
            one
        )
    pairs: list[tuple[float, float, bool]] = []
    for number in sorted(folds):
        others = [one for other, made in folds.items() if other != number for one in made]
        judge = Judge(_weights(others)) if others else Judge()
        pairs += [
            (one.atom.confidence, judge.weighed(one.atom.confidence, one.seen), one.right)
            for one in folds[number]
            if one.asked
        ]
    right = [one for _, _, one in pairs]
    return figures([one for one, _, _ in pairs], right), figures([one for _, one, _ in pairs], right)


def figures(confidences: Sequence[float], right: Sequence[bool]) -> Figures:
    """How well the confidences tell the right ones from the others; at least one is needed."""
    kept = [is_right for confidence, is_right in zip(confidences, right, strict=True) if confidence >= CUT]
    wanted = sum(right)
    brier = sum((confidence - is_right) ** 2 for confidence, is_right in zip(confidences, right, strict=True))
    return Figures(
        precision=sum(kept) / len(kept) if kept else None,
        recall=sum(kept) / wanted if wanted else None,
        auc=_auc(np.array(confidences), np.array(right, dtype=bool)),
        brier=brier / len(right),
    )


def _auc(confidences: NDArray[np.float64], right: NDArray[np.bool_]) -> float | None:
    """How often a right one is surer than a wrong one; a tie counts half. None without one of either."""
    ups, downs = int(right.sum()), int((~right).sum())
    if not ups or not downs:
        return None
    _, places, counts = np.unique(confidences, return_inverse=True, return_counts=True)
    ranks = np.cumsum(counts) - (counts - 1) / 2
    return float((ranks[places][right].sum() - ups * (ups + 1) / 2) / (ups * downs))


def _accepted(examples: Sequence[_Example], kind_of: Callable[[AtomAsFound], str]) -> dict[str, Accepted]:
    kinds: defaultdict[str, list[bool]] = defaultdict(list)
    for one in examples:
        kinds[kind_of(one.atom)].append(one.right)
    return {kind: Accepted(reviews=len(made), right=sum(made)) for kind, made in sorted(kinds.items())}


def _sigmoid(value: float) -> float:
    return 1 / (1 + math.exp(-value)) if value >= 0 else math.exp(value) / (1 + math.exp(value))
