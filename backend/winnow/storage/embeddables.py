"""What can be embedded: each `Kind` (a name, for jobs may hold no SQL) and what makes its embedded text.

A new kind is its name in `domain.jobs.Kind`, its entry here, and a migration with its table (`id`, `embedding`,
`text_changed_at`) and what `_make_embeddable` of 0001 gives it. Claims, writes, spaces, counts, sweeps and backfills
are written for every kind and need nothing more. Two things are not: its task is a shell of two lines
(`tasks/embedding.py`, named in `tasks/dispatch.py`), and how a search shows a row (`storage/search.py`,
`pipeline/search.py`, the API's schemas, the command line) is each kind's own.
"""

from __future__ import annotations

from dataclasses import dataclass

from winnow.domain.jobs import Kind
from winnow.domain.spaces import Role

# What the names of a space's columns and indexes end with. A retired space has none.
ENDINGS = {Role.ACTIVE: "", Role.BUILDING: "_next", Role.PREVIOUS: "_prev"}


@dataclass(frozen=True, slots=True)
class Embeddable:
    """One kind of embedded row. The embedded text is `columns` (all NOT NULL) joined by line breaks, only ever in SQL.

    `private` is the SQL condition on alias `t` under which its text stays at home, for it is made of what was said in a
    local-only channel; `found` the one under which a search may show the row.
    """

    kind: Kind
    columns: tuple[str, ...]
    private: str
    found: str = "true"

    @property
    def table(self) -> str:
        """The table's name."""
        return self.kind.value

    def text(self, alias: str = "t.") -> str:
        """The SQL expression of the embedded text."""
        return "(" + " || E'\\n' || ".join(f"{alias}{column}" for column in self.columns) + ")"

    def fill(self, statement: str, role: Role = Role.ACTIVE) -> str:
        """A statement written for every kind, for this one, and for the space of a role.

        Filled in are `{kind}`, `{table}`, `{text}` (of alias t), `{text_of_o}` (of alias o), `{private}`, `{found}`,
        `{role}`, and the space's columns `{embedding}` and `{characters}`.
        """
        filled = statement.replace("{kind}", self.kind.value).replace("{table}", self.table)
        filled = filled.replace("{role}", role.value).replace("{embedding}", f"embedding{ENDINGS[role]}")
        filled = filled.replace("{characters}", f"embedded_characters{ENDINGS[role]}")
        filled = filled.replace("{text}", self.text()).replace("{text_of_o}", self.text("o."))
        return filled.replace("{found}", self.found).replace("{private}", f"({self.private.strip()})")


# Each is looked up for one row by itself: `(SELECT … LIMIT 1)` is never turned round into a join of everything.
_SAID_IN_PRIVATE = """
(SELECT true FROM channels c WHERE c.source = t.source AND c.channel = t.channel AND c.local_only LIMIT 1) IS NOT NULL
"""
# What an atom was read in without proof is its words' place as well; what was merged has left its quotes to another.
_QUOTES_PRIVATE = """
((SELECT true FROM atom_evidence e JOIN messages m ON m.id = e.message_id
  JOIN channels c ON c.source = m.source AND c.channel = m.channel AND c.local_only
  WHERE e.atom_id = t.id OR e.atom_id = t.merged_into LIMIT 1) IS NOT NULL
 OR (SELECT true FROM atom_claims w JOIN messages m ON m.id = w.message_id
     JOIN channels c ON c.source = m.source AND c.channel = m.channel AND c.local_only
     WHERE w.atom_id = t.id LIMIT 1) IS NOT NULL)
"""
_MADE_OF_PRIVATE = """
(SELECT true FROM channels c WHERE c.local_only LIMIT 1) IS NOT NULL AND (
    (SELECT true FROM atoms a JOIN atom_evidence e ON e.atom_id = a.id JOIN messages m ON m.id = e.message_id
     JOIN channels c ON c.source = m.source AND c.channel = m.channel AND c.local_only
     WHERE a.topic_id = t.id LIMIT 1) IS NOT NULL
    OR (SELECT true FROM atoms a JOIN atom_claims w ON w.atom_id = a.id JOIN messages m ON m.id = w.message_id
        JOIN channels c ON c.source = m.source AND c.channel = m.channel AND c.local_only
        WHERE a.topic_id = t.id LIMIT 1) IS NOT NULL
    OR (SELECT true FROM messages m JOIN channels c ON c.source = m.source AND c.channel = m.channel AND c.local_only
        WHERE m.topic_id = t.id LIMIT 1) IS NOT NULL)
"""

EMBEDDABLES: dict[Kind, Embeddable] = {
    Kind.MESSAGES: Embeddable(Kind.MESSAGES, ("text",), private=_SAID_IN_PRIVATE),
    Kind.TOPICS: Embeddable(Kind.TOPICS, ("name", "description"), private=_MADE_OF_PRIVATE),
    Kind.ATOMS: Embeddable(Kind.ATOMS, ("title", "content"), private=_QUOTES_PRIVATE, found="t.status = 'active'"),
}
