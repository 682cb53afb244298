"""`winnow providers` writes down what a person says, checks it, and shows, logs and stores no key that can be read."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from cryptography.fernet import Fernet

from plugins._entering import at_terminal, with_input
from plugins.program import Call
from winnow.embedded.postgres import programs_folder
from winnow.storage.engine import libpq_variables

if TYPE_CHECKING:
    import asyncpg

    from plugins.model_servers import OllamaServer, OpenAIServer
    from plugins.program import Program

KEY = "sk-very-secret-0123456789"
NOWHERE_NATS = "nats://127.0.0.1:1"
OLD, NEW = (Fernet.generate_key().decode() for _ in range(2))


@pytest.fixture
def own(another: Program, database_url: str) -> Program:
    another.variables = {"DATABASE_URL": database_url, "NATS_URL": NOWHERE_NATS, "COLUMNS": "160"}
    return another


async def test_a_provider_s_life(own: Program, ollama_server: OllamaServer) -> None:
    url = ollama_server.url
    none, added, again, listed, checked, edited, shown, missing = own.run_in_turn(
        Call("providers", "list"),
        Call("providers", "add", "gpu", "--kind", "ollama", "--url", url, "--model", "bge-m3", "--at-once", "2"),
        Call("providers", "add", "gpu", "--kind", "ollama"),
        Call("providers", "list", "--json"),
        Call("providers", "check"),
        Call(
            "providers",
            "edit",
            "gpu",
            "--name",
            "spare",
            "--at-once",
            "0",
            "--inactive",
            "--query-prefix",
            "",
            "--json",
        ),
        Call("providers", "list"),
        Call("providers", "edit", "gpu", "--model", "x"),
    )
    assert "winnow setup" in none.out
    assert (added.code, "winnow providers check gpu" in added.out) == (0, True)
    assert (again.code, "already" in again.sentence) == (2, True)
    (row,) = listed.json
    assert (row["urls"], row["embedding_model"], row["at_once"], row["has_key"]) == ([url], "bge-m3", 2, False)
    assert "api_key" not in row
    assert (checked.code, checked.out) == (0, "ok  gpu: the server answers; bge-m3 makes vectors of 64 dimensions\n")
    assert {name: edited.json[name] for name in ("name", "at_once", "active", "query_prefix", "embedding_model")} == {
        "name": "spare", "at_once": None, "active": False, "query_prefix": "", "embedding_model": "bge-m3",
    }  # fmt: skip
    assert re.search(r"spare +ollama +http\S+ +bge-m3 +– +– +switched off; never", shown.out)
    assert (missing.code, "there is no provider gpu" in missing.sentence) == (2, True)
    ollama_server.stop()
    wrong, none, prefixes, removed, rest = own.run_in_turn(
        Call("providers", "check", "spare"),
        Call("providers", "edit", "spare"),
        Call("providers", "edit", "spare", "--own-prefixes", "--model", "", "--json"),
        Call("providers", "remove", "spare"),
        Call("providers", "list", "--json"),
    )
    assert (wrong.code, wrong.out.startswith("wrong  spare: Ollama at")) == (3, True)
    assert (none.code, "--help" in none.sentence) == (2, True)
    assert (prefixes.json["query_prefix"], prefixes.json["embedding_model"]) == (None, None)
    assert (removed.out, rest.json) == ("removed: spare\n", [])


async def test_a_key_comes_by_stdin_or_unseen_and_never_by_argument(
    own: Program, sql: asyncpg.Connection, openai_server: OpenAIServer
) -> None:
    openai_server.api_key = KEY
    add = ("providers", "add", "o", "--kind", "openai", "--url", openai_server.url, "--model", "embed-x", "--key")
    refused = own.run(*add, KEY)
    assert refused.code == 2
    assert "give --key -" in refused.sentence
    assert KEY not in refused.err
    assert (with_input(own, *add, "-", given="\n").code, await sql.fetchval("SELECT count(*) FROM llm_providers")) == (
        2,
        0,
    )
    added = with_input(own, *add, "-", "--json", given=f"{KEY}\n")
    assert (added.code, added.json["has_key"]) == (0, True)
    checked = own.run("providers", "check", "o", WINNOW_LOG_LEVEL="debug")
    assert checked.code == 0
    assert openai_server.requests[0].headers["authorization"] == f"Bearer {KEY}"
    assert own.run("providers", "edit", "o", "--no-key").code == 0
    code, shown = at_terminal(own, "providers", "edit", "o", "--key", "-", typed=f"{KEY}\n")
    assert (code, "key: " in shown, KEY in shown) == (0, True, False)
    both = with_input(own, "providers", "edit", "o", "--key", "-", "--no-key", given=KEY)
    assert (both.code, "not both" in both.sentence) == (2, True)
    moved = own.run("providers", "edit", "o", "--url", "https://elsewhere.example/v1")
    assert (moved.code, "was given for" in moved.sentence) == (2, True)
    listed = own.run("providers", "list")
    assert re.search(r"o +openai .* set ", listed.out)
    everything = [added, checked, listed, own.run("providers", "list", "--json"), both, moved]
    assert KEY not in "".join(f"{done.out}{done.err}" for done in everything)


async def test_another_secret_is_told_and_the_key_can_be_entered_again(
    own: Program, openai_server: OpenAIServer
) -> None:
    add = ("providers", "add", "o", "--kind", "openai", "--url", openai_server.url, "--model", "x", "--key", "-")
    assert with_input(own, *add, given=KEY, WINNOW_SECRET_KEY=OLD).code == 0
    wrong = own.run("providers", "check", "o", WINNOW_SECRET_KEY=NEW)
    assert wrong.code == 3
    assert "set WINNOW_SECRET_KEY to the one it was encrypted with" in wrong.out
    assert "winnow providers edit o --key -" in wrong.out
    assert openai_server.requests == []
    rotated = own.run("providers", "rotate-secret", WINNOW_SECRET_KEY=NEW)
    assert (rotated.code, "put the new one in front" in rotated.sentence) == (2, True)
    rotated = own.run("providers", "rotate-secret", WINNOW_SECRET_KEY=f"{NEW},{OLD}")
    assert (rotated.code, "encrypted anew: 1 key\n" in rotated.out) == (0, True)
    assert own.run("providers", "check", "o", WINNOW_SECRET_KEY=NEW).code == 0
    again = with_input(own, "providers", "edit", "o", "--key", "-", given=KEY, WINNOW_SECRET_KEY=OLD)
    assert again.code == 0
    assert own.run("providers", "check", "o", WINNOW_SECRET_KEY=OLD).code == 0
    assert not (own.data / "secret.key").exists()
    nonsense = own.run("providers", "list", WINNOW_SECRET_KEY="hunter2")
    assert (nonsense.code, "hunter2" in nonsense.err) == (2, False)


async def test_the_secret_in_the_data_folder_is_exchanged(own: Program, openai_server: OpenAIServer) -> None:
    add = ("providers", "add", "o", "--kind", "openai", "--url", openai_server.url, "--model", "x", "--key", "-")
    assert with_input(own, *add, given=KEY).code == 0
    file = own.data / "secret.key"
    before = file.read_text()
    assert file.stat().st_mode & 0o777 == 0o600
    assert own.run("providers", "rotate-secret", "--json").json == {"keys": 1}
    assert file.read_text() != before
    assert own.run("providers", "check", "o").code == 0
    file.chmod(0o644)
    loose = own.run("providers", "check", "o")
    assert (loose.code, f"chmod 600 {file}" in loose.out) == (3, True)


async def test_no_key_is_in_the_database_s_dump(own: Program, database_url: str, openai_server: OpenAIServer) -> None:
    add = ("providers", "add", "o", "--kind", "openai", "--url", openai_server.url, "--model", "x", "--key", "-")
    assert with_input(own, *add, given=KEY).code == 0
    openai_server.behave("key_refused", words=f"no such key: {KEY}")
    assert own.run("providers", "check", "o").code == 3
    dumped = own.run_command([str(programs_folder() / "pg_dump"), "--inserts"], **libpq_variables(database_url))
    assert "INSERT INTO public.llm_providers" in dumped.out
    secret = (own.data / "secret.key").read_text().strip()
    for form in (KEY, KEY.encode().hex(), secret, secret.encode().hex()):
        assert form not in dumped.out
