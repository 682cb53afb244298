"""A Bot API server on loopback that speaks as Telegram's does, and misbehaves on demand.

    async def test_something(telegram_server):
        telegram_server.say("hello")                      # the bot is given a message
        telegram_server.fail_next("down", "busy")         # the next two questions; then well again
        telegram_server.fail_next("down", method="getUpdates")

What it answers was taken from Telegram's own words: https://core.telegram.org/bots/api and its server's source.
"""

from __future__ import annotations

import functools
import threading
import time
from typing import TYPE_CHECKING, Any, Literal

import pytest

from plugins._wire import Listener, Reply, json_reply

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

Misbehaviour = Literal[
    "down",  # 502, a page of the server in front
    "broken",  # 500
    "busy",  # 429, with `retry_after`
    "dropped",  # closes the connection instead of answering
    "cut",  # closes it in the middle of the answer
    "hangs",  # gives no answer for as long as the test lasts
    "another_asks",  # 409, as when two programs ask for updates
    "nonsense",  # 200, and no JSON
    "strange",  # 200, and JSON of another shape
]
TOKEN = "123456789:AAtest-of-the-bot-that-nobody-has_35ch"
CHAT = {"id": -1001234567890, "title": "Backend", "type": "supergroup"}
PERSON = {"id": 42, "is_bot": False, "first_name": "Ana", "last_name": "Ng"}


class TelegramServer:
    """One bot.

    Attributes:
        token: its token; all others are refused.
        calls: every question: method and what came with it.
        webhook: what was set; `{}` when none is.
        waiting: updates that nobody has fetched and settled yet.
        sees_all: privacy mode is off.
        asked: set while somebody waits for updates.
    """

    def __init__(self) -> None:
        self.token = TOKEN
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.webhook: dict[str, Any] = {}
        self.last_error: dict[str, Any] = {}
        self.waiting: list[dict[str, Any]] = []
        self.sees_all = False
        self.asked = threading.Event()
        self.retry_after = 1
        self._next: list[tuple[Misbehaviour, str | None]] = []
        self._next_id = 1000
        self._changed = threading.Condition()
        self._ending = False
        self._listener: Listener | None = None
        self._port = 0

    # telling it what to do
    def say(self, text: str = "hello", *, kind: str = "message", **values: Any) -> dict[str, Any]:
        """Gives the bot an update with a message; returns the update."""
        message = {"message_id": self._next_id, "date": 1767225600, "chat": CHAT, "from": PERSON, "text": text} | values
        return self.give(**{kind: message})

    def give(self, **update: Any) -> dict[str, Any]:
        """Gives the bot any update."""
        with self._changed:
            update = {"update_id": self._next_id} | update
            self._next_id += 1
            self.waiting.append(update)
            self._changed.notify_all()
        return update

    def fail_next(self, *names: Misbehaviour, method: str | None = None) -> None:
        """Each of the next questions (of this method) misbehaves once, in this order."""
        with self._changed:
            self._next.extend((name, method) for name in names)

    def called(self, method: str) -> list[dict[str, Any]]:
        """What came with each question of the method."""
        return [given for name, given in list(self.calls) if name == method]

    # being there
    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    def start(self) -> None:
        self._listener = Listener(("127.0.0.1", self._port), self.handle)
        self._port = self._listener.server_address[1]
        serve = functools.partial(self._listener.serve_forever, poll_interval=0.02)
        threading.Thread(target=serve, name="telegram-server", daemon=True).start()

    def stop(self) -> None:
        with self._changed:
            self._ending = True
            self._changed.notify_all()
        if self._listener is not None:
            self._listener.shutdown()
            self._listener.server_close()
            self._listener.cut_connections()

    # working
    def handle(self, _http_method: str, path: str, _headers: Mapping[str, str], body: dict[str, Any]) -> Reply:
        """The reply to one question."""
        bot, _, method = path.removeprefix("/bot").partition("/")
        self.calls.append((method, body))
        if bot != self.token:
            return _refused(401, "Unauthorized") if ":" in bot else _refused(404, "Not Found")
        with self._changed:
            name = self._misbehaviour(method)
        if name:
            return self._misbehave(name)
        answer = {
            "getMe": self._me,
            "setWebhook": self._set_webhook,
            "getWebhookInfo": self._webhook_info,
            "deleteWebhook": self._delete_webhook,
            "getUpdates": self._updates,
        }.get(method)
        return answer(body) if answer else _refused(404, "Not Found")

    def _me(self, _body: dict[str, Any]) -> Reply:
        me = {"id": 123456789, "is_bot": True, "first_name": "Winnow", "username": "winnow_test_bot"}
        return _good(me | {"can_read_all_group_messages": self.sees_all})

    def _webhook_info(self, _body: dict[str, Any]) -> Reply:
        told = {name: value for name, value in self.webhook.items() if name != "secret_token"}
        return _good({"url": "", "pending_update_count": len(self.waiting)} | told | self.last_error)

    def _delete_webhook(self, _body: dict[str, Any]) -> Reply:
        self.webhook = {}
        return _good(True, "Webhook was deleted")

    def _misbehaviour(self, method: str) -> Misbehaviour | None:
        for place, (name, wanted) in enumerate(self._next):
            if wanted in {None, method}:
                del self._next[place]
                return name
        return None

    def _misbehave(self, name: Misbehaviour) -> Reply:
        if name == "hangs":
            with self._changed:
                self._changed.wait_for(lambda: self._ending)
        if name == "busy":
            again = {"retry_after": self.retry_after}
            return _refused(429, f"Too Many Requests: retry after {self.retry_after}", parameters=again)
        return MISBEHAVIOURS[name]

    def _set_webhook(self, body: dict[str, Any]) -> Reply:
        url = body.get("url", "")
        if not url.startswith("https://"):
            return _refused(400, "Bad Request: bad webhook: An HTTPS URL must be provided for webhook")
        if "resolve.invalid" in url:
            return _refused(400, "Bad Request: bad webhook: Failed to resolve host: Name or service not known")
        self.webhook = dict(body)
        return _good(True, "Webhook was set")

    def _updates(self, body: dict[str, Any]) -> Reply:
        if self.webhook:
            said = "can't use getUpdates method while webhook is active; use deleteWebhook to delete the webhook first"
            return _refused(409, f"Conflict: {said}")
        until = time.monotonic() + body.get("timeout", 0)
        with self._changed:
            self.waiting = [update for update in self.waiting if update["update_id"] >= body.get("offset", 0)]
            self.asked.set()
            while not self.waiting and not self._ending and (left := until - time.monotonic()) > 0:
                self._changed.wait(left)
            self.asked.clear()
            return _good(self.waiting[: body.get("limit", 100)])


def _good(result: Any, description: str | None = None) -> Reply:
    return json_reply({"ok": True, "result": result} | ({"description": description} if description else {}))


def _refused(status: int, description: str, **more: Any) -> Reply:
    return json_reply({"ok": False, "error_code": status, "description": description, **more}, status=status)


ANOTHER = "terminated by other getUpdates request; make sure that only one bot instance is running"
MISBEHAVIOURS: dict[Misbehaviour, Reply] = {
    "down": Reply(502, b"<html><h1>502 Bad Gateway</h1></html>", {"content-type": "text/html"}),
    "broken": _refused(500, "Internal Server Error"),
    "dropped": Reply(0, b""),
    "hangs": Reply(0, b""),
    "cut": Reply(200, b'{"ok": true, "result": [', cut=True),
    "another_asks": _refused(409, f"Conflict: {ANOTHER}"),
    "nonsense": Reply(200, b"\xff\xfe not json"),
    "strange": json_reply({"ok": True, "result": {"what": "is this"}}),
}


@pytest.fixture
def telegram_server() -> Iterator[TelegramServer]:
    """A Bot API server on a free port of 127.0.0.1."""
    server = TelegramServer()
    server.start()
    yield server
    server.stop()
