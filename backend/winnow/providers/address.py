"""Where a model server is: its URL without credentials, the credentials apart, and what messages may show of both."""

from __future__ import annotations

import asyncio
import base64
import ipaddress
import socket
from dataclasses import dataclass
from urllib.parse import SplitResult, unquote, urlsplit

from pydantic import SecretStr

from winnow.errors import InvalidSettings

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address

RESOLVE_SECONDS = 3.0
# Where clouds tell a machine its own credentials. Most are link-local anyway; these are not, or are names.
_METADATA_NAMES = frozenset({"metadata.google.internal", "metadata.goog"})
_METADATA_ADDRESSES = frozenset(
    map(ipaddress.ip_address, ("fd00:ec2::254", "fd20:ce::254", "100.100.100.200", "192.0.0.192", "168.63.129.16"))
)
_BROADCAST = ipaddress.IPv4Address("255.255.255.255")
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_IPV4_COMPATIBLE = ipaddress.IPv6Network("::/96")


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
        return address.is_loopback

    def authorization(self, api_key: SecretStr | None) -> SecretStr | None:
        """The value of an `Authorization` header: the key's, else that of the URL's own credentials; None: neither."""
        return SecretStr(f"Bearer {api_key.get_secret_value()}") if api_key else self.basic_auth

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
    Loopback and private networks are where model servers live. At link-local and metadata addresses, however they are
    written, none is, but perhaps a machine's credentials.

    Raises:
        InvalidSettings: no such URL, or one of no possible model server; the message names `setting` and shows no
            credentials.
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
    address = ServerAddress(
        url=f"{parts.scheme}://{place}{path}",
        shown=f"{parts.scheme}://{'***@' if '@' in parts.netloc else ''}{place}{path}",
        host=host,
        setting=setting,
        basic_auth=_basic_auth(parts),
    )
    _refuse_forbidden_place(address)
    return address


def _refuse_forbidden_place(address: ServerAddress) -> None:
    """Asks nobody. Numbers are read as the system's resolver reads them (`0x7f.1`, `2852039166`)."""
    name = _ascii(address).rstrip(".")
    if name in _METADATA_NAMES:
        raise _forbidden(address, "is a cloud's metadata service")
    if (numeric := _numeric(name)) is not None:
        _refuse_address(address, numeric)


async def check_reachable_place(address: ServerAddress) -> None:
    """Refuses names that lead, by any of their addresses as they are now, to a place that `parse_address` refuses.

    What remains: the name is resolved again for each connection, so whoever runs its DNS can answer otherwise then
    ("DNS rebinding"), and a proxy resolves for itself. It takes an operator who chose a hostile name; a metadata
    service would then be sent requests for models and vectors, without the headers it wants, and of what it answers
    at most a sentence of an error is told. A name that cannot be resolved is no fault of the set-up: its server may be
    away.

    Raises:
        InvalidSettings: one of them is link-local, a metadata service, unspecified, multicast or broadcast.
    """
    if _numeric(_ascii(address).rstrip(".")) is not None:
        return
    try:
        async with asyncio.timeout(RESOLVE_SECONDS):
            found = await asyncio.get_running_loop().getaddrinfo(address.host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError, TimeoutError):
        return
    for *_, place in found:
        _refuse_address(address, ipaddress.ip_address(str(place[0])))


def _ascii(address: ServerAddress) -> str:
    """The host as the resolver is asked for it; full-width digits, say, become digits."""
    try:
        return address.host if address.host.isascii() else address.host.encode("idna").decode()
    except UnicodeError as error:
        raise _invalid(address.setting, "is not a URL") from error


def _numeric(name: str) -> IPAddress | None:
    """The IP address that a name is, in any of the ways the resolver takes; None for a name."""
    try:
        return ipaddress.ip_address(name)
    except ValueError:
        pass
    try:
        return ipaddress.IPv4Address(socket.inet_aton(name))
    except OSError:
        return None


def _refuse_address(address: ServerAddress, found: IPAddress) -> None:
    for each in (found, *_inside(found)):
        if each in _METADATA_ADDRESSES or each.is_link_local:
            raise _forbidden(address, "is link-local, where clouds keep a machine's credentials")
        if each.is_unspecified:
            raise _forbidden(address, "is no machine's address; for this machine write 127.0.0.1")
        if each.is_multicast or each == _BROADCAST:
            raise _forbidden(address, "is not one machine's address")


def _inside(found: IPAddress) -> list[ipaddress.IPv4Address]:
    """The IPv4 addresses that packets to an IPv6 address may end at."""
    if isinstance(found, ipaddress.IPv4Address):
        return []
    inside = [found.ipv4_mapped, found.sixtofour, *(found.teredo or ())]
    if found in _NAT64 or (found in _IPV4_COMPATIBLE and not (found.is_loopback or found.is_unspecified)):
        inside.append(ipaddress.IPv4Address(int(found) & 0xFFFFFFFF))
    return [each for each in inside if each is not None]


def _forbidden(address: ServerAddress, what: str) -> InvalidSettings:
    return InvalidSettings(f"{address.setting} leads to {address.shown}, which {what}; name a model server")


def _basic_auth(parts: SplitResult) -> SecretStr | None:
    if not parts.username and not parts.password:
        return None
    pair = f"{unquote(parts.username or '')}:{unquote(parts.password or '')}"
    return SecretStr("Basic " + base64.b64encode(pair.encode()).decode())


def _invalid(setting: str, what: str) -> InvalidSettings:
    return InvalidSettings(f"{setting} {what}; give one like http://host:port")
