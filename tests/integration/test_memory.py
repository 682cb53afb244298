"""What is found again grows and is not added twice; what is unsure or unproven waits; what is replaced stays."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from plugins.pipeline import START
from plugins.remembering import Find, ids_of
from winnow.domain.jobs import EmbedJob, Kind
from winnow.domain.knowledge import AtomType, ExtractedLink, LinkToKnown, LinkType
from winnow.domain.memory import AutoApprove, MemoryRules
from winnow.pipeline.review import accept, reject, reopen

if TYPE_CHECKING:
    from plugins.pipeline import RecordingDispatcher
    from plugins.remembering import Memory
    from winnow.pipeline.review import Reviewing

POSTGRES = "We will use Postgres for storage"
SUPERSEDES = LinkType.SUPERSEDES


async def test_what_is_said_again_in_other_letters_grows(memory: Memory) -> None:
    (first,) = await memory.save(Find(content=POSTGRES, confidence=0.6))
    (again,) = await memory.save(Find(content=f"RESOLVED: {POSTGRES.lower()}.", confidence=0.9), channel="#else")
    (found,) = await memory.atoms()
    assert (found["content"], found["status"]) == (POSTGRES, "active")
    assert (found["confidence"], found["raw_confidence"]) == (pytest.approx(0.9), pytest.approx(0.6))
    assert await memory.evidence(found["id"]) == [first, again]
    await memory.save(Find(content=POSTGRES, confidence=0.1))
    assert (await memory.atoms())[0]["confidence"] == pytest.approx(0.9), "it can only grow"


async def test_an_atom_knows_who_made_it_and_when_it_was_said(memory: Memory) -> None:
    await memory.save(Find(content="later words here", topic=None), Find(content=POSTGRES))
    found = await memory.atom(POSTGRES)
    assert (found["extractor"], found["said_at"], found["version"]) == ("steered", START + timedelta(minutes=2), 1)
    await memory.save(Find(content=POSTGRES))
    assert (await memory.atom(POSTGRES))["said_at"] == START + timedelta(minutes=1), "the earliest words count"


@pytest.mark.parametrize(
    "other",
    ["We will use Postgres 16 for storage", "We will not use Postgres for storage", "We will use Redis for storage"],
)
async def test_what_differs_in_what_counts_is_an_atom_of_its_own(memory: Memory, other: str) -> None:
    await memory.save(Find(content=POSTGRES))
    await memory.save(Find(content=other))
    assert [found["content"] for found in await memory.atoms()] == [POSTGRES, other]
    assert await memory.versions((await memory.atom(POSTGRES))["id"]) == []


async def test_the_same_words_of_another_type_are_another_atom(memory: Memory) -> None:
    await memory.save(Find(content=POSTGRES), Find(content=POSTGRES, type=AtomType.IDEA))
    assert [found["type"] for found in await memory.atoms()] == ["decision", "idea"]


async def test_twins_of_one_run_become_one_atom(memory: Memory) -> None:
    ids = await memory.save(Find(content=POSTGRES), Find(content=f"So, {POSTGRES}!"))
    (found,) = await memory.atoms()
    assert await memory.evidence(found["id"]) == ids


async def test_what_is_below_the_cut_waits_hidden_until_it_is_found_surer(
    memory: Memory, dispatcher: RecordingDispatcher
) -> None:
    await memory.save(Find(content=POSTGRES, confidence=0.3))
    assert (await memory.atom(POSTGRES))["status"] == "candidate"
    await memory.save(Find(content=POSTGRES, confidence=0.4))
    assert (await memory.atom(POSTGRES))["status"] == "candidate"
    await memory.extracting.units.drain()
    dispatcher.calls.clear()
    await memory.save(Find(content=POSTGRES, confidence=0.5))
    found = await memory.atom(POSTGRES)
    assert found["status"] == "active"
    await memory.extracting.units.drain()
    assert dispatcher.ids(EmbedJob, Kind.ATOMS) == [found["id"]]


async def test_what_has_no_words_is_kept_apart_until_words_prove_it(memory: Memory) -> None:
    (read,) = await memory.save(Find(content=POSTGRES, quoted=False))
    found = await memory.atom(POSTGRES)
    claims = await memory.sql.fetch("SELECT atom_id, message_id, quote FROM atom_claims")
    assert [tuple(row) for row in claims] == [(found["id"], read, f"not {POSTGRES}")]
    assert (found["status"], await memory.evidence(found["id"])) == ("unproven", [])
    again = await memory.save(Find(content=POSTGRES, quoted=False))
    assert await memory.sql.fetchval("SELECT count(*) FROM atom_claims") == 2
    (proof,) = await memory.save(Find(content=POSTGRES))
    assert (await memory.atom(POSTGRES))["status"] == "active"
    assert await memory.evidence(found["id"]) == [proof]
    assert await memory.sql.fetchval("SELECT count(*) FROM atom_claims") == 0, "words need no claims"
    assert again


async def test_an_unproven_find_adds_nothing_to_what_is_proven(memory: Memory) -> None:
    await memory.save(Find(content=POSTGRES, confidence=0.6))
    await memory.save(Find(content=POSTGRES, confidence=0.6, quoted=False))
    assert await memory.sql.fetchval("SELECT count(*) FROM atom_claims") == 0
    assert (await memory.atom(POSTGRES))["status"] == "active"


async def test_a_rejected_atom_that_is_found_again_stays_rejected(memory: Memory, reviewing: Reviewing) -> None:
    await memory.save(Find(content=POSTGRES))
    (found,) = await memory.atoms()
    await reject(reviewing, [found["id"]])
    await memory.save(Find(content=f"{POSTGRES}!", confidence=1.0))
    (found,) = await memory.atoms()
    assert found["status"] == "rejected"


async def test_the_find_of_a_merged_atom_goes_to_what_it_was_merged_into(memory: Memory) -> None:
    await memory.save(Find(content=POSTGRES), Find(content="Storage: managed Postgres"))
    one, other = await ids_of(memory, [POSTGRES, "Storage: managed Postgres"])
    await memory.sql.execute("UPDATE atoms SET status = 'merged', merged_into = $2 WHERE id = $1", other, one)
    (again,) = await memory.save(Find(content="storage: managed postgres"))
    assert again in await memory.evidence(one)
    assert len(await memory.atoms()) == 2


async def test_a_longer_wording_within_a_topic_waits_as_a_version(memory: Memory) -> None:
    careful = memory.by(MemoryRules(auto_approve=AutoApprove.OFF))
    longer = f"{POSTGRES} and events"
    await careful.save(Find(content=POSTGRES))
    (said,) = await careful.save(Find(content=longer))
    (found,) = await memory.atoms()
    assert (found["content"], found["version"]) == (POSTGRES, 1)
    assert await memory.versions(found["id"]) == [(1, "current", POSTGRES), (2, "proposed", longer)]
    assert said in await memory.evidence(found["id"])
    await careful.save(Find(content=longer))
    assert len(await memory.versions(found["id"])) == 2, "what is proposed already is not proposed again"
    await careful.save(Find(content=f"{POSTGRES} and the events we ingest", topic="elsewhere"))
    assert len(await memory.atoms()) == 2, "in another topic it is something else"


@pytest.mark.parametrize(
    ("rule", "confidence", "approved"),
    [("off", 0.9, False), ("safe", 0.9, True), ("safe", 0.5, False), ("all", 0.5, True)],
)
async def test_the_rules_approve_what_they_allow(
    memory: Memory, dispatcher: RecordingDispatcher, *, rule: str, confidence: float, approved: bool
) -> None:
    ruled = memory.by(MemoryRules(auto_approve=AutoApprove(rule)))
    longer = "We will use Postgres for storage everywhere"
    await ruled.save(Find(content=POSTGRES, confidence=0.8))
    await memory.sql.execute("UPDATE atoms SET embedding = '[1,2,3]'")
    await ruled.save(Find(content=longer, confidence=confidence))
    (found,) = await memory.atoms()
    states = {content: state for _, state, content in await memory.versions(found["id"])}
    if approved:
        assert (found["content"], found["version"], found["embedding"]) == (longer, 2, None)
        assert states == {POSTGRES: "past", longer: "current"}
        await memory.extracting.units.drain()
        assert found["id"] in dispatcher.ids(EmbedJob, Kind.ATOMS)
    else:
        assert (found["content"], states) == (POSTGRES, {POSTGRES: "current", longer: "proposed"})
    await ruled.save(Find(content=POSTGRES, confidence=0.1))
    assert len(await memory.atoms()) == 1, "an old wording that is said again is nothing new"


async def test_shorter_words_never_replace_by_rule(memory: Memory) -> None:
    await memory.save(Find(content="We will use Postgres for storage everywhere", confidence=0.5))
    await memory.save(Find(content=POSTGRES, confidence=0.9))
    (found,) = await memory.atoms()
    assert found["content"] == "We will use Postgres for storage everywhere"


async def test_a_refinement_of_a_known_atom_is_a_version_of_it(memory: Memory) -> None:
    await memory.save(Find(content=POSTGRES))
    (known,) = await ids_of(memory, [POSTGRES])
    link = LinkToKnown(source=0, atom_id=known, type=LinkType.REFINES, confidence=0.9)
    refined = "For storage we will use managed Postgres"
    await memory.save(Find(content=refined, topic=None), links_to_known=(link,))
    assert await memory.versions(known) == [(1, "current", POSTGRES), (2, "proposed", refined)]
    assert await memory.links() == set(), "an atom does not refine itself"


async def test_a_later_decision_of_the_topic_replaces_an_earlier_one_which_stays(memory: Memory) -> None:
    await memory.save(
        Find(content=POSTGRES),
        Find(content="We will use Cassandra instead"),
        links=(ExtractedLink(source=1, target=0, type=SUPERSEDES, confidence=0.7, reason="it is faster"),),
    )
    old, new = await memory.atom(POSTGRES), await memory.atom("We will use Cassandra instead")
    assert (old["superseded_by"], old["superseded_because"]) == (new["id"], "it is faster")
    assert (old["valid_until"], old["status"]) == (new["said_at"], "active")
    assert (new["valid_until"], new["superseded_by"]) == (None, None)
    assert await memory.links() == {(new["id"], "supersedes", old["id"])}


@pytest.mark.parametrize(
    ("finds", "source", "target"),
    [
        ((Find(content="a problem", type=AtomType.PROBLEM), Find(content="worse", type=AtomType.PROBLEM)), 1, 0),
        ((Find(content=POSTGRES), Find(content="Redis it is", type=AtomType.REQUIREMENT)), 1, 0),
        ((Find(content=POSTGRES), Find(content="Redis it is", topic="caches")), 1, 0),
        ((Find(content=POSTGRES, topic=None), Find(content="Redis it is", topic=None)), 1, 0),
        ((Find(content=POSTGRES), Find(content="Redis it is", confidence=0.2)), 1, 0),
        ((Find(content=POSTGRES), Find(content="Redis it is")), 0, 1),
    ],
    ids=["another type", "two types", "two topics", "no topic", "a candidate", "said before"],
)
async def test_what_may_not_replace_is_only_linked(
    memory: Memory, finds: tuple[Find, ...], source: int, target: int
) -> None:
    link = ExtractedLink(source=source, target=target, type=SUPERSEDES, confidence=0.7)
    await memory.save(*finds, links=(link,))
    assert all(found["superseded_by"] is None and found["valid_until"] is None for found in await memory.atoms())
    assert len(await memory.links()) == 1


async def test_a_candidate_that_is_accepted_replaces_then(memory: Memory, reviewing: Reviewing) -> None:
    link = ExtractedLink(source=1, target=0, type=SUPERSEDES, confidence=0.7)
    await memory.save(Find(content=POSTGRES), Find(content="Redis it is", confidence=0.2), links=(link,))
    (new,) = await ids_of(memory, ["Redis it is"])
    await accept(reviewing, [new])
    assert (await memory.atom(POSTGRES))["superseded_by"] == new


async def test_a_candidate_that_named_a_known_decision_of_another_topic_replaces_it_when_accepted_or_found_again(
    memory: Memory, reviewing: Reviewing
) -> None:
    for number, sure in enumerate((False, True)):
        old, new = f"Postgres holds part {number}", f"Redis holds it all, {number}"
        await memory.save(Find(content=old))
        (known,) = await ids_of(memory, [old])
        link = LinkToKnown(source=0, atom_id=known, type=SUPERSEDES, confidence=0.7)
        await memory.save(Find(content=new, topic="caches", confidence=0.2), links_to_known=(link,))
        assert (await memory.atom(old))["superseded_by"] is None
        (newer,) = await ids_of(memory, [new])
        if sure:
            await memory.save(Find(content=new, topic="caches", confidence=0.9))
        else:
            await accept(reviewing, [newer])
        assert (await memory.atom(old))["superseded_by"] == newer


async def test_what_was_replaced_while_it_was_hidden_is_replaced_when_it_is_accepted(
    memory: Memory, reviewing: Reviewing
) -> None:
    link = ExtractedLink(source=1, target=0, type=SUPERSEDES, confidence=0.7)
    await memory.save(Find(content=POSTGRES, confidence=0.2), Find(content="Redis it is"), links=(link,))
    old, new = await ids_of(memory, [POSTGRES, "Redis it is"])
    await accept(reviewing, [old])
    assert (await memory.atom(POSTGRES))["superseded_by"] == new
    await reopen(reviewing, [old])
    await accept(reviewing, [old])
    assert (await memory.atom(POSTGRES))["superseded_by"] is None, "what a person freed stays so"


async def test_a_known_decision_may_be_replaced_across_topics_and_holds_again_when_it_is_said_again(
    memory: Memory,
) -> None:
    await memory.save(Find(content=POSTGRES))
    (old,) = await ids_of(memory, [POSTGRES])
    link = LinkToKnown(source=0, atom_id=old, type=SUPERSEDES, confidence=0.7, reason="moved")
    await memory.save(Find(content="Redis it is", topic="caches"), links_to_known=(link,))
    (new,) = await ids_of(memory, ["Redis it is"])
    assert (await memory.atom(POSTGRES))["superseded_by"] == new
    back = LinkToKnown(source=0, atom_id=new, type=SUPERSEDES, confidence=0.7, reason="moved back")
    await memory.save(Find(content=POSTGRES), links_to_known=(back,))
    held, gone = await memory.atoms()
    assert (held["superseded_by"], held["valid_until"]) == (None, None)
    assert (gone["superseded_by"], gone["superseded_because"]) == (old, "moved back")


async def test_a_link_to_what_is_gone_or_merged_meanwhile_finds_its_way(memory: Memory) -> None:
    await memory.save(
        Find(content="who pays?", type=AtomType.QUESTION), Find(content="who will pay", type=AtomType.QUESTION)
    )
    kept, merged = [found["id"] for found in await memory.atoms()]
    await memory.sql.execute("UPDATE atoms SET status = 'merged', merged_into = $2 WHERE id = $1", merged, kept)
    links = tuple(
        LinkToKnown(source=0, atom_id=row, type=LinkType.ANSWERS, confidence=0.7) for row in (merged, 999_999)
    )
    await memory.save(Find(content="Ana does", type=AtomType.ANSWER), links_to_known=links)
    (answer,) = await ids_of(memory, ["Ana does"])
    assert await memory.links() == {(answer, "answers", kept)}
