"""As which tokens, and as which numbers, does a network read a sentence?

Words and marks are tokens of their own, and a contraction is two: "Don't!" is "do",
"n't", "!". A vocabulary numbers the tokens; what it does not know is `<UNK>`.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple

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


class Encoded(NamedTuple):
    """A sentence's ids, `<CLS>` first, and what was lost on the way.

    `cut` is the number of words that did not fit, `unknown` that of the others that
    the vocabulary does not know.
    """

    ids: list[int]
    cut: int
    unknown: int


class Vocabulary:
    """Tokens by number and numbers by token; the special ones come first."""

    def __init__(self, tokens: Sequence[str]) -> None:
        """Number these tokens, which begin with `SPECIAL`.

        Raises: ValueError if they do not, or if one stands twice.
        """
        self.tokens = tuple(tokens)
        self.ids = {token: number for number, token in enumerate(self.tokens)}
        if self.tokens[: len(SPECIAL)] != SPECIAL or len(self.ids) < len(self.tokens):
            raise ValueError(
                f"Vocabulary of {len(self.tokens)} tokens: it must begin with "
                f"{', '.join(SPECIAL)} and have every token once. Make one by "
                "Vocabulary.of."
            )

    @classmethod
    def of(cls, sentences: Iterable[Sequence[str]], min_count: int = 1) -> Vocabulary:
        """Number the tokens that stand in sentences often enough, as first seen."""
        counts = Counter(word for sentence in sentences for word in sentence)
        kept = [word for word, count in counts.items() if count >= min_count]
        return cls([*SPECIAL, *kept])

    def __len__(self) -> int:
        return len(self.tokens)

    def encode(self, tokens: Sequence[str], max_length: int | None = None) -> Encoded:
        """Turn a sentence's tokens into ids: `<CLS>`, then at most as many as fit.

        `max_length` counts `<CLS>` too.
        Raises: ValueError if not even that would fit.
        """
        if max_length is not None and max_length < 1:
            raise ValueError(
                f"Vocabulary.encode with max_length {max_length}: give at least 1."
            )
        kept = tokens if max_length is None else tokens[: max_length - 1]
        ids = [self.ids.get(token, self.ids[UNKNOWN]) for token in kept]
        unknown = ids.count(self.ids[UNKNOWN])
        return Encoded([self.ids[CLS], *ids], len(tokens) - len(kept), unknown)


def padded(rows: Sequence[Sequence[int]], pad: int = 0) -> np.ndarray:
    """Put ids of several sentences into one array, as wide as the longest.

    Shapes: N rows of up to T ids -> (N, T) int64.
    """
    ids = np.full((len(rows), max(map(len, rows), default=0)), pad, dtype=np.int64)
    for line, row in zip(ids, rows, strict=True):
        line[: len(row)] = row
    return ids
