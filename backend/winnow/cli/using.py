"""Commands that do one thing and end."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from winnow.api.answers import search_hit_out, status_out
from winnow.bootstrap import opened
from winnow.cli import knowledge_options as asked
from winnow.cli.options import AsJson, DataDir
from winnow.cli.render import show_answer, show_overview
from winnow.cli.running import console, print_json, run, settings_for
from winnow.cli.watching import WATCH_SECONDS, watch
from winnow.domain.jobs import Kind
from winnow.embedded.postgres import programs_folder
from winnow.errors import EmbeddedServerFailed, InvalidInput, SetupFault
from winnow.pipeline.filters import AskedMessages, said_by
from winnow.pipeline.overview import overview
from winnow.pipeline.search import search
from winnow.servers import servers_for
from winnow.storage.engine import libpq_variables
from winnow.storage.migrate import migrate, newest_revision, require_newest

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from winnow.bootstrap import Winnow
    from winnow.servers import Servers
    from winnow.settings import Settings

SOME_FAILED = 1


def add_commands(app: typer.Typer) -> None:
    """Adds them to the program."""
    app.command("search", rich_help_panel="Use")(search_command)
    app.command("status", rich_help_panel="Use")(status_command)
    app.command("migrate", rich_help_panel="Maintain")(migrate_command)
    app.command(
        "psql", rich_help_panel="Maintain", context_settings={"allow_extra_args": True, "ignore_unknown_options": True}
    )(psql_command)


@asynccontextmanager
async def using(settings: Settings, *, queue: bool = True, fresh: bool = False) -> AsyncIterator[Winnow]:
    """The running servers, or our own for as long as the command takes, with their tables in place."""
    async with servers_for(settings, fresh=fresh) as servers:
        await prepare(servers)
        async with opened(settings, servers, queue=queue) as winnow:
            yield winnow


async def prepare(servers: Servers) -> None:
    """An embedded database is ours to migrate (and whoever started it may be at it still); somebody's own is not."""
    if servers.instance:
        await migrate(servers.database_url)
    else:
        await require_newest(servers.database_url)


def search_command(
    query: Annotated[list[str], typer.Argument(help="What to look for.")],
    kind: Annotated[list[Kind] | None, typer.Option(help="Only these kinds; may be given several times.")] = None,
    channel: asked.Channel = None,
    source: asked.Source = None,
    author: asked.Author = None,
    since: asked.Since = None,
    until: asked.Until = None,
    limit: Annotated[int, typer.Option(min=1, max=100, help="Most hits.")] = 10,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Find messages, knowledge and topics, by words and by meaning."""
    settings = settings_for(data_dir=data_dir)

    async def main() -> None:
        first, end, _ = asked.period(since=since, until=until)
        messages = AskedMessages(channel=channel, source=source, author=author)
        async with using(settings, queue=False) as winnow:
            said = await said_by(winnow.database, messages, since=first, until=end)
            kinds = kind or tuple(Kind)
            answer = await search(winnow.searching(), " ".join(query), kinds=kinds, limit=limit, said=said)
        if as_json:
            hits = [search_hit_out(hit).model_dump(mode="json", exclude_none=True) for hit in answer.hits]
            print_json({"query": answer.query, "hits": hits, "degraded": answer.degraded})
        else:
            show_answer(console, answer)

    run(main)


def status_command(
    seconds: Annotated[
        float | None, typer.Argument(metavar="SECONDS", min=0.2, max=86_400, help="How often to look, with --watch.")
    ] = None,
    watch_it: Annotated[
        bool, typer.Option("--watch", help="Look again and again, each 2 s or each SECONDS, until Ctrl-C.")
    ] = False,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Where everything stands: rows and vectors, how fast and how long still, knowledge, queue, workers."""
    settings = settings_for(data_dir=data_dir)

    async def main() -> None:
        if seconds and not watch_it:
            raise InvalidInput(f"to look every {seconds:g} s: winnow status --watch {seconds:g}")
        async with using(settings, queue=False) as winnow:
            await winnow.start_queue_if_there()
            if watch_it:
                await watch(winnow, every_seconds=seconds or WATCH_SECONDS, as_json=as_json)
                return
            state = await overview(winnow.overviewing(), truncated=True)
        if as_json:
            print_json(status_out(state).model_dump(mode="json"))
        else:
            show_overview(console, state)

    run(main)


def migrate_command(
    revision: Annotated[str, typer.Argument(help="Where to go: head, a revision, or base (which drops all).")] = "head",
    yes: Annotated[
        bool, typer.Option("--yes", help="Go to an older revision, and lose what it has no place for.")
    ] = False,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Bring the database's tables to this program's revision."""
    settings = settings_for(data_dir=data_dir)

    async def main() -> str:
        if not yes and revision not in {"head", newest_revision()}:
            what = (
                "drops every table with all that is in it"
                if revision == "base"
                else "drops what newer revisions brought, for example all API keys (0002)"
            )
            raise InvalidInput(f"`winnow migrate {revision}` {what}; if that is what you want, add --yes")
        async with servers_for(settings, fresh=True) as servers:
            return await migrate(servers.database_url, revision=revision)

    reached = run(main)
    if as_json:
        print_json({"revision": reached})
    else:
        console.print(f"the database is at revision {reached}", markup=False)
        if reached != newest_revision():
            console.print("use the older program now: the next command of this one brings the tables up again")


def _psql() -> Path:
    """The wheel's psql, or else the one on the PATH."""
    try:
        return programs_folder() / "psql"
    except EmbeddedServerFailed as error:
        if on_path := shutil.which("psql"):
            return Path(on_path)
        raise SetupFault(
            "there is no psql here: install PostgreSQL's client or winnow[embedded]; beside a container of PostgreSQL "
            "there is its own: docker compose exec postgres psql -U winnow winnow"
        ) from error


def psql_command(context: typer.Context, data_dir: DataDir = None) -> None:
    """Open psql on the database; what follows goes to psql, as in: winnow psql -c 'SELECT id, name FROM topics'."""
    settings = settings_for(data_dir=data_dir)

    async def main() -> int:
        async with servers_for(settings) as servers:
            asyncio.get_running_loop().add_signal_handler(signal.SIGINT, lambda: None)  # Ctrl-C is psql's own
            process = await asyncio.create_subprocess_exec(
                _psql(), *context.args, env={**os.environ, **libpq_variables(servers.database_url)}
            )
            code = await process.wait()
            asyncio.get_running_loop().remove_signal_handler(signal.SIGINT)
            return code

    code = run(main)
    if code:
        raise typer.Exit(code)
