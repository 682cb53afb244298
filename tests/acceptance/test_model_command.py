"""`winnow model` and `winnow doctor` as people run them, over a database without workers."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import pytest

from plugins._entering import at_terminal
from plugins.pipeline import add_messages
from plugins.program import Call, eventually

if TYPE_CHECKING:
    import asyncpg

    from plugins.model_servers import OllamaServer
    from plugins.model_servers_chat import OllamaChatServer, OpenAIChatServer
    from plugins.program import Program

NOWHERE_NATS = "nats://127.0.0.1:1"
MODEL = "ollama:nomic-embed-text"


@pytest.fixture
def own(another: Program, database_url: str, ollama_chat_server: OllamaChatServer) -> Program:
    another.variables = {
        "DATABASE_URL": database_url, "NATS_URL": NOWHERE_NATS, "WINNOW_OLLAMA_URL": ollama_chat_server.url,
        "COLUMNS": "160",
    }  # fmt: skip
    return another


async def test_there_and_back_again(
    own: Program, sql: asyncpg.Connection, ollama_chat_server: OllamaChatServer
) -> None:
    await add_messages(sql, ["one", "two", "one"])
    assert own.run("backfill", "--inline").code == 0
    asked = own.run("model", "use", MODEL)
    assert (asked.code, "add --yes" in asked.sentence) == (2, True)
    assert "3" in asked.out
    assert "searches go on with local" in asked.out
    assert await sql.fetchval("SELECT count(*) FROM embedding_spaces") == 1

    for answer in ("n\n", "^C\n"):
        code, shown = at_terminal(own, "model", "use", MODEL, "--json", typed=answer)
        assert (code, f"change over to {MODEL}?" in shown) == (1, True)
        assert "{" not in shown, "stdout is for what comes of it"
    done = own.run("model", "use", MODEL, "--yes", "--json")
    assert (done.code, done.json["finished"]) == (0, True)
    assert ollama_chat_server.answered["search_document: one"] == 1 + 4, "beside the samples of the four estimates"
    assert await sql.fetchval("SELECT count(*) FROM messages WHERE vector_dims(embedding) = $1", 64) == 3
    again = own.run("model", "use", MODEL, "--yes")
    assert (again.code, "embeds and searches now" in again.out) == (0, True)

    listed = {model["name"]: model["role"] for model in own.run("model", "list", "--json").json}
    assert listed == {"local": "previous", MODEL: "active"}
    found = own.run("search", "one", "--json")
    assert found.json["degraded"] is None
    for command in ("back", "forget", "cancel"):
        nobody = own.run("model", command)
        assert (nobody.code, "add --yes" in nobody.sentence) == (2, True)
    back = own.run("model", "back", "--yes")
    assert (back.code, back.out) == (0, "local embeds and searches again\n")
    assert await sql.fetchval("SELECT count(*) FROM messages WHERE vector_dims(embedding) = 256") == 3
    code, shown = at_terminal(own, "model", "forget", typed="y\n", WINNOW_EMBEDDER=MODEL)
    assert (code, f"with WINNOW_EMBEDDER={MODEL} will not start any more" in shown) == (0, True)
    assert f"WINNOW_EMBEDDER is {MODEL} here: unset it, or set it to local" in " ".join(shown.split())
    for command in ("back", "forget", "cancel"):
        refused = own.run("model", command, "--yes")
        assert (refused.code, refused.out) == (2, "")
    unasked = own.run("model", "back")
    assert (unasked.code, "no vectors of an earlier model" in unasked.sentence) == (2, True)


async def test_a_setting_of_before_is_told_and_does_not_stop_anything(own: Program, sql: asyncpg.Connection) -> None:
    await add_messages(sql, ["one"])
    assert own.run("backfill", "--inline", WINNOW_EMBEDDER="local").code == 0
    refused = own.run("backfill", "--inline", WINNOW_EMBEDDER=MODEL)
    assert refused.code == 3
    assert f"winnow model use {MODEL}" in refused.err
    done = own.run("model", "use", MODEL, "--yes", WINNOW_EMBEDDER="local")
    assert done.code == 0
    assert "WINNOW_EMBEDDER is local here" in done.err
    await add_messages(sql, ["two"])
    assert own.run("backfill", "--inline", WINNOW_EMBEDDER="local").code == 0
    assert await sql.fetchval("SELECT count(*) FROM messages WHERE vector_dims(embedding) = 64") == 2


async def test_interrupted_it_goes_on_and_pays_for_nothing_twice(
    own: Program, sql: asyncpg.Connection, ollama_chat_server: OllamaChatServer
) -> None:
    await add_messages(sql, [f"text {number}" for number in range(600)])
    assert own.run("backfill", "--inline").code == 0
    ollama_chat_server.delay_seconds = 0.2
    started = own.start("model", "use", MODEL, "--yes")
    eventually(lambda: len(ollama_chat_server.answered) > 60, "some are embedded")
    assert started.end(signal.SIGINT) == 130
    assert f"To go on: winnow model use {MODEL}; to give it up: winnow model cancel" in started.output
    third = own.run("model", "use", "ollama:all-minilm", "--yes")
    assert (third.code, third.out) == (2, ""), "nothing is estimated"
    assert f"finish it: winnow model use {MODEL}" in third.sentence
    other = own.run("model", "use", "local", "--yes")
    assert other.code == 0, "the active model is asked for: nothing is to be done"
    assert "a change to ollama:nomic-embed-text is under way" in own.run("model", "back", "--yes").sentence
    assert "change" in own.run("status").out
    ollama_chat_server.delay_seconds = 0
    assert own.run("model", "use", MODEL, "--yes").code == 0
    again = {text: count for text, count in ollama_chat_server.answered.items() if "text" in text and count > 1}
    assert max(again.values(), default=1) <= 4
    assert len(again) <= 200, "what was on its way when it was interrupted, and samples"


async def test_what_cannot_be_chosen_is_told_in_a_sentence(own: Program, ollama_chat_server: OllamaChatServer) -> None:
    ollama_chat_server.models = {"nomic-embed-text"}
    refusals = {
        "nobody:x": (2, "there is no provider nobody"),
        "ollama": (2, "say which model of ollama"),
        "ollama:unheard-of": (3, "run: ollama pull unheard-of"),
        "openai:x": (2, "WINNOW_OPENAI_API_KEY is not set"),
    }
    for name, (code, sentence) in refusals.items():
        refused = own.run("model", "use", name, "--yes")
        assert (refused.code, sentence in refused.sentence) == (code, True), refused


async def test_a_key_in_the_environment_is_no_reason_to_send_texts_anywhere(
    own: Program, sql: asyncpg.Connection, openai_chat_server: OpenAIChatServer
) -> None:
    """The vectors were made by a server of the settings; when these name it no more, OpenAI is not asked instead."""
    await add_messages(sql, ["one"])
    chosen = {"WINNOW_EMBEDDER": "openai:text-embedding-3-small", "WINNOW_OPENAI_URL": openai_chat_server.url}
    assert own.run("backfill", "--inline", **chosen).code == 0
    await add_messages(sql, ["two"])
    refused = own.run("backfill", "--inline", OPENAI_API_KEY="sk-lies-there")
    assert refused.code == 3
    assert "set WINNOW_OPENAI_URL" in refused.err


async def test_the_doctor_says_what_is_well_and_what_to_do(
    own: Program, sql: asyncpg.Connection, ollama_chat_server: OllamaChatServer
) -> None:
    await add_messages(sql, ["one"])
    chosen = {"WINNOW_EMBEDDER": MODEL}
    assert own.run("backfill", "--inline", **chosen).code == 0
    looked = own.run("doctor", "--json", **chosen)
    levels = {(found["area"], found["name"]): found["level"] for found in looked.json}
    assert looked.code == 1
    assert levels["nats", "jetstream"] == "wrong"
    assert {level for (area, _), level in levels.items() if area in {"database", "clocks"}} == {"ok"}
    assert levels["model", "dimension"] == "ok"
    assert all(found["do"] for found in looked.json if found["level"] != "ok")
    assert await sql.fetchval("SELECT sum(texts) FROM llm_usage WHERE purpose = 'check'") > 1

    ollama_chat_server.dimensions = 12
    await sql.execute("ALTER TABLE topics DISABLE TRIGGER text_changed")
    await sql.execute("DROP TRIGGER rows_inserted ON atoms")
    found = {(found["area"], found["name"]): found for found in own.run("doctor", "--json", **chosen).json}
    assert found["model", "dimension"]["level"] == "wrong"
    assert found["database", "triggers"]["level"] == "wrong"
    assert (
        "switched off: text_changed of topics and missing: rows_inserted of atoms"
        in (found["database", "triggers"]["says"])
    )
    ollama_chat_server.stop()
    away = own.run("doctor", **chosen)
    assert away.code == 1
    assert "wrong   model: examination: Ollama at" in away.out


async def test_the_doctor_looks_at_all_it_can_when_a_part_is_away(
    own: Program, sql: asyncpg.Connection, openai_chat_server: OpenAIChatServer
) -> None:
    looked = own.run("doctor", "--json", DATABASE_URL="postgresql://nobody@127.0.0.1:1/none")
    wrong = {found["area"] for found in looked.json if found["level"] == "wrong"}
    assert (looked.code, wrong) == (1, {"database", "nats", "model"})

    assert own.run("providers", "add", "gpu", "--kind", "openai", "--url", openai_chat_server.url).code == 0
    assert own.run("model", "use", "gpu:text-embedding-3-small", "--yes", WINNOW_EMBEDDER="local").code == 0
    await sql.execute("UPDATE llm_providers SET active = false")
    looked = own.run("doctor", "--json")
    found = {(found["area"], found["name"]): found for found in looked.json}
    assert found["database", "version"]["level"] == "ok"
    assert "gpu is switched off" in found["model", "examination"]["says"]


async def test_the_advice_names_what_the_setting_understands(
    own: Program, sql: asyncpg.Connection, openai_chat_server: OpenAIChatServer
) -> None:
    await add_messages(sql, ["one"])
    assert own.run("providers", "add", "gpu", "--kind", "openai", "--url", openai_chat_server.url).code == 0
    name, setting = "gpu:text-embedding-3-small", "openai:text-embedding-3-small"
    told = own.run("model", "use", name, "--yes", WINNOW_EMBEDDER="local")
    assert f"set it to {setting}," in told.err
    same = own.run("model", "use", name, "--yes", WINNOW_EMBEDDER=setting, WINNOW_OPENAI_URL=openai_chat_server.url)
    assert (same.code, "WINNOW_EMBEDDER" in same.err) == (0, False)


async def test_models_go_by_their_provider_s_name_and_one_is_the_active_one(
    own: Program, sql: asyncpg.Connection, ollama_chat_server: OllamaChatServer
) -> None:
    await add_messages(sql, ["one", "two"])
    own.run_in_turn(
        Call("backfill", "--inline"),
        Call("providers", "add", "gpu", "--kind", "ollama", "--url", ollama_chat_server.url, "--model", "all-minilm"),
        Call("providers", "add", "spare", "--kind", "ollama", "--url", ollama_chat_server.url),
        Call("providers", "check", "gpu"),
    )
    ollama_chat_server.models = {"nomic-embed-text", "all-minilm"}
    used = own.run("model", "use", "gpu:nomic-embed-text:latest", "--yes")
    assert "nobody is paid for gpu:nomic-embed-text\n" in used.out
    listed = own.run("model", "list", "--json").json
    roles = {model["name"]: model["role"] for model in listed}
    assert len(roles) == len(listed)
    assert {name: role for name, role in roles.items() if role} == {
        "local": "previous", "gpu:nomic-embed-text": "active",
    }  # fmt: skip
    assert {"spare:nomic-embed-text", "gpu:all-minilm"} <= set(roles)
    by_name = {model["name"]: model for model in listed}
    assert by_name["gpu:all-minilm"]["dimensions"] == 64, "a check found that, whatever its card says"
    assert by_name["local"]["price_usd_per_million_tokens"] == 0
    status, as_json, usage, estimate = own.run_in_turn(
        Call("status"),
        Call("status", "--json", WINNOW_EMBEDDER="local"),
        Call("usage", "--by", "model"),
        Call("backfill", "--dry-run"),
    )
    assert "gpu:nomic-embed-text, 64 dimensions" in status.out
    assert (as_json.json["embedder"], as_json.json["space"]) == ("gpu:nomic-embed-text", "gpu:nomic-embed-text")
    assert {"gpu:nomic-embed-text", "local"} <= {line.split(" ")[0] for line in usage.out.splitlines()}
    assert "nobody is paid for gpu:nomic-embed-text" in estimate.out


async def test_what_the_list_shows_of_a_change_goes_on_with_it_though_its_server_was_away(
    own: Program, sql: asyncpg.Connection, ollama_chat_server: OllamaChatServer
) -> None:
    await add_messages(sql, [f"text {number}" for number in range(600)])
    assert own.run("backfill", "--inline").code == 0
    add = ("providers", "add", "gpu", "--kind", "ollama", "--url", ollama_chat_server.url)
    assert own.run(*add).code == 0
    ollama_chat_server.delay_seconds = 0.2
    started = own.start("model", "use", "gpu:nomic-embed-text", "--yes")
    eventually(lambda: len(ollama_chat_server.answered) > 60, "some are embedded")
    assert started.end(signal.SIGINT) == 130
    ollama_chat_server.delay_seconds = 0
    elsewhere = {"WINNOW_OLLAMA_URL": "http://127.0.0.1:9"}
    for url in ("http://127.0.0.1:9", ollama_chat_server.url):
        await sql.execute("UPDATE llm_providers SET urls = ARRAY[$1]", url)
        listed = own.run("model", "list", "--json", **elsewhere).json
        assert [model["name"] for model in listed if model["role"] == "building"] == ["gpu:nomic-embed-text"]
    assert own.run("model", "use", "gpu:nomic-embed-text", "--yes", **elsewhere).code == 0
    provider = "SELECT p.name FROM embedding_spaces s JOIN llm_providers p ON p.id = s.provider_id"
    assert await sql.fetchval(f"{provider} WHERE s.status = 'active'") == "gpu"


async def test_the_doctor_looks_at_each_server_and_at_the_next_model(
    own: Program, sql: asyncpg.Connection, ollama_chat_server: OllamaChatServer, ollama_server: OllamaServer
) -> None:
    await add_messages(sql, ["one"])
    assert own.run("backfill", "--inline").code == 0
    urls = [ollama_chat_server.url, ollama_server.url, "http://127.0.0.1:9"]
    at = [argument for url in urls for argument in ("--url", url)]
    added, checked = own.run_in_turn(
        Call("providers", "add", "gpu", "--kind", "ollama", "--model", "nomic-embed-text", *at),
        Call("providers", "check", "gpu"),
    )
    assert (added.code, checked.code) == (0, 0)
    assert checked.out.startswith("warning  gpu: 2 of 3 servers answer; nomic-embed-text makes vectors of 64 dimen")
    assert "Ollama at http://127.0.0.1:9 does not answer" in checked.out
    row = await sql.fetchval("SELECT id FROM llm_providers")
    await sql.execute(
        "INSERT INTO embedding_spaces (provider, model, dimensions, status, provider_id, document_prefix, "
        "query_prefix) "
        "VALUES ('ollama', 'nomic-embed-text', 64, 'building', $1, 'search_document: ', 'search_query: ')",
        row,
    )
    ollama_server.dimensions = 12
    found = {(each["area"], each["name"]): each for each in own.run("doctor", "--json").json}
    assert found["model", "dimension"]["level"] == "ok"
    levels = [found["next model", f"server {url}"]["level"] for url in urls]
    assert levels == ["ok", "wrong", "warning"]
    assert "gpu:nomic-embed-text is there" in found["next model", "model"]["says"]
