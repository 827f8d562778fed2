"""Matthews correlation of judgements, its interval, and accuracy.

Of CoLA's sentences 70 % are acceptable, so that whoever always says "acceptable" is
right in 70 % of the cases, and has a Matthews correlation of 0.

Sources: Matthews, "Comparison of the predicted and observed secondary structure of T4
phage lysozyme", Biochimica et Biophysica Acta 405 (1975); Warstadt, Singh and Bowman,
"Neural Network Acceptability Judgments", TACL 2019 (its use for CoLA); Efron and
Tibshirani, "An Introduction to the Bootstrap" (1993), chapter 13 (the interval).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

RESAMPLES = 1_000

# What tables show of a judge: its correlation, the interval, and its accuracy.
HEADINGS = ("Matthews correlation", "95 % interval", "right")


@dataclass(frozen=True)
class Confusion:
    """How many sentences of each label were judged how."""

    true_positive: int
    false_negative: int
    false_positive: int
    true_negative: int

    @classmethod
    def of(cls, labels: np.ndarray, predicted: np.ndarray) -> Confusion:
        """Count. Shapes: labels and predicted (N,), each 0 or 1.

        Raises: ValueError if there is none, or something else.
        """
        y, p = _checked(labels, predicted)
        return cls(*(int(np.sum((y == a) & (p == b))) for a in (1, 0) for b in (1, 0)))

    @property
    def accuracy(self) -> float:
        """The fraction that was judged as labelled."""
        total = sum(vars(self).values())
        return (self.true_positive + self.true_negative) / total

    @property
    def judges_alike(self) -> bool:
        """Whether sentences of both labels are there, and all were judged alike."""
        acceptable = self.true_positive + self.false_negative
        others = self.false_positive + self.true_negative
        judged_so = self.true_positive + self.false_positive
        return min(acceptable, others) > 0 and judged_so in (0, acceptable + others)

    @property
    def matthews(self) -> float:
        """The correlation of labels and judgements, from -1 to 1.

        It is 0 where it is not defined: if all labels, or all judgements, are alike.
        """
        return float(_matthews(*map(np.array, vars(self).values())))


def accuracy_by(
    groups: Sequence[str], labels: np.ndarray, predicted: np.ndarray
) -> dict[str, float]:
    """Accuracy of each group of sentences, such as a phenomenon, as first seen.

    Shapes: N groups, labels (N,), predicted (N,).
    Raises: ValueError as `Confusion.of` does.
    """
    y, p = _checked(labels, predicted)
    own = np.array(groups)
    if own.shape != y.shape:
        raise ValueError(
            f"accuracy_by of {len(groups)} groups and {len(y)} labels: give one each."
        )
    return {name: float((y == p)[own == name].mean()) for name in dict.fromkeys(groups)}


def matthews_interval(
    labels: np.ndarray,
    predicted: np.ndarray,
    seed: int = 0,
    level: float = 0.95,
    resamples: int = RESAMPLES,
) -> tuple[float, float]:
    """The percentile bootstrap's confidence interval of the correlation.

    Drawing sentences again is drawing the four counts at once, from a multinomial.

    Shapes: (N,), (N,) -> lower and upper end.
    Raises: ValueError as `Confusion.of` does, or if `level` is no fraction.
    """
    if not 0 < level < 1:
        raise ValueError(f"matthews_interval with level {level}: give one in (0, 1).")
    counts = np.array(list(vars(Confusion.of(labels, predicted)).values()))
    generator = np.random.default_rng(seed)
    total = counts.sum()
    drawn = generator.multinomial(total, counts / total, size=resamples)
    scores = _matthews(*drawn.T)
    lower, upper = np.quantile(scores, [(1 - level) / 2, (1 + level) / 2])
    return float(lower), float(upper)


def _checked(
    labels: np.ndarray, predicted: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    y, p = np.asarray(labels), np.asarray(predicted)
    if y.ndim != 1 or y.shape != p.shape or not y.size:
        raise ValueError(
            f"labels of shape {y.shape} and judgements of shape {p.shape}: both must "
            "be (N,), with N at least 1."
        )
    if not (np.isin(y, (0, 1)).all() and np.isin(p, (0, 1)).all()):
        raise ValueError(
            "labels and judgements must be 0 or 1. Take a probability of at least 0.5 "
            "for 1."
        )
    return y, p


def _matthews(
    hit: np.ndarray, missed: np.ndarray, false: np.ndarray, right: np.ndarray
) -> np.ndarray:
    """Shapes: counts (...) each -> (...)."""
    # As floating point: the product of four counts does not fit into 64 bits.
    tp, fn, fp, tn = (np.asarray(count, float) for count in (hit, missed, false, right))
    product = (tp + fp) * (tp + fn) * (tn + fp) * (tn + fn)
    defined = product > 0
    below = np.sqrt(np.where(defined, product, 1.0))
    return np.where(defined, (tp * tn - fp * fn) / below, 0.0)
