"""`winnow up --sample` turns the example chats into knowledge, shows it, ends by itself, and repeats nothing."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from plugins.program import CHECKOUT

if TYPE_CHECKING:
    from plugins.program import Program

# xmin is the transaction that wrote a row last: it moves when anything is written again, be it the same value.
FINGERPRINTS = """
SELECT 'messages', count(*), count(embedding), sum(hashtext(id || ':' || xmin)::bigint) FROM messages
UNION ALL SELECT 'topics', count(*), count(embedding), sum(hashtext(id || ':' || xmin)::bigint) FROM topics
UNION ALL SELECT 'atoms', count(*), count(embedding), sum(hashtext(id || ':' || xmin)::bigint) FROM atoms
UNION ALL SELECT 'runs', count(*), count(*), sum(hashtext(id || ':' || xmin)::bigint) FROM extraction_runs
UNION ALL SELECT type, count(*), count(*) FILTER (WHERE status = 'active'), 0 FROM atoms GROUP BY type
UNION ALL SELECT 'without evidence', count(*), 0, 0 FROM atoms a WHERE NOT EXISTS (
    SELECT FROM atom_evidence e JOIN messages m ON m.id = e.message_id
    WHERE e.atom_id = a.id AND e.quote = substr(m.text, e.start_char + 1, e.end_char - e.start_char))
"""


def fingerprints(program: Program) -> dict[str, Any]:
    return {name: (int(rows), int(embedded), int(hashed)) for name, rows, embedded, hashed in program.sql(FINGERPRINTS)}


def test_the_sample_becomes_knowledge_once(another: Program) -> None:
    first = another.run("up", "--sample", "--port", "0")
    assert first.code == 0, first
    files = len(list((CHECKOUT / "examples" / "json-ld-minutes").glob("*.log")))
    read = re.search(rf"{files} files: ([\d,]+) messages stored, 0 known", first.out)
    assert read, first.out
    stored = int(read[1].replace(",", ""))
    before = fingerprints(another)
    assert before["messages"][0] == stored > 1000
    for kind in ("messages", "topics", "atoms"):
        total, embedded, _ = before[kind]
        assert embedded == total > 0, kind
    for kind in ("decision", "action", "question", "problem"):
        assert before[kind][0] > 0
        assert re.search(rf"^  {kind} .*\n(?: .*\n)*?    “", first.out, re.MULTILINE), (
            f"no {kind} with a quote is shown"
        )
    assert before["without evidence"][0] == 0
    assert re.search(r"over NATS +[1-9][\d,]* tasks sent, 0 dead letters", first.out)
    assert first.out.count("search:") == 3
    assert "by words only" not in first.out
    assert "nothing found" not in first.out
    assert "--dry-run" in first.out
    assert f"winnow up --data-dir {another.data} " in first.out
    assert "http://127" not in first.out, "an address that is about to end"

    second = another.run("up", "--sample", "--port", "0")
    assert second.code == 0, second
    assert f"0 messages stored, {stored:,} known already" in second.out
    assert re.search(r"over NATS +0 tasks sent, 0 dead letters", second.out)
    assert fingerprints(another) == before
