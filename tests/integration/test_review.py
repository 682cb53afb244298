"""People accept, reject, edit, merge, supersede and close; each whole or not at all, and safe to repeat."""

from __future__ import annotations

import asyncio
import io
from typing import TYPE_CHECKING

import pytest
from rich.console import Console

from plugins.remembering import Find, ids_of
from winnow.cli.reviewing import Asking, review_one_by_one
from winnow.domain.jobs import EmbedJob, Kind
from winnow.domain.knowledge import AtomType, ExtractedLink, LinkType
from winnow.domain.memory import AutoApprove, MemoryRules
from winnow.errors import AtomNotFound, InvalidInput, ReviewRefused
from winnow.pipeline.review import (
    Wording,
    accept,
    approve_version,
    close,
    edit,
    merge,
    reject,
    reject_version,
    reopen,
    supersede,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from typing import Any

    from plugins.pipeline import RecordingDispatcher
    from plugins.remembering import Memory
    from winnow.pipeline.review import Reviewed, Reviewing

POSTGRES, REDIS, LONGER = "We will use Postgres", "Redis it is", "We will use Postgres for storage here"


async def reviews(memory: Memory) -> list[tuple[int, str, str, str]]:
    rows = await memory.sql.fetch("SELECT atom_id, verdict, content, reviewer FROM atom_reviews ORDER BY id")
    return [tuple(row) for row in rows]


async def test_what_is_accepted_is_found_from_now_on(
    memory: Memory, reviewing: Reviewing, dispatcher: RecordingDispatcher
) -> None:
    await memory.save(Find(content=POSTGRES, confidence=0.2), Find(content=REDIS, quoted=False))
    ids = await ids_of(memory, [POSTGRES, REDIS])
    await memory.extracting.units.drain()
    dispatcher.calls.clear()
    done = await accept(reviewing, ids)
    assert sorted(done.changed) == sorted(ids)
    assert {found["status"] for found in await memory.atoms()} == {"active"}
    assert {found["reviewed_by"] for found in await memory.atoms()} == {"Rita"}
    await memory.extracting.units.drain()
    assert sorted(dispatcher.ids(EmbedJob, Kind.ATOMS)) == sorted(ids)
    assert (await accept(reviewing, ids)).changed == ()
    assert len(await reviews(memory)) == 2, "to say it twice is to say it once"


async def test_all_are_judged_or_none(memory: Memory, reviewing: Reviewing) -> None:
    await memory.save(Find(content=POSTGRES, confidence=0.2))
    (row,) = await ids_of(memory, [POSTGRES])
    with pytest.raises(AtomNotFound, match="there is no atom 4711"):
        await accept(reviewing, [row, 4711])
    assert (await memory.atom(POSTGRES))["status"] == "candidate"
    assert await reviews(memory) == []
    with pytest.raises(InvalidInput):
        await reject(reviewing, [])


async def test_what_is_rejected_sets_free_what_it_had_superseded(memory: Memory, reviewing: Reviewing) -> None:
    link = ExtractedLink(source=1, target=0, type=LinkType.SUPERSEDES, confidence=0.7)
    await memory.save(Find(content=POSTGRES), Find(content=REDIS), links=(link,))
    old, new = await ids_of(memory, [POSTGRES, REDIS])
    await reject(reviewing, [new])
    held = await memory.atom(POSTGRES)
    assert (held["id"], held["superseded_by"], held["valid_until"]) == (old, None, None)
    assert (await reject(reviewing, [new])).changed == ()
    await accept(reviewing, [new])
    assert (await memory.atom(POSTGRES))["superseded_by"] == new, "a rejected atom may come back"


async def test_an_edit_is_a_wording_of_the_person_s(memory: Memory, reviewing: Reviewing) -> None:
    await memory.save(Find(content=POSTGRES, confidence=0.2))
    (row,) = await ids_of(memory, [POSTGRES])
    await memory.sql.execute("UPDATE atoms SET embedding = '[1,2,3]'")
    wording = Wording(title="Store", content="We keep it in Postgres", type=AtomType.REQUIREMENT, topic="stores")
    await edit(reviewing, row, wording, reason="clearer")
    found = await memory.atom("We keep it in Postgres")
    assert (found["title"], found["type"], found["status"], found["version"]) == ("Store", "requirement", "active", 2)
    assert found["embedding"] is None
    assert await memory.versions(row) == [(1, "past", POSTGRES), (2, "current", "We keep it in Postgres")]
    assert await memory.sql.fetchval("SELECT name FROM topics WHERE id = $1", found["topic_id"]) == "stores"
    assert await reviews(memory) == [(row, "edit", POSTGRES, "Rita")], "with the words that were judged"
    assert (await edit(reviewing, row, wording)).changed == ()
    await memory.save(Find(content=POSTGRES))
    assert len(await memory.atoms()) == 1, "what was corrected is not found anew"
    await memory.save(Find(content="We keep it in Postgres and Redis", type=AtomType.REQUIREMENT, confidence=1.0))
    assert (await memory.atom("We keep it in Postgres"))["id"] == row, "nor are a person's words replaced by rule"


@pytest.mark.parametrize(
    "wording", [Wording(), Wording(title=" "), Wording(content="x" * 10_001), Wording(topic="\x00 ")]
)
async def test_an_edit_needs_words(memory: Memory, reviewing: Reviewing, wording: Wording) -> None:
    await memory.save(Find(content=POSTGRES))
    (row,) = await ids_of(memory, [POSTGRES])
    if wording.topic:  # what cannot be stored is shown as a sign of that
        assert (await edit(reviewing, row, wording)).changed == (row,)
        return
    with pytest.raises(InvalidInput):
        await edit(reviewing, row, wording)


async def test_an_edit_to_the_words_of_another_atom_is_refused(memory: Memory, reviewing: Reviewing) -> None:
    await memory.save(Find(content=POSTGRES), Find(content=REDIS))
    one, other = await ids_of(memory, [POSTGRES, REDIS])
    with pytest.raises(ReviewRefused, match=f"atom {other} says just that"):
        await edit(reviewing, one, Wording(content=REDIS.upper()))
    assert await memory.versions(one) == []


async def test_a_merge_moves_quotes_and_links(memory: Memory, reviewing: Reviewing) -> None:
    links = (
        ExtractedLink(source=2, target=1, type=LinkType.ANSWERS, confidence=0.7),
        ExtractedLink(source=1, target=0, type=LinkType.CONTINUES, confidence=0.4),
    )
    said = await memory.save(
        Find(content="who pays?", type=AtomType.QUESTION),
        Find(content="who will pay the bill?", type=AtomType.QUESTION, confidence=0.9),
        Find(content="Ana", type=AtomType.ANSWER),
        links=links,
    )
    kept, lost, answer = await ids_of(memory, ["who pays?", "who will pay the bill?", "Ana"])
    done = await merge(reviewing, lost, kept)
    assert set(done.changed) == {lost, kept}
    gone = await memory.atom("who will pay the bill?")
    assert (gone["status"], gone["merged_into"]) == ("merged", kept)
    assert await memory.evidence(kept) == said[:2]
    assert await memory.evidence(lost) == []
    assert await memory.links() == {(answer, "answers", kept)}
    assert (await memory.atom("who pays?"))["confidence"] == pytest.approx(0.9)
    assert (await merge(reviewing, lost, kept)).changed == ()
    with pytest.raises(ReviewRefused, match=f"lives on in {kept}"):
        await accept(reviewing, [lost])
    with pytest.raises(ReviewRefused, match="of type"):
        await merge(reviewing, kept, answer)
    with pytest.raises(ReviewRefused, match="itself"):
        await merge(reviewing, kept, kept)


async def test_what_was_merged_follows_where_its_survivor_is_merged(memory: Memory, reviewing: Reviewing) -> None:
    await memory.save(Find(content="one"), Find(content="other"), Find(content="third"))
    one, other, third = await ids_of(memory, ["one", "other", "third"])
    await merge(reviewing, one, other)
    await merge(reviewing, other, third)
    assert {found["merged_into"] for found in await memory.atoms()} == {None, third}
    assert len(await memory.evidence(third)) == 3


async def test_a_decision_is_superseded_by_hand_and_holds_again(memory: Memory, reviewing: Reviewing) -> None:
    await memory.save(Find(content=POSTGRES, topic="a"), Find(content=REDIS, topic="b"))
    old, new = await ids_of(memory, [POSTGRES, REDIS])
    await supersede(reviewing, old, new, reason="faster")
    found = await memory.atom(POSTGRES)
    assert (found["superseded_by"], found["superseded_because"]) == (new, "faster")
    assert found["valid_until"] is not None
    assert (await supersede(reviewing, old, new)).changed == ()
    with pytest.raises(ReviewRefused, match=f"reopen {old} first"):
        await supersede(reviewing, new, old)
    assert (await reopen(reviewing, [old])).changed == (old,)
    found = await memory.atom(POSTGRES)
    assert (found["superseded_by"], found["superseded_because"], found["valid_until"]) == (None, None, None)
    assert not await memory.sql.fetchval("SELECT count(*) FROM atom_links WHERE type = 'supersedes'")


async def test_what_a_person_accepts_is_sure(memory: Memory, reviewing: Reviewing) -> None:
    """And what the extractor thought of it stays beside it, for the judge to learn from."""
    await memory.save(Find(content=REDIS, confidence=0.25))
    (one,) = await ids_of(memory, [REDIS])
    await accept(reviewing, [one])
    found = await memory.atom(REDIS)
    assert (found["confidence"], found["raw_confidence"], found["status"]) == (1.0, 0.25, "active")
    assert await memory.sql.fetchval("SELECT confidence FROM atom_reviews") == 0.25


async def test_only_what_can_be_replaced_is(memory: Memory, reviewing: Reviewing) -> None:
    await memory.save(
        Find(content="p", type=AtomType.PROBLEM), Find(content=POSTGRES), Find(content=REDIS, confidence=0.1)
    )
    problem, decision, hidden = await ids_of(memory, ["p", POSTGRES, REDIS])
    for older, newer, why in ((problem, decision, "only decisions"), (decision, hidden, "accept it first")):
        with pytest.raises(ReviewRefused, match=why):
            await supersede(reviewing, older, newer)


async def test_a_question_is_closed_and_opened_again(memory: Memory, reviewing: Reviewing) -> None:
    await memory.save(Find(content="who pays?", type=AtomType.QUESTION), Find(content=POSTGRES))
    question, decision = await ids_of(memory, ["who pays?", POSTGRES])
    assert (await close(reviewing, [question], reason="settled by phone")).changed == (question,)
    assert (await close(reviewing, [question])).changed == ()
    found = await memory.atom("who pays?")
    assert (found["closed_because"], found["closed_at"] is not None) == ("settled by phone", True)
    assert (await reopen(reviewing, [question])).changed == (question,)
    with pytest.raises(ReviewRefused, match="can be closed"):
        await close(reviewing, [decision])


async def test_a_wording_is_approved_or_refused(
    memory: Memory, reviewing: Reviewing, dispatcher: RecordingDispatcher
) -> None:
    careful = memory.by(MemoryRules(auto_approve=AutoApprove.OFF))
    await careful.save(Find(content=LONGER))
    (row,) = await ids_of(memory, [LONGER])
    await careful.save(Find(content=f"{LONGER} says Ana", topic="elsewhere"))
    await careful.save(Find(content=f"{LONGER} as planned"))
    await careful.save(Find(content=f"{LONGER} as agreed"))
    assert [state for _, state, _ in await memory.versions(row)] == ["current", "proposed", "proposed"]
    await memory.sql.execute("UPDATE atoms SET embedding = '[1,2,3]'")
    await memory.extracting.units.drain()
    dispatcher.calls.clear()
    assert (await approve_version(reviewing, row, 2)).changed == (row,)
    assert (await approve_version(reviewing, row, 2)).changed == ()
    found = await memory.atom(f"{LONGER} as planned")
    assert (found["id"], found["version"], found["embedding"]) == (row, 2, None)
    await memory.extracting.units.drain()
    assert dispatcher.ids(EmbedJob, Kind.ATOMS) == [row]
    assert (await reject_version(reviewing, row, 3)).changed == (row,)
    assert [state for _, state, _ in await memory.versions(row)] == ["past", "current", "rejected"]
    with pytest.raises(ReviewRefused, match="is rejected"):
        await approve_version(reviewing, row, 3)
    with pytest.raises(ReviewRefused, match="is past"):
        await reject_version(reviewing, row, 1)
    with pytest.raises(AtomNotFound, match="no version 9"):
        await approve_version(reviewing, row, 9)
    await careful.save(Find(content=f"{LONGER} as agreed"))
    assert len(await memory.versions(row)) == 3, "what was refused is not proposed again"


async def test_many_people_and_runs_at_once_never_wait_in_a_circle(memory: Memory, reviewing: Reviewing) -> None:
    contents = [f"part {number} is kept in Postgres" for number in range(8)]
    await memory.save(*(Find(content=content) for content in contents))
    ids = await ids_of(memory, contents)

    def act(number: int) -> Coroutine[Any, Any, Reviewed]:
        some = ids[number % 3 :: 2]
        acts: list[Callable[[], Coroutine[Any, Any, Reviewed]]] = [
            lambda: accept(reviewing, some),
            lambda: reject(reviewing, some[::-1]),
            lambda: edit(reviewing, ids[number % 8], Wording(title=f"title {number}")),
            lambda: merge(reviewing, ids[number % 8], ids[(number + 3) % 8]),
            lambda: supersede(reviewing, ids[number % 8], ids[(number + 5) % 8]),
        ]
        return acts[number % len(acts)]()

    done = await asyncio.gather(*(act(number) for number in range(30)), return_exceptions=True)
    assert [one for one in done if isinstance(one, Exception) and not isinstance(one, ReviewRefused)] == []
    assert (
        await memory.sql.fetchval(
            "SELECT count(*) FROM atoms a LEFT JOIN atoms b ON b.id = a.merged_into WHERE a.status = 'merged' "
            "AND (b.id IS NULL OR b.status = 'merged')"
        )
        == 0
    ), "nothing lives on in what is itself merged"


def asking(keys: str, *answers: str) -> tuple[Asking, io.StringIO]:
    out, said, pressed = io.StringIO(), iter(answers), iter(keys)
    console = Console(file=out, width=80)
    return Asking(console, key=lambda: next(pressed), words=lambda _question, default: next(said, default or "")), out


async def test_a_person_reviews_with_single_keys(memory: Memory, reviewing: Reviewing) -> None:
    finds = [Find(content=f"it is said: part {n}", confidence=0.4 - n / 100) for n in range(5)]
    await memory.save(*finds, Find(content="never said", quoted=False, confidence=0.01))
    ids = await ids_of(memory, [find.content for find in finds])
    person, out = asking("x" + "a" + "r" + "e" + "m" + "s" + "q", "a title", "other words", str(ids[0]))
    assert await review_one_by_one(reviewing, person, types=[]) == 4
    statuses = {found["id"]: found["status"] for found in await memory.atoms()}
    assert [statuses[row] for row in ids] == ["active", "rejected", "active", "merged", "candidate"]
    shown = out.getvalue()
    assert "press one of these" in shown
    assert "“it is said: part 1”" in shown
    assert "said to hold: “not never said”" in shown
    person, out = asking("s" * 9)
    assert await review_one_by_one(reviewing, person, types=["decision"]) == 0
    assert "nothing else waits; 2 atoms skipped" in out.getvalue()


async def test_what_a_key_cannot_do_is_said_and_asked_again(memory: Memory, reviewing: Reviewing) -> None:
    await memory.save(Find(content=POSTGRES, confidence=0.3))
    person, out = asking("mmq", "nothing", "4711")
    assert await review_one_by_one(reviewing, person, types=[]) == 0
    assert "is no id of an atom" in out.getvalue()
    assert "there is no atom 4711" in out.getvalue()
