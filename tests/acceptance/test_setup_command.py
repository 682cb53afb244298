"""`winnow setup` finds what the environment offers, sends nothing anywhere unbidden, and writes it down once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from typing_extensions import override

from plugins._entering import at_terminal
from plugins.model_servers import OpenAIServer

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import asyncpg

    from plugins._wire import Reply
    from plugins.model_servers import OllamaServer
    from plugins.program import Program

KEY = "sk-very-secret-0123456789"
NOWHERE_NATS = "nats://127.0.0.1:1"
NOBODY = "http://127.0.0.1:9"


@pytest.fixture
def ollama(ollama_server: OllamaServer) -> OllamaServer:
    ollama_server.models = {"mxbai-embed-large"}
    return ollama_server


@pytest.fixture
def own(another: Program, database_url: str) -> Program:
    another.variables = {
        "DATABASE_URL": database_url, "NATS_URL": NOWHERE_NATS, "WINNOW_OLLAMA_URL": NOBODY, "COLUMNS": "160",
    }  # fmt: skip
    return another


async def providers(sql: asyncpg.Connection) -> list[tuple[str, list[str], str | None, bool]]:
    rows = await sql.fetch(
        "SELECT name, urls, embedding_model, api_key IS NOT NULL AS has FROM llm_providers ORDER BY 1"
    )
    return [(row["name"], row["urls"], row["embedding_model"], row["has"]) for row in rows]


async def test_without_a_terminal_and_a_yes_it_only_shows(
    own: Program, sql: asyncpg.Connection, ollama: OllamaServer, openai_server: OpenAIServer
) -> None:
    openai_server.api_key = KEY
    variables = {"OLLAMA_HOST": ollama.url, "OPENAI_BASE_URL": openai_server.url, "OPENAI_API_KEY": KEY}
    shown = own.run("setup", **variables)
    assert shown.code == 2
    assert "winnow setup --yes" in shown.sentence
    assert f"ollama at {ollama.url} (OLLAMA_HOST): has mxbai-embed-large:latest" in shown.out
    assert "(OPENAI_BASE_URL and OPENAI_API_KEY, with a key)" in shown.out
    assert await providers(sql) == []
    as_json = own.run("setup", "--json", **variables)
    assert (as_json.code, [each["kind"] for each in as_json.json["found"]]) == (2, ["ollama", "openai"])
    assert KEY not in shown.out + shown.err + as_json.out


async def test_one_line_and_it_is_there_and_again_changes_nothing(
    own: Program, sql: asyncpg.Connection, ollama: OllamaServer, openai_server: OpenAIServer
) -> None:
    openai_server.api_key = KEY
    variables = {"OLLAMA_HOST": ollama.url, "OPENAI_BASE_URL": openai_server.url, "OPENAI_API_KEY": KEY}
    done = own.run("setup", "--yes", **variables)
    assert (done.code, done.err) == (0, "")
    assert "ok  ollama: the server answers; mxbai-embed-large makes vectors of 64 dimensions" in done.out
    assert "winnow model use ollama:mxbai-embed-large\n" in done.out
    assert "winnow model use openai:text-embedding-3-small\n" in done.out
    expected = [
        ("ollama", [ollama.url], "mxbai-embed-large", False),
        ("openai", [openai_server.url], "text-embedding-3-small", True),
    ]
    assert await providers(sql) == expected
    assert own.run("providers", "edit", "ollama", "--model", "bge-m3").code == 0
    ollama.models = {"bge-m3", "mxbai-embed-large"}
    again = own.run("setup", "--yes", "--json", **variables)
    assert again.code == 0
    assert [(row["name"], row["embedding_model"], row["check_passed"]) for row in again.json["written"]] == [
        ("ollama", "bge-m3", True), ("openai", "text-embedding-3-small", True),
    ]  # fmt: skip
    assert [name for name, *_ in await providers(sql)] == ["ollama", "openai"]
    assert KEY not in done.out + again.out + own.run("providers", "list").out


class VisitedServer(OpenAIServer):
    """Counts whoever comes, whatever for; an address in an odd form is nobody's loopback."""

    visits = 0

    @override
    def handle(self, method: str, path: str, headers: Mapping[str, str], body: dict[str, Any]) -> Reply:
        self.visits += 1
        return super().handle(method, path, headers, body)

    @property
    @override
    def url(self) -> str:
        return super().url.replace("127.0.0.1", "0x7f.1")


@pytest.fixture
def remote() -> Iterator[VisitedServer]:
    server = VisitedServer()
    server.start()
    yield server
    server.stop()


async def test_nothing_is_sent_to_a_remote_server_before_the_yes(
    own: Program, sql: asyncpg.Connection, remote: VisitedServer
) -> None:
    variables = {"OPENAI_BASE_URL": remote.url, "OPENAI_API_KEY": KEY, "NO_PROXY": "*", "no_proxy": "*"}
    assert own.run("setup", **variables).code == 2
    code, shown = at_terminal(own, "setup", typed="n\n", **variables)
    assert (code, f"left alone: openai at {remote.url}; nothing was sent there" in shown) == (0, True)
    assert (remote.visits, await providers(sql)) == (0, [])
    code, shown = at_terminal(own, "setup", typed="y\nn\n", **variables)
    assert (code, KEY in shown) == (0, False)
    assert "nothing is changed; later: winnow model use openai:text-embedding-3-small" in shown
    assert await providers(sql) == [("openai", [remote.url], "text-embedding-3-small", True)]
    assert remote.visits > 0


async def test_nothing_remote_is_asked_before_a_person_says_yes(own: Program, sql: asyncpg.Connection) -> None:
    variables = {"OLLAMA_HOST": "no-such-host.invalid", "OPENAI_API_KEY": KEY}
    code, shown = at_terminal(own, "setup", typed="n\nn\n", **variables)
    assert code == 0
    assert "ollama at http://no-such-host.invalid:11434 (OLLAMA_HOST): not asked yet" in shown
    assert "openai at https://api.openai.com/v1 (OPENAI_API_KEY, with a key): not asked yet" in shown
    assert "http://no-such-host.invalid:11434 is not this machine. May texts be sent there?" in shown
    assert "May texts be sent there and its key stored, encrypted?" in shown
    assert KEY not in shown
    assert await providers(sql) == []


async def test_a_person_chooses_and_is_told_what_is_wrong(
    own: Program, sql: asyncpg.Connection, ollama: OllamaServer, openai_server: OpenAIServer
) -> None:
    openai_server.api_key = "another"
    openai_server.behave("key_refused", words=f"Incorrect API key provided: {KEY}")
    variables = {"OLLAMA_HOST": ollama.url, "OPENAI_BASE_URL": openai_server.url, "OPENAI_API_KEY": KEY}
    code, shown = at_terminal(own, "setup", typed="y\nn\ny\n", **variables)
    assert code == 0
    assert [name for name, *_ in await providers(sql)] == ["ollama"]
    assert KEY not in shown
    assert f"left alone: openai at {openai_server.url}\r\n" in shown
    assert shown.index("nobody is paid for ollama:mxbai-embed-large") < shown.index("change over to ollama:mxbai-embed")
    assert "ollama:mxbai-embed-large embeds and searches now" in shown
    again = at_terminal(own, "setup", typed="y\nn\n", **variables)
    assert (again[0], "change over" in again[1]) == (0, False), "that is chosen already"
    wrong = own.run("setup", "--yes", **variables | {"OLLAMA_HOST": NOBODY})
    assert wrong.code == 1
    assert "not written down: ollama: Ollama at http://127.0.0.1:9 does not answer" in wrong.err
    assert "wrong  openai" in wrong.out
    assert KEY not in wrong.out + wrong.err


async def test_an_ollama_on_this_machine_needs_no_variable(own: Program, ollama: OllamaServer) -> None:
    nothing = own.run("setup", "--yes", WINNOW_OLLAMA_URL=None)
    if nothing.code == 0:
        pytest.skip("a true Ollama runs on this machine")
    assert nothing.code == 3
    assert "there is no Ollama at http://127.0.0.1:11434, and neither OLLAMA_HOST" in nothing.sentence
    found = own.run("setup", "--yes", "--json", WINNOW_OLLAMA_URL=ollama.url)
    assert (found.code, found.json["written"][0]["urls"]) == (0, [ollama.url])
    ollama.models = {"qwen3:8b"}
    assert own.run("providers", "edit", "ollama", "--model", "").code == 0
    none = own.run("setup", "--yes", WINNOW_OLLAMA_URL=ollama.url)
    assert "no model for embeddings that is known: ollama pull mxbai-embed-large" in none.out


async def test_a_name_that_is_taken_by_another_kind_is_told(own: Program, ollama: OllamaServer) -> None:
    made = own.run("providers", "add", "ollama", "--kind", "openai", "--url", "http://127.0.0.1:9/v1")
    assert made.code == 0
    taken = own.run("setup", "--yes", OLLAMA_HOST=ollama.url)
    assert taken.code == 3
    assert "winnow providers edit ollama --name NAME" in taken.err
