"""Readers: from a sentence to the numbers that a model is given."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from apps import limits
from apps.cola.course import COURSE_CLS, COURSE_PAD, COURSE_UNKNOWN, prepare
from apps.cola.sentences import Corpus, Sentence, course_words
from apps.cola.tokens import CLS, PAD, UNKNOWN, numbered, padded, words
from apps.errors import UserError

COURSE_MARKS = (COURSE_CLS, COURSE_UNKNOWN, COURSE_PAD)


class SentenceError(UserError, ValueError):
    """A sentence cannot be judged."""


class Reading(NamedTuple):
    """A sentence as a model reads it.

    `ids` and `tokens` are what the model is given: words, or runs of them, and a mark
    that stands for the sentence. Of its words, `words` were read and `cut` did not
    fit; `unknown` of those that were read are not known.
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

    With `ends`, the mark for the sentence comes last, as in the course; otherwise
    first. With `fixed`, every row is `max_length` long; otherwise as long as it must.
    """

    split: Callable[[str], list[str]]
    ids: Mapping[str, int]
    marks: tuple[str, str, str]  # of the sentence, of what is unknown, of padding
    max_length: int
    ends: bool = False
    fixed: bool = False

    @classmethod
    def of(
        cls, sentences: Sequence[Sentence], min_count: int, max_length: int
    ) -> Reader:
        """One that knows the words of these sentences."""
        ids = numbered([words(sentence.text) for sentence in sentences], min_count)
        return cls(words, ids, (CLS, UNKNOWN, PAD), max_length)

    @classmethod
    def of_the_course(cls, corpus: Corpus) -> Reader:
        """The course's preparation; rows are as long as its longest."""
        everything = [*corpus.train, *corpus.validation]
        prepared = prepare(everything, len(corpus.train))
        vocabulary = corpus.vocabulary or prepared.vocabulary
        length = prepared.train_ids.shape[1]
        return cls(course_words, vocabulary, COURSE_MARKS, length, True, True)

    @classmethod
    def again(
        cls, tokens: Sequence[str], max_length: int, course: bool = False
    ) -> Reader:
        """One that numbers these tokens, as a run has kept them.

        Raises: ValueError if they are not those of a reader.
        """
        marks = COURSE_MARKS if course else (CLS, UNKNOWN, PAD)
        ids = {token: number for number, token in enumerate(tokens)}
        if len(ids) < len(tokens) or not set(marks) <= set(ids):
            raise ValueError(f"its tokens must be different, {', '.join(marks)} among")
        if max_length not in limits.LENGTH:
            raise ValueError(f"its max_length must be {limits.LENGTH}")
        split = course_words if course else words
        return cls(split, ids, marks, max_length, course, course)

    @property
    def pad(self) -> int:
        """The id of padding."""
        return self.ids[self.marks[2]]

    @property
    def unknown(self) -> int:
        """The id of words that are not known."""
        return self.ids[self.marks[1]]

    def read(self, text: str) -> Reading:
        """Split and number one sentence. Whatever does not fit is left out.

        Raises: SentenceError if there is no word in it.
        """
        tokens = require_words(self.split(text), text)
        kept = tokens[: self.max_length - 1]
        ids = [self.ids.get(token, self.unknown) for token in kept]
        unknown = ids.count(self.unknown)
        mark, where = self.marks[0], len(kept) if self.ends else 0
        ids.insert(where, self.ids[mark])
        kept.insert(where, mark)
        read = len(kept) - 1
        return Reading(ids, kept, read, len(tokens) - read, unknown)

    def rows(self, readings: Sequence[Reading]) -> np.ndarray:
        """Put sentences into one array. Shapes: N readings -> (N, T) int64."""
        width = self.max_length if self.fixed else 0
        return padded([reading.ids for reading in readings], self.pad, width)
