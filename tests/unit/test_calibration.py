"""Calibration keeps the order of what is surer, and leaves alone what it knows nothing of."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from winnow.domain.knowledge import AtomType
from winnow.domain.rules.calibration import AS_GRADED, MAPS, calibrated
from winnow.domain.rules.grades import EXPLICIT

GRADES = st.floats(0, 0.94)


@given(st.sampled_from(AtomType), GRADES, GRADES)
def test_the_surer_stays_the_surer(kind: AtomType, one: float, other: float) -> None:
    low, high = sorted((one, other))
    assert 0 <= calibrated(kind, low) <= calibrated(kind, high) < EXPLICIT


@given(st.sampled_from(AtomType), GRADES)
def test_without_labels_a_confidence_is_as_graded(kind: AtomType, graded: float) -> None:
    assert calibrated(kind, graded, AS_GRADED) == graded
    if kind not in MAPS:
        assert calibrated(kind, graded) == graded


@given(st.sampled_from(AtomType))
def test_an_explicit_mark_is_believed(kind: AtomType) -> None:
    assert calibrated(kind, EXPLICIT) == EXPLICIT
