"""Does unigram BLEU give what can be worked out by hand?"""

from __future__ import annotations

import math

import pytest

from apps.captioning.metrics import mean_bleu, unigram_bleu


@pytest.mark.parametrize(
    ("reference", "candidate", "expected"),
    [
        ("a red circle", "a red circle", 1.0),
        ("a red circle", "circle red a", 1.0),  # order does not count
        ("the cat is on the mat", "the the the the the the the", 2 / 7),  # clipped
        ("a b c d", "a b", math.exp(-1)),  # brevity: exp(1 - 4/2)
        ("a b", "a b c d", 0.5),  # no prize for length
        ("a b c d", "a x", math.exp(-1) / 2),
        ("a b", "x y", 0.0),
        ("a b", "", 0.0),
        ("", "a", 0.0),
    ],
)
def test_by_hand(reference: str, candidate: str, expected: float) -> None:
    assert unigram_bleu(reference.split(), candidate.split()) == pytest.approx(expected)


def test_mean_is_over_pairs() -> None:
    assert mean_bleu([["a"], ["b"]], [["a"], ["a"]]) == 0.5


def test_mean_of_nothing_is_an_error() -> None:
    with pytest.raises(ValueError, match="needs at least one"):
        mean_bleu([], [])
