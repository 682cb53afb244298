"""psql reaches the server the program reaches: the URL as libpq's variables."""

from __future__ import annotations

import pytest

from winnow.storage.engine import libpq_variables

WHOLE = {
    "PGHOST": "db.example",
    "PGPORT": "5433",
    "PGUSER": "ann",
    "PGPASSWORD": "p w",
    "PGDATABASE": "chat",
}


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("postgresql://ann:p%20w@db.example:5433/chat", WHOLE),
        ("postgresql://ann:p%20w@db.example:5433/chat?sslmode=require", WHOLE | {"PGSSLMODE": "require"}),
        ("postgresql://ann:p%20w@db.example:5433/chat?ssl=verify-full", WHOLE | {"PGSSLMODE": "verify-full"}),
        (
            "postgresql://ann:p%20w@db.example:5433/chat?target_session_attrs=read-write",
            WHOLE | {"PGTARGETSESSIONATTRS": "read-write"},
        ),
        ("postgresql:///chat?host=/run/pg&port=5499", {"PGHOST": "/run/pg", "PGPORT": "5499", "PGDATABASE": "chat"}),
    ],
)
def test_all_that_the_url_says_is_passed_on(url: str, expected: dict[str, str]) -> None:
    assert libpq_variables(url) == expected
