"""What a window is known by: who has read the same before need not read it again."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from winnow.domain.knowledge import Extractor, Window


def window_hash(window: Window, extractor: Extractor) -> bytes:
    """SHA-256 of the extractor with its version, and of all messages with their texts: those to read, and the context.

    Offered atoms and topics are left out: they change with each run, and not what was said.
    """
    said = [[[message.id, message.text] for message in messages] for messages in (window.messages, window.context)]
    return hashlib.sha256(json.dumps([extractor.name, extractor.version, *said]).encode()).digest()
