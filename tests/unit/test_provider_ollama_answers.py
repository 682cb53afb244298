"""Whatever comes in the place of Ollama's answer is read as vectors, or refused without what stands in it."""

from __future__ import annotations

import pytest

from winnow.errors import AnswerInvalid, SomeInvalid
from winnow.providers.address import ServerName
from winnow.providers.ollama import decode_answer

OLLAMA = ServerName(shown="Ollama", url_setting="WINNOW_OLLAMA_URL")


def test_vectors_and_tokens() -> None:
    answer = decode_answer(b'{"embeddings":[[1,2],[3,4.5]],"prompt_eval_count":7}', expected=2, server=OLLAMA)
    assert answer.vectors.tolist() == [[1, 2], [3, 4.5]]
    assert answer.tokens == 7
    assert decode_answer(b'{"embeddings":[[1]],"prompt_eval_count":"7"}', expected=1, server=OLLAMA).tokens is None


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_the_good_vectors_beside_one_that_is_no_number_are_kept(number: str) -> None:
    with pytest.raises(SomeInvalid) as caught:
        decode_answer(f'{{"embeddings":[[1,2],[{number},1]]}}'.encode(), expected=2, server=OLLAMA)
    assert caught.value.good[0].tolist() == [1, 2]
    assert list(caught.value.bad) == [1]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b"3",
        b"null",
        b'"secret"',
        b"{}",
        b'{"embeddings":null}',
        b'{"embeddings":"secret"}',
        b'{"embeddings":{"secret":[1]}}',
        b'{"embeddings":["secret"]}',
        b'{"embeddings":[["secret"]]}',
        b'{"embeddings":[[null]]}',
        b'{"embeddings":[3]}',
        b'{"embeddings":[[[1]]]}',
        b'{"embeddings":[[]]}',
        b'{"embeddings":[[1],[1]]}',
        b'{"embeddings":[[1]],"secret":',
        b'{"embeddings":' + b"[" * 100_000,
        b"\xff\xfe secret",
    ],
)
def test_other_answers_are_refused_and_nothing_of_them_is_told(content: bytes) -> None:
    with pytest.raises(AnswerInvalid) as caught:
        decode_answer(content, expected=1, server=OLLAMA)
    assert "secret" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert "secret" not in repr(caught.value.__context__) or caught.value.__suppress_context__
