"""Where a model server is: its URL without credentials, the credentials apart, and what messages may show of both."""

from __future__ import annotations

import base64
import ipaddress
from dataclasses import dataclass
from urllib.parse import SplitResult, unquote, urlsplit

from pydantic import SecretStr

from winnow.errors import InvalidSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerAddress:
    """A model server's place.

    Attributes:
        url: what the client is given: no credentials, because HTTP clients log the URLs they call.
        shown: what messages say: the URL with its credentials as `***`.
        host: its host name or IP address, lower case.
        setting: where it was set, for messages.
        basic_auth: the value of an `Authorization` header made of the URL's credentials, if it had any.
    """

    url: str
    shown: str
    host: str
    setting: str
    basic_auth: SecretStr | None = None

    @property
    def is_loopback(self) -> bool:
        """Whether this machine itself is meant; no proxy may come between."""
        if self.host == "localhost" or self.host.endswith(".localhost"):
            return True
        try:
            address = ipaddress.ip_address(self.host)
        except ValueError:
            return False
        return address.is_loopback or address.is_unspecified

    @property
    def is_openai(self) -> bool:
        """Whether this is OpenAI's own service, in whatever region."""
        return self.host == "openai.com" or self.host.endswith(".openai.com")


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerName:
    """How messages speak of a server: its name, and where its URL and its key are set."""

    shown: str
    url_setting: str
    key_setting: str = ""


def parse_address(value: str, *, setting: str, default_port: int | None = None) -> ServerAddress:
    """The address in `value`: `http(s)://[user:password@]host[:port][/path]`; the scheme may be missing.

    `default_port` holds when neither scheme nor port is given. A path is kept as it is, but for slashes at its end.

    Raises:
        InvalidSettings: no such URL; the message names `setting` and shows no credentials.
    """
    has_scheme = "://" in value
    try:
        parts = urlsplit(value.strip() if has_scheme else f"http://{value.strip()}")
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise _invalid(setting, "is not a URL") from error
    if parts.scheme not in ("http", "https") or not host or any(c.isspace() for c in host):
        raise _invalid(setting, "is not a URL")
    if parts.query or parts.fragment:
        raise _invalid(setting, "has a query or a fragment, which cannot be sent along")
    if port is None and not has_scheme:
        port = default_port
    shown_host = f"[{host}]" if ":" in host else host
    place = shown_host if port is None else f"{shown_host}:{port}"
    path = parts.path.rstrip("/")
    return ServerAddress(
        url=f"{parts.scheme}://{place}{path}",
        shown=f"{parts.scheme}://{'***@' if '@' in parts.netloc else ''}{place}{path}",
        host=host,
        setting=setting,
        basic_auth=_basic_auth(parts),
    )


def _basic_auth(parts: SplitResult) -> SecretStr | None:
    if not parts.username and not parts.password:
        return None
    pair = f"{unquote(parts.username or '')}:{unquote(parts.password or '')}"
    return SecretStr("Basic " + base64.b64encode(pair.encode()).decode())


def _invalid(setting: str, what: str) -> InvalidSettings:
    return InvalidSettings(f"{setting} {what}; give one like http://host:port")
