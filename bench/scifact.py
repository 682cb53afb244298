"""SciFact (Wadden et al. 2020): 5,183 abstracts, 300 claims to look for, and who judged what to be right."""

from __future__ import annotations

import csv
import gzip
import io
import math
import re
import zipfile
from collections import Counter, defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

_BETWEEN_SENTENCES = re.compile(r"['\"]\s+['\"]")
_K1, _B = 1.2, 0.75


@dataclass(frozen=True, kw_only=True)
class SciFact:
    """Texts by document, claims by query, and for each query the right documents with their grade."""

    documents: Mapping[str, str]
    queries: Mapping[str, str]
    judgements: Mapping[str, Mapping[str, int]]


def find_scifact(data: Path | None) -> Path | None:
    """The folder that holds it: the given one, or one below."""
    for folder in (data, data / "scifact") if data else ():
        if (folder / "scifact.zip").is_file():
            return folder
    return None


def read_scifact(folder: Path) -> SciFact:
    """The test split."""
    csv.field_size_limit(10_000_000)
    with zipfile.ZipFile(folder / "scifact.zip") as archive, archive.open("corpus_train.csv") as corpus:
        rows = csv.DictReader(io.TextIOWrapper(corpus, "utf-8"))
        documents = {row["doc_id"]: f"{row['title']}\n{_abstract(row['abstract'])}" for row in rows}
    lines = gzip.decompress((folder / "topics.test.tsv.gz").read_bytes()).decode().splitlines()
    judgements: defaultdict[str, dict[str, int]] = defaultdict(dict)
    for line in (folder / "qrels.test.txt").read_text().splitlines():
        query, _, document, grade = line.split()
        judgements[query][document] = int(grade)
    queries = dict(line.split("\t", 1) for line in lines)
    return SciFact(documents=documents, queries={query: queries[query] for query in judgements}, judgements=judgements)


def _abstract(written: str) -> str:
    """The abstract's sentences, which stand there as a printed list of strings."""
    return _BETWEEN_SENTENCES.sub(" ", written).strip("[]'\"")


def ndcg(ranked: Sequence[str], grades: Mapping[str, int], *, at: int = 10) -> float:
    """Normalised discounted cumulative gain (Järvelin & Kekäläinen 2002) of the first `at`, 0 to 1."""
    gained = sum(grades.get(document, 0) / math.log2(place + 2) for place, document in enumerate(ranked[:at]))
    best = sorted(grades.values(), reverse=True)[:at]
    return gained / sum(grade / math.log2(place + 2) for place, grade in enumerate(best))


def recall(ranked: Sequence[str], grades: Mapping[str, int], *, at: int = 100) -> float:
    """Which part of the right documents is among the first `at`."""
    return len(set(ranked[:at]) & grades.keys()) / len(grades)


class Bm25:
    """BM25 over all documents and nothing left out, to hold the product's SQL against.

    Args:
        counts: for each document how often it holds each word.
    """

    def __init__(self, counts: Mapping[str, Mapping[str, int]]) -> None:
        self._lengths = {document: sum(words.values()) for document, words in counts.items()}
        self._mean = sum(self._lengths.values()) / len(counts)
        self._found: defaultdict[str, list[tuple[str, int]]] = defaultdict(list)
        for document, words in counts.items():
            for word, count in words.items():
                self._found[word].append((document, count))

    def search(self, words: Sequence[str], *, limit: int = 100) -> list[str]:
        """The best documents for these words."""
        scores: Counter[str] = Counter()
        for word in words:
            rows = len(self._found[word])
            rarity = math.log(1 + (len(self._lengths) - rows + 0.5) / (rows + 0.5))
            for document, count in self._found[word]:
                norm = _K1 * (1 - _B + _B * self._lengths[document] / self._mean)
                scores[document] += rarity * count * (_K1 + 1) / (count + norm)  # type: ignore[assignment]
        return sorted(scores, key=lambda document: (-scores[document], document))[:limit]
