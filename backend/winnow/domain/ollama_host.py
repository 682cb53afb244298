"""`OLLAMA_HOST` as Ollama itself reads it."""

from __future__ import annotations

import re
from ipaddress import ip_address

PORT = 11434


def ollama_url(host: str) -> str:
    """The URL in `OLLAMA_HOST`; an address to listen on everywhere means this machine.

    https://github.com/ollama/ollama/blob/main/envconfig/config.go (Host)
    """
    written = host.strip().strip("\"'")
    scheme, found, rest = written.partition("://")
    if not found:
        scheme, rest = "http", written
    default_port = {"http": "80", "https": "443"}.get(scheme, "") if found else str(PORT)
    place, slash, path = rest.partition("/")
    if "@" in place:  # no form of Ollama's; whoever reads the URL says what is wrong with credentials
        return written
    parted = re.fullmatch(r"(\[[^\]]*\]|[^:]*):([^:]*)", place)
    name, port = parted.groups() if parted else (place, default_port)
    name = name.strip("[]")
    if not port.isascii() or not port.isdigit() or int(port) > 65535:  # noqa: PLR2004 - the highest port
        port = default_port
    if not name or _is_everywhere(name):
        name = "127.0.0.1"
    return f"{scheme}://{f'[{name}]' if ':' in name else name}:{port}{slash}{path}".rstrip(":/")


def _is_everywhere(name: str) -> bool:
    try:
        return ip_address(name).is_unspecified
    except ValueError:
        return False
