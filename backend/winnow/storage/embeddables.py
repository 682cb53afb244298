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

    `found` is the SQL condition on alias `t` under which a search may show the row.
    """

    kind: Kind
    columns: tuple[str, ...]
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

        Filled in are `{kind}`, `{table}`, `{text}` (of alias t), `{text_of_o}` (of alias o), `{found}`, `{role}`, and
        the space's columns `{embedding}` and `{characters}`.
        """
        filled = statement.replace("{kind}", self.kind.value).replace("{table}", self.table)
        filled = filled.replace("{role}", role.value).replace("{embedding}", f"embedding{ENDINGS[role]}")
        filled = filled.replace("{characters}", f"embedded_characters{ENDINGS[role]}")
        filled = filled.replace("{text}", self.text()).replace("{text_of_o}", self.text("o."))
        return filled.replace("{found}", self.found)


EMBEDDABLES: dict[Kind, Embeddable] = {
    Kind.MESSAGES: Embeddable(Kind.MESSAGES, ("text",)),
    Kind.TOPICS: Embeddable(Kind.TOPICS, ("name", "description")),
    Kind.ATOMS: Embeddable(Kind.ATOMS, ("title", "content"), found="t.status = 'active'"),
}
