"""Scores of a judge, beside those of judges that know nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from apps.cola import baselines, metrics
from apps.cola.baselines import Judge
from apps.cola.metrics import Confusion
from apps.cola.sentences import Sentence
from apps.cola.train import Trained

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
            metrics.matthews_interval(labels, judged),
            metrics.accuracy_by([s.source for s in sentences], labels, judged),
        )


def evaluate(trained: Trained, splits: Sequence[str]) -> dict[str, dict[str, Score]]:
    """Score a trained judge, the baselines after it, on splits of its corpus."""
    name, corpus = NAMES[trained.settings.model], trained.corpus
    judges: dict[str, Judge] = {name: trained.probabilities, **baselines.judges(corpus)}
    return {
        split: {n: Score.of(judge, corpus.splits[split]) for n, judge in judges.items()}
        for split in splits
    }
