"""A server is remote unless its name says that it is this machine, or in a network of one's own."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from winnow.domain.remoteness import is_remote


@pytest.mark.parametrize(
    "url",
    [
        *("http://127.0.0.1:11434", "http://localhost:11434", "127.0.0.1:8080", "http://[::1]:11434", "http://127.1"),
        *("http://10.0.0.5", "http://192.168.1.20:11434/v1", "http://172.31.0.1", "http://[fd12::1]:11434"),
        *(
            "http://[::ffff:192.168.1.5]",
            "http://0x7f.1",
            "http://2130706433",
            "http://gpu1:11434",
            "http://ollama:11434",
        ),
        *("http://gpu.local", "http://gpu.lan.", "http://host.docker.internal:11434", "http://o.ai.svc.cluster.local"),
    ],
)
def test_ones_own(url: str) -> None:
    assert not is_remote(url)


@pytest.mark.parametrize(
    "url",
    [
        *(
            "https://api.openai.com/v1",
            "http://8.8.8.8",
            "http://172.32.0.1",
            "http://[2001:db8::1]",
            "http://100.64.0.1",
        ),
        *(
            "http://localhost.example.com",
            "http://127.0.0.1.nip.io",
            "http://10.0.0.5.example",
            "http://[::ffff:8.8.8.8]",
        ),
        *("https://xlocal", "http://user@internal.example.org")[1:],
        *(
            "",
            "http://",
            "http://[",
            "http://169.254.1.1",
            "http://0.0.0.0",
            "http://134744072",
            "http://api。openai。com",
        ),
    ],
)
def test_elsewhere(url: str) -> None:
    assert is_remote(url)


@given(st.text())
def test_of_anything_something_is_said(url: str) -> None:
    assert is_remote(url) in {True, False}
