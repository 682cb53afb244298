"""What is said of a NATS server never holds its token, and is said once."""

from __future__ import annotations

import pytest
import structlog

from winnow.queue.connection import ConnectionLog, addresses
from winnow.queue.receiver import JetStreamReceiver


@pytest.mark.parametrize(
    ("servers", "shown"),
    [
        ("nats://token@127.0.0.1:4333", "127.0.0.1:4333"),
        ("tls://user:password@nats.example", "nats.example:4222"),
        ("token@host", "host:4222"),
        (["nats://a:1", "nats://b:2"], "a:1, b:2"),
    ],
)
def test_addresses_are_shown_without_secrets(servers: str | list[str], shown: str) -> None:
    assert addresses(servers) == shown


async def test_the_same_error_is_logged_once_until_the_connection_is_back() -> None:
    events = ConnectionLog("nats://host", "live")
    with structlog.testing.capture_logs() as lines:
        for _ in range(3):
            await events.on_error(ConnectionRefusedError(111, "Connect call failed ('host', 4222)"))
        await events.on_reconnected()
        await events.on_error(ConnectionRefusedError(111, "Connect call failed ('host', 4222)"))
    assert [line["event"] for line in lines] == ["queue.error", "queue.reconnected", "queue.error"]
    assert lines[0]["error"] == "Connection refused"


def test_a_receiver_without_a_bound_is_refused() -> None:
    with pytest.raises(ValueError, match="max_async_tasks"):
        JetStreamReceiver(None, max_async_tasks=None)  # type: ignore[arg-type]
