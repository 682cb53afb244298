"""No model server is where a cloud keeps a machine's credentials, however that place is written."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from winnow.errors import InvalidSettings
from winnow.providers.address import check_reachable_place, parse_address
from winnow.providers.factory import build_embedder, check_embedder
from winnow.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable

FORBIDDEN = [
    "169.254.169.254", "169.254.0.1", "2852039166", "0xa9fea9fe", "0xa9.254.0xa9fe", "169.254.43518", "169.16689662",
    "0251.0376.0251.0376", "[::ffff:169.254.169.254]", "[::ffff:a9fe:a9fe]", "[::a9fe:a9fe]", "[2002:a9fe:a9fe::1]",
    "[64:ff9b::169.254.169.254]",
    "[fe80::1]", "[febf::1]", "[fd00:ec2::254]", "[fd20:ce::254]", "metadata.google.internal",
    "METADATA.google.internal.", "metadata.goog", "100.100.100.200", "192.0.0.192", "168.63.129.16", "0.0.0.0", "0",
    "[::]", "[::ffff:0.0.0.0]", "224.0.0.1", "239.255.255.250", "[ff02::1]", "255.255.255.255", "169.254.169.254.",
    "１６９.254.169.254", "169。254。169。254",
]  # fmt: skip
ALLOWED = [
    "127.0.0.1", "0x7f.1", "2130706433", "127.1", "[::1]", "[::ffff:127.0.0.1]", "localhost", "10.0.0.5", "172.16.0.1",
    "192.168.1.20", "[fd12:3456::1]", "100.64.0.7", "gpu1", "gpu1.", "8.8.8.8", "api.openai.com", "169.253.1.1",
    "fe80.example", "bücher.example",
]  # fmt: skip


@pytest.mark.parametrize("host", FORBIDDEN)
@pytest.mark.parametrize("form", ["http://{}", "https://{}:8080/v1", "{}:11434", "http://user:hunter2@{}/"])
def test_no_such_place_is_taken(host: str, form: str) -> None:
    with pytest.raises(InvalidSettings, match=r"^the URL of gpu leads to .*(which is|; name)") as caught:
        parse_address(form.format(host), setting="the URL of gpu", default_port=11434)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("host", ALLOWED)
def test_model_servers_live_on_loopback_and_private_networks_too(host: str) -> None:
    assert parse_address(f"http://{host}:1/v1", setting="X").url.endswith(":1/v1")


@pytest.mark.parametrize("use", [build_embedder, check_embedder])
@pytest.mark.parametrize("kind", ["ollama", "openai"])
def test_nor_by_the_settings(use: Callable[[Settings], object], kind: str) -> None:
    where = "http://169.254.169.254/v1"
    settings = Settings(_env_file=None, embedder=f"{kind}:x", ollama_url=where, openai_url=where)
    with pytest.raises(InvalidSettings, match=f"^WINNOW_{kind.upper()}_URL leads to {where}, which is"):
        use(settings)


async def resolved(monkeypatch: pytest.MonkeyPatch, *places: str) -> None:
    """As if DNS answered this for every name."""

    async def answer(*_: object, **__: object) -> list[tuple[object, ...]]:
        return [(0, 0, 0, "", (place, 0)) for place in places]

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", answer)
    await check_reachable_place(parse_address("http://gpu.example", setting="the URL of gpu"))


async def test_a_name_is_refused_for_any_of_its_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    await resolved(monkeypatch, "10.0.0.1", "fd00::1", "127.0.0.1")
    for bad in ("169.254.169.254", "fe80::1%2", "::ffff:169.254.169.254", "fd00:ec2::254", "0.0.0.0"):
        with pytest.raises(InvalidSettings, match=r"the URL of gpu leads to http://gpu\.example"):
            await resolved(monkeypatch, "10.0.0.1", bad)


async def test_a_name_nobody_knows_may_be_of_a_server_that_is_away() -> None:
    await check_reachable_place(parse_address("http://no-such-host.invalid", setting="X"))
    await check_reachable_place(parse_address("http://localhost", setting="X"))
    await check_reachable_place(parse_address("http://0x7f.1", setting="X"))
