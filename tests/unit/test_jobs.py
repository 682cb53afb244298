"""Jobs are cut into batches that hold the same ids in the same order."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from winnow.domain.jobs import EmbedJob, ExtractJob, Job, Kind, ScoreJob, in_batches

ids = st.lists(st.integers(1, 10**9), max_size=50).map(tuple)
jobs: st.SearchStrategy[Job] = st.one_of(
    st.builds(EmbedJob, st.sampled_from(Kind), ids), st.builds(ScoreJob, ids), st.builds(ExtractJob, ids)
)


@pytest.mark.parametrize(
    ("size", "parts"), [(1, [(1,), (2,), (3,)]), (2, [(1, 2), (3,)]), (3, [(1, 2, 3)]), (100, [(1, 2, 3)])]
)
def test_a_job_is_cut_into_parts(size: int, parts: list[tuple[int, ...]]) -> None:
    cut = list(in_batches([EmbedJob(Kind.ATOMS, (1, 2, 3))], size))
    assert cut == [EmbedJob(Kind.ATOMS, part) for part in parts]


def test_jobs_without_ids_vanish() -> None:
    assert list(in_batches([ScoreJob(()), EmbedJob(Kind.TOPICS, ())], 10)) == []


@given(st.lists(jobs, max_size=6), st.integers(1, 20))
def test_nothing_is_lost_added_mixed_or_too_large(given_jobs: list[Job], size: int) -> None:
    cut = list(in_batches(given_jobs, size))
    assert all(1 <= len(job.ids) <= size for job in cut)

    def flat(of: list[Job]) -> list[tuple[object, object, int]]:
        return [(type(job), getattr(job, "kind", None), row) for job in of for row in job.ids]

    assert flat(cut) == flat(given_jobs)


def test_the_names_of_kinds_are_those_of_their_tables() -> None:
    assert [kind.value for kind in Kind] == ["messages", "topics", "atoms"]
