"""Do the scores give what can be worked out by hand, and obey the laws they have?"""

from __future__ import annotations

from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.cola import metrics
from apps.cola.metrics import Confusion

PAIRS = st.lists(st.tuples(st.integers(0, 1), st.integers(0, 1)), min_size=1)


def columns(pairs: list[tuple[int, int]]) -> tuple[np.ndarray, np.ndarray]:
    labels, predicted = np.array(pairs).T
    return labels, predicted


def matthews(labels: np.ndarray, predicted: np.ndarray) -> float:
    return Confusion.of(labels, predicted).matthews


def accuracy(labels: np.ndarray, predicted: np.ndarray) -> float:
    return Confusion.of(labels, predicted).accuracy


def test_by_hand() -> None:
    labels, predicted = np.array([1, 1, 1, 1, 0, 0, 0]), np.array([1, 1, 1, 0, 1, 0, 0])
    assert Confusion.of(labels, predicted) == Confusion(3, 1, 1, 2)
    assert accuracy(labels, predicted) == pytest.approx(5 / 7)
    expected = (3 * 2 - 1 * 1) / np.sqrt(4 * 4 * 3 * 3)
    assert matthews(labels, predicted) == pytest.approx(expected)


@given(PAIRS)
def test_it_is_the_correlation_where_there_is_one(pairs: list[tuple[int, int]]) -> None:
    labels, predicted = columns(pairs)
    found = matthews(labels, predicted)
    if len(set(labels)) == len(set(predicted)) == 2:
        assert found == pytest.approx(np.corrcoef(labels, predicted)[0, 1])
    else:
        assert found == 0


@given(PAIRS, st.randoms())
def test_laws(pairs: list[tuple[int, int]], random: Random) -> None:
    labels, predicted = columns(pairs)
    found = matthews(labels, predicted)
    assert -1 - 1e-12 <= found <= 1 + 1e-12
    assert matthews(predicted, labels) == pytest.approx(found)
    assert matthews(1 - labels, 1 - predicted) == pytest.approx(found)
    assert matthews(labels, 1 - predicted) == pytest.approx(-found)
    assert matthews(*columns(pairs * 3)) == pytest.approx(found)
    random.shuffle(pairs)
    assert matthews(*columns(pairs)) == pytest.approx(found)


@given(PAIRS)
def test_accuracy(pairs: list[tuple[int, int]]) -> None:
    labels, predicted = columns(pairs)
    assert accuracy(labels, predicted) == np.mean(labels == predicted)
    groups = [f"group {label}" for label in labels]
    by = metrics.accuracy_by(groups, labels, predicted)
    total = sum(by[group] for group in groups) / len(groups)
    assert total == pytest.approx(accuracy(labels, predicted))


def test_counts_beyond_what_a_product_of_integers_holds() -> None:
    huge = 10**6
    assert Confusion(huge, 0, 0, huge).matthews == 1
    assert Confusion(0, huge, huge, 0).matthews == -1


def test_accuracy_of_groups() -> None:
    found = metrics.accuracy_by(
        ["b", "a", "b", "b"], np.array([1, 1, 0, 0]), np.array([1, 0, 0, 1])
    )
    assert list(found.items()) == [("b", pytest.approx(2 / 3)), ("a", 0.0)]
    with pytest.raises(ValueError, match="of 1 groups and 2 labels"):
        metrics.accuracy_by(["a"], np.array([1, 1]), np.array([1, 1]))


@given(PAIRS, st.integers(0, 9))
def test_an_interval_depends_on_the_seed_alone(
    pairs: list[tuple[int, int]], seed: int
) -> None:
    labels, predicted = columns(pairs)
    first = metrics.matthews_interval(labels, predicted, seed, resamples=50)
    assert first == metrics.matthews_interval(labels, predicted, seed, resamples=50)
    assert -1 <= round(first[0], 9) <= round(first[1], 9) <= 1


def test_an_interval_is_that_of_drawing_sentences_again() -> None:
    """Held against the plain way: draw sentences, score them, many times."""
    generator = np.random.default_rng(1)
    labels = generator.integers(0, 2, 200)
    predicted = np.where(generator.random(200) < 0.7, labels, 1 - labels)
    drawn = [generator.integers(0, 200, 200) for _ in range(4_000)]
    scores = [matthews(labels[rows], predicted[rows]) for rows in drawn]
    found = metrics.matthews_interval(labels, predicted, resamples=4_000)
    assert found == pytest.approx(tuple(np.quantile(scores, [0.025, 0.975])), abs=0.01)
    narrow = metrics.matthews_interval(labels, predicted, level=0.5)
    assert found[0] < narrow[0] < matthews(labels, predicted) < narrow[1]


@pytest.mark.parametrize(
    ("labels", "predicted", "message"),
    [
        ([], [], "at least 1"),
        ([1], [1, 0], r"shape \(1,\) and judgements of shape \(2,\)"),
        ([[1]], [[1]], r"must be \(N,\)"),
        ([1, 2], [1, 0], "must be 0 or 1"),
        ([1, 0], [0.7, 0.2], "must be 0 or 1"),
    ],
)
def test_what_cannot_be_scored(
    labels: list[object], predicted: list[object], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        matthews(np.array(labels), np.array(predicted))


@pytest.mark.parametrize("level", [0, 1, -0.5, 2])
def test_a_level_is_a_share(level: float) -> None:
    with pytest.raises(ValueError, match=r"give one in \(0, 1\)"):
        metrics.matthews_interval(np.array([1]), np.array([1]), level=level)
