"""`winnow providers …`: who makes vectors and answers, how to reach them, and whether they are well."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer
from pydantic import SecretStr
from rich.table import Table
from rich.text import Text

from winnow.api.provider_schemas import CheckedOut, ProviderOut
from winnow.cli.options import AsJson, DataDir
from winnow.cli.render import fits, plain, show_facts
from winnow.cli.running import console, friendly, print_json, run, settings_for
from winnow.cli.using import using
from winnow.domain.providers import ProviderKind
from winnow.errors import InvalidInput, SetupFault
from winnow.pipeline.providers import (
    Checked,
    ProviderChanges,
    check_provider,
    create_provider,
    edit_provider,
    rotate_secret,
)

if TYPE_CHECKING:
    from winnow.storage.providers import StoredProvider

app = typer.Typer(
    help="Model servers that Winnow may use: Ollama, OpenAI, and all that speak like these.", no_args_is_help=True
)

Name = Annotated[str, typer.Argument(metavar="NAME", help="The provider's name.")]
Urls = Annotated[
    list[str] | None,
    typer.Option(
        "--url", help="Where it is; give several of servers with the same models, the preferred one first.",
        show_default=False,
    ),
]  # fmt: skip
Model = Annotated[str | None, typer.Option("--model", help="The model to embed with.", show_default=False)]
ChatModel = Annotated[str | None, typer.Option("--chat-model", help="The model to extract with.", show_default=False)]
Key = Annotated[
    str | None,
    typer.Option("--key", metavar="-", help="-: ask for its key, or read it from stdin.", show_default=False),
]
Requests = Annotated[
    int | None, typer.Option("--requests-per-minute", min=0, help="Limit; 0: what the server says.", show_default=False)
]
Tokens = Annotated[
    int | None, typer.Option("--tokens-per-minute", min=0, help="Limit; 0: what the server says.", show_default=False)
]
AtOnce = Annotated[
    int | None, typer.Option("--at-once", min=0, help="Requests in flight; 0: found by measuring.", show_default=False)
]
DocumentPrefix = Annotated[
    str | None, typer.Option(metavar="TEXT", help="Before each text, instead of the model's own.", show_default=False)
]
QueryPrefix = Annotated[
    str | None, typer.Option(metavar="TEXT", help="Before each query, instead of the model's own.", show_default=False)
]


@app.command("list")
def list_command(data_dir: DataDir = None, as_json: AsJson = False) -> None:
    """Show all providers. Of a key it is told whether there is one, never more."""
    settings = settings_for(data_dir=data_dir)

    async def main() -> list[StoredProvider]:
        async with using(settings, queue=False) as winnow:
            return await winnow.registry().store.all()

    found = run(main)
    if as_json:
        print_json([as_written(row) for row in found])
    elif found:
        _show(found)
    else:
        console.print("no providers yet; look what there is with: winnow setup", markup=False)


@app.command("add")
def add_command(
    name: Name,
    kind: Annotated[ProviderKind, typer.Option(help="The protocol it speaks: ollama or openai.")],
    urls: Urls = None,
    model: Model = None,
    chat_model: ChatModel = None,
    key: Key = None,
    requests_per_minute: Requests = None,
    tokens_per_minute: Tokens = None,
    at_once: AtOnce = None,
    document_prefix: DocumentPrefix = None,
    query_prefix: QueryPrefix = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Write a provider down. Nothing is sent to it before it is checked or used."""
    settings = settings_for(data_dir=data_dir)
    given = _given(
        urls=urls,
        embedding_model=model,
        chat_model=chat_model,
        requests_per_minute=requests_per_minute,
        tokens_per_minute=tokens_per_minute,
        at_once=at_once,
        document_prefix=document_prefix,
        query_prefix=query_prefix,
    )

    if key is not None:
        given["api_key"] = entered_key(key)

    async def main() -> StoredProvider:
        async with using(settings, queue=False) as winnow:
            return await create_provider(winnow.registry(), name=name, kind=kind, given=given)

    made = run(main)
    if as_json:
        print_json(as_written(made))
    else:
        console.print(f"{made.name} is written down; try it: winnow providers check {made.name}", markup=False)


@app.command("edit")
def edit_command(
    name: Name,
    new_name: Annotated[str | None, typer.Option("--name", help="Call it so from now on.", show_default=False)] = None,
    urls: Urls = None,
    model: Model = None,
    chat_model: ChatModel = None,
    key: Key = None,
    no_key: Annotated[bool, typer.Option("--no-key", help="Take its key away.")] = False,
    active: Annotated[
        bool | None, typer.Option("--active/--inactive", help="Whether it may be used.", show_default=False)
    ] = None,
    requests_per_minute: Requests = None,
    tokens_per_minute: Tokens = None,
    at_once: AtOnce = None,
    document_prefix: DocumentPrefix = None,
    query_prefix: QueryPrefix = None,
    own_prefixes: Annotated[bool, typer.Option("--own-prefixes", help="Back to the model's own prefixes.")] = False,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Change what is given, and nothing else. An empty --model or --chat-model takes it away."""
    settings = settings_for(data_dir=data_dir)
    given = _given(
        name=new_name,
        urls=urls,
        embedding_model=model,
        chat_model=chat_model,
        active=active,
        requests_per_minute=requests_per_minute,
        tokens_per_minute=tokens_per_minute,
        at_once=at_once,
        document_prefix=document_prefix,
        query_prefix=query_prefix,
    )
    if own_prefixes:
        given |= {"document_prefix": None, "query_prefix": None}

    if key is not None:
        given["api_key"] = entered_key(key)
    if no_key:
        given["api_key"] = None

    async def main() -> StoredProvider:
        if key is not None and no_key:
            raise InvalidInput("give --key or --no-key, not both")
        if not given:
            raise InvalidInput(f"say what is to be other than it is; see: winnow providers edit {name} --help")
        async with using(settings, queue=False) as winnow:
            return await edit_provider(winnow.registry(), name, given)

    changed = run(main)
    if as_json:
        print_json(as_written(changed))
    else:
        console.print(f"{changed.name} is changed; try it: winnow providers check {changed.name}", markup=False)


@app.command("remove")
def remove_command(name: Name, data_dir: DataDir = None, as_json: AsJson = False) -> None:
    """Forget a provider and its key. One that vectors are made or searched with is refused."""
    settings = settings_for(data_dir=data_dir)

    async def main() -> StoredProvider:
        async with using(settings, queue=False) as winnow:
            store = winnow.registry().store
            return await store.delete((await store.get(name)).id)

    removed = run(main)
    if as_json:
        print_json({"removed": removed.name})
    else:
        console.print(f"removed: {removed.name}", markup=False)


@app.command("check")
def check_command(
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="NAME…", help="Which ones; all when none is named.", show_default=False),
    ] = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Ask a provider's servers whether they are there and have its models. They are sent one word."""
    settings = settings_for(data_dir=data_dir)

    async def main() -> dict[str, Checked]:
        async with using(settings, queue=False) as winnow:
            tools = winnow.registry()
            rows = [await tools.store.get(name) for name in names] if names else await tools.store.all()
            return {row.name: await check_provider(tools, row) for row in rows}

    found = run(main)
    if as_json:
        told = {name: CheckedOut.model_validate(checked) for name, checked in found.items()}
        print_json({name: checked.model_dump(mode="json") for name, checked in told.items()})
    else:
        for name, checked in found.items():
            show_checked(name, checked)
    if not all(checked.passed for checked in found.values()):
        raise typer.Exit(SetupFault.exit_code)


@app.command("rotate-secret")
def rotate_command(data_dir: DataDir = None, as_json: AsJson = False) -> None:
    """Encrypt all stored keys anew: with a new secret, or with the first of WINNOW_SECRET_KEY where that is set."""
    settings = settings_for(data_dir=data_dir)

    async def main() -> int:
        if len(settings.secret_keys) == 1:
            raise InvalidInput(
                "WINNOW_SECRET_KEY holds one secret: put the new one in front of it, with a comma between, for all "
                "processes, and run this again"
            )
        async with using(settings, queue=False) as winnow:
            return await rotate_secret(winnow.registry())

    done = run(main)
    if as_json:
        print_json({"keys": done})
        return
    console.print("no keys are stored" if not done else f"encrypted anew: {done} key{'s' * (done > 1)}", markup=False)
    if settings.secret_keys:
        console.print("of WINNOW_SECRET_KEY only the first is needed from now on")


def as_written(row: StoredProvider) -> dict[str, object]:
    """A provider as `--json` tells it, which is as the API does."""
    return ProviderOut.model_validate(row).model_dump(mode="json")


def show_checked(name: str, checked: Checked) -> None:
    """One line of what a check found."""
    good = Text("warning", "yellow") if checked.warning else Text("ok", "green")
    word = good if checked.passed else Text("wrong", "bold red")
    console.print(Text.assemble(word, "  ", Text(name, "bold"), ": ", plain(checked.said)), soft_wrap=True)


def entered_key(given: str) -> SecretStr:
    """The key from stdin, or from a person, who does not see it; anything but `-` ends the command with a sentence.

    To be called outside of the event loop: there Ctrl-C would not end the question.
    """
    with friendly():
        if given != "-":
            raise InvalidInput(
                "a key on the command line can be read by others and stays in the shell's history: give --key - and "
                "enter it then (and have this one replaced, if it is a true key)"
            )
        asked = sys.stdin.isatty()
        entered = (typer.prompt("key", hide_input=True, err=True) if asked else sys.stdin.readline()).strip()
        if not entered:
            raise InvalidInput("no key was entered")
    return SecretStr(entered)


def _given(**values: object) -> ProviderChanges:
    """What was said on the command line; an empty model and the limit 0 take the value away."""
    said: ProviderChanges = {}
    for name, value in values.items():
        if value is not None:
            takes_away = value in ("", 0) and value is not False and not name.endswith("_prefix")
            said[name] = None if takes_away else value  # type: ignore[literal-required]
    return said


def _show(rows: list[StoredProvider]) -> None:
    table = Table(box=None, pad_edge=False, header_style="dim")
    for column in ("name", "kind", "where", "embeds with", "chats with", "key", "last check"):
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(
            Text(row.name, "bold" if row.active else "dim"),
            row.kind.value,
            Text("\n".join(map(plain, row.urls))),
            Text(plain(row.embedding_model or "–")),
            Text(plain(row.chat_model or "–")),
            "set" if row.has_key else "–",
            _last_check(row),
        )
    if fits(console, table):
        console.print(table)
        return
    for row in rows:
        console.print(Text(row.name, "bold" if row.active else "dim"))
        show_facts(console, _facts(row), indent=2)


def _facts(row: StoredProvider) -> dict[str, str | Text]:
    """The same for a narrow terminal; what there is not is left out."""
    facts: dict[str, str | Text] = {"kind": row.kind.value, "where": "\n".join(row.urls)}
    facts |= {"embeds with": row.embedding_model} if row.embedding_model else {}
    facts |= {"chats with": row.chat_model} if row.chat_model else {}
    facts |= {"key": "set"} if row.has_key else {}
    return facts | {"last check": _last_check(row)}


def _last_check(row: StoredProvider) -> Text:
    said = Text("" if row.active else "switched off; ", "yellow")
    if row.checked_at is None:
        return said.append("never", "dim")
    if row.check_passed:
        return said.append(f"ok, {row.checked_at:%Y-%m-%d %H:%M}")
    return said.append(f"{row.checked_at:%Y-%m-%d %H:%M}: {plain(row.check_said or '')}", "red")
