"""Tokens of sentences, and their numbers.

Words and marks are tokens of their own, and a contraction is two: "Don't!" is "do",
"n't", "!". What is not known is `<UNK>`.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np

PAD, UNKNOWN, CLS, MASK = "<PAD>", "<UNK>", "<CLS>", "<MASK>"
# No sentence has a token like these: "<" is a token of its own.
SPECIAL = (PAD, UNKNOWN, CLS, MASK)

# In this order: the word before "n't", "n't", other contractions, any word, any mark.
TOKEN = re.compile(
    r"\w+(?=n't(?!\w))|n't(?!\w)|'(?:s|m|d|re|ve|ll)(?!\w)|\w+|[^\w\s]", re.IGNORECASE
)


def words(text: str, fold: bool = True) -> list[str]:
    """Split a text into words, contractions and marks; `fold` ignores capitals.

    Curly apostrophes count as straight ones. Nothing but white space is lost, and the
    tokens, joined by spaces, are split into the same tokens again.
    """
    plain = text.replace("\N{RIGHT SINGLE QUOTATION MARK}", "'")
    return TOKEN.findall(plain.lower() if fold else plain)


def numbered(sentences: Iterable[Sequence[str]], min_count: int = 1) -> dict[str, int]:
    """Number the special tokens, then those that stand often enough, as first seen."""
    counts = Counter(token for sentence in sentences for token in sentence)
    kept = [token for token, count in counts.items() if count >= min_count]
    return {token: number for number, token in enumerate([*SPECIAL, *kept])}


def padded(rows: Sequence[Sequence[int]], pad: int, width: int = 0) -> np.ndarray:
    """Put ids of several sentences into one array, at least as wide as the longest.

    Shapes: N rows of up to T ids -> (N, T) int64.
    """
    width = max([width, *map(len, rows)])
    ids = np.full((len(rows), width), pad, dtype=np.int64)
    for line, row in zip(ids, rows, strict=True):
        line[: len(row)] = row
    return ids
