"""Logistic regression on n-grams: a weight for each run of neighbouring words.

Rare words are known by their endings, so that a run of two or three, with a gap or
without, has been seen before: "the -er", "did _ -ing". On as few sentences as CoLA's,
that judges better than a Transformer (docs/cola.md has the figures).

Source for gaps: Guthrie et al., A Closer Look at Skip-gram Modelling (2006); for words
seen by their endings, Brants, TnT: a statistical part-of-speech tagger (2000), 2.3.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

import minigrad as mg
import nn
from apps.cola.model import Judge
from apps.cola.reading import Reading, padded, require_words, words
from apps.cola.sentences import Sentence

BEGIN, END, PAD = "<s>", "</s>", "<PAD>"
# The lengths of rows are multiples of this: a compiled step is recorded for each
# length, and CoLA's 12 epochs have 12 then, not 43, with 3 % more ids.
WIDTH = 8
COMMON = 20  # words seen less often are known by their endings
ENDING = 3  # letters
MIN_COUNT = 2  # runs in fewer training sentences are not known
GAPS = (2, 3)


@dataclass(frozen=True)
class GramReader:
    """Finds the runs of a sentence, and numbers those that it knows."""

    common: frozenset[str]
    ids: dict[str, int]
    pad: int = 0

    @classmethod
    def of(cls, sentences: Sequence[Sentence]) -> GramReader:
        """One that knows the runs of these sentences."""
        split = [words(sentence.text) for sentence in sentences]
        counts = Counter(word for own in split for word in own)
        common = frozenset(word for word, count in counts.items() if count >= COMMON)
        found = Counter(
            gram for own in split for gram in dict.fromkeys(_grams(own, common))
        )
        known = [gram for gram, count in found.items() if count >= MIN_COUNT]
        return cls(common, {gram: n for n, gram in enumerate([PAD, *known])})

    def read(self, text: str) -> Reading:
        """Number the runs of a sentence, each one once. Raises: SentenceError."""
        tokens = require_words(words(text), text)
        grams = dict.fromkeys(_grams(tokens, self.common))
        known = [gram for gram in grams if gram in self.ids]
        unknown = sum(token not in self.ids for token in tokens)
        ids = [self.ids[gram] for gram in known]
        return Reading(ids, known, len(tokens), 0, unknown)

    def rows(self, readings: Sequence[Reading]) -> np.ndarray:
        """Put sentences into one array. Shapes: N readings -> (N, T) int64.

        T is a multiple of WIDTH: a compiled step is recorded for each.
        """
        ids = [reading.ids for reading in readings]
        longest = max([1, *map(len, ids)])
        return padded(ids, self.pad, -(-longest // WIDTH) * WIDTH)


def _grams(tokens: Sequence[str], common: frozenset[str]) -> Iterator[str]:
    """The words of a sentence, and its runs; "_" stands for what is between."""
    yield from tokens
    exact = [BEGIN, *tokens, END]
    rough = [BEGIN, *(_rough(token, common) for token in tokens), END]
    yield from _runs(exact, 2, "=")
    yield from _runs(rough, 2, "~")
    yield from _runs(rough, 3, "~")
    for gap in GAPS:
        yield from (f"{a} _ {b}" for a, b in zip(rough, rough[gap:], strict=False))


def _runs(tokens: Sequence[str], length: int, mark: str) -> Iterator[str]:
    for begin in range(len(tokens) - length + 1):
        yield f"{mark} {' '.join(tokens[begin : begin + length])}"


def _rough(token: str, common: frozenset[str]) -> str:
    if token in common:
        return token
    return f"-{token[-ENDING:]}" if token.isalpha() else "-#"


class GramJudge(Judge):
    """The sum of the runs' weights, over the root of their number, and a constant.

    Shapes: ids (N, T) of runs -> (N,). All weights start at 0.
    """

    def __init__(self, vocabulary: int, pad: int = 0) -> None:
        self.pad = pad
        self.layers = []
        self.weights = nn.Parameter(np.zeros((vocabulary, 1), "float32"))
        self.b = nn.Parameter(np.zeros(1, "float32"))

    def embed(self, ids: np.ndarray) -> mg.Tensor:
        """Give each run its weight. Shapes: (N, T) -> (N, T, 1)."""
        return nn.functional.word_embedding(ids, self.weights)

    def attributions(self, x: np.ndarray, gradient: np.ndarray) -> np.ndarray:
        """The size of each run's contribution to the sum. Shapes: as the base's."""
        return np.abs(x * gradient)[..., 0]

    def decide(self, x: Any, visible: Any) -> Any:
        """Add the weights up. Shapes: (N, T, 1), (N, T) -> (N,)."""
        visible = visible.astype(x.dtype)
        count = mg.maximum(visible.sum(axis=1, keepdims=True), 1)
        return (x[..., 0] * visible / mg.sqrt(count)).sum(axis=1) + self.b
