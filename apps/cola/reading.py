"""Tokens of sentences, and readers, which give a model their numbers.

Words and marks are tokens of their own, and a contraction is two: "Don't!" is "do",
"n't", "!". What is not known is `<UNK>`.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from apps import limits
from apps.cola.course import COURSE_CLS, COURSE_PAD, COURSE_UNKNOWN, number_words
from apps.cola.sentences import Corpus, Sentence, course_words
from apps.errors import UserError

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


# What stands for the sentence, for an unknown word and for padding; the course's last.
MARKS = ((CLS, UNKNOWN, PAD), (COURSE_CLS, COURSE_UNKNOWN, COURSE_PAD))


class SentenceError(UserError, ValueError):
    """A sentence cannot be judged."""


class Reading(NamedTuple):
    """A sentence as a model reads it.

    `ids` and `tokens` are words, or runs of them, and a mark that stands for the
    sentence. Of its words, `words` were read, `unknown` of them are not known, and
    `cut` did not fit.
    """

    ids: list[int]
    tokens: list[str]
    words: int
    cut: int
    unknown: int


def require_words(tokens: list[str], text: str) -> list[str]:
    """The tokens of a text. Raises: SentenceError if there is none."""
    if not tokens:
        raise SentenceError(
            f"{text!r} has no word, so there is nothing to judge. Give a sentence."
        )
    return tokens


@dataclass(frozen=True)
class Reader:
    """Splits sentences, numbers their words, and pads them.

    The mark for the sentence comes first, and rows are as long as the longest; the
    course's has it last, and rows of `max_length`.
    """

    ids: Mapping[str, int]
    max_length: int
    course: bool = False

    @classmethod
    def of(
        cls, sentences: Sequence[Sentence], min_count: int, max_length: int
    ) -> Reader:
        """One that knows the words of these sentences."""
        split = [words(sentence.text) for sentence in sentences]
        return cls(numbered(split, min_count), max_length)

    @classmethod
    def of_the_course(cls, corpus: Corpus) -> Reader:
        """The course's preparation; rows are as long as its longest."""
        split = [course_words(s.text) for s in corpus.train + corpus.validation]
        vocabulary = corpus.vocabulary or number_words(split[: len(corpus.train)])
        return cls(vocabulary, max(map(len, split)) + 1, course=True)

    @classmethod
    def again(
        cls, tokens: Sequence[str], max_length: int, course: bool = False
    ) -> Reader:
        """One of the tokens that a run has kept. Raises: ValueError for wrong ones."""
        ids = {token: number for number, token in enumerate(tokens)}
        marks = MARKS[course]
        if len(ids) < len(tokens) or not set(marks) <= set(ids):
            raise ValueError(f"its tokens must be different, {', '.join(marks)} among")
        if max_length not in limits.LENGTH:
            raise ValueError(f"its max_length must be {limits.LENGTH}")
        return cls(ids, max_length, course)

    @property
    def pad(self) -> int:
        """The id of padding."""
        return self.ids[MARKS[self.course][2]]

    @property
    def unknown(self) -> int:
        """The id of words that are not known."""
        return self.ids[MARKS[self.course][1]]

    def read(self, text: str) -> Reading:
        """Split and number one sentence; what does not fit is left out.

        Raises: SentenceError if there is no word in it.
        """
        tokens = require_words(course_words(text) if self.course else words(text), text)
        mark = MARKS[self.course][0]
        kept = tokens[: self.max_length - 1]
        ids = [self.ids.get(token, self.unknown) for token in kept]
        lost, cut = ids.count(self.unknown), len(tokens) - len(kept)
        where = len(kept) if self.course else 0
        ids.insert(where, self.ids[mark])
        kept.insert(where, mark)
        return Reading(ids, kept, len(tokens) - cut, cut, lost)

    def rows(self, readings: Sequence[Reading]) -> np.ndarray:
        """Put sentences into one array. Shapes: N readings -> (N, T) int64."""
        width = self.max_length if self.course else 0
        return padded([reading.ids for reading in readings], self.pad, width)
