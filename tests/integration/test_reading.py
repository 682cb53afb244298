"""What is known is read by any filter, page by page, no row lost or told twice; the hidden only when asked for."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from plugins.knowing import FRIDAY, MONDAY, TUESDAY, know, say
from winnow.domain.knowledge import AtomStatus, AtomType
from winnow.errors import AtomNotFound, InvalidInput, TopicNotFound
from winnow.pipeline.filters import AskedMessages, whole_filter
from winnow.storage import atom_filter
from winnow.storage.atom_filter import AtomFilter, Order, Place
from winnow.storage.reading import atoms_by_id, count_atoms, list_atoms, walk_atoms
from winnow.storage.reading_in_full import atom_in_full
from winnow.storage.reading_topics import list_topics, topic_called, topics_in_full

if TYPE_CHECKING:
    import asyncpg

    from plugins.knowing import World
    from winnow.storage.engine import Database

ACTIVE = {"postgres", "redis", "why", "fast", "when", "shut", "slow"}
HIDDEN = {"below", "claimed", "no", "same"}
EVERY = AtomFilter(statuses=None)
LONG_AGO, NEVER = MONDAY - timedelta(days=900), FRIDAY + timedelta(days=900)

FILTERS: list[tuple[dict[str, Any], dict[str, Any], set[str]]] = [
    ({}, {}, ACTIVE),
    ({"statuses": None}, {}, ACTIVE | HIDDEN),
    ({"statuses": (AtomStatus.CANDIDATE, AtomStatus.MERGED)}, {}, {"below", "same"}),
    ({"types": (AtomType.DECISION,)}, {}, {"postgres", "redis"}),
    ({"types": (AtomType.DECISION, AtomType.PROBLEM)}, {}, {"postgres", "redis", "slow"}),
    ({"as_of": TUESDAY}, {}, {"redis", "why", "fast", "when", "shut", "slow"}),
    ({"as_of": FRIDAY, "types": (AtomType.DECISION,)}, {}, {"postgres"}),
    ({"as_of": LONG_AGO}, {}, set()),
    ({"since": TUESDAY}, {}, {"when", "slow", "postgres"}),
    ({"until": TUESDAY}, {}, {"redis", "why", "fast", "shut"}),
    ({"since": TUESDAY, "until": FRIDAY}, {}, {"when", "slow"}),
    ({"since": NEVER}, {}, set()),
    ({"confidence": 0.7}, {}, {"postgres", "redis", "when", "shut", "slow"}),
    ({"confidence": 0.91}, {}, set()),
    ({"extractor": "ollama:qwen3:8b"}, {}, {"fast"}),
    ({"text": "release using"}, {}, set()),
    ({"text": "uses redis"}, {}, {"redis"}),
    ({"text": "redis"}, {}, {"redis", "why"}),
    ({"text": "the of"}, {}, set()),
    ({"text": "it's \\' & | !"}, {}, set()),
    ({"waiting": True}, {}, {"below", "claimed"}),
    ({"open": True}, {}, {"postgres", "fast", "when", "slow"}),
    ({"open": True, "types": (AtomType.QUESTION,)}, {}, {"when"}),
    ({"no_topic": True}, {}, {"fast", "shut"}),
    ({}, {"topic": "Cache"}, {"postgres", "redis", "why"}),
    ({}, {"topic": "cACHE"}, {"postgres", "redis", "why"}),
    ({"statuses": None}, {"channel": "#team"}, {"redis", "why", "fast", "shut", "below", "no"}),
    ({"statuses": None}, {"channel": "#ops"}, {"postgres", "when", "slow", "claimed"}),
    ({"statuses": None}, {"channel": "#ops", "source": "irc"}, {"postgres"}),
    ({}, {"channel": "Operations"}, {"when", "slow"}),
    ({}, {"source": "irc"}, {"postgres"}),
    ({}, {"author": "Ben"}, {"why", "when", "slow"}),
    ({}, {"author": "u2", "channel": "#team"}, {"why"}),
    ({}, {"author": "Ana", "source": "test", "channel": "#ops"}, set()),
    ({}, {"channel": "nowhere"}, set()),
    ({"types": (AtomType.QUESTION,), "since": TUESDAY, "confidence": 0.5, "open": True},
     {"author": "Ben", "topic": "Release"}, {"when"}),
]  # fmt: skip


@pytest.mark.parametrize("few", [10_000, 0], ids=["looked up first", "asked one by one"])
async def test_each_filter_finds_what_fits_and_nothing_else(
    few: int, world: World, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(atom_filter, "FEW", few)
    for values, named, expected in FILTERS:
        topic = named.get("topic")
        messages = AskedMessages(**{name: value for name, value in named.items() if name != "topic"})
        wanted = await whole_filter(database, AtomFilter(**values), topic=topic, messages=messages)
        page = await list_atoms(database, wanted, limit=50)
        assert set(world.named([atom.id for atom in page.items])) == expected, (values, named)
        assert page.next is None
        counts = await count_atoms(database, wanted)
        assert counts.total == len(expected) == sum(counts.types.values()) == sum(counts.statuses.values())
        walked = [atom.id async for atoms in walk_atoms(database, wanted, page=2) for atom in atoms]
        assert walked == sorted(world.atoms[name] for name in expected)


async def test_a_proposed_wording_waits_for_a_person(world: World, database: Database, sql: asyncpg.Connection) -> None:
    for name in ("redis", "no"):
        await propose(sql, world.atoms[name], "Use Valkey")
    page = await list_atoms(database, AtomFilter(waiting=True), limit=50)
    assert set(world.named([atom.id for atom in page.items])) == {"below", "claimed", "redis"}
    assert {atom.id: atom.proposals for atom in page.items}[world.atoms["redis"]] == 1


async def propose(sql: asyncpg.Connection, atom: int, title: str) -> None:
    await sql.execute(
        "INSERT INTO atom_versions (atom_id, version, state, type, title, content, confidence, made_by) "
        "VALUES ($1, 7, 'proposed', 'decision', $2, $2, 0.7, 'rules')", atom, title,
    )  # fmt: skip


@pytest.mark.parametrize("limit", [1, 2, 3, 100])
@pytest.mark.parametrize("order", Order)
async def test_pages_follow_each_other_without_a_gap(
    order: Order, limit: int, database: Database, sql: asyncpg.Connection
) -> None:
    moments = [MONDAY, MONDAY, TUESDAY, None, FRIDAY, None, TUESDAY, None]
    for number, moment in enumerate(moments):
        sure = (number % 3) / 4 + 0.1
        await know(sql, "idea", f"idea {number}", said_at=moment, confidence=sure)
    everything = (await list_atoms(database, AtomFilter(), order=order, limit=100)).items
    keys = {
        Order.NEWEST: lambda atom: (atom.said_at or NEVER, atom.id),
        Order.OLDEST: lambda atom: (atom.said_at or NEVER, atom.id),
        Order.SUREST: lambda atom: (atom.confidence, atom.id),
    }
    assert [atom.id for atom in everything] == [
        atom.id for atom in sorted(everything, key=keys[order], reverse=order is not Order.OLDEST)
    ]
    assert len(everything) == len(moments)
    seen: list[int] = []
    after: Place | None = None
    while True:
        page = await list_atoms(database, AtomFilter(), order=order, after=after, limit=limit)
        assert 0 < len(page.items) <= limit
        seen += [atom.id for atom in page.items]
        if page.next is None:
            break
        after = Place.read(page.next.token(), order)
    assert seen == [atom.id for atom in everything]


@pytest.mark.parametrize(
    "token",
    ["", "x", "é", "1", "1_2_3", "-1_none_0.500000000000", "1_none_1.500000000000", "1_none_0.5", "1_none_nan",
     "1_2026-01-01_0.500000000000", "１_none_0.500000000000", "1_none_0.500000000000\n",
     f"{10**16}_none_0.500000000000", f"1_{10**17}_0.500000000000"],
)  # fmt: skip
def test_a_cursor_that_was_made_up_is_refused(token: str) -> None:
    with pytest.raises(InvalidInput, match="cursor"):
        Place.read(token, Order.NEWEST)


async def test_an_atom_says_what_became_of_it(world: World, database: Database) -> None:
    found = await atoms_by_id(database, list(world.atoms.values()))
    redis, same, claimed = (found[world.atoms[name]] for name in ("redis", "same", "claimed"))
    assert (redis.superseded, redis.superseded_by, redis.superseded_by_title) == (
        True, world.atoms["postgres"], "Use PostgreSQL",
    )  # fmt: skip
    assert (redis.valid_until, redis.superseded_because) == (FRIDAY, "it needs no second server")
    assert (same.status, same.merged_into, same.merged_into_title) == (
        "merged",
        world.atoms["postgres"],
        "Use PostgreSQL",
    )
    assert [(one.quote, one.channel_title, one.author) for one in claimed.claims] == [("it leaks", "Operations", "Ben")]
    assert claimed.evidence == ()
    assert found[world.atoms["shut"]].closed_because == "eaten"
    assert found[world.atoms["fast"]].extractor == "ollama:qwen3:8b"
    assert found[world.atoms["redis"]].confidence == 0.7, "as it was given, not as four bytes hold it"


async def test_links_lead_to_active_atoms_only_from_wherever(world: World, database: Database) -> None:
    found = await atoms_by_id(database, list(world.atoms.values()))
    assert found[world.atoms["slow"]].links == (), "what may solve it is below the cut"
    assert found[world.atoms["why"]].replies == (world.atoms["fast"],)
    assert found[world.atoms["fast"]].is_reply
    (from_below,) = found[world.atoms["below"]].links
    assert (from_below.outgoing, from_below.other_title, from_below.other_type) == (
        True,
        "The build is slow",
        "problem",
    )
    (to_redis,) = found[world.atoms["postgres"]].links
    assert (to_redis.type, to_redis.other_valid_until) == ("supersedes", FRIDAY)


async def test_one_atom_comes_with_the_talk_around_its_words(
    world: World, database: Database, sql: asyncpg.Connection
) -> None:
    atom = world.atoms["why"]
    await sql.execute("UPDATE atom_evidence SET quote = 'Redis', start_char = 4, end_char = 9 WHERE atom_id = $1", atom)
    elsewhere = await say(sql, "why, really?", at=FRIDAY)
    await sql.execute("DELETE FROM message_threads WHERE message_id = $1", elsewhere)
    await sql.execute("INSERT INTO atom_evidence VALUES ($1, $2, 0, 3, 'why')", atom, elsewhere)
    found = await atom_in_full(database, atom, around=1)
    talks = [[(one.text, one.quoted) for one in talk.messages] for talk in found.conversations]
    assert talks == [
        [("let us use Redis", False), ("why Redis?", True), ("because it is fast", False)],
        [("why, really?", True)],
    ]
    assert found.conversations[0].id == world.messages["hello"]
    alone = await atom_in_full(database, atom, around=0)
    assert [len(talk.messages) for talk in alone.conversations] == [1, 1]
    wide = await atom_in_full(database, world.atoms["claimed"], around=20)
    assert [one.text for talk in wide.conversations for one in talk.messages] == ["when do we release?"]
    with pytest.raises(AtomNotFound):
        await atom_in_full(database, 10**9, around=1)


async def test_one_atom_comes_with_its_run_wordings_and_judgements(
    world: World, database: Database, sql: asyncpg.Connection
) -> None:
    atom = world.atoms["redis"]
    run = await sql.fetchval(
        "INSERT INTO extraction_runs (source, channel, extractor, extractor_version, state, message_ids) "
        "VALUES ('test', '#team', 'rules', '7', 'done', '{}') RETURNING id"
    )
    await sql.execute("UPDATE atoms SET run_id = $2 WHERE id = $1", atom, run)
    await propose(sql, atom, "Use Valkey")
    await sql.execute(
        "INSERT INTO atom_reviews (atom_id, verdict, extractor, type, title, content, confidence, reviewer) "
        "VALUES ($1, 'accept', 'rules', 'decision', 'Use Redis', '', 0.7, 'Ana')", atom,
    )  # fmt: skip
    found = await atom_in_full(database, atom, around=0)
    assert found.run is not None
    assert (found.run.id, found.run.version) == (run, "7")
    assert [(one.version, one.state, one.title) for one in found.versions] == [(7, "proposed", "Use Valkey")]
    assert [(one.verdict, one.reviewer) for one in found.reviews] == [("accept", "Ana")]


async def test_topics_tell_what_is_filed_under_them(world: World, database: Database) -> None:
    cache, release = (world.topics[name] for name in ("Cache", "Release"))
    found = (await topics_in_full(database, [cache]))[cache]
    assert (dict(found.atoms), found.messages) == ({"decision": 2, "question": 1}, 2)
    assert (found.first_said_at, found.last_said_at) == (MONDAY, FRIDAY)
    listed = await list_topics(database, before=10**9, limit=10)
    assert [topic.id for topic in listed] == [release, cache]
    assert [topic.id for topic in await list_topics(database, before=release, limit=10)] == [cache]
    assert [topic.id for topic in await list_topics(database, text="caches", before=10**9, limit=10)] == [cache]
    here = await list_topics(database, places=[("test", "#team")], before=10**9, limit=10)
    assert [topic.id for topic in here] == [cache]
    assert await list_topics(database, places=[], before=10**9, limit=10) == []


async def test_a_topic_is_called_by_id_or_name(world: World, database: Database, sql: asyncpg.Connection) -> None:
    cache = world.topics["Cache"]
    other = await sql.fetchval("INSERT INTO topics (name) VALUES ('cache') RETURNING id")
    assert [await topic_called(database, name) for name in (str(cache), "Cache", " cache ")] == [cache, cache, other]
    for name in ("ache", "100%_\\", "", "9" * 40):
        with pytest.raises(TopicNotFound) as refused:
            await topic_called(database, name)
        assert ("; there is " in str(refused.value)) == (name == "ache")
