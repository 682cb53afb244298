"""What a provider may be: pure rules over what a person says of one, each refusal a sentence."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from winnow.domain.messages import storable
from winnow.domain.providers import SERVED
from winnow.errors import InvalidSettings, ProviderConflict, ProviderRefused
from winnow.providers.address import parse_address

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pydantic import SecretStr

    from winnow.providers.address import ServerAddress
    from winnow.storage.providers import ProviderSetup, StoredProvider

NAME = r"[a-z0-9][a-z0-9._-]{0,63}"
MOST_URLS = 8
MOST_URL_CHARACTERS = 2000
MOST_MODEL_CHARACTERS = 200
MOST_PREFIX_CHARACTERS = 1000
MOST_KEY_CHARACTERS = 4096
MOST_A_MINUTE = 1_000_000_000
MOST_AT_ONCE = 256


def valid_setup(setup: ProviderSetup, *, has_key: bool) -> ProviderSetup:
    """The set-up as it is stored: URLs written out, and each once.

    Raises:
        ProviderRefused: something in it cannot be.
    """
    _require_name(setup.name)
    require_kind(setup.kind)
    addresses = server_addresses(setup)
    if any(address.is_openai for address in addresses) and not has_key:
        raise ProviderRefused(f"OpenAI's own service wants a key: give {setup.name} one with --key -")
    for what, model in (("embedding", setup.embedding_model), ("chat", setup.chat_model)):
        _require_model(what, model)
    for what, prefix in (("document", setup.document_prefix), ("query", setup.query_prefix)):
        if prefix is not None and (len(prefix) > MOST_PREFIX_CHARACTERS or storable(prefix) != prefix):
            raise ProviderRefused(
                f"a {what} prefix has at most {MOST_PREFIX_CHARACTERS:,} characters that can be stored"
            )
    _require_number("requests a minute", setup.requests_per_minute, MOST_A_MINUTE)
    _require_number("tokens a minute", setup.tokens_per_minute, MOST_A_MINUTE)
    _require_number("requests at once", setup.at_once, MOST_AT_ONCE)
    return replace(setup, urls=tuple(dict.fromkeys(address.url for address in addresses)))


def server_addresses(setup: ProviderSetup) -> list[ServerAddress]:
    """Where the servers of a set-up are, the usual place when it names none.

    Raises:
        ProviderRefused: too many or too long URLs, one that is none or of no possible model server, or credentials in
            one.
    """
    usual = setup.kind.traits.usual_url
    urls = setup.urls or ((usual,) if usual else ())
    if len(urls) > MOST_URLS:
        raise ProviderRefused(f"a provider has at most {MOST_URLS} URLs, all of servers with the same models")
    addresses = []
    for url in urls:
        if len(url) > MOST_URL_CHARACTERS or not url.isprintable():
            raise ProviderRefused(f"a URL has at most {MOST_URL_CHARACTERS:,} printable characters")
        try:
            address = parse_address(
                url, setting=f"the URL of {setup.name}", default_port=setup.kind.traits.default_port
            )
        except InvalidSettings as error:
            raise ProviderRefused(str(error)) from error
        if "@" in urlsplit(url if "://" in url else f"http://{url}").netloc:
            raise ProviderRefused(
                f"{address.shown} has credentials in it, which would be stored as they are; give a key instead: --key -"
            )
        addresses.append(address)
    return addresses


def require_key_stays(stored: StoredProvider, setup: ProviderSetup) -> None:
    """Raises `ProviderConflict` when the stored key would be sent to a server it was not given for."""
    known = {_server(url) for url in stored.urls}
    new = [url for url in setup.urls if _server(url) not in known]
    if stored.has_key and new:
        raise ProviderConflict(
            f"the key of {stored.name} was given for {', '.join(stored.urls)}; to send it to {new[0]} as well, enter "
            "it again with --key -, or take it away with --no-key"
        )


def valid_key(key: SecretStr) -> SecretStr:
    """Raises `ProviderRefused`, which does not show it, for what cannot be sent as a key."""
    clear = key.get_secret_value()
    if not clear or len(clear) > MOST_KEY_CHARACTERS or not all("!" <= character <= "~" for character in clear):
        raise ProviderRefused(f"a key has 1 to {MOST_KEY_CHARACTERS:,} printable ASCII characters, and no blanks")
    return key


def _server(url: str) -> tuple[str, str]:
    parts = urlsplit(url)
    return parts.scheme, parts.netloc


def require_kind(kind: str) -> None:
    """Raises `ProviderRefused` when none of this kind can be written down."""
    if kind not in SERVED:
        raise ProviderRefused(
            f"a provider is of kind {' or '.join(SERVED)}; the built-in model needs none, it is called local"
        )


def _require_name(name: str) -> None:
    if name == "local" or not re.fullmatch(NAME, name):
        raise ProviderRefused(
            "a provider's name has 1 to 64 of a-z, 0-9, dot, dash and underscore, begins with a letter or digit, and "
            "is not local"
        )


def _require_model(what: str, model: str | None) -> None:
    if model is not None and (
        not model or len(model) > MOST_MODEL_CHARACTERS or not model.isprintable() or any(c.isspace() for c in model)
    ):
        raise ProviderRefused(
            f"the name of the {what} model has 1 to {MOST_MODEL_CHARACTERS} printable characters, and no blanks"
        )


def _require_number(what: str, number: int | None, most: int) -> None:
    if number is not None and not 1 <= number <= most:
        raise ProviderRefused(f"{what} are 1 to {most:,}")


def without_key(words: str, keys: Sequence[SecretStr | None]) -> str:
    """The words with `***` where a server repeats a key it was sent."""
    for key in keys:
        if key is not None and key.get_secret_value():
            words = words.replace(key.get_secret_value(), "***")
    return words
