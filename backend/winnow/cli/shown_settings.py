"""Every setting as `winnow settings` shows it: where its value came from, and no secret in it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pydantic import SecretStr

from winnow.settings import Settings, env_file_values, variables_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownSetting:
    """A setting as `winnow settings` shows it: its variable, its value without secrets, and where that came from."""

    name: str
    value: str | None
    origin: str


def show_settings(settings: Settings, **overrides: object) -> list[ShownSetting]:
    """Every setting, in the order they are declared; `overrides` as they were given to `load_settings`."""
    places: list[tuple[str, Mapping[str, str | None]]] = [
        ("environment", dict(os.environ)),
        (".env", env_file_values()),
    ]
    return [
        ShownSetting(
            name=variables_of(name)[0],
            value=_without_secrets(name, getattr(settings, name)),
            origin="command line" if overrides.get(name) is not None else _origin(name, places),
        )
        for name in Settings.model_fields
    ]


def _origin(name: str, places: Sequence[tuple[str, Mapping[str, str | None]]]) -> str:
    for place, values in places:
        present = {variable.upper() for variable, value in values.items() if value}
        for variable in variables_of(name):
            if variable in present:
                return place if variable == variables_of(name)[0] else f"{place}, {variable}"
    return "default"


def _without_secrets(name: str, value: object) -> str | None:
    if value is None:
        return None
    text = value.get_secret_value() if isinstance(value, SecretStr) else _plain(value)
    if name.endswith("_url"):
        return _without_credentials(text)
    return "***" if isinstance(value, SecretStr) else text


def _without_credentials(url: str) -> str:
    """The URL as it may be shown: a password may hold slashes, blanks and further @, and stand in the query too."""
    scheme, slashes, rest = url.partition("://") if "://" in url else ("", "", url)
    credentials, at, place = rest.rpartition("@")
    host, question, query = place.partition("?")
    hidden = "&".join(f"{part.partition('=')[0]}=***" for part in query.split("&")) if query else ""
    return f"{scheme}{slashes}{'***' if credentials else ''}{at}{host}{question}{hidden}"


def _plain(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
