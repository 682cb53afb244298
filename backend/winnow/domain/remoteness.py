"""Which model servers are elsewhere: what is sent there has left one's own machines."""

from __future__ import annotations

import ipaddress
import re
import socket
from urllib.parse import urlsplit

# Names that public DNS does not have: RFC 6761, 6762 and 8375, ICANN's `internal`, and what routers and clusters use.
_OWN_ENDINGS = ("localhost", "local", "internal", "lan", "home", "home.arpa", "intranet", "cluster.local")
_PLAIN_NAME = re.compile(r"[a-z0-9._-]+")
_OWN_NETWORKS = tuple(
    map(ipaddress.ip_network, ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "127.0.0.0/8", "::1/128", "fc00::/7"))
)


def is_remote(url: str) -> bool:
    """Whether a server is neither this machine nor, as far as its name tells, in a network of one's own.

    Asks nobody. Addresses are read as the system reads them (`0x7f.1`); names without a dot are those of containers and
    of one's own network. In doubt it is remote.
    """
    try:
        host = (urlsplit(url if "://" in url else f"http://{url}").hostname or "").rstrip(".")
    except ValueError:
        return True
    if not host:
        return True
    address = _address(host)
    if address is not None:
        return not any(address in network for network in _OWN_NETWORKS if network.version == address.version)
    if not _PLAIN_NAME.fullmatch(host):  # another alphabet's full stop would make one word of two
        return True
    return "." in host and not host.endswith(tuple(f".{ending}" for ending in _OWN_ENDINGS))


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        try:
            return ipaddress.IPv4Address(socket.inet_aton(host))
        except (OSError, ValueError):
            return None
    return getattr(address, "ipv4_mapped", None) or address
