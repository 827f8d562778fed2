"""Scores of a judge, beside those of two baselines.

One always says "acceptable"; the other is a logistic regression on the counts of words.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

import minigrad as mg
import nn
from apps.cola.metrics import Confusion, accuracy_by, matthews_interval
from apps.cola.reading import CLS, UNKNOWN, numbered, words
from apps.cola.sentences import Corpus, Sentence
from apps.cola.train import Trained

STEPS, STEP_SIZE = 300, 0.1
PENALTY = 1e-4


# How likely each text is to be acceptable. Shapes: N texts -> (N,).
Judge = Callable[[Sequence[str]], np.ndarray]


@dataclass(frozen=True)
class BagOfWords:
    """Logistic regression on how often each word stands in a sentence.

    Shapes: weights (V,), one a token; that of `<CLS>`, which every sentence has once,
    is the constant.
    """

    ids: dict[str, int]
    weights: np.ndarray

    @classmethod
    def fit(cls, sentences: Sequence[Sentence]) -> BagOfWords:
        """Learn from sentences; the same ones give the same weights."""
        ids = numbered(words(sentence.text) for sentence in sentences)
        labels = np.array([sentence.label for sentence in sentences], float)
        rows, columns = _cells(ids, [sentence.text for sentence in sentences])
        weights = nn.Parameter(np.zeros(len(ids)))
        optimizer = nn.Adam([weights], lr=STEP_SIZE, weight_decay=PENALTY)
        for _ in range(STEPS):
            # The gradient of the mean cross-entropy; the bags are never made dense.
            scores = np.bincount(rows, weights.numpy()[columns], len(labels))
            error = (_sigmoid(scores) - labels) / len(labels)
            gradient = np.bincount(columns, error[rows], len(ids))
            optimizer.update([mg.asarray(gradient)])
        return cls(ids, weights.numpy())

    def probabilities(self, texts: Sequence[str]) -> np.ndarray:
        """How likely each text is to be acceptable. Shapes: N texts -> (N,)."""
        rows, columns = _cells(self.ids, texts)
        return _sigmoid(np.bincount(rows, self.weights[columns], len(texts)))


def baselines(corpus: Corpus) -> dict[str, Judge]:
    """Both baselines, by name; one has learned from the corpus."""
    return {
        "always acceptable": lambda texts: np.ones(len(texts)),
        "bag of words": BagOfWords.fit(corpus.train).probabilities,
    }


def _cells(ids: dict[str, int], texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """The row (its text) and the column (its id) of every token. Shapes: (M,) each."""
    bags = [[CLS, *words(text)] for text in texts]
    rows = np.repeat(np.arange(len(bags)), [len(bag) for bag in bags])
    columns = [ids.get(token, ids[UNKNOWN]) for bag in bags for token in bag]
    return rows, np.array(columns, dtype=np.int64)


def _sigmoid(scores: np.ndarray) -> np.ndarray:
    # By the hyperbolic tangent, which does not overflow.
    return 0.5 * (1 + np.tanh(scores / 2))


# Names of the models in tables.
NAMES = {
    "transformer": "the Transformer",
    "course": "the course's Transformer",
    "grams": "runs of words",
}


@dataclass(frozen=True)
class Score:
    """The scores of one judge on some sentences.

    `interval` holds the correlation in 95 of 100 draws of as many other sentences;
    `by_source` has the accuracy on each publication or phenomenon.
    """

    confusion: Confusion
    interval: tuple[float, float]
    by_source: Mapping[str, float]

    @property
    def cells(self) -> tuple[str, str, str]:
        """The row of a table under `metrics.HEADINGS`."""
        low, high = self.interval
        return (
            f"{self.confusion.matthews:.3f}",
            f"{low:.3f} to {high:.3f}",
            f"{self.confusion.accuracy:.1%}",
        )

    @classmethod
    def of(cls, judge: Judge, sentences: Sequence[Sentence]) -> Score:
        """Score a judge. Raises: ValueError if there is no sentence."""
        labels = np.array([sentence.label for sentence in sentences])
        likely = judge([sentence.text for sentence in sentences])
        judged = (likely >= 0.5).astype(int)
        return cls(
            Confusion.of(labels, judged),
            matthews_interval(labels, judged),
            accuracy_by([s.source for s in sentences], labels, judged),
        )


def evaluate(trained: Trained, splits: Sequence[str]) -> dict[str, dict[str, Score]]:
    """Score a trained judge, the baselines after it, on splits of its corpus."""
    name, corpus = NAMES[trained.settings.model], trained.corpus
    judges: dict[str, Judge] = {name: trained.probabilities, **baselines(corpus)}
    return {
        split: {n: Score.of(judge, corpus.splits[split]) for n, judge in judges.items()}
        for split in splits
    }
